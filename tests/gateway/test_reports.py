"""Hyber's reports: what it pushes to our address -> what it is answered -> what the ledger says."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, MutableMapping
from time import time
from typing import Any

import pytest
from pydantic import SecretStr

from adapters.hyber import sandbox as people
from adapters.hyber.message import Sms, Viber
from adapters.storage.messages import Event, Id, Message, NewMessage, Report, State
from gateway.settings import REPORTS, Sending, Settings
from resolvers.sending.body import Body, Channel, Content, write_body
from resolvers.sending.cascade import steps_of
from resolvers.sending.watch import changes
from tests.gateways import Gateway, free_port, gateway_on
from tests.services import Mariadb

SECRET = "a1B2c3D4e5F6g7H8"
CHANNELS = (Channel.VIBER, Channel.SMS)
CONTENT = Content(viber=Viber(text="Hola", ttl=60), sms=Sms(text="Hola", ttl=300, alpha_name="GMSU"))

Lines = list[MutableMapping[str, Any]]


def with_secret(settings: Settings, **changed: Any) -> Settings:
    ours = {"reports_secret": SecretStr(SECRET), "environment": "test"}
    return settings.model_copy(update=ours | changed)


@pytest.fixture
async def sending(settings: Settings, database_url: str) -> Settings:
    """A gateway that sends, whose secret is set, on an empty database of each kind."""
    settings = with_secret(settings, database_url=SecretStr(database_url), sending=Sending.ON)
    return settings


@pytest.fixture
async def gateway(sending: Settings) -> AsyncIterator[Gateway]:
    async with gateway_on(sending) as opened:
        yield opened


async def queued(gateway: Gateway, phone: str) -> Id:
    """A message for the pump, which sends it."""
    body = Body(content=CONTENT, channels=CHANNELS, steps=steps_of(CONTENT, CHANNELS), text="Hola")
    new = NewMessage(
        phone=phone,
        body=write_body(body),
        due=int(time() * 1000),
        channel=CHANNELS[0],
        events=(Event(state=State.PENDING, channel=CHANNELS[0]),),
    )
    message = (await gateway.storage.messages.add(new)).message
    return message.id


async def when(gateway: Gateway, id: Id, state: State) -> Message:
    async with asyncio.timeout(10):
        while True:  # who is delivered is no more told of, and may be seen yet
            async for message in changes(gateway.post, gateway.storage.messages, id):
                if message.state is state:
                    return message
            await asyncio.sleep(0.01)


async def accepted(gateway: Gateway) -> Message:
    """A message of which Hyber itself tells nothing: it knows no address of ours."""
    id = await queued(gateway, f"+59399000{people.SILENT}")
    return await when(gateway, id, State.ACCEPTED)


async def push(gateway: Gateway, body: object, *, secret: str = SECRET) -> int:
    data = body if isinstance(body, bytes) else json.dumps(body)
    async with gateway.session.post(f"{gateway.url}{REPORTS}/{secret}", data=data) as response:
        return response.status


def said(
    message: Message, code: int, *, at: int = 0, environment: str = "test", **more: Any
) -> dict[str, Any]:
    extra_id = f"{environment}-{message.broadcast_id}-{message.seq}-{message.attempt}"
    report = {"extra_id": extra_id, "message_id": "x", "hyber_status": code, "sent_via": "sms", **more}
    return {**report, "time": at} if at else report


async def state_of(gateway: Gateway, message: Message) -> State:
    return (await gateway.storage.messages.messages([message.id]))[message.id].state


async def all_applied(gateway: Gateway) -> None:
    """Another message's end: reports are applied in the order in which they came."""
    last = await accepted(gateway)
    assert await push(gateway, said(last, 23011)) == 200
    await when(gateway, last.id, State.DELIVERED)


# From end to end


@pytest.mark.parametrize(
    ("person", "state", "channel", "code"),
    [
        ("0102", State.DELIVERED, "viber", None),
        (people.SEES, State.SEEN, "viber", None),
        (people.ONLY_SMS, State.DELIVERED, "sms", None),
        (people.FAILS, State.FAILED, "sms", "36021"),
        (people.EXPIRES, State.EXPIRED, "sms", "35015"),
    ],
)
async def test_what_hyber_reports_is_what_the_ledger_says(
    sending: Settings, person: str, state: State, channel: str, code: str | None
) -> None:
    with free_port() as listener:
        host, port = listener.getsockname()
        there = sending.model_copy(update={"public_url": f"http://{host}:{port}/"})
        async with gateway_on(there, listener=listener) as gateway:
            id = await queued(gateway, f"+59399000{person}")
            await when(gateway, id, State.DELIVERED if state is State.SEEN else state)
            await gateway.hyber.settled()
            await all_applied(gateway)

            message = (await gateway.storage.messages.messages([id]))[id]
            assert (message.state, message.channel, message.vendor_code) == (state, channel, code)
            assert gateway.hyber.pushed, "it was told, and not asked"


