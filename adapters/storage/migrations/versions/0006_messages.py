"""What is sent: deliveries with their history, what vendors report of them, and who wants nothing."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime().with_variant(mysql.DATETIME(fsp=3), "mysql")
JSON = sa.Text().with_variant(mysql.LONGTEXT(), "mysql")
ON_MYSQL: dict[str, Any] = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
}
NUMBERED = ON_MYSQL | {"sqlite_autoincrement": True}


def upgrade() -> None:
    op.create_table(
        "delivery",
        sa.Column("broadcast_id", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("seq", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("recipient_key", sa.String(96)),
        sa.Column("phone", sa.String(16)),
        sa.Column("messenger_id", sa.String(64)),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("state_rank", sa.SmallInteger(), nullable=False),
        sa.Column("due", sa.BigInteger()),
        sa.Column("step", sa.SmallInteger(), nullable=False),
        sa.Column("attempt", sa.SmallInteger(), nullable=False),
        sa.Column("channel", sa.String(10)),
        sa.Column("vendor_id", sa.String(64)),
        sa.Column("body", JSON, nullable=False),
        sa.Column("history", JSON, nullable=False),
        sa.Column("failure_code", sa.String(32)),
        sa.Column("failure_text", sa.String(255)),
        sa.Column("vendor_code", sa.String(32)),
        sa.Column("idempotency_key", sa.String(255)),
        sa.Column("input_hash", sa.String(64)),
        sa.Column("tag", sa.String(64)),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("send_at", MOMENT),
        sa.Column("accepted_at", MOMENT),
        sa.Column("final_at", MOMENT),
        sa.UniqueConstraint("broadcast_id", "recipient_key", name="uq_delivery_recipient_key"),
        sa.UniqueConstraint("idempotency_key", name="uq_delivery_idempotency_key"),
        **ON_MYSQL,
    )
    op.create_index("ix_delivery_due", "delivery", ["due"])
    op.create_index("ix_delivery_phone", "delivery", ["phone", "seq"])
    op.create_index("ix_delivery_messenger_id", "delivery", ["messenger_id", "seq"])

    op.create_table(
        "report",
        sa.Column("id", ID, primary_key=True),
        sa.Column("source", sa.String(16), nullable=False),
        sa.Column("external_id", sa.String(64), nullable=False),
        sa.Column("status", sa.String(32), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("body", JSON, nullable=False),
        sa.Column("waiting", sa.Boolean(), nullable=False),
        sa.UniqueConstraint("source", "external_id", "status", "at", name="uq_report_source"),
        **NUMBERED,
    )
    op.create_index("ix_report_waiting", "report", ["waiting", "id"])

    op.create_table(
        "suppression",
        sa.Column("address", sa.String(64), primary_key=True),
        sa.Column("channel", sa.String(10), primary_key=True),
        sa.Column("reason", sa.String(255), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        **ON_MYSQL,
    )


def downgrade() -> None:
    for table in ("suppression", "report", "delivery"):
        op.drop_table(table)
