"""A message and its vendors: what is sent -> what the sandboxes took -> what the ledger says."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from time import time
from typing import Any

import pytest
from sqlalchemy import update

from adapters import Adapters, open_adapters
from adapters.chatfuel.sandbox import ChatfuelSandbox
from adapters.hyber import sandbox as hyber_people
from adapters.hyber.message import Sms, Viber, Whatsapp
from adapters.hyber.report import Report
from adapters.hyber.report import State as Reported
from adapters.hyber.sandbox import HyberSandbox
from adapters.mercately.sandbox import MercatelySandbox
from adapters.poster.sandbox import PosterSandbox
from adapters.storage import database as storage
from adapters.storage.messages import ANY_CHANNEL, Event, Id, Message, NewMessage, State
from adapters.storage.tables import DELIVERY
from resolvers.sending.body import Body, Channel, Content, Template, write_body
from resolvers.sending.cascade import SUPPRESSED, steps_of
from resolvers.sending.courier import Courier
from resolvers.sending.pump import Pump
from tests.gateways import lines_to

PHONE = "+593990009102"
MESSENGER_ID = "2418804713350926"
TEMPLATE = "997dd550-c8d8-4bf7-ad98-a5ac4844a1ed"
SMS = Sms(text="Hola", ttl=300, alpha_name="GMSU")
VIBER = Viber(text="Hola", ttl=60)
EVERYTHING = Content(
    viber=VIBER,
    sms=SMS,
    whatsapp=Whatsapp(text="Hola", ttl=604_800),
    messenger="Hola",
)


@dataclass
class Post:
    """A courier and a pump between a ledger and the vendors' sandboxes."""

    adapters: Adapters
    mercately: MercatelySandbox
    hyber: HyberSandbox
    chatfuel: ChatfuelSandbox
    told: list[Id] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.ledger = self.adapters.storage.messages
        self.later = 0.0
        """Seconds that have passed, as the courier sees it."""
        self.courier = Courier(
            self.adapters,
            environment="test",
            callback_url=None,
            told=self._tell,
            clock=lambda: time() + self.later,
        )
        self.pump = Pump(self.ledger, self.courier)

    async def _tell(self, id: Id) -> None:
        self.told.append(id)

    async def queue(self, *channels: Channel, content: Content = EVERYTHING, **said: Any) -> Id:
        steps = steps_of(content, channels)
        body = Body(content=content, channels=channels, steps=steps, text="Hola")
        whole: dict[str, Any] = {
            "phone": PHONE,
            "messenger_id": MESSENGER_ID,
            "body": write_body(body),
            "due": int(time() * 1000),
            "channel": channels[0],
            "events": (Event(state=State.PENDING, channel=channels[0]),),
        }
        message = (await self.ledger.add(NewMessage(**whole | said))).message
        return message.id

    async def sent(self, *channels: Channel, **said: Any) -> Message:
        id = await self.queue(*channels, **said)
        await self.courier.send(id)
        return await self.now(id)

    async def asked(self, id: Id) -> Message:
        """After somebody has looked at it again."""
        await self.courier.ask(await self.now(id))
        return await self.now(id)

    async def now(self, id: Id) -> Message:
        return (await self.ledger.messages([id]))[id]

    async def history(self, id: Id) -> list[tuple[str, str | None]]:
        return [(event.state.value, event.channel) for event in (await self.now(id)).events]

    @property
    def taken(self) -> tuple[int, int, int]:
        """How many messages each vendor took."""
        return len(self.hyber.accepted), len(self.mercately.accepted), len(self.chatfuel.accepted)


@pytest.fixture
async def post(database_url: str) -> AsyncIterator[Post]:
    async with (
        MercatelySandbox() as mercately,
        PosterSandbox() as poster,
        HyberSandbox(moment=0, seconds_per_ttl_second=0) as hyber,
        ChatfuelSandbox() as chatfuel,
        open_adapters(
            lines_to(mercately, poster, hyber, chatfuel, timeout=0.5), database_url, database_patience=10
        ) as adapters,
    ):
        yield Post(adapters, mercately, hyber, chatfuel)


def template(*parameters: str) -> Content:
    return Content(template=Template(id=TEMPLATE, parameters=parameters))


# Each vendor


