"""`switchboard forget`: what there was of a customer -> what is left, and what the graph then shows."""

import asyncio
from asyncio.subprocess import PIPE, STDOUT
from pathlib import Path
from time import time
from typing import Any

import pytest
from sqlalchemy import select

from adapters.hyber.message import Sms
from adapters.storage.audience import Address, Plan, Way
from adapters.storage.broadcasts import NewBroadcast, NothingToRetry
from adapters.storage.client import Storage
from adapters.storage.messages import Event, Failure, Id, NewMessage, Report, State
from adapters.storage.tables import BROADCAST, DELIVERY, REPORT
from resolvers.ids import to_id
from resolvers.sending.body import Body, Channel, Content, write_body
from resolvers.sending.cascade import steps_of
from resolvers.sending.letter import Letter, write_letter
from tests.gateways import Gateway
from tests.processes import SWITCHBOARD, Ended, environment, run

AWA, PHONE, OTHERS = "2413659892012345", "+593990009102", "+593990009199"
AWAS_PHONE = "+221770009101"
CONTENT = Content(sms=Sms(text="Hola", ttl=300, alpha_name="GMSU"))
MESSAGE = """query ($id: ID!) { node(id: $id) { ... on Message {
  recipient { phone messengerId } text channels status tag failure { code message }
  history { status reason }
} } }"""


async def message(storage: Storage, *events: Event, **said: Any) -> Id:
    """To Awa's phone, of such a history."""
    body = Body(content=CONTENT, channels=(Channel.SMS,), steps=steps_of(CONTENT, [Channel.SMS]), text="Hola")
    new = NewMessage(
        phone=said.pop("phone", AWAS_PHONE),
        body=write_body(body),
        channel="sms",
        due=int(time() * 1000) + 3_600_000,
        tag="welcome",
        events=(Event(state=State.PENDING, channel="sms"),),
    )
    added = (await storage.messages.add(new)).message
    failure = Failure("SOURCE_REJECTED", "Hyber has refused +593.", "6024")
    for event in events:
        await storage.messages.raise_to(
            added.id, event, failure=failure if event.state is State.FAILED else None, due=5
        )
    return added.id


def report(phone: str, status: str) -> Report:
    body = f'{{"message_id":"1","extra_id":"test-0-1-1","phone_number":"{phone[1:]}","status":{status}}}'
    return Report(source="hyber", external_id="test-0-1-1", status=status, at=0, body=body.encode())


async def forget(gateway: Gateway, folder: Path, *arguments: str) -> Ended:
    return await run(folder, "forget", *arguments, DATABASE_URL=gateway.settings.database)


async def everything(storage: Storage) -> str:
    """All that the ledger says, as text."""
    async with storage._engine.connect() as connection:
        tables = [await connection.execute(select(table)) for table in (DELIVERY, REPORT)]
        listed = await connection.execute(select(BROADCAST.c.listed))
        return " ".join(str(row) for rows in (*tables, listed) for row in rows)


async def test_nothing_of_a_customer_is_left_but_what_happened(town: Gateway, tmp_path: Path) -> None:
    ledger = town.storage.messages
    ended = [
        Event(state=State.SENDING),
        Event(state=State.FAILED, channel="sms", reason="Hyber has refused +593."),
    ]
    seen = [Event(state=State.ACCEPTED, reason="23011"), Event(state=State.SEEN, channel="sms")]
    pending, failed, read = [await message(town.storage, *events) for events in ([], ended, seen)]
    under_way = await message(town.storage, Event(state=State.ACCEPTED))
    anothers = await message(town.storage, phone=OTHERS)
    await ledger.receive([report(AWAS_PHONE, "2"), report(OTHERS, "1"), report(AWAS_PHONE, "3")])
    first, *_ = await ledger.waiting_reports(9)
    await ledger.done_with([first.id])
    await ledger.suppress(AWAS_PHONE, "sms", "Asked us to stop")

    once = await forget(town, tmp_path, to_id("Customer", f"everyprint:{AWA}"), "--yes")
    twice = await forget(town, tmp_path, AWAS_PHONE, "--yes")

    assert (once.code, once.err) == (0, "")
    kept = "1 suppression kept, with the address: nothing is to be sent there."
    assert once.out == f"Nothing of this customer is left in 4 messages and 2 reports. Cancelled: 1. {kept}\n"
    assert (twice.code, twice.out) == (0, f"There is nothing of this customer. {kept}\n")

    said = await everything(town.storage)
    assert AWAS_PHONE[1:] not in said
    assert "refused" not in said
    assert said.count("Hola") == 2, "another customer's: content and text"
    assert said.count(OTHERS[1:]) == 2
    messages = await ledger.messages([pending, failed, read, under_way, anothers])
    assert [messages[id].state for id in (pending, failed, read, under_way, anothers)] == [
        State.CANCELLED,
        State.FAILED,
        State.SEEN,
        State.ACCEPTED,
        State.PENDING,
    ]
    assert messages[under_way].due is None, "nobody can look at it"
    assert len(await ledger.waiting_reports(9)) == 2

    nobody: dict[str, Any] = {"recipient": {"phone": None, "messengerId": None}, "text": None, "channels": []}
    shown = (await town.data(MESSAGE, id=to_id("Message", f"0:{failed.seq}")))["node"]
    assert shown == nobody | {
        "status": "FAILED",
        "tag": "welcome",
        "failure": {"code": "SOURCE_REJECTED", "message": ""},
        "history": [
            {"status": "QUEUED", "reason": None},
            {"status": "QUEUED", "reason": None},
            {"status": "FAILED", "reason": None},
        ],
    }
    shown = (await town.data(MESSAGE, id=to_id("Message", f"0:{read.seq}")))["node"]
    assert [event["reason"] for event in shown["history"]] == [None, "23011", None]


