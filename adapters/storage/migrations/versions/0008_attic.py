"""What is not kept for ever: since when reports are there, the counts of what went, and who clears."""

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime().with_variant(mysql.DATETIME(fsp=3), "mysql")
JSON = sa.Text().with_variant(mysql.LONGTEXT(), "mysql")


def upgrade() -> None:
    op.add_column("broadcast", sa.Column("purged_counts", JSON))
    # Those that are there are taken for as old as this step: so are those that an old process still writes.
    at = f"'{datetime.now(UTC):%Y-%m-%d %H:%M:%S}'"
    op.add_column("report", sa.Column("received_at", MOMENT, nullable=False, server_default=sa.text(at)))
    attic = op.create_table(
        "attic",
        sa.Column("id", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("owner", sa.String(64)),
        sa.Column("until", sa.BigInteger(), nullable=False),
        mysql_engine="InnoDB",
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
    )
    op.bulk_insert(attic, [{"id": 1, "until": 0}])


def downgrade() -> None:
    op.drop_table("attic")
    op.drop_column("report", "received_at")
    op.drop_column("broadcast", "purged_counts")