async def test_neighbouring_channels_of_hyber_are_one_request(post: Post) -> None:
    message = await post.sent(Channel.VIBER, Channel.SMS, Channel.MESSENGER)

    (accepted,) = post.hyber.accepted
    assert (message.state, message.channel, message.vendor_id) == (
        State.ACCEPTED,
        "viber",
        accepted.message_id,
    )
    assert accepted.extra_id == f"test-0-{message.seq}-1"
    body = post.hyber.asked[-1].body
    assert (body["channels"], body["phone_number"]) == (["viber", "sms"], int(PHONE))
    assert post.taken == (1, 0, 0)
    assert post.told == [message.id, message.id]


async def test_a_template_goes_to_mercately_and_a_text_to_the_bot(post: Post) -> None:
    by_template = await post.sent(Channel.WHATSAPP, content=template("a", "b", "c"), phone="+221770009101")
    by_bot = await post.sent(Channel.MESSENGER)

    assert (by_template.state, by_bot.state) == (State.ACCEPTED, State.ACCEPTED)
    assert (by_template.due, by_bot.due) == (None, None), "nothing more will be heard of them"
    assert post.taken == (0, 1, 1)
    assert post.chatfuel.accepted[0].attributes == {"text": "Hola"}


# What became of it


@pytest.mark.parametrize(
    ("person", "state", "code"),
    [
        ("0102", State.DELIVERED, None),
        (hyber_people.SEES, State.SEEN, None),
        (hyber_people.FAILS, State.FAILED, "36021"),
        (hyber_people.EXPIRES, State.EXPIRED, "35015"),
        (hyber_people.SILENT, State.EXPIRED, "-1"),
    ],
)
async def test_what_hyber_says_when_it_is_asked_is_what_the_ledger_says(
    post: Post, person: str, state: State, code: str | None
) -> None:
    message = await post.sent(Channel.VIBER, phone=f"+59399000{person}")
    await post.hyber.settled()
    if person == hyber_people.SILENT:
        waiting = await post.asked(message.id)
        assert waiting.state is State.ACCEPTED, "its time is not over"
        assert (waiting.due or 0) - time() * 1000 + 500 >= 1_000
        post.later = 60 + 61

    asked = await post.asked(message.id)

    assert (asked.state, asked.vendor_code) == (state, code)
    assert asked.final_at
    assert asked.due is None


async def test_a_step_that_did_not_deliver_is_followed_by_the_next(post: Post) -> None:
    message = await post.sent(
        Channel.VIBER, Channel.MESSENGER, Channel.SMS, phone=f"+59399000{hyber_people.FAILS}"
    )
    await post.hyber.settled()

    following = await post.asked(message.id)
    after = await post.asked(message.id)

    assert (following.state, following.channel, following.step) == (State.PENDING, "messenger", 1)
    assert (after.state, after.channel) == (State.ACCEPTED, "messenger")
    assert await post.history(message.id) == [
        ("pending", "viber"),
        ("accepted", "viber"),
        ("failed", "viber"),
        ("pending", "messenger"),
        ("accepted", "messenger"),
    ]
    assert post.taken == (1, 0, 1)


async def test_a_number_that_is_refused_has_failed_with_the_vendors_code(post: Post) -> None:
    message = await post.sent(Channel.SMS, phone=f"+59399000{hyber_people.REFUSED}")

    assert message.state is State.FAILED
    assert (message.failure_code, message.vendor_code) == ("SOURCE_REJECTED", "36024")
    assert post.taken == (0, 0, 0)


async def test_who_is_not_reached_by_one_vendor_is_by_the_next_at_once(post: Post) -> None:
    id = await post.queue(Channel.SMS, Channel.MESSENGER, phone=f"+59399000{hyber_people.REFUSED}")

    await post.courier.send(id)
    message = await post.asked(id)

    assert (message.state, message.channel) == (State.ACCEPTED, "messenger")
    assert (message.vendor_code, post.taken) == ("36024", (0, 0, 1))


async def test_an_address_that_wants_nothing_gets_nothing(post: Post) -> None:
    await post.ledger.suppress(PHONE, "viber", "asked")
    some = await post.sent(Channel.VIBER, Channel.SMS)
    await post.ledger.suppress(PHONE, ANY_CHANNEL, "asked again")
    nothing = await post.sent(Channel.VIBER, Channel.SMS)

    assert some.state is State.ACCEPTED
    assert [(event.state, event.channel, event.reason) for event in some.events[1:]] == [
        (State.SKIPPED, "viber", SUPPRESSED),
        (State.ACCEPTED, "sms", None),
    ]
    assert post.hyber.asked[-1].body["channels"] == ["sms"]
    assert (nothing.state, post.taken) == (State.SKIPPED, (1, 0, 0))


