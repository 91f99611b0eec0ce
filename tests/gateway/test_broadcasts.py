"""Broadcasts on the command line: what is in the ledger -> what is printed of it."""

import asyncio
import os
import pty
import re
from pathlib import Path
from time import time

from adapters.storage.audience import Address, Plan, Way
from adapters.storage.broadcasts import NewBroadcast
from adapters.storage.client import Storage, open_storage
from adapters.storage.messages import Event, Id, State
from gateway.settings import load
from resolvers.ids import to_id
from resolvers.sending.body import Channel, Content
from resolvers.sending.letter import Letter, write_letter
from tests.processes import SWITCHBOARD, environment, run, serve

LETTER = write_letter(Letter(content=Content(messenger="Hello"), channels=(Channel.MESSENGER,)))
PLAN = Plan(ways=(Way("messenger", Address.MESSENGER_ID),))


async def planned(storage: Storage, tag: str) -> int:
    """To four customers."""
    for number in range(4):
        await storage.everyprint.save_customer(f"kim{number}", "lil kim")
    new = NewBroadcast(plan=PLAN, body=LETTER, tag=tag)
    id = (await storage.broadcasts.add(new))[0].id
    while await storage.broadcasts.step(id, "the test", int(time() * 1000)):
        pass
    return id


async def test_broadcasts_are_listed_and_shown_without_a_server(tmp_path: Path, database_url: str) -> None:
    async with open_storage(database_url, patience=10) as storage:
        none = await run(tmp_path, "broadcast", "list", DATABASE_URL=database_url)
        first, second = await planned(storage, "one"), await planned(storage, "two")
        await storage.messages.raise_to(Id(first, 1), Event(state=State.DELIVERED))
        listed = await run(tmp_path, "broadcast", "list", DATABASE_URL=database_url)
        id = to_id("Broadcast", first)
        once = await run(tmp_path, "broadcast", "show", id, "--once", DATABASE_URL=database_url)
        command = "broadcast", "show", id
        async with serve(tmp_path, *command, until="RUNNING 25 %", DATABASE_URL=database_url) as watched:
            await storage.broadcasts.cancel(first)
            await storage.broadcasts.step(first, "the test", int(time() * 1000))
            shown = await watched.result()

    assert (none.code, none.out.split()) == (0, ["id", "status", "recipients", "done", "created", "tag"])
    lines = [line.split() for line in listed.out.splitlines()[1:]]
    assert [(*line[:5], line[-1]) for line in lines] == [
        (to_id("Broadcast", second), "RUNNING", "4", "0", "%", "two"),
        (id, "RUNNING", "4", "25", "%", "one"),
    ]
    assert (once.code, once.out) == (0, "RUNNING 25 % of 4: 3 queued, 1 delivered\n")
    assert shown.code == 0
    assert shown.out.splitlines()[0] == once.out.strip()
    assert shown.out.splitlines()[-1] == "CANCELLED 100 % of 4: 1 delivered, 3 cancelled"


async def test_on_a_terminal_there_is_a_bar_until_it_is_over(tmp_path: Path) -> None:
    url = load(data_dir=tmp_path).database
    async with open_storage(url, patience=10) as storage:
        await storage.migrate()
        id = await planned(storage, "one")
        await storage.broadcasts.cancel(id)
        await storage.broadcasts.step(id, "the test", int(time() * 1000))
    ours, theirs = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *SWITCHBOARD,
        *("broadcast", "show", to_id("Broadcast", id)),
        env=environment(DATA_DIR=tmp_path) | {"TERM": "xterm", "COLUMNS": "100"},
        stdout=theirs,
    )
    os.close(theirs)
    code = await asyncio.wait_for(process.wait(), 20)
    said = os.read(ours, 65_536).decode()
    os.close(ours)

    assert code == 0
    assert re.search(r"CANCELLED.*━━━.*4 cancelled", said)


async def test_what_is_no_broadcast_or_has_no_database_is_one_sentence(tmp_path: Path) -> None:
    nowhere = {"DATABASE_URL": "mysql+aiomysql://me:hunter2@127.0.0.1:9/x"}
    unknown = await run(tmp_path, "broadcast", "show", to_id("Broadcast", 7))
    wrong = await run(tmp_path, "broadcast", "show", "7")
    dead = await run(tmp_path, "broadcast", "list", **nowhere)

    assert (unknown.code, wrong.code, dead.code) == (2, 2, 1)
    assert "There is no such broadcast." in unknown.err
    assert "This is not an id of this gateway: use one that it gave." in " ".join(wrong.err.split())
    assert dead.err == "The database cannot be reached: try again later. See SWITCHBOARD_DATABASE_URL.\n"
