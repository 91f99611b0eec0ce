"""Whom a broadcast is for: each person once, each address once, whoever is killed while it is planned."""

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from time import time
from typing import Any, NamedTuple

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from hypothesis import strategies as some
from sqlalchemy import Connection, delete, select

from adapters.storage.audience import (
    MISSING,
    NO_MESSENGER_ID,
    NO_OPT_IN,
    NO_PHONE,
    SUPPRESSED,
    TOO_LONG,
    Address,
    Plan,
    Text,
    Use,
    Value,
    Way,
    read_part,
)
from adapters.storage.broadcasts import Broadcast, Broadcasts, NewBroadcast, Phase, State
from adapters.storage.client import Storage, open_storage
from adapters.storage.directory import Entry
from adapters.storage.everyprint import NotFound
from adapters.storage.identity import Key, order
from adapters.storage.messages import ANY_CHANNEL, Event, KeyReused, Message, NewMessage
from adapters.storage.messages import State as Sending
from adapters.storage.migrations.run import config
from adapters.storage.tables import BROADCAST, CHUNK, DELIVERY, ENTRY, RECIPIENT, SUPPRESSION, LinkRow, now
from tests.properties import holds_for_any

SMS, MESSENGER = Way("sms", Address.PHONE), Way("messenger", Address.MESSENGER_ID)
WHATSAPP = Way("whatsapp", Address.PHONE, asks_opt_in=True)
PHONE, OTHER_PHONE = "+593990009102", "+593990009103"
BY_SMS = Plan(ways=(SMS,))
FIRST, LAST = Use(Value.FIRST_NAME), Use(Value.LAST_NAME, "friend")
HOUR = 3_600_000


@pytest.fixture
def broadcasts(storage: Storage) -> Broadcasts:
    return storage.broadcasts


def entry(source: str, id: str, phone: str | None = None, **said: Any) -> Entry:
    opt_in = said.pop("opt_in", None)
    profile = {"notes": 'She said: "\\u00bfqu\\u00e9?"', "whatsapp_opt_in": opt_in}
    return Entry(source=source, key=id, phone=phone, as_of=1, profile=json.dumps(profile).encode(), **said)


def moment() -> int:
    return int(time() * 1000)


async def add(broadcasts: Broadcasts, plan: Plan = BY_SMS, **said: Any) -> Broadcast:
    broadcast, _ = await broadcasts.add(NewBroadcast(plan=plan, body=b'{"text":"Hola"}', **said))
    return broadcast


async def done(broadcasts: Broadcasts, broadcast: Broadcast) -> Broadcast:
    """After all steps of its phase."""
    while await broadcasts.step(broadcast.id, "us", moment()):
        pass
    return (await broadcasts.of([broadcast.id]))[broadcast.id]


async def rows_of(broadcasts: Broadcasts, broadcast: Broadcast) -> list[Message]:
    return await broadcasts.deliveries(broadcast.id, (), 10_000)


async def planned(broadcasts: Broadcasts, plan: Plan = BY_SMS, **said: Any) -> list[Message]:
    broadcast = await done(broadcasts, await add(broadcasts, plan, **said))
    rows = await rows_of(broadcasts, broadcast)
    assert broadcast.total == len(rows)
    assert broadcast.phase is None
    return rows


def told(row: Message) -> tuple[str | None, list[str], str | None]:
    """The first channel, all of them, and why there is none."""
    assert (row.state is Sending.SKIPPED) is (row.final_at is not None) is (row.channel is None)
    assert (row.step, row.attempt, row.due) == (0, 0, None)
    return row.channel, list(read_part(row.body).channels or ()), row.failure_text


# Whom, and how