# Trouble: how often the vendor takes it, and what the ledger says at the end

CHANNELS: dict[str, tuple[Channel, Content]] = {
    "hyber": (Channel.SMS, EVERYTHING),
    "mercately": (Channel.WHATSAPP, template("a", "b", "c")),
    "chatfuel": (Channel.MESSENGER, EVERYTHING),
}
IN_DOUBT: list[dict[str, Any]] = [
    {"kind": "drop"},
    {"kind": "reset"},
    {"kind": "truncated"},
    {"kind": "delay", "seconds": 1},
    {"kind": "status", "status": 500},
]


@pytest.mark.parametrize("trouble", IN_DOUBT, ids=str)
@pytest.mark.parametrize("source", CHANNELS)
async def test_what_may_have_been_taken_is_taken_once_or_unknown(
    post: Post, source: str, trouble: dict[str, Any]
) -> None:
    channel, content = CHANNELS[source]
    sandbox = getattr(post, source)
    sandbox.trouble(path="POST ", times=1, **trouble)

    message = await post.sent(channel, content=content, phone="+221770009101")
    await asyncio.sleep(1.1 if trouble["kind"] == "delay" else 0)  # it takes it after we stopped waiting
    if source == "hyber":
        assert message.state is State.SENDING
        message = await post.asked(message.id)
        if message.state is State.PENDING:  # it has never heard of it
            message = await post.asked(message.id)

    went_well = (State.ACCEPTED, State.DELIVERED)
    assert message.state in (went_well if source == "hyber" else (State.UNKNOWN,))
    taken = len(sandbox.accepted)
    assert taken == 1 if source == "hyber" else taken <= 1
    assert (await post.asked(message.id)).state is not State.PENDING
    assert len(sandbox.accepted) == taken


