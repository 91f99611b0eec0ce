"""Runs the migrations on an open connection."""

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
    # MySQL commits at every change of a table, so its transaction keeps nobody out; SQLite's does.
    locks = connection.dialect.name == "mysql"
    if locks and not connection.execute(text("SELECT GET_LOCK(:name, 60)"), {"name": LOCK}).scalar():
        raise TimeoutError("another migration is running")
    try:
        steps = config()
        steps.attributes["connection"] = connection
        command.upgrade(steps, "head")
    finally:
        if locks:
            connection.execute(text("SELECT RELEASE_LOCK(:name)"), {"name": LOCK})