@pytest.mark.parametrize(
    ("ways", "entries", "expected"),
    [
        ((SMS,), [entry("mercately", "m1", PHONE)], ("sms", ["sms"], None)),
        ((SMS,), [entry("mercately", "m1")], (None, [], NO_PHONE)),
        ((SMS,), [entry("mercately", "m1", "0990009102")], (None, [], NO_PHONE)),
        ((SMS,), [entry("mercately", "m1", "+5939900091021234")], (None, [], NO_PHONE)),
        ((SMS, MESSENGER), [entry("everyprint", "24", PHONE)], ("sms", ["sms", "messenger"], None)),
        ((MESSENGER, SMS), [entry("everyprint", "24", PHONE)], ("messenger", ["messenger", "sms"], None)),
        ((SMS, MESSENGER), [entry("everyprint", "24")], ("messenger", ["messenger"], None)),
        ((SMS, MESSENGER), [entry("poster", "1")], (None, [], f"{NO_PHONE} {NO_MESSENGER_ID}")),
        ((MESSENGER,), [entry("poster", "1", PHONE)], (None, [], NO_MESSENGER_ID)),
        ((WHATSAPP,), [entry("mercately", "m1", PHONE, opt_in=True)], ("whatsapp", ["whatsapp"], None)),
        ((WHATSAPP,), [entry("mercately", "m1", PHONE, opt_in=None)], ("whatsapp", ["whatsapp"], None)),
        ((WHATSAPP,), [entry("poster", "1", PHONE, opt_in=False)], ("whatsapp", ["whatsapp"], None)),
        ((WHATSAPP,), [entry("mercately", "m1", PHONE, opt_in=False)], (None, [], NO_OPT_IN)),
        ((WHATSAPP, SMS), [entry("mercately", "m1", PHONE, opt_in=False)], ("sms", ["sms"], None)),
        (
            (WHATSAPP, MESSENGER),
            [entry("mercately", "m1", PHONE, opt_in=False)],
            (None, [], f"{NO_MESSENGER_ID} {NO_OPT_IN}"),
        ),
    ],
)
async def test_a_person_is_reached_by_the_first_channel_that_can(
    storage: Storage, ways: tuple[Way, ...], entries: list[Entry], expected: tuple[Any, ...]
) -> None:
    await storage.directory.upsert(entries)

    (row,) = await planned(storage.broadcasts, Plan(ways=ways))

    assert told(row) == expected
    assert [(event.state, event.reason) for event in row.events] == (
        [(Sending.SKIPPED, row.failure_text)] if row.failure_text else []
    )


@pytest.mark.parametrize(
    ("channel", "expected"),
    [
        ("sms", ("messenger", ["messenger"], None)),
        ("viber", ("sms", ["sms", "messenger"], None)),
        (ANY_CHANNEL, ("messenger", ["messenger"], None)),
    ],
)
async def test_who_wants_nothing_at_an_address_gets_nothing_there(
    storage: Storage, channel: str, expected: tuple[Any, ...]
) -> None:
    await storage.directory.upsert([entry("everyprint", "24", PHONE)])
    await storage.messages.suppress(PHONE, channel, "asked")

    (row,) = await planned(storage.broadcasts, Plan(ways=(SMS, MESSENGER)))
    assert told(row) == expected
    if channel != "viber":
        (row,) = await planned(storage.broadcasts, BY_SMS)
        assert told(row) == (None, [], SUPPRESSED)


