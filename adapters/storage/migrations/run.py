"""Runs the migrations on an open connection, in a transaction of their own."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text

LOCK = "switchboard.migrate"


def config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def upgrade(connection: Connection) -> None:
    steps = config()
    steps.attributes["connection"] = connection
    # The transaction ends before the lock is free: whoever is next has to see what we did.
    with _alone(connection), connection.begin():
        command.upgrade(steps, "head")


@contextmanager
def _alone(connection: Connection) -> Iterator[None]:
    """MySQL commits at every change of a table, so its transaction keeps nobody out; SQLite's does."""
    if connection.dialect.name != "mysql":
        yield
        return
    if not connection.execute(text("SELECT GET_LOCK(:name, 60)"), {"name": LOCK}).scalar():
        raise TimeoutError("another migration is running")
    connection.commit()  # ends what reading began; the lock is the connection's
    try:
        yield
    finally:
        connection.execute(text("SELECT RELEASE_LOCK(:name)"), {"name": LOCK})
