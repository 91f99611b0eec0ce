"""API keys on the command line: made and shown once, listed, taken back."""

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, time, timedelta

import typer
from rich.console import Console
from rich.table import Column, Table

from adapters.errors import SourceError
from adapters.storage.api_keys import ApiKey, ApiKeys
from adapters.storage.client import open_storage
from gateway.credentials import new_key
from gateway.server import CannotStart, prepare_database
from gateway.settings import Settings, variable_name
from schema.scopes import Scope

LONGEST_NAME = 64
ALL = "all"

_DAYS = re.compile("([1-9][0-9]{0,3})d")


async def create(settings: Settings, name: str, scopes: Sequence[str], expires: str | None) -> None:
    if not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
        raise typer.BadParameter(f"A name has 1 to {LONGEST_NAME} characters.")
    wanted, until = _checked(scopes), _end(expires, datetime.now(UTC))
    id, secret, key = new_key()
    async with _keys(settings) as keys:
        await keys.add(id, name, secret, wanted, until)
    typer.echo(key)
    typer.echo(f"This is shown once: keep it now. `switchboard keys revoke {id}` takes it back.", err=True)


async def list_all(settings: Settings) -> None:
    columns = "name", "state", "created", "expires", "used", "scopes"
    table = Table(Column("id", min_width=16), *columns, box=None, pad_edge=False)
    async with _keys(settings) as keys:
        for key in await keys.all():
            moments = (_day(moment) for moment in (key.created_at, key.expires_at, key.used_at))
            table.add_row(key.id, key.name, _state(key), *moments, " ".join(sorted(key.scopes)))
    Console().print(table)


async def revoke(settings: Settings, id: str) -> None:
    async with _keys(settings) as keys:
        if not await keys.revoke(id):
            raise typer.BadParameter("There is no such key: `switchboard keys list` shows them all.")
    typer.echo("Revoked: within five seconds nobody gets in with it.")


@asynccontextmanager
async def _keys(settings: Settings) -> AsyncIterator[ApiKeys]:
    await prepare_database(settings)
    try:
        async with open_storage(settings.database, patience=settings.database_timeout) as storage:
            yield storage.api_keys
    except SourceError as error:
        raise CannotStart(f"{error} See {variable_name('database_url')}.") from error


def _checked(scopes: Sequence[str]) -> set[str]:
    known = {scope.value for scope in Scope}
    if set(scopes) == {ALL}:
        return known
    if unknown := sorted(set(scopes) - known):
        raise typer.BadParameter(
            f"There is no scope {unknown[0]}: there are {', '.join(sorted(known))}; or {ALL}."
        )
    return set(scopes)


def _end(expires: str | None, now: datetime) -> datetime | None:
    if expires is None:
        return None
    if days := _DAYS.fullmatch(expires):
        return now + timedelta(days=int(days[1]))
    try:
        end = datetime.combine(date.fromisoformat(expires) + timedelta(days=1), time(), UTC)
    except (ValueError, OverflowError):
        raise typer.BadParameter("Say when it expires as 2027-01-31, or as 90d.") from None
    if end <= now:
        raise typer.BadParameter("This day is over.")
    return end


def _state(key: ApiKey) -> str:
    if key.revoked_at:
        return "revoked"
    return "good" if key.is_good else "expired"


def _day(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d}" if moment else "-"
