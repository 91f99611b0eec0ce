"""`python -m bench.soak`: a gateway under load while its vendors break down all the time.

Nobody gets a message twice, nothing is joined to the wrong parent, nothing leaks, and every answer is one
that the documents promise.
"""

import asyncio
import random
import re
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles
from time import monotonic
from typing import Annotated, Any

import orjson
import typer
from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector, WSMsgType

from adapters.chatfuel.sandbox import ChatfuelSandbox
from adapters.demo import PEOPLE
from adapters.hyber.sandbox import HyberSandbox
from adapters.mercately.demo import customers
from adapters.mercately.sandbox import MercatelySandbox
from adapters.poster.sandbox import PosterSandbox
from adapters.sandbox import Sandbox
from adapters.storage import demo
from adapters.storage.client import open_storage
from bench.process import SWITCHBOARD, Gateway, State, gateway
from bench.report import machine
from bench.truth import Truth, Wrong
from bench.weather import Weather
from resolvers.ids import to_id
from tests.services import Mariadb

CODES = {
    "BAD_USER_INPUT",
    "UNAUTHENTICATED",
    "FORBIDDEN",
    "NOT_FOUND",
    "CONFLICT",
    "RATE_LIMITED",
    "SOURCE_UNAVAILABLE",
    "SOURCE_TIMEOUT",
    "SOURCE_REJECTED",
    "SOURCE_MALFORMED",
    "SOURCE_MISCONFIGURED",
}
"""All of DESIGN.md's but INTERNAL, which would be a fault of ours."""
WAITS = {"SCHEDULED", "QUEUED"}
TAKEN = {"SUBMITTED", "DELIVERED", "SEEN"}
OVER = {"FAILED", "EXPIRED", "CANCELLED", "SKIPPED", "UNKNOWN"}
PAUSE = 1.0
"""Seconds in the mean that a client takes between two requests: what is saturated is measured elsewhere."""
GROWTH = State(rss=8, files=24, tasks=24)
"""By how much the least of the last quarter may be above that of the quarter before. A trend through samples
says more of the weather than of leaks: in two minutes it went down by 120 tasks where none had been lost."""
AT_REST = State(rss=48, files=16, tasks=4)
"""By how much it may be more at rest afterwards than before: connections that are kept among it."""
TICKS = 20
"""So many looks are a sample."""
RESTED = 40.0
"""Seconds in which it has to come to rest."""
OTP = to_id("Template", "997dd550-c8d8-4bf7-ad98-a5ac4844a1ed")
OPTED_IN = [
    one.phone
    for one in customers()
    if one.whatsapp_opt_in and one.phone and re.fullmatch(r"\+593[0-9]+", one.phone)
][:20]
"""As Mercately writes them: by another spelling it would not find them, and make somebody new."""
ON_MESSENGER = [one.everyprint.messenger_id for one in PEOPLE if one.everyprint]
ENDINGS = ("0024", "0026", "0035", "0036", "0011", "6024", *(f"9{number:03}" for number in range(20)))
"""Of phones, by which Hyber's sandbox tells what becomes of a message."""
KEY = re.compile(r"key-[0-9]+")

CUSTOMERS = """query Customers($after: String) { customers(first: 20, after: $after) {
  edges { node { id firstName lastName groups { name } balance { amount } } }
  pageInfo { hasNextPage endCursor } } }"""
CONVERSATIONS = """query Conversations { conversations(first: 20) {
  edges { node { id customer { firstName lastName } agent { email } } } } }"""
PERSON = """query Person($phone: String!) { customer(by: {phone: $phone}) {
  id firstName lastName groups { name } balance { amount } agent { email }
  conversations(first: 5) { edges { node { id } } }
  messages(first: 3) { edges { node { recipient { customer { id } } } } } } }"""
SEND = "mutation Send($input: SendMessageInput!) { sendMessage(input: $input) { id status } }"
STATUSES = "query Statuses($ids: [ID!]!) { nodes(ids: $ids) { ... on Message { id status } } }"
STATUS = "subscription Status($id: ID!) { messageStatus(id: $id) { id status } }"

Act = Callable[[], Awaitable[object]]

CLAIMS = (
    "every answer is well-formed, its errors documented",
    "what is joined belongs to its parent",
    "one key is one message, however often it is sent",
    "no vendor got anything twice",
    "every message that was taken is over or waits, and came where it says",
    "nothing unexpected is in the log",
    "memory, files and tasks do not grow",
    "at rest it is as it was",
)
ANSWERS, JOINS, TWINS, ONCE, KEPT, LOG, FLAT, REST = CLAIMS