async def test_what_is_reported_later_still_counts_and_sends_nothing(town: Gateway, tmp_path: Path) -> None:
    """The rest of a cascade would have nobody to go to."""
    ledger = town.storage.messages
    id = await message(town.storage, Event(state=State.ACCEPTED))
    await forget(town, tmp_path, AWAS_PHONE, "--yes")

    goes_on = await ledger.go_on(id, Event(state=State.FAILED), attempt=0, step=1, channel="sms", due=1)
    assert not goes_on
    assert await ledger.raise_to(id, Event(state=State.DELIVERED))
    assert (await ledger.messages([id]))[id].state is State.DELIVERED


async def test_a_broadcast_counts_them_and_never_writes_to_them_again(town: Gateway, tmp_path: Path) -> None:
    broadcasts = town.storage.broadcasts
    plan = Plan(ways=(Way("messenger", Address.MESSENGER_ID),), listed=1)
    letter = Letter(content=Content(messenger="Hola {firstName}"), channels=(Channel.MESSENGER,))
    new = NewBroadcast(plan=plan, listed=(f"everyprint:{AWA}",), body=write_letter(letter))
    planned, _ = await broadcasts.add(new)
    while await broadcasts.step(planned.id, "us", int(time() * 1000)):
        pass
    (row,) = await broadcasts.deliveries(planned.id, (), 9)
    await town.storage.messages.raise_to(row.id, Event(state=State.FAILED))
    (chunk,) = await town.storage.chunks.waiting(10, 9)
    assert await town.storage.chunks.claim(planned.id, chunk.n, "t", 10, 20)
    assert await town.storage.chunks.finish(chunk, "t")
    assert await broadcasts.finish(planned.id)
    before = await broadcasts.counts([planned.id])

    ended = await forget(town, tmp_path, AWA, "--yes")

    assert ended.out == "Nothing of this customer is left in 1 message and 1 list of a broadcast.\n"
    assert AWA not in await everything(town.storage)
    assert await broadcasts.counts([planned.id]) == before == {planned.id: {State.FAILED: 1}}
    (row,) = await broadcasts.deliveries(planned.id, (), 9)
    assert (await town.post.letters.body_of(row)).text is None
    with pytest.raises(NothingToRetry):
        await broadcasts.retry(planned.id)


async def test_what_is_going_out_at_this_moment_is_for_the_next_time(town: Gateway, tmp_path: Path) -> None:
    id = await message(town.storage)
    assert await town.storage.messages.claim(id, int(time() * 1000) + 7_200_000, due=0)

    ended = await forget(town, tmp_path, AWAS_PHONE, "--yes")

    assert ended.code == 1
    assert ended.out.endswith("Going out at this moment: 1. Run this again in a minute.\n")
    assert (await town.storage.messages.messages([id]))[id].phone == AWAS_PHONE


@pytest.mark.parametrize(("answer", "code"), [("n\n", 1), ("", 1), ("y\n", 0)], ids=["no", "nothing", "yes"])
async def test_it_asks_first(town: Gateway, tmp_path: Path, answer: str, code: int) -> None:
    id = await message(town.storage)
    process = await asyncio.create_subprocess_exec(
        *SWITCHBOARD,
        "forget",
        AWAS_PHONE,
        cwd=tmp_path,
        env=environment(DATABASE_URL=town.settings.database),
        stdin=PIPE,
        stdout=PIPE,
        stderr=STDOUT,
    )
    out, _ = await process.communicate(answer.encode())

    assert process.returncode == code, out
    asked = "Take this customer's addresses and texts out of 1 message for good, and cancel what waits? [y/N]"
    assert out.decode().startswith(asked)
    assert AWAS_PHONE not in out.decode()
    (kept,) = (await town.storage.messages.messages([id])).values()
    assert kept.phone == (AWAS_PHONE if code else None)


async def test_somebody_whom_nobody_knows(tmp_path: Path) -> None:
    phone = await run(tmp_path, "forget", PHONE)
    by_id = await run(tmp_path, "forget", to_id("Customer", "mercately:1"))
    wrong = await run(tmp_path, "forget", to_id("Message", "0:1"))
    nothing = await run(tmp_path, "forget", "+-")

    assert (phone.code, phone.out) == (0, "There is nothing of this customer.\n")
    said = "The directory does not know this customer: name the phone, or the Messenger id."
    for ended, sentence in (
        (by_id, said),
        (wrong, "This is the id of another type of thing, not of a Customer."),
        (nothing, "Letters and digits only."),
    ):
        assert ended.code == 2
        assert sentence in " ".join(ended.err.replace("│", " ").split())


async def test_a_dead_database_is_one_sentence(tmp_path: Path) -> None:
    ended = await run(tmp_path, "forget", PHONE, DATABASE_URL="mysql+aiomysql://me:hunter2@127.0.0.1:9/x")

    assert ended.code == 1
    assert ended.err == "The database cannot be reached: try again later. See SWITCHBOARD_DATABASE_URL.\n"
