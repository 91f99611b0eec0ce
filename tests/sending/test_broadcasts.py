"""Broadcasts under way: everybody gets theirs once, whatever vendors do, until somebody says stop."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any

import pytest

from adapters import Adapters, open_adapters
from adapters.chatfuel.sandbox import ChatfuelSandbox
from adapters.hyber.message import Sms, Viber
from adapters.hyber.sandbox import ALPHA_NAME, HyberSandbox
from adapters.lines import Line
from adapters.mercately.sandbox import MercatelySandbox
from adapters.rest import Mode
from adapters.storage.audience import Address, Plan, Text, Way
from adapters.storage.broadcasts import Broadcast, NewBroadcast, NothingToRetry, State
from adapters.storage.directory import Entry
from adapters.storage.messages import Event, Message, NewMessage
from adapters.storage.messages import State as Delivery
from resolvers.sending.body import Body, Channel, Content, Template, write_body
from resolvers.sending.cascade import steps_of
from resolvers.sending.letter import Letter, texts_of, write_letter
from resolvers.sending.placeholders import pieces_of
from resolvers.sending.post import Post, Sending, open_post
from tests.gateways import lines_to

SMS, VIBER, MESSENGER, WHATSAPP = Channel.SMS, Channel.VIBER, Channel.MESSENGER, Channel.WHATSAPP
GREETING = "Hola {firstName|tú}"
BY_SMS = Content(sms=Sms(text="Hola", ttl=300, alpha_name=ALPHA_NAME))
PATIENCE = 30
REFUSED = "6024"
"""Hyber's sandbox refuses such numbers."""


@dataclass
class Office:
    adapters: Adapters
    post: Post
    hyber: HyberSandbox
    mercately: MercatelySandbox
    chatfuel: ChatfuelSandbox

    async def people(self, count: int, *, ending: str = "", messenger: int = 0) -> None:
        """The last so many of them are also everyprint's."""
        entries = [
            Entry(
                source="mercately",
                key=f"m{n}{ending}",
                phone=_phone(n, ending),
                first_name=f"Ana{n}",
                as_of=1,
            )
            for n in range(count)
        ]
        entries += [
            Entry(source="everyprint", key=f"7{n:06}", phone=_phone(n, ending), as_of=1)
            for n in range(count - messenger, count)
        ]
        await self.adapters.storage.directory.upsert(entries)

    async def announce(self, *channels: Channel, content: Content = BY_SMS, **said: Any) -> int:
        letter = Letter(content=content, channels=channels)
        ways = tuple(
            Way(each, Address.MESSENGER_ID if each is MESSENGER else Address.PHONE) for each in channels
        )
        texts = (pieces_of(text) for text in texts_of(content).values())
        plan = Plan(
            ways=ways, texts=tuple(Text(fixed=each.fixed, uses=each.uses) for each in texts if each.uses)
        )
        new = NewBroadcast(plan=plan, body=write_letter(letter), **said)
        broadcast, _ = await self.adapters.storage.broadcasts.add(new)
        self.post.wake()
        return broadcast.id

    async def now(self, id: int) -> Broadcast:
        return (await self.adapters.storage.broadcasts.of([id]))[id]

    async def is_(self, id: int, state: State) -> Broadcast:
        async with asyncio.timeout(PATIENCE):
            while (broadcast := await self.now(id)).state is not state or broadcast.phase:
                await asyncio.sleep(0.02)
        return broadcast

    async def counts(self, id: int) -> dict[Delivery, int]:
        return (await self.adapters.storage.broadcasts.counts([id]))[id]

    async def rows(self, id: int, *states: Delivery) -> list[Message]:
        return await self.adapters.storage.broadcasts.deliveries(id, states, 1_000)

    async def sent(self, count: int) -> None:
        """Hyber has taken so many."""
        async with asyncio.timeout(PATIENCE):
            while len(self.hyber.accepted) < count:
                await asyncio.sleep(0.005)

    @property
    def batches(self) -> int:
        return sum("batch" in each.path for each in self.hyber.asked)

    @property
    def got(self) -> Counter[str]:
        """How often each phone was sent something by Hyber."""
        return Counter(f"+{each.phone}" for each in self.hyber.accepted)


def _phone(n: int, ending: str) -> str:
    return f"+5939{n:04}{ending or '1111'}"


@asynccontextmanager
async def office_on(database_url: str, rate: float | None = None) -> AsyncIterator[Office]:
    async with (
        MercatelySandbox() as mercately,
        HyberSandbox(moment=60) as hyber,
        ChatfuelSandbox() as chatfuel,
    ):
        lines = lines_to(mercately, hyber, chatfuel, timeout=1)
        if rate:
            hyber_settings = lines["hyber"].settings.model_copy(update={"rate": rate})
            lines = {**lines, "hyber": Line(Mode.REAL, hyber_settings)}
        async with (
            open_adapters(lines, database_url, database_patience=10) as adapters,
            open_post(adapters, Sending(environment="test")) as post,
        ):
            yield Office(adapters, post, hyber, mercately, chatfuel)