@dataclass
class Findings:
    counts: Counter[str] = field(default_factory=Counter)
    examples: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def add(self, claim: str, sentence: str) -> None:
        self.counts[claim] += 1
        if len(self.examples[claim]) < 3:
            self.examples[claim].append(sentence[:1500])

    def check(self, holds: bool, claim: str, sentence: str) -> None:
        if not holds:
            self.add(claim, sentence)


@dataclass
class Soak:
    gateway: Gateway
    session: ClientSession
    truth: Truth
    sandboxes: Sequence[Sandbox]
    end: float
    findings: Findings = field(default_factory=Findings)
    seconds: list[float] = field(default_factory=list)
    """How long each answer took."""
    codes: Counter[str] = field(default_factory=Counter)
    messages: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """The ids that were answered, by idempotency key."""
    left: int = 0
    """Clients that did not wait for their answer."""
    told: int = 0
    """What came over subscriptions."""
    _keys: Iterator[int] = field(default_factory=lambda: iter(range(1, 10**9)))
    _cursor: str | None = None

    async def introduce(self) -> None:
        """Asking for somebody brings them into the directory, from every source."""
        for person in PEOPLE:
            if person.mercately:
                await self.ask(f'{{ customer(by: {{mercatelyId: "{person.mercately.id}"}}) {{ id }} }}')
            if person.poster:
                await self.ask(f'{{ customer(by: {{posterId: "{person.poster.id}"}}) {{ id }} }}')

    # What clients do

    async def crowd(self, connections: int) -> None:
        """So many, until the end; their connections go with them."""
        own, connector = self.session, TCPConnector(limit=connections, keepalive_timeout=60)
        async with ClientSession(connector=connector, timeout=ClientTimeout(total=30)) as self.session:
            await asyncio.gather(*(self.client() for _ in range(connections)))
        self.session = own

    async def client(self) -> None:
        acts: dict[Act, int] = {
            self.customers: 4,
            self.conversations: 3,
            self.person: 4,
            self.send: 5,
            self.twins: 1,
            self.watch: 1,
            self.leave: 2,
        }
        while monotonic() < self.end:
            (act,) = random.choices(list(acts), list(acts.values()))
            await act()
            await asyncio.sleep(random.expovariate(1 / PAUSE))

    async def customers(self) -> None:
        data, errors = await self.ask(CUSTOMERS, after=self._cursor)
        if page := data.get("customers"):
            self._cursor = page["pageInfo"]["endCursor"] if page["pageInfo"]["hasNextPage"] else None
            self.compare(self.truth.wrong_in_customers(page, ("customers",)), errors)

    async def conversations(self) -> None:
        data, errors = await self.ask(CONVERSATIONS)
        if page := data.get("conversations"):
            self.compare(self.truth.wrong_in_conversations(page, ("conversations",)), errors)

    async def person(self) -> None:
        phone = random.choice(list(self.truth.by_phone))
        data, errors = await self.ask(PERSON, phone=phone)
        if data:
            wrongs = self.truth.wrong_in_person(phone, data["customer"], ("customer",))
            # Whom the directory cannot tell has the id that the source knows which was asked.
            has_gap = any(error["extensions"].get("source") == "EVERYPRINT" for error in errors)
            self.compare((each for each in wrongs if not (has_gap and each[0][-1] == "id")), errors)

    async def send(self) -> str | None:
        input = self.message()
        return await self._send(input)

    async def twins(self) -> None:
        """At the same time, and once more later."""
        input = self.message()
        await asyncio.gather(self._send(input), self._send(input))
        await asyncio.sleep(random.uniform(0, 1))
        await self._send(input)

    async def _send(self, input: dict[str, Any]) -> str | None:
        data, _ = await self.ask(SEND, input=input)
        if sent := data.get("sendMessage"):
            id: str = sent["id"]
            self.messages[input["idempotencyKey"]].add(id)
            return id
        return None

    def message(self) -> dict[str, Any]:
        """What is said is the key, by which it is found again at the vendors."""
        key = f"key-{next(self._keys)}"
        sms = {"sms": {"text": key}}
        template = {"template": {"id": OTP, "parameters": [key, "printing", "a day"]}}
        to, content = random.choice(
            (
                ({"phone": f"+59399000{random.choice(ENDINGS)}"}, sms),
                ({"phone": random.choice(list(self.truth.by_phone))}, sms),
                ({"phone": random.choice(OPTED_IN)}, template),
                ({"phone": random.choice(OPTED_IN)}, template | sms),
                ({"messengerId": random.choice(ON_MESSENGER)}, {"messenger": {"text": key}}),
            )
        )
        return {"to": to, "content": content, "idempotencyKey": key}

    async def watch(self) -> None:
        """Over a WebSocket, until it is over or for some seconds; some do not say goodbye."""
        if (id := await self.send()) is None:
            return
        url = f"{self.gateway.url}/graphql"
        with suppress(TimeoutError):
            async with (
                asyncio.timeout(random.uniform(0.5, 5)),
                self.session.ws_connect(url, protocols=["graphql-transport-ws"], autoclose=False) as socket,
            ):
                await socket.send_json({"type": "connection_init"})
                payload = {"query": STATUS, "variables": {"id": id}}
                await socket.send_json({"type": "subscribe", "id": "1", "payload": payload})
                async for message in socket:
                    if message.type is not WSMsgType.TEXT:
                        self.findings.add(ANSWERS, f"a socket was closed: {socket.close_code}")
                        return
                    said = orjson.loads(message.data)
                    if said["type"] == "complete":
                        return
                    self._judge_event(said, id)

    def _judge_event(self, said: dict[str, Any], id: str) -> None:
        if said["type"] == "next":
            self.told += 1
            data, _ = self._judged(said["payload"])
            status = data.get("messageStatus")
            self.findings.check(not status or status["id"] == id, JOINS, "somebody else's status")
        elif said["type"] == "error":
            self._judged({"errors": said["payload"]})
        else:
            known = said["type"] in ("connection_ack", "ping", "pong")
            self.findings.check(known, ANSWERS, f"a socket said {said['type']}")

    async def leave(self) -> None:
        """In the middle of it."""
        act = random.choice((self.customers, self.conversations, self.person, self.send))
        asking = asyncio.ensure_future(act())
        await asyncio.wait([asking], timeout=random.uniform(0, 0.1))
        if not asking.done():
            self.left += 1
            asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)

    # What is said of the answers

    async def ask(self, query: str, **variables: Any) -> tuple[dict[str, Any], list[Any]]:
        """The data and the errors, which may be empty."""
        began = monotonic()
        body = {"query": query, "variables": variables}
        try:
            async with self.session.post(f"{self.gateway.url}/graphql", json=body) as response:
                said, status = await response.read(), response.status
        except (ClientError, TimeoutError) as error:
            self.findings.add(ANSWERS, f"{type(error).__name__}: {error}")
            return {}, []
        self.seconds.append(monotonic() - began)
        self.findings.check(status in (200, 294), ANSWERS, f"{status}: {said[:200]!r}")
        try:
            return self._judged(orjson.loads(said))
        except ValueError:
            self.findings.add(ANSWERS, f"no JSON: {said[:200]!r}")
            return {}, []

    def _judged(self, said: dict[str, Any]) -> tuple[dict[str, Any], list[Any]]:
        errors = said.get("errors", [])
        for error in errors:
            code = error.get("extensions", {}).get("code")
            self.codes[str(code)] += 1
            self.findings.check(code in CODES and bool(error.get("message")), ANSWERS, str(error))
        self.findings.check(bool(said.get("data") or errors), ANSWERS, f"nothing: {said}")
        return said.get("data") or {}, errors

    def compare(self, wrongs: Iterator[Wrong], errors: list[Any]) -> None:
        """What an error stands for may be missing, and with it what cannot be without."""
        excused = [tuple(error["path"]) for error in errors if error.get("path")]
        for path, sentence in wrongs:
            if not any(path == each[: len(path)] or path[: len(each)] == each for each in excused):
                self.findings.add(JOINS, f"{'.'.join(map(str, path))}: {sentence}")

    # What is said in the end

    async def settle(self, seconds: float) -> Counter[str]:
        """What became of every message, by status, once none of them is to go out any more."""
        ids = [id for each in self.messages.values() for id in each]
        statuses, end = dict.fromkeys(ids, "QUEUED"), monotonic() + seconds
        while True:
            waiting = [id for id, status in statuses.items() if status in WAITS]
            for start in range(0, len(waiting), 100):
                some = waiting[start : start + 100]
                data, _ = await self.ask(STATUSES, ids=some)
                for id, node in zip(some, data.get("nodes", []), strict=True):
                    statuses[id] = node["status"] if node else "GONE"
            if monotonic() > end or not any(status in WAITS for status in statuses.values()):
                self._look_at_the_vendors(statuses)
                return Counter(statuses.values())
            await asyncio.sleep(1)

    def _look_at_the_vendors(self, statuses: dict[str, str]) -> None:
        taken = {sandbox.name: Counter(map(_key_of, sandbox.accepted)) for sandbox in self.sandboxes}
        for vendor, keys in taken.items():
            for key, times in keys.items():
                self.findings.check(times == 1, ONCE, f"{vendor} got {key} {times} times")
        for key, ids in self.messages.items():
            self.findings.check(len(ids) == 1, TWINS, f"{key} is {len(ids)} messages")
            status = statuses[min(ids)]
            arrived = sum(keys[key] for keys in taken.values())
            is_right = status in WAITS | OVER or (status in TAKEN and arrived)
            self.findings.check(bool(is_right), KEPT, f"{key} is {status}, and {arrived} vendors have it")

    def judge_log(self) -> None:
        for line in self.gateway.log.read_text().splitlines():
            if '"level":"error"' in line or "Traceback" in line or "never retrieved" in line:
                self.findings.add(LOG, line)

    def judge_growth(self, samples: Sequence[State]) -> None:
        for name, grown, most in growth(samples):
            self.findings.check(grown <= most, FLAT, f"{name} {grown:+.1f} over the last quarter")