# One by one


async def test_a_report_is_applied_at_once_whether_alone_or_among_others(gateway: Gateway) -> None:
    one, other = await accepted(gateway), await accepted(gateway)

    assert await push(gateway, said(one, 23011, number="593990000011")) == 200
    await when(gateway, one.id, State.DELIVERED)
    both = [
        said(one, 24033, phone_number=593990000011, at=1477417294667),
        said(other, 35015, number="+593990000011", at=1477417294668),
    ]
    assert await push(gateway, both) == 200
    failed = await when(gateway, other.id, State.EXPIRED)

    await when(gateway, one.id, State.SEEN)
    assert (failed.vendor_code, failed.failure_code) == ("35015", "SOURCE_REJECTED")
    (*_, last) = (await gateway.storage.messages.messages([other.id]))[other.id].events
    assert last.at.year == 2016, "it says when it was"


REPORTED: dict[str, tuple[Callable[[Message], list[Any]], State]] = {
    "twice": (lambda m: [said(m, 23011, at=5)] * 2, State.DELIVERED),
    "twice in one": (lambda m: [[said(m, 23011, at=5)] * 2], State.DELIVERED),
    "late": (lambda m: [said(m, 23011, at=5), said(m, 11000, at=9)], State.DELIVERED),
    "out of order": (lambda m: [said(m, c, at=5) for c in (24033, 23011, 11000)], State.SEEN),
    "of another environment": (lambda m: [said(m, 36021, environment="prod")], State.ACCEPTED),
    "of another attempt": (lambda m: [said(m, 36021, extra_id=f"test-0-{m.seq}-9")], State.ACCEPTED),
    "of an unknown message": (lambda m: [said(m, 36021, extra_id=f"test-0-{m.seq + 1}-1")], State.ACCEPTED),
    "of no message at all": (
        lambda m: [said(m, 36021, extra_id=f"test-0-{'9' * 19}-1"), said(m, 36021, extra_id="AD-6640-7006")],
        State.ACCEPTED,
    ),
    "with their id alone": (lambda m: [said(m, 36021, extra_id=None)], State.ACCEPTED),
    "of a channel that we do not know": (
        lambda m: [said(m, 23011, sent_via="a channel that is new")],
        State.DELIVERED,
    ),
    "without a code": (lambda m: [said(m, 0, hyber_status=None)], State.ACCEPTED),
    "at the end of the calendar": (lambda m: [said(m, 23011, at=253402300799999)], State.DELIVERED),
    "none": (lambda _: [[]], State.ACCEPTED),
}


@pytest.mark.parametrize(("pushes", "state"), REPORTED.values(), ids=REPORTED)
async def test_reports_only_lead_up_and_stop_no_other(
    gateway: Gateway, log_lines: Lines, pushes: Callable[[Message], list[Any]], state: State
) -> None:
    message = await accepted(gateway)

    assert [await push(gateway, body) for body in pushes(message)] == [200] * len(pushes(message))
    await all_applied(gateway)

    assert await state_of(gateway, message) is state
    assert [line for line in log_lines if line["log_level"] != "info"] == []


async def test_a_report_that_is_replayed_changes_nothing(gateway: Gateway) -> None:
    message = await accepted(gateway)
    told = [said(message, 23011, at=5), said(message, 24033, at=9)]
    assert [await push(gateway, report) for report in told] == [200, 200]
    await all_applied(gateway)
    before = (await gateway.storage.messages.messages([message.id]))[message.id]
    assert before.state is State.SEEN
    again = [*told, *reversed(told), *(each | {"time": 99} for each in told)]
    assert [await push(gateway, report) for report in again] == [200] * len(again)
    await all_applied(gateway)

    assert (await gateway.storage.messages.messages([message.id]))[message.id] == before


