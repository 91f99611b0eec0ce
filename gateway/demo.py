"""Demo: people for an embedded database without any, whom the sandboxes know too."""

import structlog

from adapters import Adapters, open_adapters
from adapters.demo import PEOPLE
from adapters.errors import SourceError
from adapters.lines import Lines
from adapters.rest import Mode
from adapters.storage import demo
from gateway.settings import Settings, variable_name
from resolvers.mirror import mercately_entry, now, poster_entry

log = structlog.get_logger("switchboard.demo")


async def move_in(settings: Settings, lines: Lines) -> None:
    """Never beside real data: only where every source is answered by its sandbox."""
    all_emulated = all(line.mode is Mode.SANDBOX for line in lines.values())
    if not (settings.demo and settings.embedded and all_emulated):
        return
    async with open_adapters(lines, settings.database) as adapters:
        try:
            if not await demo.has_room(adapters.storage.everyprint):
                return
            await _introduce(adapters, settings.region)
            await demo.move_in(adapters.storage.everyprint)
        except SourceError as error:
            log.warning("the demo people could not move in", code=error.code)
            return
    log.info(
        f"the database was empty: {len(PEOPLE)} demo people moved in; "
        f"{variable_name('demo')}=off keeps it empty"
    )


async def _introduce(adapters: Adapters, region: str) -> None:
    """Puts what the sandboxes say of them into the directory, which has yet to walk all their pages."""
    in_mercately = {person.mercately.id for person in PEOPLE if person.mercately}
    in_poster = {person.poster.id for person in PEOPLE if person.poster}
    asked_at = now()
    customers = await adapters.mercately.customers(page=1)
    clients = await adapters.poster.clients(offset=0, count=max(in_poster))
    await adapters.storage.directory.upsert(
        [mercately_entry(customer, region, asked_at) for customer in customers if customer.id in in_mercately]
        + [poster_entry(client, region, asked_at) for client in clients if client.id in in_poster]
    )
