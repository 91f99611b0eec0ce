"""Given: rows written all at once, each with values of its own, which come as one parameter.

A statement for each row is a way to the database and back for each; one of these costs nearly the same for
one row as for a hundred. `new_*` are the given values, and `old` is the table.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.storage.database import is_mysql

_GIVEN = ":given"
NUMBER, TEXT, LONG_TEXT, MOMENT = "BIGINT", "VARCHAR(255)", "LONGTEXT", "DATETIME(3)"


class Statement:
    """The same on both kinds of database."""

    def __init__(self, on_mysql: str, on_sqlite: str) -> None:
        self._on_mysql, self._on_sqlite = on_mysql, text(on_sqlite)

    async def run(self, connection: AsyncConnection, rows: Iterable[Mapping[str, Any]]) -> int:
        """How many rows met the conditions; of several given for one, only one is counted, and done."""
        given = msgspec.json.encode(list(rows))
        if is_mysql(connection):
            # In digits: the driver takes longer to escape a text than all else here.
            statement = self._on_mysql.replace(_GIVEN, f"CONVERT(0x{given.hex()} USING utf8mb4)")
            return (await connection.exec_driver_sql(statement)).rowcount
        return (await connection.execute(self._on_sqlite, {"given": given.decode()})).rowcount


def insert_given(table: str, given: Mapping[str, str]) -> Statement:
    """`given` are the columns and their types."""
    values = ", ".join(f"new_{name}" for name in given)
    into = " ".join(("INSERT INTO", table, "(", ", ".join(given), ") SELECT", values, "FROM "))
    return Statement(into + _on_mysql(given), into + _on_sqlite(given))


def update_given(
    table: str,
    keys: Sequence[str],
    given: Mapping[str, str],
    change: Mapping[str, str],
    where: str,
    append: Sequence[str] = (),
) -> Statement:
    """`change` says what each column becomes; to the columns of `append` the given text is appended."""
    same = " AND ".join(f"old.{key} = new_{key}" for key in keys)
    changed = [f"{column} = {value}" for column, value in change.items()]
    on_mysql = ", ".join([*changed, *(f"{name} = CONCAT({name}, new_{name})" for name in append)])
    on_sqlite = ", ".join([*changed, *(f"{name} = {name} || new_{name}" for name in append)])
    # The given rows are read first, whatever MySQL's optimizer thinks of their number.
    joined = f"{_on_mysql(given)} STRAIGHT_JOIN {table} AS old ON {same}"
    return Statement(
        " ".join(("UPDATE", joined, "SET", on_mysql, "WHERE", where)),
        " ".join(
            ("UPDATE", table, "AS old SET", on_sqlite, "FROM", _on_sqlite(given), "WHERE", same, "AND", where)
        ),
    )


def _on_mysql(given: Mapping[str, str]) -> str:
    columns = ", ".join(f"new_{name} {kind} PATH '$.{name}'" for name, kind in given.items())
    return f"JSON_TABLE({_GIVEN}, '$[*]' COLUMNS ({columns})) AS given"


def _on_sqlite(given: Mapping[str, str]) -> str:
    columns = ", ".join(f"json_extract(value, '$.{name}') AS new_{name}" for name in given)
    return f"(SELECT {columns} FROM json_each({_GIVEN})) AS given"  # noqa: S608 - of our own constants