GARBAGE = [
    b"",
    b"{",
    b"null",
    b"[null]",
    b"\xff\xfe",
    b"[" * 100_000,
    b'{"status": 2}',
    b'{"message_id": "1", "hyber_status": "593990009102"}',
    b'{"message_id": "1", "hyber_status": 99999999999}',
    b'{"extra_id": "\\ud800"}',
    b'{"message_id": "1", "time": -1}',
]


async def test_what_cannot_be_read_is_refused_in_one_line_without_its_values(
    settings: Settings, log_lines: Lines
) -> None:
    async with gateway_on(with_secret(settings)) as gateway:
        assert [await push(gateway, body) for body in GARBAGE] == [400] * len(GARBAGE)
        assert await push(gateway, b" " * 300_000) == 413

    warnings = [line for line in log_lines if line["log_level"] == "warning"]
    assert warnings == [
        {"event": "reports cannot be read", "bytes": len(body), "log_level": "warning"} for body in GARBAGE
    ]


async def test_a_row_that_cannot_be_applied_stops_no_other(gateway: Gateway, log_lines: Lines) -> None:
    poison = [
        Report(source="hyber", external_id="test-0-1-1", status=str(n), at=0, body=body)
        for n, body in enumerate((b"{", b"[1]", b'{"extra_id": "test-0-1-1", "status": []}'))
    ]
    await gateway.storage.messages.receive(poison)
    await all_applied(gateway)

    async with asyncio.timeout(10):
        while await gateway.storage.messages.waiting_reports(10):
            await asyncio.sleep(0.05)
    assert [line["event"] for line in log_lines if line["log_level"] == "error"] == [
        "a report could not be applied"
    ] * 3


# Who is let in


async def test_the_secret_is_the_only_way_in_and_in_no_log(gateway: Gateway, log_lines: Lines) -> None:
    message = await accepted(gateway)
    report = said(message, 36021)

    wrong = ["x", SECRET.lower(), SECRET[:-1], f"{SECRET}x", "%FF", "%00", "ñ" * 16]
    assert {await push(gateway, report, secret=secret) for secret in wrong} == {404}
    assert await push(gateway, report, secret=f"{SECRET}/x") == 404
    async with gateway.session.get(f"{gateway.url}{REPORTS}/{SECRET}") as response:
        assert response.status == 405
    await all_applied(gateway)
    assert await push(gateway, b"{", secret=SECRET) == 400

    assert await state_of(gateway, message) is State.ACCEPTED
    assert SECRET not in str(log_lines)
    assert {line["path"] for line in log_lines if line["event"] == "request"} == {
        "(none)",
        f"{REPORTS}/{{secret}}",
    }


async def test_without_a_secret_there_is_no_such_address(settings: Settings) -> None:
    async with gateway_on(settings) as gateway:
        assert await push(gateway, []) == 404


# Elsewhere


async def test_where_nothing_is_sent_the_inbox_waits_for_another_process(sending: Settings) -> None:
    async with gateway_on(sending) as gateway:
        message = await accepted(gateway)
        quiet = sending.model_copy(update={"sending": Sending.OWN})
        async with gateway_on(quiet) as door:
            assert await push(door, said(message, 23011)) == 200

        assert (await when(gateway, message.id, State.DELIVERED)).final_at


async def test_while_the_database_is_away_reports_are_not_taken(
    settings: Settings, our_mariadb_url: str, mariadb_server: Mariadb, log_lines: Lines
) -> None:
    settings = with_secret(settings, database_url=SecretStr(our_mariadb_url), timeout=1.0)
    async with gateway_on(settings) as gateway:
        report = {"extra_id": "test-0-1-1", "status": 2}
        mariadb_server.stop()
        try:
            assert await push(gateway, report) == 503
            (line,) = [line for line in log_lines if line["event"] == "reports were not kept"]
            assert re.fullmatch(r"SOURCE_\w+", line["code"])
        finally:
            mariadb_server.start()
        assert await push(gateway, report) == 200
        assert len(await gateway.storage.messages.waiting_reports(10)) == 1


async def test_a_body_that_does_not_arrive_is_not_waited_for(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.reports.SLOWEST_BODY", 0.1)

    async def drip() -> AsyncIterator[bytes]:
        yield b"["
        await asyncio.Event().wait()

    async with gateway_on(with_secret(settings)) as gateway:
        url = f"{gateway.url}{REPORTS}/{SECRET}"
        async with asyncio.timeout(5), gateway.session.post(url, data=drip()) as response:
            assert response.status == 408