async def test_where_entries_differ_the_first_in_the_order_of_identity_is_right(storage: Storage) -> None:
    """Of two in one source, the one whose number is lower, though as a text it is the higher."""
    await storage.directory.upsert(
        [
            entry("poster", "7", OTHER_PHONE, first_name="Poster", last_name="P", email="p@x"),
            entry("mercately", "4880abcde10", PHONE, first_name="Ten", last_name="T"),
            entry("mercately", "4880zzzzz9", PHONE, first_name="Nine"),
            entry("everyprint", "24", PHONE),
        ]
    )
    await storage.links.link([Key("poster", "7"), Key("everyprint", "24")])
    uses = FIRST, LAST, Use(Value.PHONE), Use(Value.EMAIL)
    plan = Plan(ways=(MESSENGER, SMS), texts=(Text(fixed=1, uses=uses),))

    (row,) = await planned(storage.broadcasts, plan)

    assert (row.phone, row.messenger_id) == (PHONE, "24")
    assert read_part(row.body).values == {
        Value.FIRST_NAME: "Nine",
        Value.LAST_NAME: "T",
        Value.PHONE: PHONE,
        Value.EMAIL: "p@x",
    }


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("Awa", Text(fixed=7, uses=(FIRST,), longest=10), None),
        ("Awaa", Text(fixed=7, uses=(FIRST,), longest=10), TOO_LONG),
        ("José", Text(fixed=6, uses=(FIRST,), longest=10), None),
        ("Awa", Text(fixed=4, uses=(FIRST, FIRST), longest=10), None),
        ("Awa", Text(fixed=5, uses=(FIRST, FIRST), longest=10), TOO_LONG),
        ("Awa", Text(fixed=4, uses=(LAST,), longest=10), None),
        ("Awa", Text(fixed=5, uses=(LAST,), longest=10), TOO_LONG),
        (None, Text(fixed=0, uses=(LAST,)), None),
        (None, Text(fixed=0, uses=(FIRST,)), MISSING[Value.FIRST_NAME]),
        ("Awa", Text(fixed=0, uses=(Use(Value.EMAIL),)), MISSING[Value.EMAIL]),
    ],
)
async def test_who_lacks_a_value_or_has_too_long_a_one_is_skipped(
    storage: Storage, name: str | None, text: Text, why: str | None
) -> None:
    await storage.directory.upsert([entry("mercately", "m1", PHONE, first_name=name)])

    (row,) = await planned(storage.broadcasts, Plan(ways=(SMS,), texts=(text,)))

    assert row.failure_text == why


@pytest.mark.parametrize(
    "name", ['O"Brien', "back\\slash", "José 🎁", "tab\there", "{firstName}", "'; --", "%s"]
)
async def test_a_name_is_kept_as_it_is_written(storage: Storage, name: str) -> None:
    await storage.directory.upsert([entry("mercately", "m1", PHONE, first_name=name)])

    (row,) = await planned(storage.broadcasts, Plan(ways=(SMS,), texts=(Text(fixed=1, uses=(FIRST,)),)))

    assert read_part(row.body).values == {Value.FIRST_NAME: name}


async def test_two_people_with_one_phone_get_one_message(storage: Storage) -> None:
    await storage.directory.upsert([entry("mercately", f"m{n}", PHONE) for n in (1, 2)])
    await storage.links.unlink(Key("mercately", "m2"))

    rows = await planned(storage.broadcasts)

    assert [row.phone for row in rows] == [PHONE]
    assert (await storage.broadcasts.preview(BY_SMS)).by_channel == {"sms": 1}


async def test_a_group_or_a_list_is_those_people_each_once(storage: Storage) -> None:
    everybody = [entry("mercately", f"m{n}", f"+59399000910{n}") for n in range(6)]
    clients = [entry("poster", str(n + 1), f"+59399000910{n}", group_key="3") for n in range(3)]
    await storage.directory.upsert([*everybody, *clients])
    group = await storage.everyprint.create_group("VIP")
    members = [Key("mercately", "m1"), Key("poster", "2"), Key("mercately", "m5"), Key("poster", "404")]
    await storage.everyprint.add_members(group.id, members)
    listed = ("poster:3", "mercately:m2", "mercately:m4", "mercately:nobody")

    async def numbers(**said: Any) -> list[str]:
        plan = Plan(ways=(SMS,), **{name: said[name] for name in said if name != "keys"})
        keys = said.get("keys", ())
        broadcast = await done(storage.broadcasts, await add(storage.broadcasts, plan, listed=keys))
        assert (await storage.broadcasts.preview(plan, keys)).recipients == broadcast.total
        return sorted(str(row.phone)[-1] for row in await rows_of(storage.broadcasts, broadcast))

    for storage.broadcasts.page_size in (1, 2, 3, 100):
        assert await numbers() == ["0", "1", "2", "3", "4", "5"]
        assert await numbers(group=Key("everyprint", str(group.id))) == ["1", "5"]
        assert await numbers(group=Key("poster", "3")) == ["0", "1", "2"]
        assert await numbers(group=Key("poster", "404")) == []
    assert await numbers(listed=len(listed), keys=listed) == ["2", "4"]


# Preview


class Town(NamedTuple):
    entries: list[Entry]
    unlinked: list[Key]
    suppressed: list[tuple[str, str]]
    plan: Plan


