"""Recipients: by what each person is reached and named, which a broadcast had to sum up from all entries."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

AUDIENCE = ["person", "source", "key", "phone", "first_name", "last_name", "opted_out"]
RANK = "CASE source WHEN 'everyprint' THEN '0' WHEN 'mercately' THEN '1' WHEN 'poster' THEN '2' ELSE '9' END"
NUMBER_AT_THE_END = {
    "sqlite": "substr(substr(`key`, length(rtrim(`key`, '0123456789')) + 1), -18)",
    "mysql": "regexp_substr(`key`, '[0-9]{1,18}$')",
}
JOINED = {"sqlite": " || ", "mysql": ", "}
LENGTH = {"sqlite": "length", "mysql": "char_length"}
FIRST = {
    "phone": ("phone", "phone >= '+' AND phone < ',' AND {length}(phone) <= 16"),
    "messenger_id": ("`key`", "source = 'everyprint'"),
    "first_name": ("first_name", "first_name IS NOT NULL"),
    "last_name": ("last_name", "last_name IS NOT NULL"),
    "email": ("email", "email IS NOT NULL"),
    "opted_out": ("opted_out", "source = 'mercately'"),
}


def upgrade() -> None:
    op.create_table(
        "directory_recipient",
        sa.Column("person", sa.String(128), primary_key=True),
        sa.Column("phone", sa.String(16)),
        sa.Column("messenger_id", sa.String(64)),
        sa.Column("first_name", sa.String(255)),
        sa.Column("last_name", sa.String(255)),
        sa.Column("email", sa.String(254)),
        sa.Column("opted_out", sa.Boolean, nullable=False),
        sqlite_with_rowid=False,
        mysql_engine="InnoDB",
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
    )
    dialect = op.get_bind().dialect.name
    op.get_bind().exec_driver_sql(summed_up(dialect))
    op.drop_index("ix_directory_entry_audience", "directory_entry")


def downgrade() -> None:
    op.create_index("ix_directory_entry_audience", "directory_entry", AUDIENCE)
    op.drop_table("directory_recipient")


def summed_up(dialect: str) -> str:
    """The least text that begins with the rank, the number at the end and the key of its entry."""
    number = _joined(dialect, "'000000000000000000'", f"coalesce({NUMBER_AT_THE_END[dialect]}, '')")
    key = _joined(dialect, "`key`", f"'{' ' * 64}'")
    place = RANK, f"substr({number}, -18)", f"substr({key}, 1, 64)"
    said = {
        name: f"substr(min(CASE WHEN {when.format(length=LENGTH[dialect])} THEN "
        f"{_joined(dialect, *place, value)} END), 84)"
        for name, (value, when) in FIRST.items()
    }
    said["opted_out"] = f"coalesce({said['opted_out']} = '1', 0)"
    return (
        f"INSERT INTO directory_recipient (person, {', '.join(said)}) "  # noqa: S608
        f"SELECT person, {', '.join(said.values())} FROM directory_entry "
        "WHERE person IS NOT NULL GROUP BY person"
    )


def _joined(dialect: str, *texts: str) -> str:
    text = JOINED[dialect].join(texts)
    return f"({text})" if dialect == "sqlite" else f"concat({text})"
