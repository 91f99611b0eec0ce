"""Tracing: what a collector is told, what the sources are, and that nobody's data is in it."""

import asyncio
import re
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from shutil import copy
from time import monotonic
from typing import Any

import pytest
import strawberry
from aiohttp import ClientSession, web
from multidict import CIMultiDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from structlog.testing import capture_logs

from gateway.graph import Graph
from gateway.settings import Sending, Settings
from gateway.tracing import FAREWELL
from resolvers.query import Query
from schema.context import Info
from tests.gateways import Gateway, gateway_on
from tests.leaks import hear_span
from tests.processes import serve

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{CALLER}-01"
TRACESTATE = "congo=t61rcWkgMzE"
ON = "OTEL_EXPORTER_OTLP_ENDPOINT"
PHONE, TEXT = "+593990009102", "Your cards are ready, dear Zoraida"
WEB_ID, MESSENGER_ID = "4880pbiig3874", "2413659892012345"


class Collector:
    """Takes what is exported to it over OTLP."""

    def __init__(self) -> None:
        self.url = ""
        self.said = b""
        self.resource: dict[str, str] = {}
        self.spans: list[Span] = []
        self.hangs = False

    async def take(self, request: web.Request) -> web.Response:
        if self.hangs:
            await asyncio.sleep(60)
        body = await request.read()
        self.said += body
        for group in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.resource = {each.key: each.value.string_value for each in group.resource.attributes}
            for scope in group.scope_spans:
                self.spans += scope.spans
                for span in scope.spans:
                    hear_span(span)
        return web.Response(content_type="application/x-protobuf")

    def one(self, name: str) -> Span:
        (found,) = [span for span in self.spans if span.name == name]
        return found


def said(span: Span) -> dict[str, Any]:
    def value(each: Any) -> Any:
        return getattr(each, each.WhichOneof("value"))

    return {each.key: value(each.value) for each in span.attributes}


def is_within(inner: Span, outer: Span) -> bool:
    return (inner.trace_id, inner.parent_span_id) == (outer.trace_id, outer.span_id)


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    collector = Collector()
    app = web.Application()
    app.router.add_post("/v1/traces", collector.take)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    collector.url = site.name
    yield collector
    await runner.cleanup()


