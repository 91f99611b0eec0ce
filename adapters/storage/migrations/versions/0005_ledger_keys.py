"""An idempotency key is used once in the whole ledger, and not once by each customer."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

ENTRIES = sa.table(
    "balance_entry", sa.column("messenger_id", sa.String), sa.column("idempotency_key", sa.String)
)
NUMBERED = {"sqlite_autoincrement": True}  # SQLite makes the table anew, and would forget it


def upgrade() -> None:
    # Only the demo people's keys repeat: nobody else could have written to the ledger.
    key = ENTRIES.c.idempotency_key
    by_customer = sa.update(ENTRIES).values(idempotency_key=key + " of " + ENTRIES.c.messenger_id)
    op.execute(by_customer.where(key.like("demo %"), key.not_like("% of %")))
    with op.batch_alter_table("balance_entry", table_kwargs=NUMBERED) as table:
        table.drop_constraint("uq_balance_entry_key", type_="unique")
        table.create_unique_constraint("uq_balance_entry_idempotency_key", ["idempotency_key"])


def downgrade() -> None:
    with op.batch_alter_table("balance_entry", table_kwargs=NUMBERED) as table:
        table.drop_constraint("uq_balance_entry_idempotency_key", type_="unique")
        table.create_unique_constraint("uq_balance_entry_key", ["messenger_id", "idempotency_key"])
