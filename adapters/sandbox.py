"""Sandbox: an emulated vendor, a real HTTP server on a real socket that can be asked for trouble.

A vendor's folder subclasses it with that vendor's endpoints. Tests and other processes read what it was asked
and order its misbehaviour, as methods here or over HTTP under `/_sandbox`.
"""

import asyncio
import inspect
import socket
import struct
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal, Self, cast

import orjson
from aiohttp import web

Kind = Literal[
    "delay",
    "status",
    "redirect_errors",
    "redirect",
    "html",
    "truncated",
    "wrong_shape",
    "reset",
    "drop",
    "hang",
    "endless",
    "short",
    "slow_body",
]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

REMEMBERED = 10_000
LARGEST_BODY = 16 * 1024 * 1024
LONGEST_LINE = 64 * 1024
"""Bytes of a request's first line: vendors there are who want a whole message in it."""
CONTROL = "/_sandbox"
TRACE = "traceparent", "tracestate"


@dataclass(frozen=True, slots=True)
class Asked:
    """A request the sandbox received; `body` is its decoded JSON, its flat form, or None.

    `trace` are the headers that say what it is part of, and no others: those hold credentials.
    """

    method: str
    path: str
    query: dict[str, str]
    body: Any
    target: str
    """Path and query as they came, before anything of them was decoded."""
    route: str
    """Which of the vendor's endpoints it is."""
    trace: dict[str, str]


@dataclass(slots=True)
class Trouble:
    """What goes wrong, on which paths, and for how many more requests (None: until healed)."""

    kind: Kind
    path: str
    times: int | None
    details: dict[str, Any]


