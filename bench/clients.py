"""`make bench-clients`: what a small GET costs in processor time, by aiohttp as we use it and by others.

`python -m bench.clients measure CLIENT URL` is one of the processes that are compared.
"""

import asyncio
import logging
import platform
import subprocess
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Annotated, NamedTuple, cast

import aiohttp
import structlog
import typer
import uvloop
from yarl import URL

from adapters.rest import Mode, Rest, Source
from bench.report import processor, spread
from bench.servers import SERVER_CORE, Upstream, python, running
from bench.serving import share_nothing

Get = Callable[[], Awaitable[object]]
Opened = AbstractAsyncContextManager[Get]

AT_ONCE = 10
BATCHES = 150
LEAN = 2.0
"""So many times as lean another one has to be, to take the place of aiohttp."""
PATIENCE = 3.0


class Client(NamedTuple):
    title: str
    package: str | None
    open: Callable[[str], Opened]
    is_candidate: bool = True


class _Anybody(Rest):
    """What every adapter has around aiohttp: circuit, record, flight, deadline, span, log line, decoding."""

    name = "anybody"
    title = "Anybody"
    Settings = Source

    async def ping(self) -> None: ...


@asynccontextmanager
async def as_adapters_ask(url: str) -> AsyncIterator[Get]:
    share_nothing()
    host, _, path = url.removeprefix("http://").partition("/")
    async with _Anybody.open(Source(url=f"http://{host}"), Mode.REAL) as rest:
        yield lambda: rest._get("user", f"/{path}", dict)


@asynccontextmanager
async def aiohttp_session(url: str) -> AsyncIterator[Get]:
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=20),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"Accept": "application/json"},
        timeout=aiohttp.ClientTimeout(total=PATIENCE),
    ) as session:

        async def get() -> bytes:
            async with session.request("GET", url, params={}, allow_redirects=False, headers={}) as response:
                return await response.read()

        yield get


@asynccontextmanager
async def aiohttp_tuned(url: str) -> AsyncIterator[Get]:
    """No cookies, no decompression, no parsing of the URL, nothing between, one time-out around all."""
    parsed = URL(url, encoded=True)
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=20, enable_cleanup_closed=False),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        timeout=aiohttp.ClientTimeout(total=None),
        skip_auto_headers=("User-Agent", "Accept-Encoding"),
    ) as session:

        async def get() -> bytes:
            async with (
                asyncio.timeout(PATIENCE),
                session.get(parsed, allow_redirects=False) as response,
            ):
                return await response.read()

        yield get


@asynccontextmanager
async def httpx(url: str) -> AsyncIterator[Get]:
    async with import_module("httpx").AsyncClient(timeout=PATIENCE, trust_env=False) as client:

        async def get() -> object:
            return (await client.get(url)).content

        yield get


@asynccontextmanager
async def niquests(url: str) -> AsyncIterator[Get]:
    async with import_module("niquests").AsyncSession() as session:
        session.trust_env = False

        async def get() -> object:
            return (await session.get(url, timeout=PATIENCE)).content

        yield get


@asynccontextmanager
async def aiosonic(url: str) -> AsyncIterator[Get]:
    library = import_module("aiosonic")
    timeouts = import_module("aiosonic.timeout").Timeouts(request_timeout=PATIENCE)
    async with library.HTTPClient(library.TCPConnector(timeouts=timeouts)) as client:

        async def get() -> object:
            return await (await client.get(url)).content()

        yield get


@asynccontextmanager
async def curl_cffi(url: str) -> AsyncIterator[Get]:
    async with import_module("curl_cffi.requests").AsyncSession(timeout=PATIENCE, max_clients=20) as session:

        async def get() -> object:
            return (await session.get(url)).content

        yield get


@asynccontextmanager
async def primp(url: str) -> AsyncIterator[Get]:
    client = import_module("primp").AsyncClient(timeout=PATIENCE, cookie_store=False, referer=False)

    async def get() -> object:
        return await (await client.get(url)).aread()

    yield get


@asynccontextmanager
async def pyqwest(url: str) -> AsyncIterator[Get]:
    library = import_module("pyqwest")
    transport = library.HTTPTransport(timeout=PATIENCE, follow_redirects=False, enable_otel=False)
    async with transport:
        client = library.Client(transport)

        async def get() -> object:
            return (await client.get(url)).content

        yield get


@asynccontextmanager
async def pyreqwest(url: str) -> AsyncIterator[Get]:
    builder = import_module("pyreqwest.client").ClientBuilder()
    builder = builder.timeout(timedelta(seconds=PATIENCE)).max_connections(20).follow_redirects(False)
    async with builder.build() as client:

        async def get() -> object:
            return await (await client.get(url).build().send()).bytes()

        yield get


