"""What planning a broadcast is quick by: one key for each delivery, and in the directory who opted out.

A message that is alone has its idempotency key where one of a broadcast has its recipient's.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

AUDIENCE = ["person", "source", "key", "phone", "first_name", "last_name"]
SAID_NO = {
    "sqlite": "json_extract(profile, '$.whatsapp_opt_in') = 0",
    "mysql": "json_unquote(json_extract(profile, '$.whatsapp_opt_in')) = 'false'",
}
BEFORE = {
    "uq_delivery_idempotency_key": ["idempotency_key"],
    "ix_delivery_due": ["due"],
    "ix_delivery_phone": ["phone", "seq"],
    "ix_delivery_messenger_id": ["messenger_id", "seq"],
}
AFTER = {
    "ix_delivery_due": ["due"],
    "ix_delivery_phone": ["phone"],
    "ix_delivery_messenger_id": ["messenger_id"],
}


def upgrade() -> None:
    _drop(BEFORE)
    _let_have("recipient_key", "own_key", 255)
    op.execute(
        "UPDATE delivery SET own_key = idempotency_key WHERE broadcast_id = 0 AND idempotency_key IS NOT NULL"
    )
    op.drop_column("delivery", "idempotency_key")
    _create(AFTER)

    op.add_column("directory_entry", sa.Column("opted_out", sa.Boolean(), nullable=False, server_default="0"))
    said_no = SAID_NO[op.get_bind().dialect.name]
    op.execute(f"UPDATE directory_entry SET opted_out = 1 WHERE source = 'mercately' AND {said_no}")  # noqa: S608
    _index_audience([*AUDIENCE, "opted_out"])


def downgrade() -> None:
    _index_audience(AUDIENCE)
    op.drop_column("directory_entry", "opted_out")

    _drop(AFTER)
    op.add_column("delivery", sa.Column("idempotency_key", sa.String(255)))
    op.execute("UPDATE delivery SET idempotency_key = own_key, own_key = NULL WHERE broadcast_id = 0")
    op.execute("UPDATE delivery SET phone = own_key WHERE own_key LIKE '+%'")
    op.execute("UPDATE delivery SET messenger_id = own_key WHERE own_key NOT LIKE '+%'")
    _let_have("own_key", "recipient_key", 96)
    _create(BEFORE)


def _let_have(before: str, after: str, longest: int) -> None:
    """Another name for the key, and for what says that it is nobody else's; on SQLite each is a new table."""
    with op.batch_alter_table("delivery") as table:
        table.drop_constraint(f"uq_delivery_{before}", type_="unique")
        table.alter_column(
            before, new_column_name=after, existing_type=sa.String(), type_=sa.String(longest), nullable=True
        )
    with op.batch_alter_table("delivery") as table:
        table.create_unique_constraint(f"uq_delivery_{after}", ["broadcast_id", after])


def _drop(indexes: dict[str, list[str]]) -> None:
    for name in indexes:
        op.drop_index(name, "delivery")


def _create(indexes: dict[str, list[str]]) -> None:
    for name, columns in indexes.items():
        some = sa.text(f"{columns[0]} IS NOT NULL")
        op.create_index(name, "delivery", columns, unique=name.startswith("uq"), sqlite_where=some)


def _index_audience(columns: list[str]) -> None:
    op.drop_index("ix_directory_entry_audience", "directory_entry")
    op.create_index("ix_directory_entry_audience", "directory_entry", columns)