PHONES = [f"+59399000910{n}" for n in range(4)]
OTHERS = [None, None, "0990009100", "+5939900091021234"]
NAMES = [None, "Awa", "José", 'O"Brien', "Ngọc 🎁", "x" * 40]
VALUES = some.sampled_from(list(Value))
USES = some.lists(some.builds(Use, VALUES, some.sampled_from([None, "", "friend"])), min_size=1, max_size=3)
TEXTS = some.builds(
    lambda fixed, uses, longest: Text(fixed=fixed, uses=tuple(uses), longest=longest),
    some.integers(0, 20),
    USES,
    some.sampled_from([None, 20, 40]),
)
WAYS = some.permutations([SMS, MESSENGER, WHATSAPP]).flatmap(
    lambda ways: some.integers(1, 3).map(lambda count: tuple(ways[:count]))
)
PLANS = some.builds(
    lambda ways, texts: Plan(ways=ways, texts=tuple(texts)), WAYS, some.lists(TEXTS, max_size=2)
)
KEYS = some.tuples(some.sampled_from(["everyprint", "mercately", "poster"]), some.integers(1, 12))
ENTRIES = some.builds(
    lambda key, phone, first, last, opt_in: entry(
        key[0], str(key[1]), phone, first_name=first, last_name=last, opt_in=opt_in
    ),
    KEYS,
    some.sampled_from(PHONES + OTHERS),
    some.sampled_from(NAMES),
    some.sampled_from(NAMES),
    some.sampled_from([None, True, False]),
)
ADDRESSES = some.sampled_from([*PHONES, "1", "2", "3"])
HOUSES = some.lists(  # with whom of them is unlinked
    some.tuples(ENTRIES, some.sampled_from([False, False, True])),
    max_size=25,
    unique_by=lambda house: (house[0].source, house[0].key),
)
TOWNS = some.builds(
    lambda houses, suppressed, plan: Town(
        [entry for entry, _ in houses],
        [Key(entry.source, entry.key) for entry, is_apart in houses if is_apart],
        suppressed,
        plan,
    ),
    HOUSES,
    some.lists(some.tuples(ADDRESSES, some.sampled_from(["", "sms", "whatsapp", "messenger"])), max_size=3),
    PLANS,
)


async def test_a_preview_says_what_planning_then_does_and_both_what_the_rules_say(storage: Storage) -> None:
    broadcasts = storage.broadcasts

    async def claim(town: Town) -> None:
        await settle(storage, town)
        for broadcasts.page_size in (3, 1_000):
            preview = await broadcasts.preview(town.plan)
            rows = await planned(broadcasts, town.plan)
            assert preview.recipients == len(rows)
            assert preview.by_channel == Counter(row.channel for row in rows if row.channel)
            assert preview.unreachable == Counter(row.failure_text for row in rows if row.failure_text)
            bodies = {(row.channel, row.phone, row.messenger_id): row.body for row in rows if row.channel}
            assert len(preview.samples) >= min(5, len(bodies)) - 2, "but for those of shared phones"
            for sample in preview.samples:
                if (sample.phone or "") not in await shared(storage):
                    assert bodies[sample.channel, sample.phone, sample.messenger_id] == sample.part
        assert sorted(map(told, rows), key=str) == await by_the_rules(storage, town)

    await holds_for_any(TOWNS, claim, examples=60)


async def test_recipients_are_summed_up_as_the_migration_to_them_does(storage: Storage) -> None:
    """Which is one statement, and knows nothing of what we do today."""
    migration: Any = ScriptDirectory.from_config(config()).get_revision("0011")
    statement = migration.module.summed_up(storage._engine.dialect.name)

    async def claim(town: Town) -> None:
        await settle(storage, town)
        rows = select(RECIPIENT).order_by(RECIPIENT.c.person)
        async with storage._engine.execution_options(writes=True).begin() as connection:
            kept = (await connection.execute(rows)).all()
            await connection.execute(delete(RECIPIENT))
            await connection.exec_driver_sql(statement)
            assert (await connection.execute(rows)).all() == kept

    await holds_for_any(TOWNS, claim, examples=40)


