"""What is sent to many: broadcasts, their chunks, and the indexes by which they are planned and counted."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0007"
down_revision = "0006"
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
AUDIENCE = ["person", "source", "key", "phone", "first_name", "last_name"]

SPARSE = {
    "uq_delivery_idempotency_key": ["idempotency_key"],
    "ix_delivery_due": ["due"],
    "ix_delivery_phone": ["phone", "seq"],
    "ix_delivery_messenger_id": ["messenger_id", "seq"],
}
"""On SQLite these are now without what is null: most of the rows of a broadcast, in most of them."""


def upgrade() -> None:
    op.create_table(
        "broadcast",
        sa.Column("id", ID, primary_key=True),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("reason", sa.String(255)),
        sa.Column("phase", sa.String(8)),
        sa.Column("place", sa.String(128), nullable=False),
        sa.Column("owner", sa.String(64)),
        sa.Column("leased_until", sa.BigInteger(), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("last_seq", sa.BigInteger(), nullable=False),
        sa.Column("chunks", sa.Integer(), nullable=False),
        sa.Column("plan", JSON, nullable=False),
        sa.Column("listed", JSON, nullable=False),
        sa.Column("body", JSON, nullable=False),
        sa.Column("rate_per_second", sa.Float()),
        sa.Column("tag", sa.String(64)),
        sa.Column("idempotency_key", sa.String(255)),
        sa.Column("input_hash", sa.String(64)),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("send_at", MOMENT),
        sa.Column("started_at", MOMENT),
        sa.Column("finished_at", MOMENT),
        sa.UniqueConstraint("idempotency_key", name="uq_broadcast_idempotency_key"),
        **ON_MYSQL,
        sqlite_autoincrement=True,
    )
    op.create_index("ix_broadcast_state", "broadcast", ["state"])
    op.create_index("ix_broadcast_phase", "broadcast", ["phase"])

    op.create_table(
        "chunk",
        sa.Column("broadcast_id", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("n", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("lo", sa.BigInteger(), nullable=False),
        sa.Column("hi", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("token", sa.String(64)),
        sa.Column("due", sa.BigInteger(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        **ON_MYSQL,
    )
    op.create_index("ix_chunk_due", "chunk", ["broadcast_id", "state", "due"])

    if op.get_bind().dialect.name == "sqlite":
        with op.batch_alter_table("delivery") as table:
            table.drop_constraint("uq_delivery_idempotency_key", type_="unique")
        for name, columns in SPARSE.items():
            if name != "uq_delivery_idempotency_key":
                op.drop_index(name, "delivery")
            some = sa.text(f"{columns[0]} IS NOT NULL")
            op.create_index(name, "delivery", columns, unique=name.startswith("uq"), sqlite_where=some)
    op.create_index("ix_delivery_state", "delivery", ["broadcast_id", "state", "seq"])
    op.create_index("ix_directory_entry_audience", "directory_entry", AUDIENCE)


def downgrade() -> None:
    op.drop_index("ix_directory_entry_audience", "directory_entry")
    op.drop_index("ix_delivery_state", "delivery")
    if op.get_bind().dialect.name == "sqlite":
        for name, columns in SPARSE.items():
            op.drop_index(name, "delivery")
            if name != "uq_delivery_idempotency_key":
                op.create_index(name, "delivery", columns)
        with op.batch_alter_table("delivery") as table:
            table.create_unique_constraint("uq_delivery_idempotency_key", ["idempotency_key"])
    op.drop_table("chunk")
    op.drop_table("broadcast")
