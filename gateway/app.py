"""The application: one lifespan, its routes, and the account of every request."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from secrets import token_hex
from time import perf_counter
from typing import Any

import structlog
from aiohttp import hdrs, web
from aiohttp.web_request import BaseRequest
from structlog.contextvars import bind_contextvars, reset_contextvars

from adapters import open_adapters, tracing
from adapters.lines import Lines
from adapters.tracing import Kind, Span
from gateway import door, explorer, reports
from gateway.connections import Shed
from gateway.credentials import open_credentials
from gateway.errors import codes
from gateway.gate import FULL, OPEN, SAFE, Gate, busy
from gateway.graph import Graph, build_graph
from gateway.health import Health
from gateway.keys import (
    ADAPTERS,
    CALLER,
    CONTEXT,
    CREDENTIALS,
    ERRORS,
    GATE,
    METRICS,
    POST,
    REQUEST_ID,
    RETURN_CODE,
    STAYS,
)
from gateway.metrics import Metrics, Page
from gateway.refresher import refreshing
from gateway.sending import sending
from gateway.settings import Settings
from gateway.tracing import open_tracing
from gateway.view import View
from resolvers.caller import ANYBODY
from resolvers.changes import all_ended
from resolvers.sending.post import open_post

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

log = structlog.get_logger("switchboard.request")
GRAPH = "/graphql"
_LOOKED_AT = hdrs.ORIGIN, "Sec-Fetch-Mode", hdrs.UPGRADE, tracing.TRACEPARENT
"""Of whoever sends one of these, more has to be known."""
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_UNTRACED = (*OPEN, "/metrics")
"""Machines ask these all the time."""
_NO_TRACE = nullcontext()


def create_app(settings: Settings, lines: Lines, graph: Graph | None = None) -> web.Application:
    view, gate, metrics = View(graph or build_graph(settings), settings), Gate(settings), Metrics()
    page, health = Page(settings, metrics), Health()

    async def resources(app: web.Application) -> AsyncIterator[None]:
        async with (
            open_tracing(),
            open_adapters(
                lines, settings.database, settings.database_connections, settings.database_timeout
            ) as app[ADAPTERS],
            open_post(app[ADAPTERS], sending(settings)) as app[POST],
            open_credentials(settings, app[ADAPTERS].storage.api_keys) as app[CREDENTIALS],
            refreshing(app[ADAPTERS], settings),
        ):
            metrics.watch(app[ADAPTERS])
            page.storage = app[ADAPTERS].storage
            yield
            await all_ended()

    app = web.Application(middlewares=[account], client_max_size=settings.body_limit)
    app[GATE], app[METRICS] = gate, metrics
    app.cleanup_ctx.extend([resources, gate.opened, health.opened])
    app.on_response_prepare.append(gate.mark)
    app.on_shutdown.append(view.close_streams)
    app.add_routes(
        [
            web.get("/", _to_the_explorer),
            web.get("/health/live", health.live),
            web.get("/health/ready", health.ready),
            web.get("/metrics", page.answer),
            web.route("*", GRAPH, view),
            *explorer.routes(),
            *door.routes(settings),
            *reports.routes(settings),
        ]
    )
    return app


@web.middleware
async def account(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Gives a request its id and its line in the log, and lets no exception out."""
    # Pipelined requests are started back to back without the loop ever turning: let others in between. Who
    # has sent but one is not to wait for a turn of the loop, which takes long where there is too much to do.
    if request.protocol._messages:
        await asyncio.sleep(0)
    request[REQUEST_ID] = request_id = _request_id(request)
    gate = request.app[GATE]
    started, status = perf_counter(), 499  # as proxies log a client that left
    path = _path(request)
    before = bind_contextvars(request_id=request_id)
    with _arrived(request), _step(request, path) as step:
        try:
            leave = await gate.admit(request)
            try:
                response = gate.preflight(request) or await handler(request)
            finally:
                leave()
            status = response.status
        except web.HTTPException as raised:
            status, response = raised.status, _as_response(raised)
        except Exception:
            log.exception("unexpected")
            status, response = 500, _unexpected(request_id)
        finally:
            seconds = perf_counter() - started
            if step.is_heard:
                _tell(step, request, path, status)
            if STAYS not in request:  # for how long a stream is open says nothing of how quick we are
                request.app[METRICS].request(path, status, seconds)
            log.info(
                "request",
                method=request.method,
                path=path,
                status=status,
                ms=round(seconds * 1000, 1),
                **_what_was_asked(request),
            )
            reset_contextvars(**before)
    if not response.prepared:
        response.headers["X-Request-Id"] = request_id
    return response