async def settle(storage: Storage, town: Town) -> None:
    async with storage._engine.execution_options(writes=True).begin() as connection:
        for table in (ENTRY, RECIPIENT, SUPPRESSION, DELIVERY, CHUNK, BROADCAST):
            await connection.execute(delete(table))
        await connection.execute(delete(LinkRow))
    await storage.directory.upsert(town.entries)
    for key in town.unlinked:
        await storage.links.unlink(key)
    for address, channel in town.suppressed:
        await storage.messages.suppress(address, channel, "asked")


async def shared(storage: Storage) -> set[str]:
    async with storage._engine.connect() as connection:
        rows = (await connection.execute(select(ENTRY.c.phone, ENTRY.c.person).distinct())).all()
    return {phone for phone, many in Counter(row.phone for row in rows if row.phone).items() if many > 1}


async def by_the_rules(storage: Storage, town: Town) -> list[tuple[str | None, list[str], str | None]]:
    """Told person by person, in the order in which a page of all of them meets their addresses."""
    async with storage._engine.connect() as connection:
        persons = sorted(set(await connection.scalars(select(ENTRY.c.person))))
    people = await storage.directory.of_persons(persons)
    seen, outcomes = set[str](), []
    for person in persons:
        entries = sorted(people[person], key=lambda entry: order(Key(entry.source, entry.key)))
        channel, channels, why, address = judge(town, entries)
        if address is None or address not in seen:
            outcomes.append((channel, channels, why))
        if address:
            seen.add(address)
    return sorted(outcomes, key=str)


def judge(town: Town, entries: Sequence[Entry]) -> tuple[str | None, list[str], str | None, str | None]:
    phones = (entry.phone for entry in entries if entry.phone)
    phone = next((phone for phone in phones if phone.startswith("+") and len(phone) <= 16), None)
    messenger_id = next((entry.key for entry in entries if entry.source == "everyprint"), None)
    opt_ins = (json.loads(entry.profile) for entry in entries if entry.source == "mercately")
    said_no = next(opt_ins, {"whatsapp_opt_in": None})["whatsapp_opt_in"] is False
    values = {
        Value.FIRST_NAME: next((entry.first_name for entry in entries if entry.first_name), None),
        Value.LAST_NAME: next((entry.last_name for entry in entries if entry.last_name), None),
        Value.PHONE: phone,
        Value.EMAIL: None,
    }
    channels, reasons = dict[str, str](), set[str]()
    for way in town.plan.ways:
        address = phone if way.address is Address.PHONE else messenger_id
        suppressed = {(address, ANY_CHANNEL), (address, way.channel)} & set(town.suppressed)
        reasons |= {SUPPRESSED} if suppressed else set()
        reasons |= {NO_OPT_IN} if address and way.asks_opt_in and said_no else set()
        if address is None:
            reasons.add(NO_PHONE if way.address is Address.PHONE else NO_MESSENGER_ID)
        elif not suppressed and not (way.asks_opt_in and said_no):
            channels[way.channel] = address
    if not channels:
        kinds = NO_PHONE, NO_MESSENGER_ID, NO_OPT_IN, SUPPRESSED
        return None, [], " ".join(kind for kind in kinds if kind in reasons), None
    for value in Value:
        uses = [use for text in town.plan.texts for use in text.uses if use.value is value]
        if values[value] is None and any(use.default is None for use in uses):
            return None, list(channels), MISSING[value], None
    for text in town.plan.texts:
        length = text.fixed + sum(len(values[use.value] or use.default or "") for use in text.uses)
        if text.longest is not None and length > text.longest:
            return None, list(channels), TOO_LONG, None
    channel, address = next(iter(channels.items()))
    return channel, list(channels), None, address


async def test_five_samples_are_those_who_are_reached_first(storage: Storage) -> None:
    people = [
        entry("mercately", f"m{n}", PHONE[:-1] + str(n) if n else None, first_name=f"N{n}") for n in range(9)
    ]
    await storage.directory.upsert(people)
    plan = Plan(ways=(SMS,), texts=(Text(fixed=1, uses=(FIRST,)),))

    for storage.broadcasts.page_size in (2, 100):
        samples = (await storage.broadcasts.preview(plan)).samples
        assert [sample.person for sample in samples] == [f"mercately:m{n}" for n in (1, 2, 3, 4, 5)]
        assert [read_part(sample.part).values[Value.FIRST_NAME] for sample in samples] == [
            f"N{n}" for n in (1, 2, 3, 4, 5)
        ]