@pytest.fixture(autouse=True)
def nothing_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (ON, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_TRACES_EXPORTER", "OTEL_SDK_DISABLED"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def town(settings: Settings, town_in_sqlite: Path) -> Settings:
    copy(town_in_sqlite, settings.data_dir)
    return settings


@asynccontextmanager
async def traced(
    settings: Settings, collector: Collector, graph: Graph | None = None
) -> AsyncIterator[Gateway]:
    """When it has ended, the collector knows all of it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(ON, collector.url)
        async with gateway_on(settings, graph=graph) as gateway:
            yield gateway


def passed_on(gateway: Gateway, path: str) -> dict[str, str]:
    return next(asked.trace for asked in reversed(gateway.mercately.asked) if asked.path.endswith(path))


async def test_a_request_its_operation_and_its_calls_are_one_trace_that_goes_on_at_the_sources(
    town: Settings, collector: Collector
) -> None:
    headers = {"traceparent": TRACEPARENT, "tracestate": TRACESTATE}
    query = "query Hers($id: String!) { customer(by: {mercatelyId: $id}) { firstName phone email } }"
    async with traced(town, collector) as gateway:
        person = (await gateway.ask(query, headers, id=WEB_ID))["data"]["customer"]
        gateway.poster.trouble("status", status=500)
        await gateway.ask('mutation { removeGroup(input: {groupId: "R3JvdXA6cG9zdGVyOjE"}) { id } }')
        await gateway.ask("query Staff { agents { id } }")
        traceparent = passed_on(gateway, f"/customers/{WEB_ID}")
        async with gateway.session.get(f"{gateway.url}/health/ready") as response:
            assert response.status == 200

    operation = collector.one("query Hers")
    (request,) = [span for span in collector.spans if is_within(operation, span)]
    call = collector.one("mercately customer")
    assert (request.trace_id.hex(), request.parent_span_id.hex()) == (TRACE, CALLER)
    assert is_within(call, operation)
    assert request.name == "POST /graphql"
    assert request.kind == Span.SPAN_KIND_SERVER
    assert said(request) == {
        "http.request.method": "POST",
        "http.route": "/graphql",
        "http.response.status_code": 200,
    }
    assert said(operation) == {"graphql.operation.type": "query", "graphql.operation.name": "Hers"}
    assert call.kind == Span.SPAN_KIND_CLIENT
    assert said(call) == {
        "switchboard.source": "mercately",
        "http.request.method": "GET",
        "url.template": "/retailers/api/v1/customers/{id}",
        "http.response.status_code": 200,
    }
    assert traceparent == {
        "traceparent": f"00-{TRACE}-{call.span_id.hex()}-01",
        "tracestate": TRACESTATE,
    }
    assert collector.one("query Staff").trace_id != operation.trace_id
    assert collector.resource["service.name"] == "switchboard"
    assert not any("/health" in span.name for span in collector.spans)
    assert person["phone"]
    for secret in (*person.values(), WEB_ID, "sandbox"):
        assert secret.encode() not in collector.said


@strawberry.type
class Watched:
    @strawberry.field
    async def agents(self, info: Info) -> int:
        return len(await info.context.loaders.agents.load(None))


@strawberry.type
class Watching:
    @strawberry.subscription
    async def endless(self) -> AsyncGenerator[Watched, None]:
        yield Watched()
        await asyncio.Event().wait()


async def test_operations_over_sockets_and_streams_are_steps_of_the_request_that_opened_these(
    settings: Settings, collector: Collector
) -> None:
    events = {"Accept": "text/event-stream", "traceparent": TRACEPARENT}
    watch = {"query": "subscription Watch { endless { agents } }"}
    async with traced(settings, collector, Graph(query=Query, subscription=Watching)) as gateway:
        url = f"{gateway.url}/graphql"
        async with gateway.session.post(url, json=watch, headers=events) as stream:
            await stream.content.readline()
        async with gateway.session.ws_connect(url, protocols=["graphql-transport-ws"]) as socket:
            await socket.send_json({"type": "connection_init"})
            for name in ("First", "Second"):
                query = {"query": f"query {name} {{ templates {{ id }} }}"}
                await socket.send_json({"id": name, "type": "subscribe", "payload": query})
                while (await socket.receive_json(timeout=5)).get("type") != "complete":
                    pass

    watched, first, second = map(collector.one, ("subscription Watch", "query First", "query Second"))
    assert is_within(collector.one("mercately agents"), watched)
    assert is_within(collector.one("mercately templates"), first)
    assert first.parent_span_id == second.parent_span_id
    requests = [span for span in collector.spans if span.kind == Span.SPAN_KIND_SERVER]
    assert [[request for request in requests if is_within(each, request)] for each in (watched, first)] == [
        [request] for request in sorted(requests, key=lambda request: request.start_time_unix_nano)
    ]


async def test_what_fails_says_its_code_and_nothing_else(settings: Settings, collector: Collector) -> None:
    async with traced(settings, collector) as gateway:
        gateway.mercately.trouble("status", status=500, body={"message": f"No {PHONE}"})
        await gateway.ask("query Staff { agents { id } }")
        await gateway.ask(f'query Wrong {{ nothing(phone: "{PHONE}") }}')
        async with gateway.session.request("Zoraida", f"{gateway.url}/{PHONE}") as response:
            assert response.status in (400, 404)

    call = collector.one("mercately agents")
    for span in (call, collector.one("query Staff")):
        assert span.status.code == Status.STATUS_CODE_ERROR
        assert said(span)["error.type"] == "SOURCE_UNAVAILABLE"
        assert not span.status.message
    assert said(call)["http.response.status_code"] == 500
    assert said(collector.one("query Wrong"))["error.type"] == "BAD_USER_INPUT"
    assert not any(span.events for span in collector.spans)
    for text in (PHONE, PHONE[1:], "nothing", "oraida", "ORAIDA"):
        assert text.encode() not in collector.said


async def test_what_is_sent_is_part_of_the_trace_of_who_asked_for_it(
    settings: Settings, collector: Collector
) -> None:
    to = {"to": {"phone": PHONE}, "content": {"text": TEXT}, "channels": ["SMS"]}
    send = "mutation Send($input: SendMessageInput!) { sendMessage(input: $input) { status } }"
    async with traced(settings, collector) as gateway:
        await gateway.ask(send, {"traceparent": TRACEPARENT}, input=to)
        (sent,) = [asked for asked in gateway.hyber.asked if asked.method == "POST"]
        by_bot = {"to": {"messengerId": MESSENGER_ID}, "content": {"messenger": {"text": TEXT}}}
        await gateway.data(send, input=by_bot | {"channels": ["MESSENGER"]})
        (asked,) = gateway.chatfuel.asked

    errand, call = collector.one("send hyber"), collector.one("hyber send")
    assert errand.trace_id.hex() == TRACE
    assert is_within(call, errand)
    assert errand.kind == Span.SPAN_KIND_PRODUCER
    assert said(errand) == {"switchboard.source": "hyber", "switchboard.messages": 1}
    assert said(call)["url.template"] == "/{client}"
    assert sent.trace["traceparent"] == f"00-{TRACE}-{call.span_id.hex()}-01"
    assert said(collector.one("chatfuel send"))["url.template"] == "/bots/{bot}/users/{user}/send"
    texts = PHONE, PHONE[1:], TEXT, "Zoraida", MESSENGER_ID
    for secret in (*texts, sent.path, asked.path, *asked.query.values()):
        assert secret.encode() not in collector.said


async def test_a_portion_of_a_broadcast_is_one_step_with_its_count(
    town: Settings, collector: Collector
) -> None:
    start = "mutation Start($input: BroadcastInput!) { broadcast(input: $input) { id } }"
    read = "query ($id: ID!) { broadcast(id: $id) { status counts { total skipped } } }"
    content = {"text": TEXT, "messenger": {"text": TEXT}}
    said_of_it = {"audience": {"all": True}, "content": content, "channels": ["SMS", "MESSENGER"]}
    everything = town.model_copy(update={"sending": Sending.ON})
    async with traced(everything, collector) as gateway:
        id = (await gateway.data(start, input=said_of_it))["broadcast"]["id"]
        async with asyncio.timeout(20):
            while (broadcast := (await gateway.data(read, id=id))["broadcast"])["status"] != "COMPLETED":
                await asyncio.sleep(0.1)

    portions = [span for span in collector.spans if span.name.startswith("send ")]
    counts = broadcast["counts"]
    assert sum(said(span)["switchboard.messages"] for span in portions) >= counts["total"] - counts["skipped"]
    assert any(said(span)["switchboard.messages"] > 1 for span in portions)
    for call in (span for span in collector.spans if span.name == "hyber send batch"):
        assert any(is_within(call, portion) for portion in portions)
    assert TEXT.encode() not in collector.said
    assert not re.search(rb"\+?593[0-9]{9}|[0-9]{16}", re.sub(rb"[^ -~]+", b" ", collector.said))


async def test_what_is_sampled_out_or_not_traced_goes_on_all_the_same(
    settings: Settings, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = {"traceparent": TRACEPARENT, "tracestate": TRACESTATE}
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    async with traced(settings, collector) as gateway:
        await gateway.ask("{ agents { id } }", headers)
        sampled_out = passed_on(gateway, "/agents")
    async with gateway_on(settings) as gateway:
        await gateway.ask("{ agents { id } }", headers)
        untraced = passed_on(gateway, "/agents")
        wrong = {"traceparent": TRACEPARENT[:-1], "tracestate": TRACESTATE}
        await gateway.ask("{ templates { id } }", wrong)
        several = CIMultiDict([("traceparent", TRACEPARENT), ("traceparent", TRACEPARENT)])
        await gateway.ask('{ customer(by: {mercatelyId: "4880pbiig3874"}) { id } }', several)  # type: ignore[arg-type]
        unread = passed_on(gateway, "/whatsapp_templates"), passed_on(gateway, "/customers/4880pbiig3874")

    assert not collector.spans
    assert re.fullmatch(f"00-{TRACE}-(?!{CALLER})[0-9a-f]{{16}}-00", sampled_out["traceparent"])
    assert sampled_out["tracestate"] == TRACESTATE
    assert untraced == headers
    assert unread == ({}, {})


async def test_it_is_off_until_opentelemetry_is_told_where_and_off_nothing_of_it_is_imported(
    settings: Settings, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    async with traced(settings, collector) as gateway:
        await gateway.data("{ agents { id } }")
    monkeypatch.delenv("OTEL_SDK_DISABLED")
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "none")
    async with traced(settings, collector) as gateway:
        await gateway.data("{ agents { id } }")
    assert not collector.spans

    script = "import gateway.server, gateway.worker, sys; print([m for m in sys.modules if 'telemetry' in m])"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    assert (await process.communicate())[0] == b"[]\n"


@pytest.mark.parametrize(
    ("protocol", "way_out"),
    [
        ("http/protobuf", "What exports them is missing: install switchboard-gateway[tracing]."),
        ("grpc", "They go over HTTP: set OTEL_EXPORTER_OTLP_PROTOCOL to http/protobuf, or leave it out."),
    ],
)
async def test_without_what_it_takes_the_gateway_works_and_says_what_to_do(
    protocol: str, way_out: str, settings: Settings, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)  # as if it were not installed
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
    with capture_logs() as lines:
        async with traced(settings, collector) as gateway:
            await gateway.data("{ agents { id } }")

    assert [line["reason"] for line in lines if line["event"] == "traces are not exported"] == [way_out]


async def test_a_collector_that_hangs_keeps_neither_an_answer_nor_the_end(
    settings: Settings, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "4")
    collector.hangs = True
    async with traced(settings, collector) as gateway:
        for _ in range(3):
            await gateway.data("{ agents { id } }")
        started = monotonic()

    assert monotonic() - started < FAREWELL + 1.5


async def test_a_process_tells_all_before_it_ends_and_its_log_says_which_trace_a_line_is_part_of(
    tmp_path: Path, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ON, collector.url)
    async with serve(tmp_path, LOG_FORMAT="json") as served, ClientSession() as session:
        query, headers = {"query": "{ agents { id } }"}, {"traceparent": TRACEPARENT}
        async with session.post(f"{served.url}/graphql", json=query, headers=headers) as response:
            assert response.status == 200
        ended = await served.end()

    assert collector.one("mercately agents").trace_id.hex() == TRACE
    for line in ('"event":"request"', '"call":"agents"'):
        assert re.search(f'{line}.*"trace_id":"{TRACE}"', ended.err)
    assert '"level":"error"' not in ended.err
