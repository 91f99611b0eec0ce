"""Tables for everyprint's customers, balances and their ledger, our own groups, and identity links."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

ON_MYSQL: dict[str, Any] = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
}
NUMBERED = ON_MYSQL | {"sqlite_autoincrement": True}

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
AMOUNT = sa.String(28).with_variant(mysql.DECIMAL(26, 6), "mysql")
MOMENT = sa.DateTime().with_variant(mysql.DATETIME(fsp=3), "mysql")


def upgrade() -> None:
    op.create_table(
        "customer",
        sa.Column("messenger_id", sa.String(64), primary_key=True),
        sa.Column("last_name", sa.String(50), nullable=False),
        sa.Column("first_name", sa.String(50)),
        sa.Column("gender", sa.SmallInteger()),
        sa.Column("phone_e164", sa.String(16)),
        sa.Column("email", sa.String(254)),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.CheckConstraint("gender IN (0, 1)", name="ck_customer_gender"),
        **ON_MYSQL,
    )
    op.create_index("ix_customer_phone_e164", "customer", ["phone_e164"])
    op.create_index("ix_customer_email", "customer", ["email"])

    op.create_table(
        "balance",
        sa.Column("messenger_id", sa.String(64), sa.ForeignKey("customer.messenger_id"), primary_key=True),
        sa.Column("amount", AMOUNT, nullable=False, server_default="0"),
        sa.Column("currency", sa.String(3), nullable=False, server_default="XOF"),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.CheckConstraint("amount >= 0", name="ck_balance_amount"),
        **ON_MYSQL,
    )

    op.create_table(
        "balance_entry",
        sa.Column("id", ID, primary_key=True),
        sa.Column("messenger_id", sa.String(64), sa.ForeignKey("balance.messenger_id"), nullable=False),
        sa.Column("amount", AMOUNT, nullable=False),
        sa.Column("balance_after", AMOUNT, nullable=False),
        sa.Column("reason", sa.String(255), nullable=False),
        sa.Column("idempotency_key", sa.String(255), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.UniqueConstraint("messenger_id", "idempotency_key", name="uq_balance_entry_key"),
        **NUMBERED,
    )
    op.create_index("ix_balance_entry_newest", "balance_entry", ["messenger_id", "id"])

    op.create_table(
        "customer_group",
        sa.Column("id", ID, primary_key=True),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.UniqueConstraint("name", name="uq_customer_group_name"),
        **NUMBERED,
    )

    op.create_table(
        "customer_group_member",
        sa.Column("group_id", sa.BigInteger(), sa.ForeignKey("customer_group.id"), primary_key=True),
        sa.Column("member", sa.String(128), primary_key=True),
        **ON_MYSQL,
    )
    op.create_index("ix_customer_group_member_member", "customer_group_member", ["member"])

    op.create_table(
        "identity_link",
        sa.Column("source", sa.String(16), primary_key=True),
        sa.Column("key", sa.String(128), primary_key=True),
        sa.Column("person", sa.String(32), nullable=False),
        **ON_MYSQL,
    )
    op.create_index("ix_identity_link_person", "identity_link", ["person"])


def downgrade() -> None:
    for table in (
        "identity_link",
        "customer_group_member",
        "customer_group",
        "balance_entry",
        "balance",
        "customer",
    ):
        op.drop_table(table)
