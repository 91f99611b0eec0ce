"""The ledger: whatever is done to it, the balance is its sum, never below zero, and each key counts once."""

import asyncio
from decimal import Decimal

from alembic import command
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from sqlalchemy import Connection, text

from adapters.storage.client import Storage, open_storage
from adapters.storage.everyprint import BelowZero, Everyprint, KeyReused, NotExact, exactly
from adapters.storage.migrations.run import config

AMOUNTS = some.decimals(min_value=-1000, max_value=1000, places=6, allow_nan=False) | some.sampled_from(
    [Decimal("0.000001"), Decimal("-0.000001"), Decimal("99999999999999999999"), Decimal("1E-7")]
)
STEPS = some.lists(
    some.tuples(some.sampled_from(["a", "b"]), AMOUNTS, some.sampled_from(["x", "y"]), some.integers(0, 6)),
    max_size=14,
)
"""Of whom, how much, why, with which key: few enough for keys and inputs to come again."""


class Model:
    """What the ledger should be, in plain Python."""

    def __init__(self) -> None:
        self.used: dict[str, tuple[tuple[str, Decimal, str], Decimal]] = {}
        self.lines: dict[str, list[Decimal]] = {"a": [], "b": []}

    def add(self, who: str, amount: Decimal, reason: str, key: str) -> Decimal | type[Exception]:
        try:
            amount = exactly(amount)
        except NotExact:
            return NotExact
        if key in self.used:
            input, answer = self.used[key]
            return answer if input == (who, amount, reason) else KeyReused
        after = sum(self.lines[who], start=amount)
        try:
            exactly(after)
        except NotExact:
            return NotExact
        if after < 0:
            return BelowZero
        self.lines[who].append(amount)
        self.used[key] = (who, amount, reason), after
        return after


async def done(everyprint: Everyprint, *step: object) -> Decimal | type[Exception]:
    try:
        return (await everyprint.add_entry(*step)).amount  # type: ignore[arg-type]
    except (BelowZero, KeyReused, NotExact) as refusal:
        return type(refusal)


async def lines_of(everyprint: Everyprint, customer: str) -> list[Decimal]:
    page = await everyprint.entries(customer, 1000)
    return [entry.amount for entry in reversed(page.rows)]


def test_any_run_of_changes_leaves_what_plain_arithmetic_says(database_url: str) -> None:
    """Each example has customers and keys of its own: the ledger only ever grows."""
    examples = iter(range(10**6))

    async def hold(storage: Storage, steps: list[tuple[str, Decimal, str, int]]) -> None:
        everyprint, model, mine = storage.everyprint, Model(), f"e{next(examples)}"
        for who in model.lines:
            await everyprint.save_customer(mine + who, "x")
        for who, amount, reason, key in steps:
            expected = model.add(who, amount, reason, f"{mine} {key}")
            assert await done(everyprint, mine + who, amount, reason, f"{mine} {key}") == expected
        balances = await everyprint.balances([mine + who for who in model.lines])
        for who, lines in model.lines.items():
            assert await lines_of(everyprint, mine + who) == lines
            assert balances[mine + who].amount == sum(lines) >= 0

    with asyncio.Runner() as runner:
        opened = open_storage(database_url)
        storage = runner.run(opened.__aenter__())
        try:
            runner.run(storage.migrate())

            @settings(max_examples=30, deadline=None, database=None, suppress_health_check=list(HealthCheck))
            @given(STEPS)
            def any_run(steps: list[tuple[str, Decimal, str, int]]) -> None:
                runner.run(hold(storage, steps))

            any_run()
        finally:
            runner.run(opened.__aexit__(None, None, None))


async def test_fifty_writers_of_two_processes_lose_nothing_and_overdraw_nothing(
    storage: Storage, database_url: str
) -> None:
    """Another Storage has its own connections and takes no turns with this one: as another process does."""
    await storage.everyprint.save_customer("1", "x")
    async with open_storage(database_url) as other:
        both = (storage.everyprint, other.everyprint)
        await asyncio.gather(*(done(both[n % 2], "1", Decimal("0.1"), "in", f"in {n}") for n in range(50)))
        assert await lines_of(storage.everyprint, "1") == [Decimal("0.1")] * 50

        outcomes = await asyncio.gather(
            *(done(both[n % 2], "1", Decimal("-0.3"), "out", f"out {n}") for n in range(50))
        )

    refused = [outcome for outcome in outcomes if outcome is BelowZero]
    (balance,) = (await storage.everyprint.balances(["1"])).values()
    assert len(refused) == 50 - 16
    assert balance.amount == sum(await lines_of(storage.everyprint, "1")) == Decimal("0.2")


async def test_a_ledger_of_before_keeps_its_lines_and_gets_keys_of_its_own(storage: Storage) -> None:
    """The demo people's keys repeated, from customer to customer."""

    def downgrade(connection: Connection) -> None:
        steps = config()
        steps.attributes["connection"] = connection
        command.downgrade(steps, "0004")

    everyprint = storage.everyprint
    for id in ("1", "2"):
        await everyprint.save_customer(id, "x")
        await everyprint.add_entry(id, Decimal(int(id)), "paid", f"first {id}")
    async with storage._engine.begin() as connection:
        await connection.run_sync(downgrade)
        await connection.execute(text("UPDATE balance_entry SET idempotency_key = 'demo 1'"))

    await storage.migrate()

    assert (await everyprint.add_entry("2", Decimal(2), "paid", "demo 1 of 2")).amount == 2
    assert await lines_of(everyprint, "1") == [1]
    assert await lines_of(everyprint, "2") == [2]
