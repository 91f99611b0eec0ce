"""The doctor: tries the database and every source, and says what works, what does not and what to set."""

import asyncio
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from adapters import RESTS, open_adapters
from adapters.errors import Misconfigured, SourceError
from adapters.lines import Line, open_lines
from adapters.rest import Mode, Rest
from adapters.storage.client import SchemaState, Storage
from gateway.settings import Settings, variable_name


@dataclass(frozen=True, slots=True)
class Finding:
    part: str
    runs_on: str
    works: bool | None
    """None for what is off, and meant to be."""
    advice: str


async def examine(settings: Settings) -> list[Finding]:
    async with (
        open_lines(RESTS, settings.sources, settings.sandbox, embedded=settings.embedded) as lines,
        open_adapters(lines, settings.database) as adapters,
    ):
        return await asyncio.gather(
            _database(adapters.storage, settings),
            *(_source(getattr(adapters, rest.name), lines[rest.name]) for rest in RESTS),
        )


async def _database(storage: Storage, settings: Settings) -> Finding:
    runs_on = "SQLite" if settings.embedded else "MySQL"
    try:
        state = await storage.schema_state()
    except SourceError as error:
        return Finding("database", runs_on, False, f"{error} See {variable_name('database_url')}.")
    if state is SchemaState.CURRENT:
        return Finding("database", runs_on, True, "")
    if state is SchemaState.OLD and settings.embedded:
        return Finding("database", runs_on, True, "`switchboard serve` will bring its schema up to date.")
    if state is SchemaState.OLD:
        return Finding("database", runs_on, False, "Its schema is old: run `switchboard migrate`.")
    return Finding(
        "database", runs_on, False, "Its schema is newer than this Switchboard: install that version."
    )


async def _source(rest: Rest, line: Line) -> Finding:
    credentials = [variable_name(rest.name, credential) for credential in line.settings.credentials]
    names = " and ".join(credentials)
    if line.mode is Mode.OFF:
        return Finding(rest.name, "off", None, f"Set {names} to connect it.")
    try:
        await rest.ping()
    except Misconfigured as error:
        return Finding(rest.name, line.mode, False, f"{error} Check {names}.")
    except SourceError as error:
        return Finding(rest.name, line.mode, False, f"{error} See {variable_name(rest.name, 'url')}.")
    return Finding(
        rest.name, line.mode, True, f"Set {names} for the real one." if line.mode is Mode.SANDBOX else ""
    )


def show(findings: list[Finding]) -> None:
    table = Table("part", "runs on", "works", "what to do", box=None, pad_edge=False)
    for finding in findings:
        works = {True: "[green]yes[/]", False: "[red]no[/]", None: "-"}[finding.works]
        table.add_row(finding.part, finding.runs_on, works, finding.advice)
    Console().print(table)