def floor(seen: Sequence[State]) -> State:
    """What is there at any moment; a query alone has a hundred tasks for some milliseconds."""
    return State(
        rss=min(state.rss for state in seen),
        files=min(state.files for state in seen),
        tasks=min(state.tasks for state in seen),
    )


def growth(samples: Sequence[State]) -> Iterator[tuple[str, float, float]]:
    """By how much each figure has grown over the last quarter, and how much it may."""
    quarter = len(samples) // 4
    if not quarter:
        return
    before, last = floor(samples[-2 * quarter : -quarter]), floor(samples[-quarter:])
    for name in ("rss", "files", "tasks"):
        yield name, getattr(last, name) - getattr(before, name), getattr(GROWTH, name)


def _key_of(accepted: object) -> str:
    found = KEY.search(str(accepted))
    return found[0] if found else "(none)"


async def watched(soak: Soak, weather: Weather, every: float, session: ClientSession) -> list[State]:
    """The samples, each with its line."""
    samples, asked, began = list[State](), len(soak.seconds), monotonic()
    while monotonic() < soak.end:
        until, seen = min(monotonic() + every, soak.end), list[State]()
        while not seen or monotonic() < until:
            await asyncio.sleep(every / TICKS)
            seen.append(await soak.gateway.state(session))
        samples.append(state := floor(seen))
        rate, asked = (len(soak.seconds) - asked) / every, len(soak.seconds)
        typer.echo(
            f"  {monotonic() - began:4.0f} s: {rate:4.0f} answers/s, {len(soak.messages):,} messages, "
            f"{weather.seen.total()} troubles, {state}, {soak.findings.counts.total()} findings"
        )
    return samples


