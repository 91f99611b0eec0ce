"""The GraphQL endpoint: Strawberry's view, held to the GraphQL-over-HTTP specification."""

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import lru_cache
from typing import Any, TypeGuard, cast
from weakref import WeakSet

import orjson
from aiohttp import ClientConnectionResetError, WSCloseCode, hdrs, web
from cross_web import AsyncHTTPRequestAdapter, HTTPException
from graphql import GraphQLError, GraphQLSyntaxError
from strawberry.aiohttp.views import AiohttpWebSocketAdapter, GraphQLView
from strawberry.exceptions import ConnectionRejectionError, MissingQueryError
from strawberry.http import GraphQLHTTPResponse, GraphQLRequestData, async_base_view
from strawberry.http.exceptions import NonJsonMessageReceived, WebSocketDisconnected
from strawberry.http.parse_content_type import parse_content_type
from strawberry.http.streaming import AsyncTextStream, HTTPStreamTransport, SSETransport
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError
from strawberry.subscriptions import GRAPHQL_SSE_PROTOCOL, GRAPHQL_TRANSPORT_WS_PROTOCOL
from strawberry.subscriptions.protocols.graphql_transport_ws.handlers import BaseGraphQLTransportWSHandler
from strawberry.subscriptions.protocols.graphql_transport_ws.types import SubscribeMessage
from strawberry.types import ExecutionResult
from strawberry.types.unset import UnsetType

from gateway import explorer
from gateway.connections import SLOWEST_READER
from gateway.credentials import Refused, refusal
from gateway.errors import codes
from gateway.gate import AGAIN
from gateway.graph import Asked, Graph
from gateway.keys import (
    ADAPTERS,
    ANSWER,
    CALLER,
    CONTEXT,
    CREDENTIALS,
    ERRORS,
    GATE,
    METRICS,
    POST,
    REQUEST_ID,
    STAYS,
)
from gateway.settings import Settings
from resolvers.caller import NOBODY, Caller
from resolvers.context import Context

GRAPHQL = "application/graphql-response+json"
JSON = "application/json"
EVENTS = "text/event-stream"
IN_UTF8 = {kind: f"{kind}; charset=utf-8" for kind in (GRAPHQL, JSON)}
PARTIAL = 294, "Partial Success"
"""Of GraphQL over HTTP's own: there are data and errors."""
UNPROCESSABLE = 422
"""Read, but nothing that can be run."""
REFUSED = {"FORBIDDEN": 403}
"""The statuses of what is refused for another reason than that it is wrong."""

SLOWEST_BODY = 15.0
"""Seconds until a body must have arrived."""
LARGEST_MESSAGE = 256 * 1024
"""Bytes of one message on a WebSocket."""
LONGEST_REASON = 123
"""Bytes that a WebSocket can say of why it closes; a longer one would break the protocol."""
FIRST_MESSAGE = 5.0
"""Seconds until a WebSocket's first message must have come."""
HEARTBEAT = 20.0
"""Seconds after which a WebSocket is asked whether anybody is there; it has half as long to answer."""
OPERATIONS = 20
"""How many may run on a WebSocket at once."""
FORBIDDEN = 4403
"""How graphql-transport-ws closes a WebSocket on who is not let in, or not any more."""
KEEP_ALIVE = 12.0
"""Seconds after which a stream of events says that it is alive."""

_QUALITY = re.compile(r"[01](\.[0-9]{0,3})?")

# Strawberry's own is a protocol, for which every answer is looked through for its methods.
vars(async_base_view)["SubscriptionExecutionResult"] = AsyncIterator

Answer = GraphQLHTTPResponse | list[GraphQLHTTPResponse]


class _Response(web.WebSocketResponse):
    async def pong(self, message: bytes = b"") -> None:
        await asyncio.sleep(0)  # pings that come in at once are answered without the loop ever turning
        await super().pong(message)


