"""Tables for the directory: the mirror of customers that a source can only page, and its search index."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

ON_MYSQL: dict[str, Any] = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
}
ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

INDEXES = {
    "ix_directory_entry_row": ["source", "row_number"],
    "ix_directory_entry_source": ["source", "person"],
    "ix_directory_entry_group": ["source", "group_key", "person"],
    "ix_directory_entry_seen": ["source", "seen"],
    "ix_directory_entry_person": ["person"],
    "ix_directory_entry_email": ["email"],
    "ix_directory_entry_phone": ["phone"],
}

# The entry's words are kept by the entry alone; the index has their grams, and hears of each change.
SEARCH_ON_SQLITE = (
    """CREATE VIRTUAL TABLE directory_search USING fts5(
        words, content='directory_entry', content_rowid='id',
        tokenize='trigram case_sensitive 1', detail='none', columnsize=0
    )""",
    """CREATE TRIGGER directory_search_insert AFTER INSERT ON directory_entry BEGIN
        INSERT INTO directory_search (rowid, words) VALUES (new.id, new.words);
    END""",
    """CREATE TRIGGER directory_search_delete AFTER DELETE ON directory_entry BEGIN
        INSERT INTO directory_search (directory_search, rowid, words) VALUES ('delete', old.id, old.words);
    END""",
    """CREATE TRIGGER directory_search_update AFTER UPDATE OF words ON directory_entry
    WHEN old.words IS NOT new.words BEGIN
        INSERT INTO directory_search (directory_search, rowid, words) VALUES ('delete', old.id, old.words);
        INSERT INTO directory_search (rowid, words) VALUES (new.id, new.words);
    END""",
)


def upgrade() -> None:
    op.create_table(
        "directory_entry",
        sa.Column("id", ID, primary_key=True),
        sa.Column("source", sa.String(16), nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("row_number", sa.BigInteger()),
        sa.Column("person", sa.String(128)),
        sa.Column("first_name", sa.String(255)),
        sa.Column("last_name", sa.String(255)),
        sa.Column("email", sa.String(254)),
        sa.Column("phone", sa.String(32)),
        sa.Column("group_key", sa.String(64)),
        sa.Column("tags", sa.Text(2**24 - 1), nullable=False),
        sa.Column("profile", sa.Text(2**24 - 1), nullable=False),
        sa.Column("words", sa.String(4000), nullable=False),
        sa.Column("seen", sa.Integer(), nullable=False),
        sa.Column("as_of", sa.BigInteger(), nullable=False),
        sa.UniqueConstraint("source", "key", name="uq_directory_entry_key"),
        **ON_MYSQL,
    )
    for name, columns in INDEXES.items():
        op.create_index(name, "directory_entry", columns)

    op.create_table(
        "directory_tag",
        sa.Column("entry_id", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("tag", sa.String(255), primary_key=True),
        sa.Column("person", sa.String(128)),
        **ON_MYSQL,
    )
    op.create_index("ix_directory_tag_tag", "directory_tag", ["tag", "person"])

    op.create_table(
        "directory_pass",
        sa.Column("source", sa.String(16), primary_key=True),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("next", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("finished_at", sa.BigInteger()),
        **ON_MYSQL,
    )

    if op.get_bind().dialect.name == "sqlite":
        for statement in SEARCH_ON_SQLITE:
            op.execute(statement)
        return
    op.create_table(
        "directory_search",
        sa.Column("entry_id", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("grams", mysql.MEDIUMTEXT(charset="ascii", collation="ascii_bin"), nullable=False),
        **ON_MYSQL,
    )
    op.create_index("ft_directory_search_grams", "directory_search", ["grams"], mysql_prefix="FULLTEXT")


def downgrade() -> None:
    for table in ("directory_search", "directory_pass", "directory_tag", "directory_entry"):
        op.drop_table(table)
