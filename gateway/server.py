"""The server: listens, serves until it is told to stop, then lets what is under way finish."""

import asyncio
import gc
import os
import signal
import socket
import stat
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import structlog
from aiohttp import web

from adapters import RESTS
from adapters.errors import SourceError
from adapters.lines import Lines, open_lines
from adapters.storage.client import SchemaState, open_storage
from gateway import demo, explorer, logs, workers
from gateway.app import create_app, shed
from gateway.banner import banner
from gateway.connections import Runner
from gateway.documents import trusted
from gateway.graph import Graph
from gateway.metrics import counting_together, forget_process
from gateway.settings import Settings, UseAuth, UseDoor, variable_name

T = TypeVar("T")

log = structlog.get_logger("switchboard.server")

WAITING = 4096
"""Connections that may wait to be accepted; one that the kernel drops comes again only after seconds."""
ACCEPTED = 16
"""Of these in one turn of the event loop, which is long under load: uvloop takes one from each socket."""


NEWER = "The database was migrated by a newer Switchboard: install that version."


class CannotStart(Exception):
    """One line: what is in the way, and the way out."""


def run(main: Coroutine[Any, Any, T]) -> T:
    """On uvloop where it exists."""
    try:
        loop_factory: Callable[[], asyncio.AbstractEventLoop] = import_module("uvloop").new_event_loop
    except ImportError:
        loop_factory = asyncio.new_event_loop
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(main)


def told_to_stop(*signals: signal.Signals) -> asyncio.Event:
    """Set by any of the signals. A second one finds no handler left, and ends the process at once."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    def tell() -> None:
        stop.set()
        for number in signals:
            loop.remove_signal_handler(number)

    for number in signals:
        loop.add_signal_handler(number, tell)
    return stop


async def serve(settings: Settings) -> None:
    trusted(settings.documents)  # said now, and not by each of the workers
    logs.configure(settings)
    stop = told_to_stop(signal.SIGINT, signal.SIGTERM)
    with listening(settings) as listener:
        await prepare_database(settings)
        await refuse_to_be_open(settings)
        async with open_lines(RESTS, settings.sources, settings.sandbox, embedded=settings.embedded) as lines:
            await demo.move_in(settings, lines)
            if reason := explorer.missing():
                log.warning("the explorer is not built", reason=reason)
            print(banner(settings, lines, listener), flush=True)
            if settings.workers == 1:
                await serve_on(listener, settings, lines, stop)
            else:
                with counting_together():
                    work = (listener, settings, lines)
                    await workers.supervise(settings.workers, _work, work, stop, forget_process)


def _work(listener: socket.socket, settings: Settings, lines: Lines) -> None:
    """One of several workers. Ctrl-C reaches them all, but it is the parent who decides."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logs.configure(settings)

    async def work() -> None:
        stop = told_to_stop(signal.SIGTERM)
        workers.when_parent_is_gone(stop.set)
        await serve_on(listener, settings, lines, stop)

    run(work())


async def migrate(settings: Settings) -> None:
    async with open_storage(settings.database) as storage:
        try:
            if await storage.schema_state() is SchemaState.NEWER:
                raise CannotStart(NEWER)
            await storage.migrate()
        except SourceError as error:
            raise CannotStart(f"{error} See {variable_name('database_url')}.") from error
    print("The database's schema is up to date.")


async def prepare_database(settings: Settings) -> None:
    """Brings an embedded database up to date; one that others share is migrated when they choose."""
    async with open_storage(settings.database) as storage:
        try:
            state = await storage.schema_state()
            if state is SchemaState.OLD and settings.embedded:
                await storage.migrate()
        except SourceError as error:
            if settings.embedded:
                reason = getattr(error.__cause__, "orig", None) or error
                raise CannotStart(
                    f"The embedded database {settings.database} cannot be used ({reason}): mend it, or set "
                    f"{variable_name('data_dir')} to another place."
                ) from error
            log.warning("the database does not answer", code=error.code)
            return
    if state is SchemaState.OLD and not settings.embedded:
        raise CannotStart("The database has an old schema: run `switchboard migrate`, then start again.")
    if state is SchemaState.NEWER:
        raise CannotStart(NEWER)


async def refuse_to_be_open(settings: Settings) -> None:
    """To those beyond this machine, unless it is said that this is meant."""
    if settings.is_local or settings.auth is UseAuth.OPEN:
        return
    where = f"Anybody who reaches {settings.host} could"
    if settings.door is UseDoor.ON and settings.door_secret is None:
        raise CannotStart(
            f"{where} save customers and send messages by the bot's endpoints: "
            f"set {variable_name('door_secret')}, or {variable_name('auth')}=open if that is meant."
        )
    if settings.auth is UseAuth.REQUIRED or settings.jwt_keys or await _has_keys(settings):
        return
    raise CannotStart(
        f"{where} ask for every customer: create an API key with `switchboard keys create`, or set "
        f"{variable_name('jwt_keys')}, or {variable_name('auth')}=open if that is meant."
    )


async def _has_keys(settings: Settings) -> bool:
    async with open_storage(settings.database) as storage:
        try:
            return await storage.api_keys.any()
        except SourceError:  # then nobody is let in until it answers
            return True


async def serve_on(listener: socket.socket, settings: Settings, lines: Lines, stop: asyncio.Event) -> None:
    """Serves until `stop` is set, then drains."""
    runner = application_runner(settings, lines)
    await runner.setup()
    try:
        for again in (listener, *(listener.dup() for _ in range(ACCEPTED - 1))):
            await web.SockSite(runner, again, backlog=WAITING).start()
        gc.collect()
        gc.freeze()  # what is here now stays: the collector need never walk it again
        # Nor all the time what requests in flight have made since, nor for long at once: others wait for it.
        gc.set_threshold(5_000, 8, 50)
        await stop.wait()
        log.info("stopping")
    finally:
        await runner.cleanup()
    log.info("stopped")


def application_runner(settings: Settings, lines: Lines, graph: Graph | None = None) -> web.AppRunner:
    app = create_app(settings, lines, graph)
    return Runner(app, most=settings.connections, drain=settings.drain, shed=shed(app))


@contextmanager
def listening(settings: Settings) -> Iterator[socket.socket]:
    """Bound before anything else is started, so that a taken port costs nothing."""
    if settings.unix:
        with _unix(settings.unix) as listener:
            yield listener
        return
    try:
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        listener = socket.create_server((settings.host, settings.port), family=family, backlog=WAITING)
    except OSError as error:
        raise CannotStart(
            f"Cannot listen on {settings.host}:{settings.port} ({why(error)}): choose another address "
            f"with {variable_name('host')} and {variable_name('port')}, or --host and --port."
        ) from error
    with listener:
        yield listener


def why(error: OSError) -> str:
    """The plain words; Python adds details of its own to some."""
    return os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)


@contextmanager
def _unix(path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as listener:
        try:
            if _is_left_over(path):
                path.unlink()
            listener.bind(str(path))
            listener.listen(WAITING)
        except OSError as error:
            raise CannotStart(
                f"Cannot listen on {path} ({why(error)}): choose another with {variable_name('unix')}."
            ) from error
        try:
            yield listener
        finally:
            with suppress(FileNotFoundError):
                path.unlink()


def _is_left_over(path: Path) -> bool:
    """A socket that nobody listens on any more."""
    with suppress(FileNotFoundError), socket.socket(socket.AF_UNIX) as probe:
        if stat.S_ISSOCK(path.stat().st_mode):
            try:
                probe.connect(str(path))
            except ConnectionRefusedError:
                return True
    return False