class _Socket(AiohttpWebSocketAdapter):
    async def iter_json(self, *, ignore_parsing_errors: bool = False) -> AsyncGenerator[object, None]:
        async for message in super().iter_json(ignore_parsing_errors=ignore_parsing_errors):
            await asyncio.sleep(0)  # the same of messages
            if not _is_message(message):  # Strawberry's handler would fail on it, and with it the socket
                raise NonJsonMessageReceived
            if message["type"] == "subscribe" and (errors := await self._refused()):
                await self.send_json({"id": message["id"], "type": "error", "payload": errors})
            else:
                yield _with_extensions(message)

    async def _refused(self) -> list[dict[str, Any]]:
        """Why nothing more is run now; before the socket has said who it is, its handler says no."""
        app, caller = self.request.app, self.request.get(CALLER)
        try:
            if caller:
                await app[GATE].operation(self.request, caller)
        except web.HTTPTooManyRequests as answer:
            app[METRICS].operation(None, ["RATE_LIMITED"], None)
            errors: list[dict[str, Any]] = orjson.loads(answer.text or "")["errors"]
            return errors
        return []

    async def send_json(self, message: Mapping[str, object]) -> None:
        try:
            await self.ws.send_str(orjson.dumps(message).decode())
        except (RuntimeError, ClientConnectionResetError) as error:
            raise WebSocketDisconnected from error

    async def close(self, code: int, reason: str) -> None:
        # Some of Strawberry's reasons repeat what was sent.
        cut = reason.encode(errors="replace")[:LONGEST_REASON].decode(errors="ignore")
        await super().close(code, cut)


class _Protocol(BaseGraphQLTransportWSHandler[Context, None]):
    async def handle_subscribe(self, message: SubscribeMessage) -> None:
        id = message["id"]
        if len(self.operations) < OPERATIONS or id in self.operations:
            return await super().handle_subscribe(message)
        sentence = f"At most {OPERATIONS} operations run on a socket at once: complete one, or open another."
        fault = {"message": sentence, "extensions": {"code": "RATE_LIMITED", "retryAfter": AGAIN}}
        await self.send_message({"id": id, "type": "error", "payload": [cast("Any", fault)]})

    @staticmethod
    def _get_pre_execution_close_reason(error: GraphQLError) -> None:
        """None: a document that cannot be parsed is its operation's error, and no malformed message."""


class _Events(SSETransport):
    def __init__(self) -> None:
        super().__init__(KEEP_ALIVE)


@dataclass(slots=True, kw_only=True)
class Connection(Context):
    """Of a WebSocket as a whole; each of its operations has a context of its own."""

    request: web.Request
    socket: web.WebSocketResponse
    connection_params: dict[str, object] = field(init=False, default_factory=dict)
    """What its first message says."""
    watch: asyncio.Task[None] | None = field(init=False, default=None)