def shed(app: web.Application) -> Shed:
    """As `account` and the gate would do it, at less cost: where there is far too much, most are refused."""
    gate, metrics = app[GATE], app[METRICS]
    refused = busy(FULL)
    size = (hdrs.CONTENT_LENGTH, str(len(refused.text or "")))
    head = "".join(f"{name}: {value}\r\n" for name, value in (*refused.headers.items(), *SAFE, size))
    answer = f"HTTP/1.1 503 Service Unavailable\r\n{head}X-Request-Id: %s\r\n\r\n{refused.text}"

    def answer_to(request: BaseRequest) -> bytes | None:
        if not gate.is_full or not _is_plain(request):
            return None
        request_id = _request_id(request)
        metrics.request(GRAPH, 503, 0)
        log.info("request", method=request.method, path=GRAPH, status=503, ms=0.0, request_id=request_id)
        return (answer % request_id).encode()

    return answer_to


def _is_plain(request: BaseRequest) -> bool:
    """An operation over a connection that stays, from no page of a browser's."""
    return (
        request.path == GRAPH
        and request.method == hdrs.METH_POST
        and request.content.is_eof()
        and request.keep_alive
        and not any(name in request.headers for name in _LOOKED_AT)
        and "event-stream" not in request.headers.get(hdrs.ACCEPT, "")
    )


def _as_response(raised: web.HTTPException) -> web.Response:
    """Raised further, aiohttp would keep it and its frames in a circle, with all that the request holds."""
    return web.Response(status=raised.status, reason=raised.reason, body=raised.body, headers=raised.headers)


def _arrived(request: web.Request) -> AbstractContextManager[None]:
    """What the caller is in the middle of goes on here, and with our sources, whether or not we trace."""
    if tracing.TRACEPARENT not in request.headers:
        return _NO_TRACE
    given = request.headers.getall(tracing.TRACEPARENT)
    if len(given) > 1:
        return _NO_TRACE
    state = ",".join(request.headers.getall(tracing.TRACESTATE, ()))
    return tracing.going_on(tracing.read(given[0], state))


def _step(request: web.Request, path: str) -> Span:
    if path.startswith(_UNTRACED):
        return tracing.UNHEARD
    return tracing.span(path, Kind.SERVER)


def _tell(step: Span, request: web.Request, path: str, status: int) -> None:
    method = request.method if request.method in hdrs.METH_ALL else "_OTHER"
    step.call(f"{method} {path}")
    step.say({"http.request.method": method, "http.route": path, "http.response.status_code": status})
    if status >= 500:
        step.fail(str(status))


def _request_id(request: BaseRequest) -> str:
    """The caller's own, when it can do no harm in a log."""
    given = request.headers.get("X-Request-Id", "")
    return given if _REQUEST_ID.fullmatch(given) else token_hex(16)


def _path(request: web.Request) -> str:
    """Ours, never the client's: a path that leads nowhere may hold anything."""
    resource = request.match_info.route.resource
    return resource.canonical if resource else "(none)"


def _what_was_asked(request: web.Request) -> dict[str, Any]:
    asked: dict[str, Any] = {}
    if (caller := request.get(CALLER)) and caller is not ANYBODY:
        asked["caller"] = caller.name
    if (context := request.get(CONTEXT)) and (name := context.operation):
        asked["operation"] = name
    if errors := request.get(ERRORS):
        asked["errors"] = codes(errors)
    if return_code := request.get(RETURN_CODE):
        asked["return_code"] = return_code
    return asked


def _unexpected(request_id: str) -> web.Response:
    fault = {
        "message": "Something went wrong on our side: tell us the request id.",
        "extensions": {"code": "INTERNAL", "requestId": request_id},
    }
    return web.json_response({"errors": [fault]}, status=500)


async def _to_the_explorer(_: web.Request) -> web.Response:
    return web.Response(status=307, headers={hdrs.LOCATION: "/graphql"})