async def rested(soak: Soak, before: State) -> State:
    """As it is when nobody asks any more: as before, or as it is after so many seconds."""
    end = monotonic() + RESTED
    while True:
        state = await soak.gateway.state(soak.session)
        if is_as(state, before) or monotonic() > end:
            return state
        await asyncio.sleep(0.5)


def is_as(state: State, before: State) -> bool:
    return all(
        getattr(state, name) <= getattr(before, name) + getattr(AT_REST, name)
        for name in ("rss", "files", "tasks")
    )


async def vendors(stack: AsyncExitStack) -> tuple[list[Sandbox], dict[str, str]]:
    """The sandboxes of all of them, and the settings of a gateway that asks them."""
    sandboxes: list[Sandbox] = [
        MercatelySandbox(),
        PosterSandbox(),
        HyberSandbox(moment=0.2),
        ChatfuelSandbox(),
    ]
    settings = {"sandbox": "off", "log_level": "warning", "log_format": "json", "database_timeout": "10"}
    for sandbox in sandboxes:
        await stack.enter_async_context(sandbox)
        settings |= {f"{sandbox.name}__{name}": value for name, value in sandbox.settings.items()}
    return sandboxes, settings


async def measure(
    folder: Path, database: str, minutes: float, connections: int, every: float, settle: float, planted: bool
) -> bool:
    truth = Truth()
    async with AsyncExitStack() as stack:
        sandboxes, settings = await vendors(stack)
        settings |= {"database_url": database, "directory_interval": "0" if planted else "20"}
        await prepare(database)
        if not planted:
            await fill(folder, settings)
        served = stack.enter_context(gateway(folder, settings))
        session = await stack.enter_async_context(ClientSession())
        soak = Soak(served, session, truth, sandboxes, monotonic() + min(2, minutes * 10))
        if planted:  # a few people are enough
            await soak.introduce()
        await soak.crowd(connections)  # warm, while all is well
        await asyncio.sleep(min(20, settle / 4))
        before = await served.state(session)
        if planted:
            truth.plant()
        weather = Weather(sandboxes, seed=random.randrange(2**32))
        soak.end = monotonic() + minutes * 60
        blowing = asyncio.create_task(weather.blow())
        watching = asyncio.create_task(watched(soak, weather, every, session))
        await soak.crowd(connections)
        samples = await watching
        blowing.cancel()
        await asyncio.wait([blowing])
        if planted:
            chatfuel = sandboxes[-1]
            chatfuel.accepted.append(chatfuel.accepted[0])
        statuses = await soak.settle(settle)
        after = await rested(soak, before)
        soak.findings.check(is_as(after, before), REST, f"{before} before, {after} after")
        soak.judge_growth(samples)
        soak.judge_log()
    report(soak, weather, statuses, samples, before, after)
    return not soak.findings.counts