class _Protocol(asyncio.Protocol):
    """Believes that each answer comes in one piece, or says how long it is in its first."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def ask(self, head: bytes) -> asyncio.Future[bytes]:
        self.transport.write(head)
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._said = b""
        return self.answer

    def data_received(self, data: bytes) -> None:
        self._said += data
        head, _, body = self._said.partition(b"\r\n\r\n")
        if len(body) == int(head.rpartition(b"Content-Length: ")[2].partition(b"\r\n")[0]):
            self.answer.set_result(body)


@asynccontextmanager
async def nothing_but_a_socket(url: str) -> AsyncIterator[Get]:
    """The least that is possible; no client, for it has no TLS, no time-outs, no limits and no errors."""
    parsed, idle = URL(url), list[_Protocol]()
    assert parsed.host
    assert parsed.port
    host, port = parsed.host, parsed.port
    head = f"GET {parsed.path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()

    async def get() -> bytes:
        if not idle:
            loop = asyncio.get_running_loop()
            _, made = await loop.create_connection(_Protocol, host, port)
            idle.append(made)
        protocol = idle.pop()
        answer = await protocol.ask(head)
        idle.append(protocol)
        return answer

    yield get
    for protocol in idle:
        protocol.transport.close()


CLIENTS = {
    client.open.__name__: client
    for client in (
        Client("aiohttp with all that Rest does", "aiohttp", as_adapters_ask, is_candidate=False),
        Client("aiohttp as Rest opens it", "aiohttp", aiohttp_session, is_candidate=False),
        Client("aiohttp, tuned", "aiohttp", aiohttp_tuned),
        Client("httpx", "httpx", httpx),
        Client("niquests", "niquests", niquests),
        Client("aiosonic", "aiosonic", aiosonic),
        Client("curl_cffi", "curl-cffi", curl_cffi),
        Client("primp", "primp", primp),
        Client("pyqwest", "pyqwest", pyqwest),
        Client("pyreqwest", "pyreqwest", pyreqwest),
        Client("nothing but a socket", None, nothing_but_a_socket, is_candidate=False),
    )
}
TODAY = CLIENTS["aiohttp_session"]

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command("measure")
def measure(name: str, url: str) -> None:
    """Microseconds of processor time that one GET takes, all threads counted."""

    async def measured() -> float:
        async with CLIENTS[name].open(url) as get:
            await batches(get, 30)
            before = time.process_time()
            await batches(get, BATCHES)
            return (time.process_time() - before) / (BATCHES * AT_ONCE) * 1e6

    silent = structlog.make_filtering_bound_logger(logging.WARNING)
    structlog.configure(wrapper_class=silent, cache_logger_on_first_use=True)
    typer.echo(uvloop.run(measured()))


async def batches(get: Get, count: int) -> None:
    for _ in range(count):
        await asyncio.gather(*(get() for _ in range(AT_ONCE)))


@app.command("compare")
def compare(rounds: Annotated[int, typer.Option(min=1)] = 5) -> None:
    there = {name: client for name, client in CLIENTS.items() if client.package is None or _is_there(client)}
    found = defaultdict[str, list[float]](list)
    with running(Upstream) as stub:
        for number in range(rounds):
            for name in there if number % 2 == 0 else reversed(there):
                arguments = ["-m", "bench.clients", "measure", name, f"{stub.url}/users/3"]
                ended = subprocess.run(
                    python(SERVER_CORE, Path(), arguments, {}), capture_output=True, text=True, check=False
                )
                if ended.returncode:
                    raise typer.BadParameter(f"{name}: {ended.stderr[-2000:]}")
                found[name].append(float(ended.stdout))
    typer.echo(
        f"{processor()}, Python {platform.python_version()}, uvloop {version('uvloop')}; {rounds} "
        f"alternating rounds of {BATCHES * AT_ONCE} GETs, {AT_ONCE} at a time, medians [least-most].\n\n"
        "| client | version | us of CPU a GET | times as lean as what Rest opens |\n|---|---|---:|---:|"
    )
    usual = found[TODAY.open.__name__]
    leaner = []
    for name, client in there.items():
        ratios = [ours / theirs for ours, theirs in zip(usual, found[name], strict=True)]
        if client.is_candidate and median(ratios) >= LEAN:
            leaner.append(client.title)
        known = version(client.package) if client.package else ""
        typer.echo(f"| {client.title} | {known} | {spread(found[name], '.0f')} | {spread(ratios, '.2f')} |")
    typer.echo(f"\nAt least {LEAN:g} times as lean: {', '.join(leaner) or 'none'}.")


def _is_there(client: Client) -> bool:
    try:
        return bool(version(client.package or ""))
    except PackageNotFoundError:
        typer.echo(f"{client.title} is not measured: bench/clients.lock is not installed.")
        return False


if __name__ == "__main__":
    app()