@pytest.fixture
def database_url(our_mariadb_url: str) -> str:
    """One kind: how the ledger is on the other, its own tests say, and those that kill."""
    return our_mariadb_url


@pytest.fixture
async def office(database_url: str) -> AsyncIterator[Office]:
    async with office_on(database_url) as opened:
        yield opened


@pytest.fixture
async def slow(database_url: str) -> AsyncIterator[Office]:
    """Hyber takes no more than a hundred messages a second."""
    async with office_on(database_url, rate=100) as opened:
        yield opened


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has to settle does so at once, and what is to be tried again is."""
    monkeypatch.setattr("resolvers.sending.courier.SETTLE", 0)
    for place in ("courier", "carrier"):
        monkeypatch.setattr(f"resolvers.sending.{place}.AGAIN", 100)


async def test_everybody_gets_it_once_in_few_requests(office: Office) -> None:
    await office.people(450)

    id = await office.announce(SMS)
    broadcast = await office.is_(id, State.COMPLETED)

    assert (len(office.got), max(office.got.values())) == (450, 1)
    assert await office.counts(id) == {Delivery.ACCEPTED: 450}
    assert office.batches <= 4
    assert broadcast.total == 450
    (row,) = [row for row in await office.rows(id) if row.seq == 7]
    assert row.vendor_id
    assert [(event.state, event.channel) for event in row.events] == [(Delivery.ACCEPTED, "sms")]


async def test_each_reads_their_own_name(office: Office) -> None:
    await office.people(3)
    content = Content(sms=Sms(text=GREETING, ttl=300, alpha_name=ALPHA_NAME))

    await office.is_(await office.announce(SMS, content=content), State.COMPLETED)

    assert sorted(each.text or "" for each in office.hyber.accepted) == [
        "Hola Ana0",
        "Hola Ana1",
        "Hola Ana2",
    ]
    assert office.batches == 1


async def test_who_is_on_no_channel_gets_the_next_one(office: Office) -> None:
    await office.people(5, messenger=2)
    content = Content(messenger="Hola", sms=BY_SMS.sms)

    id = await office.announce(MESSENGER, SMS, content=content)
    await office.is_(id, State.COMPLETED)

    assert (len(office.chatfuel.accepted), len(office.got)) == (2, 3)
    assert await office.counts(id) == {Delivery.ACCEPTED: 5}


async def test_different_texts_on_each_channel_go_one_by_one(office: Office) -> None:
    await office.people(3)
    content = Content(viber=Viber(text="Hola", ttl=60), sms=Sms(text="Hi", ttl=300, alpha_name=ALPHA_NAME))

    await office.is_(await office.announce(VIBER, SMS, content=content), State.COMPLETED)

    assert (len(office.got), max(office.got.values()), office.batches) == (3, 1, 0)


async def test_templates_go_through_mercately(office: Office) -> None:
    await office.people(12)
    template = Template(id="997dd550-c8d8-4bf7-ad98-a5ac4844a1ed", parameters=("{firstName}", "b", "c"))

    id = await office.announce(WHATSAPP, content=Content(template=template))
    await office.is_(id, State.COMPLETED)

    assert len(office.mercately.accepted) == 12
    assert await office.counts(id) == {Delivery.ACCEPTED: 12}


async def test_who_is_suppressed_after_it_was_planned_gets_nothing(office: Office) -> None:
    await office.people(4)
    ahead = datetime.now(UTC) + timedelta(seconds=1)
    id = await office.announce(SMS, send_at=ahead)
    await office.is_(id, State.SCHEDULED)
    await office.adapters.storage.messages.suppress(_phone(1, ""), "sms", "asked")

    await office.is_(id, State.COMPLETED)

    assert await office.counts(id) == {Delivery.ACCEPTED: 3, Delivery.SKIPPED: 1}
    assert _phone(1, "") not in office.got
    assert datetime.now(UTC) >= ahead


# Somebody says so


async def test_what_is_paused_stops_within_a_moment_and_goes_on_when_it_is_resumed(slow: Office) -> None:
    await slow.people(150)
    id = await slow.announce(SMS)
    await slow.sent(10)
    await slow.adapters.storage.broadcasts.pause(id)
    paused = len(slow.got)
    await asyncio.sleep(0.5)

    under_way = len(slow.got) - paused
    assert under_way <= 4 * 2, "a portion, which is two of a hundred a second, for each of four hands"
    assert (await slow.now(id)).state is State.PAUSED
    await slow.adapters.storage.broadcasts.resume(id)
    slow.post.wake()
    await slow.is_(id, State.COMPLETED)
    assert (len(slow.got), max(slow.got.values())) == (150, 1)


async def test_what_is_cancelled_stops_for_good_and_what_went_out_is_counted(slow: Office) -> None:
    await slow.people(150)
    id = await slow.announce(SMS)
    await slow.sent(10)
    await slow.adapters.storage.broadcasts.cancel(id)
    slow.post.wake()
    await slow.is_(id, State.CANCELLED)
    await asyncio.sleep(0.5)

    counts, went_out = await slow.counts(id), len(slow.got)
    assert counts == {Delivery.ACCEPTED: went_out, Delivery.CANCELLED: 150 - went_out}
    assert went_out < 50


async def test_only_what_failed_is_sent_again_as_a_new_attempt(office: Office) -> None:
    await office.people(3)
    await office.people(2, ending=REFUSED)
    id = await office.announce(SMS)
    await office.is_(id, State.COMPLETED)
    failed = await office.rows(id, Delivery.FAILED)
    assert [row.vendor_code for row in failed] == ["36024"] * 2

    await office.adapters.storage.broadcasts.retry(id)
    office.post.wake()
    await office.is_(id, State.COMPLETED)

    assert sorted(row.attempt for row in await office.rows(id)) == [1, 1, 1, 2, 2]
    assert (len(office.got), max(office.got.values())) == (3, 1)


async def test_a_single_message_finds_its_way_beside_a_broadcast(slow: Office) -> None:
    await slow.people(200)
    id = await slow.announce(SMS)
    await slow.sent(5)
    body = Body(content=BY_SMS, channels=(SMS,), steps=steps_of(BY_SMS, (SMS,)))
    new = NewMessage(
        phone="+593990001234",
        body=write_body(body),
        channel=SMS,
        due=1,
        events=(Event(state=Delivery.PENDING, channel=SMS),),
    )
    started = monotonic()

    message = (await slow.adapters.storage.messages.add(new)).message
    sent = await slow.post.pump.send(message)

    assert sent
    assert sent.state is Delivery.ACCEPTED
    assert monotonic() - started < 0.7, "it is not the last in a row"
    await slow.adapters.storage.broadcasts.cancel(id)


# The vendors


async def test_a_vendor_who_lets_nobody_in_pauses_it_and_nobody_is_lost(office: Office) -> None:
    await office.people(300)
    office.hyber.trouble("status", path="POST ", status=401)

    id = await office.announce(SMS)
    paused = await office.is_(id, State.PAUSED)

    assert paused.reason
    assert "credentials" in paused.reason
    await asyncio.sleep(0.3)
    assert await office.counts(id) == {Delivery.PENDING: 300}
    office.hyber.heal()
    await office.adapters.storage.broadcasts.resume(id)
    office.post.wake()
    await office.is_(id, State.COMPLETED)
    assert (len(office.got), max(office.got.values())) == (300, 1)


async def test_a_vendor_who_refuses_everybody_for_one_reason_pauses_it(office: Office) -> None:
    await office.people(40)
    office.mercately.trouble("status", path="POST ", status=422)
    template = Template(id="997dd550-c8d8-4bf7-ad98-a5ac4844a1ed", parameters=("a", "b", "c"))

    id = await office.announce(WHATSAPP, content=Content(template=template))
    await office.is_(id, State.PAUSED)

    failed = (await office.counts(id)).get(Delivery.FAILED, 0)
    assert failed <= 40 / 2, "not all of them"


@pytest.mark.parametrize(
    ("kind", "details"),
    [
        ("status", {"status": 429, "headers": {"Retry-After": "1"}}),
        ("status", {"status": 503}),
        ("drop", {}),
        ("reset", {}),
        ("delay", {"seconds": 1.5}),
        ("truncated", {}),
        ("html", {}),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(map(str, value.values())) or "so",
)
async def test_whatever_hyber_does_everybody_gets_it_once(
    office: Office, kind: Any, details: dict[str, Any]
) -> None:
    await office.people(30)
    office.hyber.trouble(kind, path="batch", times=2, **details)

    id = await office.announce(SMS)
    await office.is_(id, State.COMPLETED)

    assert (len(office.got), max(office.got.values())) == (30, 1)
    assert sum((await office.counts(id)).values()) == 30


async def test_what_chatfuel_may_have_taken_is_unknown_and_never_sent_again(office: Office) -> None:
    await office.people(6, messenger=6)
    office.chatfuel.trouble("drop", times=1)

    id = await office.announce(MESSENGER, content=Content(messenger="Hola"))
    await office.is_(id, State.COMPLETED)

    assert await office.counts(id) == {Delivery.ACCEPTED: 5, Delivery.UNKNOWN: 1}
    assert len(office.chatfuel.accepted) == 6
    with pytest.raises(NothingToRetry):
        await office.adapters.storage.broadcasts.retry(id)


async def test_several_broadcasts_go_on_side_by_side(slow: Office) -> None:
    await slow.people(60)

    ids = [await slow.announce(SMS) for _ in range(3)]
    await asyncio.gather(*(slow.is_(id, State.COMPLETED) for id in ids))

    assert set(slow.got.values()) == {3}
    halfway = _broadcasts(slow.hyber.accepted[:90])
    assert all(halfway[str(id)] >= 15 for id in ids), halfway


def _broadcasts(accepted: Sequence[Any]) -> Counter[str]:
    return Counter((each.extra_id or "").split("-")[1] for each in accepted)