async def prepare(database: str) -> None:
    """Our tables, and everyprint's customers."""
    async with open_storage(database, patience=30) as storage:
        await storage.migrate()
        await demo.move_in(storage.everyprint)


async def fill(folder: Path, settings: dict[str, str]) -> None:
    """With everybody whom the sources know."""
    env = {f"SWITCHBOARD_{name.upper()}": value for name, value in settings.items()}
    process = await asyncio.create_subprocess_exec(
        *SWITCHBOARD, "sync", cwd=folder, env=env, stdout=subprocess.DEVNULL
    )
    assert await process.wait() == 0, "The directory could not be filled."


def report(
    soak: Soak,
    weather: Weather,
    statuses: Counter[str],
    samples: Sequence[State],
    before: State,
    after: State,
) -> None:
    percentiles = quantiles(soak.seconds, n=100)
    said = ", ".join(f"{count:,} {name}" for name, count in statuses.most_common())
    grown = ", ".join(f"{name} {amount:+.1f}" for name, amount, _ in growth(samples)) or "too short to tell"
    typer.echo(f"\n{machine()}\n")
    typer.echo("| what | how much |\n|---|---|")
    for what, how_much in (
        ("answers", f"{len(soak.seconds):,}, and {soak.left:,} clients left before theirs"),
        ("p50, p99, longest", f"{percentiles[49]:.3f}, {percentiles[98]:.3f}, {max(soak.seconds):.3f} s"),
        ("errors in them", ", ".join(f"{count:,} {code}" for code, count in soak.codes.most_common())),
        ("troubles", ", ".join(f"{count} {kind}" for kind, count in weather.seen.most_common())),
        ("messages", f"{sum(statuses.values()):,}: {said}; {soak.told:,} events told"),
        ("at rest before, after", f"{before}, {after}"),
        ("growth over the last quarter", grown),
    ):
        typer.echo(f"| {what} | {how_much} |")
    typer.echo("\n| claim | |\n|---|---|")
    for claim in CLAIMS:
        count = soak.findings.counts[claim]
        typer.echo(f"| {claim} | {f'NO, {count:,} times' if count else 'yes'} |")
    for claim, examples in soak.findings.examples.items():
        typer.echo(f"\n{claim} DOES NOT HOLD:")
        for example in examples:
            typer.echo(f"  {example}")


def main(
    minutes: Annotated[float, typer.Option(min=0.01)] = 10,
    connections: Annotated[int, typer.Option(min=1)] = 64,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds from one sample to the next.")] = 10,
    settle: Annotated[float, typer.Option(help="Seconds for what waits to go out in the end.")] = 90,
    planted: Annotated[
        bool, typer.Option("--planted", help="With a wrong join and a double in it, to be found.")
    ] = False,
) -> None:
    """Leaves with status 1 when a claim does not hold."""
    with tempfile.TemporaryDirectory(prefix="switchboard-bench-") as name:
        folder = Path(name)
        (folder / "mariadb").mkdir()
        mariadb = Mariadb(folder / "mariadb")
        mariadb.start()
        try:
            fine = asyncio.run(
                measure(folder, mariadb.database("soak"), minutes, connections, every, settle, planted)
            )
        finally:
            mariadb.stop()
    sys.exit(0 if fine else 1)


if __name__ == "__main__":
    typer.run(main)