# Planned once


@pytest.fixture
async def crowd(storage: Storage) -> list[str]:
    """The phones of 230 people, one in ten of whom has none."""
    phones = [f"+5939900{n:05}" if n % 10 else None for n in range(230)]
    people = [entry("mercately", f"m{n}", phone) for n, phone in enumerate(phones)]
    await storage.directory.upsert(people)
    return sorted(filter(None, phones))


async def assert_planned_whole(broadcasts: Broadcasts, broadcast: Broadcast, crowd: list[str]) -> None:
    after = (await broadcasts.of([broadcast.id]))[broadcast.id]
    rows = await rows_of(broadcasts, broadcast)
    assert (after.state, after.phase, after.total, len(rows)) == (State.RUNNING, None, 230, 230)
    assert sorted(row.phone for row in rows if row.phone) == crowd
    assert await broadcasts.counts([broadcast.id]) == {
        broadcast.id: {Sending.PENDING: len(crowd), Sending.SKIPPED: 23}
    }
    async with broadcasts._database.reads.connect() as connection:
        chunks = (await connection.execute(select(CHUNK).where(CHUNK.c.broadcast_id == broadcast.id))).all()
    in_chunks = sorted(seq for chunk in chunks for seq in range(chunk.lo, chunk.hi + 1))
    assert in_chunks == sorted(row.seq for row in rows if row.state is Sending.PENDING)


async def test_planning_that_is_given_up_at_any_point_goes_on_where_it_was(
    storage: Storage, database_url: str, crowd: list[str]
) -> None:
    broadcast, steps, at = await add(storage.broadcasts), 0, moment()
    while await storage.broadcasts.in_phase(at):
        async with open_storage(database_url, patience=10) as other:
            other.broadcasts.page_size = 20
            step = asyncio.create_task(other.broadcasts.step(broadcast.id, f"owner {steps}", at))
            await asyncio.sleep(0.001 * (steps % 12))
            if steps % 3:
                step.cancel()
            await asyncio.wait([step])
        steps, at = steps + 1, at + HOUR
        assert steps < 200

    await assert_planned_whole(storage.broadcasts, broadcast, crowd)


async def test_of_two_planners_at_once_one_does_each_step(
    storage: Storage, database_url: str, crowd: list[str]
) -> None:
    broadcast, at = await add(storage.broadcasts), moment()

    async with open_storage(database_url, patience=10) as other:

        async def work(broadcasts: Broadcasts, owner: str) -> int:
            broadcasts.page_size, steps = 20, 0
            while (await broadcasts.of([broadcast.id]))[broadcast.id].phase:
                steps += await broadcasts.step(broadcast.id, owner, at)
            return steps

        await broadcasts_step_first(storage.broadcasts, broadcast, at)
        assert not await other.broadcasts.step(broadcast.id, "other", at), "the lease is another's"
        assert await other.broadcasts.in_phase(at) == []
        assert await other.broadcasts.in_phase(at + HOUR) == [broadcast.id]
        at += HOUR
        await asyncio.gather(work(storage.broadcasts, "us"), work(other.broadcasts, "other"))

    await assert_planned_whole(storage.broadcasts, broadcast, crowd)


async def broadcasts_step_first(broadcasts: Broadcasts, broadcast: Broadcast, at: int) -> None:
    broadcasts.page_size = 20
    assert await broadcasts.step(broadcast.id, "us", at)


async def test_without_anybody_to_send_to_it_is_completed_at_once(broadcasts: Broadcasts) -> None:
    after = await done(broadcasts, await add(broadcasts))

    assert (after.state, after.total) == (State.COMPLETED, 0)
    assert after.finished_at