class View(GraphQLView[Context, None]):
    websocket_adapter_class = _Socket
    graphql_transport_ws_handler_class = _Protocol
    stream_transport_classes_by_protocol: Mapping[str, type[HTTPStreamTransport]] = {
        GRAPHQL_SSE_PROTOCOL: _Events
    }

    def __init__(self, graph: Graph, settings: Settings) -> None:
        super().__init__(
            graph,
            graphql_ide=None,
            subscription_protocols=[GRAPHQL_TRANSPORT_WS_PROTOCOL, GRAPHQL_SSE_PROTOCOL],
            connection_init_wait_timeout=timedelta(seconds=FIRST_MESSAGE),
            allowed_origins=list(settings.origins),
        )
        self._graph = graph
        self._timeout = settings.timeout
        self._region = settings.region
        self._sockets: WeakSet[web.WebSocketResponse] = WeakSet()
        self._streams: set[asyncio.Timeout] = set()

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        if explorer.asked_for(request):
            return await explorer.page(request)
        try:
            if caller := await self._caller(request):
                request[CALLER] = caller
                if not self.is_websocket_request(request):  # whose operations are counted
                    await request.app[GATE].shown(caller)
            return await self.run(request)
        except Refused as refused:
            return refusal(refused)
        except HTTPException as error:
            return _refusal(_status_of(error), error.reason)
        except web.HTTPRequestEntityTooLarge as error:
            return _refusal(413, f"The request is too large: {error.text}.")
        finally:
            if isinstance(context := request.get(CONTEXT), Connection) and context.watch:
                context.watch.cancel()

    async def close_streams(self, _: web.Application) -> None:
        """All at once: a peer that does not answer must not keep the others waiting."""
        for stream in self._streams:  # without `complete`, so that their clients come again
            stream.reschedule(0)
        why = b"Switchboard is stopping"
        sockets = set(self._sockets)
        await asyncio.gather(*(one.close(code=WSCloseCode.GOING_AWAY, message=why) for one in sockets))

    # -- who asks

    async def _caller(self, request: web.Request) -> Caller | None:
        """None where a WebSocket has yet to say it."""
        credentials = request.app[CREDENTIALS]
        if self.is_websocket_request(request):
            return await credentials.shown_by(request)
        return await credentials.of(request)

    async def on_ws_connect(self, context: Context) -> UnsetType | dict[str, object] | None:
        connection = cast("Connection", context)
        request, credentials = connection.request, connection.request.app[CREDENTIALS]
        try:
            caller = await credentials.shown_in(connection.connection_params) or request.get(CALLER)
            context.caller = request[CALLER] = caller or await credentials.anybody(request)
        except Refused as refused:
            raise ConnectionRejectionError from refused  # Strawberry closes it with 4403
        connection.watch = asyncio.create_task(self._close_when_it_ends(connection))
        return await super().on_ws_connect(context)

    async def _close_when_it_ends(self, context: Connection) -> None:
        await context.request.app[CREDENTIALS].until_it_ends(context.caller)
        await context.socket.close(code=FORBIDDEN, message=b"Forbidden")

    # -- what came in

    def is_websocket_request(self, request: web.Request) -> TypeGuard[web.Request]:
        return request.headers.get(hdrs.UPGRADE, "").lower() == "websocket" and super().is_websocket_request(
            request
        )

    async def create_websocket_response(
        self, request: web.Request, subprotocol: str | None
    ) -> web.WebSocketResponse:
        socket = _Response(
            protocols=[subprotocol] if subprotocol else [],
            heartbeat=HEARTBEAT,
            max_msg_size=LARGEST_MESSAGE,
            compress=False,
        )
        request[STAYS] = True
        await socket.prepare(request)
        self._sockets.add(socket)
        return socket

    def should_render_graphql_ide(self, request: Any) -> bool:
        return False

    async def get_context(
        self, request: web.Request, response: web.Response | web.WebSocketResponse
    ) -> Context:
        app = request.app
        shared = (
            app[ADAPTERS],
            app[POST],
            request[REQUEST_ID],
            self._timeout,
            self._region,
            request.get(CALLER, NOBODY),
            app[METRICS],
        )
        context = (
            Connection(*shared, request=request, socket=response)
            if isinstance(response, web.WebSocketResponse)
            else Context(*shared)
        )
        request[CONTEXT] = context
        return context

    async def parse_http_body(self, request: AsyncHTTPRequestAdapter) -> GraphQLRequestData:
        data = self._query(request) if request.method == "GET" else await self._body(request)
        if isinstance(data, list):
            raise HTTPException(UNPROCESSABLE, "Send one operation a request: batches are not accepted.")
        if not isinstance(data, dict):
            raise HTTPException(UNPROCESSABLE, "Send a JSON object with the operation in its field query.")
        query, name = _optional(data, "query", str), _optional(data, "operationName", str)
        extensions = _extensions(data)
        await self._graph.prepare(query, extensions)
        goes_on = self._graph.subscribes(query, name, extensions)
        if goes_on and _accepted(cast("Any", request).request) != EVENTS:
            raise HTTPException(UNPROCESSABLE, f"Subscribe over WebSocket, or with {EVENTS} as Accept.")
        return GraphQLRequestData(
            query=query,
            variables=_optional(data, "variables", dict),
            operation_name=name,
            extensions=extensions,
            protocol="sse" if goes_on else "http",
        )

    def _query(self, request: AsyncHTTPRequestAdapter) -> dict[str, Any]:
        given = {name: value for name, value in request.query_params.items() if value}
        return self.parse_query_params(cast("Any", given))

    async def _body(self, request: AsyncHTTPRequestAdapter) -> object:
        if not _is_json_in_utf8(request.content_type or ""):
            raise HTTPException(415, f"Send the operation as {JSON}, in UTF-8.")
        try:
            body = await self._arrived(cast("Any", request).request)
        except web.RequestPayloadError:
            raise HTTPException(
                400, "The body of the request cannot be read: it is not encoded as it says."
            ) from None
        except TimeoutError:
            raise HTTPException(408, "The body of the request did not arrive in time.") from None
        return self.parse_json(body)

    async def _arrived(self, request: web.Request) -> bytes:
        if request.content.is_eof():  # as most have, with the head of their request
            return await request.read()
        async with asyncio.timeout(SLOWEST_BODY):
            return await request.read()

    def decode_json(self, data: str | bytes) -> object:
        return orjson.loads(data)

    # -- what goes out

    async def get_sub_response(self, request: web.Request) -> web.Response:
        kind = _accepted(request)
        headers = _Events.headers if kind == EVENTS else {"Content-Type": IN_UTF8[kind]}
        request[ANSWER] = web.Response(headers={"Vary": "Accept", **headers})
        return request[ANSWER]

    async def process_result(self, request: web.Request, result: ExecutionResult) -> GraphQLHTTPResponse:
        answer: GraphQLHTTPResponse = {}
        if result.errors:
            request[ERRORS] = result.errors
            answer["errors"] = [error.formatted for error in result.errors]
        # Without a path nothing was run, and then there is no data, not even null.
        if result.data is not None or any(error.path for error in result.errors or ()):
            answer["data"] = result.data
        if result.extensions:
            answer["extensions"] = result.extensions
        if result.errors:
            _qualify(request[ANSWER], result.errors, is_run="data" in answer)
        return answer

    def create_response(self, response_data: Answer, sub_response: web.Response) -> web.Response:
        if sub_response.content_type == EVENTS:
            events, answer = _Events(), self.encode_json_string(response_data)
            sub_response.body = (events.encode_event("next", answer) + events.encode_complete()).encode()
        else:
            sub_response.body = self.encode_json(response_data)
        return sub_response

    async def create_streaming_response(
        self,
        request: web.Request,
        stream: AsyncTextStream,
        sub_response: web.Response,
        headers: Mapping[str, str],
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers=sub_response.headers)
        response.headers["X-Request-Id"] = request[REQUEST_ID]
        request[STAYS] = True
        await response.prepare(request)
        with suppress(TimeoutError, ConnectionResetError):  # we are stopping, or the client has left
            async with asyncio.timeout(None) as until_we_stop, aclosing(stream()) as events:
                self._streams.add(until_we_stop)
                watch = asyncio.create_task(self._stop_when_it_ends(request, until_we_stop))
                try:
                    async for event in events:
                        async with asyncio.timeout(SLOWEST_READER):
                            await response.write(event.encode())
                finally:
                    self._streams.discard(until_we_stop)
                    watch.cancel()
            await response.write_eof()
        return response

    async def _stop_when_it_ends(self, request: web.Request, stream: asyncio.Timeout) -> None:
        """Without `complete`: its client comes again, and is told."""
        await request.app[CREDENTIALS].until_it_ends(request[CALLER])
        stream.reschedule(0)

    def encode_json(self, data: object) -> bytes:
        return orjson.dumps(data)


