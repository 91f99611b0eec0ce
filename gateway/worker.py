"""The worker: sends what waits, messages and broadcasts, and serves nobody; one of any number."""

import signal

import structlog

from adapters import RESTS, open_adapters
from adapters.lines import open_lines
from gateway import logs
from gateway.sending import sending
from gateway.server import prepare_database, told_to_stop
from gateway.settings import Sending, Settings
from gateway.tracing import open_tracing
from resolvers.sending.post import open_post

log = structlog.get_logger("switchboard.worker")


async def work(settings: Settings) -> None:
    """Until it is told to stop; then it ends what is under way."""
    settings = settings.model_copy(update={"sending": Sending.ON})
    logs.configure(settings)
    stop = told_to_stop(signal.SIGINT, signal.SIGTERM)
    await prepare_database(settings)
    async with (
        open_tracing(),
        open_lines(RESTS, settings.sources, settings.sandbox, embedded=settings.embedded) as lines,
        open_adapters(
            lines, settings.database, settings.database_connections, settings.database_timeout
        ) as adapters,
        open_post(adapters, sending(settings)),
    ):
        through = settings.broker_url is not None
        print(_banner(settings.slots, through), flush=True)
        await stop.wait()
        log.info("stopping")
    log.info("stopped")


def _banner(slots: int, through_a_broker: bool) -> str:
    whose = "of all processes" if through_a_broker else "that it gives out itself"
    return f"Worker: sends what waits, and {slots} chunks at a time of the broadcasts {whose}. Ctrl-C stops."
