"""Given: an UPDATE of many rows at once, each with values of its own, which come as one parameter.

A statement for each row is a way to the database and back for each; this one costs nearly the same for one
row as for a hundred. `new_*` are the given values, and `old` is the table.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.storage.database import is_mysql

NUMBER, TEXT, LONG_TEXT, MOMENT = "BIGINT", "VARCHAR(255)", "TEXT", "DATETIME(3)"


class GivenRows:
    def __init__(
        self,
        table: str,
        keys: Sequence[str],
        given: Mapping[str, str],
        change: Mapping[str, str],
        where: str,
        append: Sequence[str] = (),
    ) -> None:
        """`given` are the types of the given values, by name; `change` says what each column becomes.

        To the columns of `append` the given text is appended.
        """
        of_mysql = ", ".join(f"new_{name} {kind} PATH '$.{name}'" for name, kind in given.items())
        of_sqlite = ", ".join(f"json_extract(value, '$.{name}') AS new_{name}" for name in given)
        changed = [f"{column} = {value}" for column, value in change.items()]
        on_mysql = ", ".join([*changed, *(f"{name} = CONCAT({name}, new_{name})" for name in append)])
        on_sqlite = ", ".join([*changed, *(f"{name} = {name} || new_{name}" for name in append)])
        same = " AND ".join(f"old.{key} = new_{key}" for key in keys)
        rows = f"(SELECT {of_sqlite} FROM json_each(:given)) AS given"  # noqa: S608 - of our own constants
        self._sqlite = text(
            " ".join(("UPDATE", table, "AS old SET", on_sqlite, "FROM", rows, "WHERE", same, "AND", where))
        )
        # The given rows are read first, whatever the optimizer thinks of their number.
        joined = f"JSON_TABLE(:given, '$[*]' COLUMNS ({of_mysql})) AS given STRAIGHT_JOIN {table} AS old"
        self._mysql = text(" ".join(("UPDATE", joined, "ON", same, "SET", on_mysql, "WHERE", where)))

    async def update(self, connection: AsyncConnection, rows: Iterable[Mapping[str, Any]]) -> int:
        """How many rows met the conditions; of several rows given for one, only one is counted, and done."""
        statement = self._mysql if is_mysql(connection) else self._sqlite
        given = {"given": msgspec.json.encode(list(rows)).decode()}
        return (await connection.execute(statement, given)).rowcount