@pytest.mark.parametrize("source", CHANNELS)
async def test_what_was_taken_while_the_ledger_was_locked_is_not_sent_again(
    post: Post, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel, content = CHANNELS[source]
    sandbox, database = getattr(post, source), post.ledger._database
    sandbox.trouble("delay", path="POST ", seconds=0.3)
    id = await post.queue(channel, content=content, phone="+221770009101")
    sending = asyncio.create_task(post.courier.send(id))
    async with asyncio.timeout(10):
        while not sandbox.count("/send") + sandbox.count("_by_id") + sandbox.count("/4075"):
            await asyncio.sleep(0.01)
    monkeypatch.setattr(storage, "PATIENCE_IN_TURN", 0.6)
    database.patience = 0.6
    async with asyncio.timeout(10), database.writes.begin() as connection:
        await connection.execute(update(DELIVERY).values(tag=DELIVERY.c.tag))
        while not database.record.errors:  # that it was taken cannot be written down
            await asyncio.sleep(0.01)
    database.patience = 10
    await sending
    post.later = 60
    for _ in range(3):
        message = await post.asked(id)

    assert message.state in ((State.ACCEPTED, State.DELIVERED) if source == "hyber" else (State.UNKNOWN,))
    assert post.taken.count(1) == 1
    assert sum(post.taken) == 1


@pytest.mark.parametrize("source", CHANNELS)
async def test_a_vendor_that_is_busy_is_asked_again_when_it_said(post: Post, source: str) -> None:
    channel, content = CHANNELS[source]
    sandbox = getattr(post, source)
    sandbox.trouble("status", path="POST ", times=1, status=429, headers={"Retry-After": "7"})

    message = await post.sent(channel, content=content, phone="+221770009101")

    assert message.state is State.PENDING
    assert message.due
    assert 6_000 < message.due - time() * 1000 <= 7_000
    assert sandbox.accepted == []


@pytest.mark.parametrize("source", CHANNELS)
async def test_what_never_reached_a_vendor_is_tried_again(post: Post, source: str) -> None:
    channel, content = CHANNELS[source]
    sandbox = getattr(post, source)
    await sandbox.stop()

    message = await post.sent(channel, content=content)

    assert (message.state, message.attempt) == (State.PENDING, 1)
    assert (message.due or 0) > time() * 1000


@pytest.mark.parametrize("source", CHANNELS)
async def test_a_vendor_that_refuses_our_credentials_has_failed_the_message(post: Post, source: str) -> None:
    channel, content = CHANNELS[source]
    getattr(post, source).trouble("status", path="POST ", times=1, status=401)

    message = await post.sent(channel, content=content)

    assert (message.state, message.failure_code) == (State.FAILED, "SOURCE_MISCONFIGURED")


async def test_a_bot_is_asked_25_times_a_second_and_no_more(post: Post) -> None:
    ids = [await post.queue(Channel.MESSENGER) for _ in range(60)]
    began = time()

    await asyncio.gather(*(post.courier.send(id) for id in ids))

    took = time() - began
    rows = [await post.now(id) for id in ids]
    put_back = [row for row in rows if row.state is State.PENDING]
    assert len(post.chatfuel.accepted) == 60 - len(put_back) <= 25 * took + 1
    assert put_back
    assert all(row.due for row in put_back)
    assert not [one for one in rows if one.state not in (State.PENDING, State.ACCEPTED)]


# Reports


def told(message: Message, state: Reported, *, attempt: int = 1, environment: str = "test") -> Report:
    extra_id = f"{environment}-{message.broadcast_id}-{message.seq}-{attempt}"
    return Report(state=state, extra_id=extra_id, channel="sms", vendor_code="1")


REPORTS: dict[str, tuple[list[Callable[[Message], Report]], State]] = {
    "twice": ([lambda m: told(m, Reported.DELIVERED)] * 2, State.DELIVERED),
    "out of order": (
        [
            lambda m: told(m, Reported.SEEN),
            lambda m: told(m, Reported.DELIVERED),
            lambda m: told(m, Reported.SENT),
        ],
        State.SEEN,
    ),
    "of another environment": ([lambda m: told(m, Reported.FAILED, environment="prod")], State.ACCEPTED),
    "of an attempt that never was": ([lambda m: told(m, Reported.FAILED, attempt=9)], State.ACCEPTED),
    "of nothing of ours": (
        [lambda m: Report(state=Reported.FAILED, extra_id="AD-6640-7006")],
        State.ACCEPTED,
    ),
    "without an id": ([lambda m: Report(state=Reported.FAILED)], State.ACCEPTED),
    "of an unknown message": (
        [lambda m: Report(state=Reported.FAILED, extra_id=f"test-0-{m.seq + 1}-1")],
        State.ACCEPTED,
    ),
}


@pytest.mark.parametrize(("reports", "state"), REPORTS.values(), ids=REPORTS)
async def test_reports_only_lead_up_however_they_come(
    post: Post, reports: list[Callable[[Message], Report]], state: State
) -> None:
    message = await post.sent(Channel.SMS)

    for report in reports:
        await post.courier.apply([report(message)])

    assert (await post.now(message.id)).state is state


async def test_a_report_may_come_before_we_know_that_the_message_was_taken(post: Post) -> None:
    post.hyber.trouble("drop", path="POST ", times=1)
    message = await post.sent(Channel.SMS)
    assert message.state is State.SENDING

    await post.courier.apply([told(message, Reported.DELIVERED)])

    assert (await post.now(message.id)).state is State.DELIVERED
    assert (await post.now(message.id)).due is None


# The pump


async def settled(post: Post, turns: int = 1) -> None:
    for _ in range(turns):
        await post.pump.turn()
        await post.pump.idle()


async def test_the_pump_sends_what_is_due_and_nothing_before(post: Post) -> None:
    soon = int(time() * 1000) + 60_000
    due, later = await post.queue(Channel.SMS), await post.queue(Channel.SMS, due=soon)

    await settled(post)

    assert (await post.now(due)).state is State.ACCEPTED
    assert (await post.now(later)).state is State.PENDING


async def test_two_pumps_send_each_message_once(post: Post) -> None:
    ids = [await post.queue(Channel.SMS) for _ in range(15)]
    other = Pump(post.ledger, post.courier)

    await asyncio.gather(
        post.pump.turn(), other.turn(), *[post.pump.send(await post.now(id)) for id in ids[:5]]
    )
    await asyncio.gather(post.pump.idle(), other.idle())

    assert sorted(each.extra_id or "" for each in post.hyber.accepted) == sorted(
        f"test-0-{id.seq}-1" for id in ids
    )


async def test_whoever_waits_for_a_message_may_leave(post: Post) -> None:
    post.hyber.trouble("delay", path="POST ", seconds=0.2)
    id = await post.queue(Channel.SMS)

    sending = post.pump.send(await post.now(id))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(sending), 0.05)
    await post.pump.idle()

    assert (await post.now(id)).state is State.ACCEPTED