class Sandbox(ABC):
    """One emulated vendor: `async with MercatelySandbox() as sandbox: ... sandbox.url`."""

    name: ClassVar[str]
    credentials: ClassVar[Mapping[str, str]]
    """Settings under which the sandbox lets a client in, by lower-case setting name."""

    def __init__(self) -> None:
        self.url = ""
        self.asked: deque[Asked] = deque(maxlen=REMEMBERED)
        self.accepted: list[Any] = []
        """Every message it has taken to deliver, each as often as it was sent."""
        self._troubles: list[Trouble] = []
        self._runner: web.AppRunner | None = None

    @abstractmethod
    def routes(self) -> Iterable[web.AbstractRouteDef]:
        """The vendor's endpoints; a path that is none of them answers 404."""

    @property
    def settings(self) -> Mapping[str, str]:
        """What leads a client here, by lower-case setting name."""
        return {"url": self.url, **self.credentials}

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self._runner = web.AppRunner(
            self._app(), access_log=None, shutdown_timeout=0.05, max_line_size=LONGEST_LINE
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        try:
            await site.start()
        except OSError:
            await self.stop()
            raise
        self.url = site.name

    async def stop(self) -> None:
        if self._runner is None:
            return
        runner, self._runner = self._runner, None
        await runner.cleanup()

    def count(self, path: str) -> int:
        """How many of the remembered requests had a path that ends so."""
        return sum(asked.path.endswith(path) for asked in self.asked)

    def trouble(self, kind: Kind, *, path: str = "", times: int | None = None, **details: Any) -> None:
        """Ask for trouble on requests whose `METHOD /path` contains `path`.

        A request meets every delay that matches it and the oldest other trouble that does, so troubles
        with `times` read as a script: first this, then that, then health.
        """
        if kind not in TROUBLES:
            raise ValueError(f"No trouble is called {kind!r}: choose one of {', '.join(TROUBLES)}.")
        try:
            inspect.signature(TROUBLES[kind]).bind(None, None, **details)
        except TypeError as problem:
            raise ValueError(f"The trouble {kind!r} cannot be made: {problem}.") from None
        if times is not None and times < 1:
            raise ValueError("A trouble happens at least once: times is 1 or more, or left out.")
        self._troubles.append(Trouble(kind, path, times, details))

    def heal(self) -> None:
        """Forget every trouble; requests already in one are not rescued."""
        self._troubles.clear()

    def _app(self) -> web.Application:
        app = web.Application(middlewares=[self._record_and_trouble], client_max_size=LARGEST_BODY)
        app.add_routes(
            [
                web.get(f"{CONTROL}/asked", self._show_asked),
                web.delete(f"{CONTROL}/asked", self._forget_asked),
                web.get(f"{CONTROL}/accepted", self._show_accepted),
                web.post(f"{CONTROL}/trouble", self._make_trouble),
                web.delete(f"{CONTROL}/trouble", self._heal),
                *self.routes(),
                web.route("*", "/{anything:.*}", _unknown_path),
            ]
        )
        return app

    @web.middleware
    async def _record_and_trouble(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path.startswith(f"{CONTROL}/"):
            return await handler(request)
        body = await _decoded(request)
        resource = request.match_info.route.resource
        self.asked.append(
            Asked(
                method=request.method,
                path=request.path,
                query=dict(request.query),
                body=body,
                target=request.raw_path,
                route=resource.canonical if resource else "",
                trace={name: request.headers[name] for name in TRACE if name in request.headers},
            )
        )
        for trouble in reversed(self._met_by(request)):
            handler = partial(TROUBLES[trouble.kind], handler=handler, **trouble.details)
        try:
            return await handler(request)
        except ConnectionError:  # the client has left
            return web.Response()

    def _met_by(self, request: web.Request) -> list[Trouble]:
        """The troubles this request runs into, counted down."""
        matching = [t for t in self._troubles if t.path in f"{request.method} {request.path}"]
        delays = [t for t in matching if t.kind == "delay"]
        others = [t for t in matching if t.kind != "delay"]
        met = delays + others[:1]
        for trouble in met:
            if trouble.times is not None:
                trouble.times -= 1
        self._troubles = [t for t in self._troubles if t.times != 0]
        return met

    async def _show_asked(self, _: web.Request) -> web.Response:
        return answer(list(self.asked))

    async def _forget_asked(self, _: web.Request) -> web.Response:
        self.asked.clear()
        return answer({"asked": 0})

    async def _show_accepted(self, _: web.Request) -> web.Response:
        return answer(self.accepted)

    async def _make_trouble(self, request: web.Request) -> web.Response:
        try:
            self.trouble(**await request.json())
        except (TypeError, ValueError) as problem:
            return answer({"message": str(problem)}, status=400)
        return answer({"troubles": len(self._troubles)})

    async def _heal(self, _: web.Request) -> web.Response:
        self.heal()
        return answer({"troubles": 0})


def answer(body: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """A vendor's answer in JSON."""
    return web.Response(
        body=orjson.dumps(body),
        status=status,
        headers=headers,
        content_type="application/json",
        charset="utf-8",
    )


async def _unknown_path(_: web.Request) -> web.Response:
    return answer({"status": 404, "error": "Not Found"}, status=404)


async def _decoded(request: web.Request) -> Any:
    if request.content_type != "application/json":
        form = await request.post()
        return {name: value for name, value in form.items() if isinstance(value, str)} or None
    try:
        return orjson.loads(await request.read())
    except orjson.JSONDecodeError:
        return None


async def _delay(request: web.Request, handler: Handler, *, seconds: float) -> web.StreamResponse:
    await asyncio.sleep(seconds)
    return await handler(request)


async def _status(
    _: web.Request,
    handler: Handler,
    *,
    status: int = 500,
    body: object = "",
    headers: Mapping[str, str] | None = None,
) -> web.StreamResponse:
    if isinstance(body, str):
        return web.Response(text=body, status=status, headers=headers)
    return answer(body, status=status, headers=headers)


async def _redirect_errors(
    _: web.Request, handler: Handler, *, errors: Iterable[str] = ("Email invalido",)
) -> web.StreamResponse:
    return answer({"errors": list(errors)}, status=302)


async def _redirect(_: web.Request, handler: Handler, *, url: str) -> web.StreamResponse:
    return web.Response(status=302, headers={"Location": url})


async def _html(_: web.Request, handler: Handler) -> web.StreamResponse:
    page = "<!DOCTYPE html><html><body><h1>We are down for maintenance</h1></body></html>"
    return web.Response(text=page, content_type="text/html")


async def _truncated(request: web.Request, handler: Handler) -> web.StreamResponse:
    right = await _right(request, handler)
    body = cast(bytes, right.body)
    right.body = body[: len(body) // 2]
    return right


async def _wrong_shape(
    _: web.Request, handler: Handler, *, body: object = (["something", {"else": 1}],)
) -> web.StreamResponse:
    return answer(body)


async def _reset(request: web.Request, handler: Handler) -> web.StreamResponse:
    _hang_up(request, reset=True)
    return web.Response()


async def _drop(request: web.Request, handler: Handler) -> web.StreamResponse:
    await handler(request)
    _hang_up(request)
    return web.Response()


async def _hang(request: web.Request, handler: Handler) -> web.StreamResponse:
    """It does what it is asked, and never says so."""
    await handler(request)
    await asyncio.sleep(3600)
    return web.Response()


async def _endless(request: web.Request, handler: Handler) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    while True:
        await response.write(b" " * 65_536)
        # A client that reads as fast as we write would otherwise never let anybody else run.
        await asyncio.sleep(0.001)


async def _short(request: web.Request, handler: Handler) -> web.StreamResponse:
    body = cast(bytes, (await _right(request, handler)).body)
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    response.content_length = len(body) + 1
    await response.prepare(request)
    await response.write(body)
    _hang_up(request)
    return response


async def _slow_body(request: web.Request, handler: Handler) -> web.StreamResponse:
    """It answers as it should, a byte a time."""
    body = cast(bytes, (await _right(request, handler)).body)
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    response.content_length = len(body)
    await response.prepare(request)
    for byte in body:
        await response.write(bytes((byte,)))
        await asyncio.sleep(0.05)
    return response


async def _right(request: web.Request, handler: Handler) -> web.Response:
    return cast(web.Response, await handler(request))


def _hang_up(request: web.Request, *, reset: bool = False) -> None:
    """Close the connection; whatever the handler then returns, aiohttp finds nobody to send it to."""
    if request.transport is None:  # the client was quicker
        return
    if reset:
        connection = request.transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    request.transport.close()


TROUBLES: Mapping[Kind, Callable[..., Awaitable[web.StreamResponse]]] = {
    "delay": _delay,
    "status": _status,
    "redirect_errors": _redirect_errors,
    "redirect": _redirect,
    "html": _html,
    "truncated": _truncated,
    "wrong_shape": _wrong_shape,
    "reset": _reset,
    "drop": _drop,
    "hang": _hang,
    "endless": _endless,
    "short": _short,
    "slow_body": _slow_body,
}