@lru_cache(64)
def _is_json_in_utf8(content_type: str) -> bool:
    kind, parameters = parse_content_type(content_type)
    return kind.lower() == JSON and parameters.get("charset", "utf-8").lower() in ("utf-8", "utf8")


def _accepted(request: web.Request) -> str:
    return _negotiated(",".join(request.headers.getall(hdrs.ACCEPT, [])))


@lru_cache(64)
def _negotiated(accept: str) -> str:
    """The media type of the answer: of ours the one that the client likes best, or else names first."""
    liked: dict[str, tuple[float, bool, int]] = {}
    for place, part in enumerate(accept.lower().split(",") if accept else ["*/*"]):
        kind, *parameters = (each.strip() for each in part.split(";"))
        liked.setdefault(kind, (_quality(parameters), "*" not in kind, -place))
    if anything := liked.get("application/*", liked.get("*/*")):
        liked = {GRAPHQL: anything, JSON: anything, **liked}
    ours = [kind for kind in (GRAPHQL, JSON, EVENTS) if liked.get(kind, (0,))[0]]
    if not ours:
        raise HTTPException(406, f"This endpoint answers in {GRAPHQL}, {JSON} or {EVENTS}.")
    return max(ours, key=lambda kind: liked[kind])


def _quality(parameters: Sequence[str]) -> float:
    said = next((each[2:] for each in parameters if each.startswith("q=")), "1")
    return float(said) if _QUALITY.fullmatch(said) else 1