async def test_what_is_for_later_is_scheduled_and_starts_when_it_is_due(storage: Storage) -> None:
    broadcasts, later = storage.broadcasts, now() + timedelta(hours=1)
    await storage.directory.upsert([entry("mercately", "m1", PHONE)])
    broadcast = await done(broadcasts, await add(broadcasts, send_at=later))

    assert (broadcast.state, broadcast.started_at) == (State.SCHEDULED, None)
    assert await broadcasts.start_due(moment()) == []
    assert await broadcasts.start_due(moment() + HOUR + 1) == [broadcast.id]
    assert await broadcasts.start_due(moment() + HOUR + 1) == []
    assert (await broadcasts.of([broadcast.id]))[broadcast.id].state is State.RUNNING


async def test_a_key_gets_its_first_broadcast_also_from_many_at_once(broadcasts: Broadcasts) -> None:
    twins = await asyncio.gather(
        *(
            broadcasts.add(NewBroadcast(plan=BY_SMS, body=b"{}", idempotency_key="k", input_hash="a"))
            for _ in range(20)
        )
    )

    assert len({broadcast.id for broadcast, _ in twins}) == 1
    assert sorted(is_new for _, is_new in twins) == [False] * 19 + [True]
    assert await broadcasts.first("k", "a") == twins[0][0]
    with pytest.raises(KeyReused):
        await broadcasts.add(NewBroadcast(plan=BY_SMS, body=b"{}", idempotency_key="k", input_hash="b"))


async def test_broadcasts_come_back_as_they_were_added_newest_first(broadcasts: Broadcasts) -> None:
    plan = Plan(group=Key("poster", "3"), ways=(SMS, WHATSAPP), texts=(Text(fixed=3, uses=(FIRST, LAST)),))
    first = await add(broadcasts, plan, rate_per_second=2.5, tag="march")
    second, third = [await add(broadcasts) for _ in range(2)]

    assert (first.plan, first.body, first.rate_per_second) == (plan, b'{"text":"Hola"}', 2.5)
    assert (first.state, first.phase, first.tag) == (State.DRAFTING, Phase.PLAN, "march")
    assert await broadcasts.of([first.id, 404]) == {first.id: first}
    assert await broadcasts.page(2) == [third, second]
    assert await broadcasts.page(2, second.id) == [first]
    assert await broadcasts.count() == 3
    with pytest.raises(NotFound):
        await broadcasts.pause(404)


async def test_what_was_planned_and_sent_before_is_found_after_a_migration(storage: Storage) -> None:
    """Back and forth again: with their addresses written down twice, and opt-outs only in profiles."""

    def downgrade(connection: Connection) -> None:
        steps = config()
        steps.attributes["connection"] = connection
        command.downgrade(steps, "0008")

    no = [entry("mercately", "m1", PHONE, opt_in=False), entry("everyprint", "24", OTHER_PHONE)]
    await storage.directory.upsert(no)
    broadcast = await done(storage.broadcasts, await add(storage.broadcasts, Plan(ways=(MESSENGER, SMS))))
    new = NewMessage(
        phone=PHONE,
        body=b"{}",
        due=1,
        idempotency_key="k",
        input_hash="a",
        events=(Event(state=Sending.PENDING),),
    )
    message = (await storage.messages.add(new))[0]
    before = await rows_of(storage.broadcasts, broadcast)

    async with storage._engine.execution_options(writes=True).begin() as connection:
        await connection.run_sync(downgrade)
        rows = (await connection.exec_driver_sql("SELECT phone, recipient_key FROM delivery")).all()
        assert sorted(map(str, rows)) == sorted(
            map(str, [(PHONE, PHONE), (OTHER_PHONE, "24"), (PHONE, None)])
        )
    await storage.migrate()

    assert await rows_of(storage.broadcasts, broadcast) == before
    assert await storage.messages.first("k", "a") == message
    assert {row.id for row in await storage.messages.to_person([PHONE], [], 9)} == {message.id, before[0].id}
    assert await storage.messages.count_to_person([OTHER_PHONE], ["24"]) == 1
    assert [told(row) for row in await planned(storage.broadcasts, Plan(ways=(WHATSAPP,)))] == [
        ("whatsapp", ["whatsapp"], None),
        (None, [], NO_OPT_IN),
    ]
