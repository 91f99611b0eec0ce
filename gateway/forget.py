"""Forget: a customer asks to be forgotten; what there is of them is shown, and taken out."""

import typer

from adapters.errors import SourceError
from adapters.storage.client import Storage, open_storage
from gateway.server import CannotStart, prepare_database
from gateway.settings import Settings, variable_name
from resolvers.forgetting import Somebody, Traces, forget, somebody, traces_of
from schema.errors import Refusal

NOTHING = "There is nothing of this customer."


async def run(settings: Settings, customer: str, *, ask: bool) -> bool:
    """Whether nothing of theirs is left."""
    await prepare_database(settings)
    try:
        async with open_storage(settings.database, patience=settings.database_timeout) as storage:
            return await _forget(storage, await somebody(storage, settings.region, customer), ask=ask)
    except Refusal as refusal:
        raise typer.BadParameter(str(refusal)) from None
    except SourceError as error:
        raise CannotStart(f"{error} See {variable_name('database_url')}.") from error


async def _forget(storage: Storage, of: Somebody, *, ask: bool) -> bool:
    there = await traces_of(storage, of)
    if ask and any(there):
        where = _said(there)
        typer.confirm(
            f"Take this customer's addresses and texts out of {where} for good, and cancel what waits?",
            abort=True,
        )
    emptied, done = await forget(storage, of)
    sentences = [f"Nothing of this customer is left in {_said(done)}." if any(done) else NOTHING]
    if emptied.cancelled:
        sentences.append(f"Cancelled: {emptied.cancelled:,}.")
    if suppressions := await storage.traces.suppressions(of.addresses):
        sentences.append(
            f"{_count(suppressions, 'suppression')} kept, with the address: nothing is to be sent there."
        )
    left = await storage.traces.messages(of.addresses)
    if left:
        sentences.append(f"Going out at this moment: {left:,}. Run this again in a minute.")
    typer.echo(" ".join(sentences))
    return not left


def _said(traces: Traces) -> str:
    counts = {"message": traces.messages, "report": traces.reports, "list of a broadcast": traces.lists}
    parts = [_count(count, noun) for noun, count in counts.items() if count]
    return " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))


def _count(count: int, noun: str) -> str:
    first, space, rest = noun.partition(" ")
    return f"{count:,} {first}{'' if count == 1 else 's'}{space}{rest}"