def _optional(data: Mapping[str, Any], name: str, kind: type) -> Any:
    value = data.get(name)
    if value is None or isinstance(value, kind):
        return value
    raise HTTPException(
        UNPROCESSABLE, f"The field {name} must be {'a string' if kind is str else 'an object'}."
    )


def _extensions(data: Mapping[str, Any]) -> dict[str, Any]:
    """With the name of a document among them, which GraphQL over HTTP has beside them."""
    extensions = _optional(data, "extensions", dict) or {}
    id = _optional(data, "documentId", str)
    return {**extensions, "documentId": id} if id else extensions


def _qualify(answer: web.Response, errors: Sequence[GraphQLError], *, is_run: bool) -> None:
    """Says by its status what became of it; who knows plain JSON alone is told so in words of HTTP's own."""
    kind = answer.content_type
    if kind == EVENTS:
        return
    if is_run:
        if kind == GRAPHQL:
            answer.set_status(*PARTIAL)
        return
    is_unread = isinstance(errors[0], GraphQLSyntaxError)
    answer.set_status(REFUSED.get(codes(errors)[0], 400 if is_unread else UNPROCESSABLE))
    answer.headers[hdrs.CONTENT_TYPE] = IN_UTF8[GRAPHQL]


def _status_of(error: HTTPException) -> int:
    if isinstance(error.__cause__, InvalidOperationTypeError):
        return 405
    if isinstance(error.__cause__, CannotGetOperationTypeError | MissingQueryError):
        return UNPROCESSABLE
    return error.status_code


def _refusal(status: int, message: str) -> web.Response:
    fault = {"message": message, "extensions": {"code": "BAD_USER_INPUT"}}
    headers = {hdrs.CONTENT_TYPE: IN_UTF8[GRAPHQL]} | ({"Allow": "GET, POST"} if status == 405 else {})
    return web.Response(status=status, body=orjson.dumps({"errors": [fault]}), headers=headers)


def _with_extensions(message: dict[str, Any]) -> dict[str, Any]:
    """Strawberry's handler passes the query on, and nothing beside it: so it takes the extensions along."""
    if message["type"] != "subscribe":
        return message
    payload = message["payload"]
    asked = Asked(payload.get("query"), _extensions(payload))
    return {**message, "payload": {**payload, "query": asked}}


def _is_message(message: object) -> TypeGuard[dict[str, Any]]:
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        return False
    if message["type"] not in ("subscribe", "complete"):
        return True
    if not isinstance(message.get("id"), str):
        return False
    payload = message.get("payload")
    return message["type"] == "complete" or (
        isinstance(payload, dict)
        and isinstance(payload.get("query"), str | None)
        and isinstance(payload.get("extensions"), dict | None)
        and isinstance(payload.get("documentId"), str | None)
        and isinstance(payload.get("variables"), dict | None)
        and isinstance(payload.get("operationName"), str | None)
    )
