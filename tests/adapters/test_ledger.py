"""The ledger: exact, added to and never changed, each key once, and the sum of it is the balance."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Iterable, Iterator, Sequence
from decimal import Decimal
from itertools import accumulate, count, cycle
from typing import NamedTuple

import pytest
from alembic import command
from hypothesis import strategies as st
from sqlalchemy import Connection, select, text
from sqlalchemy.exc import DBAPIError
from sqlmodel import col

from adapters.errors import Unavailable
from adapters.storage.client import Storage, open_storage
from adapters.storage.everyprint import (
    Balance,
    BelowZero,
    Everyprint,
    KeyReused,
    NotExact,
    NotFound,
    Refused,
)
from adapters.storage.migrations.run import config
from adapters.storage.tables import EntryRow
from tests.ledgers import amount_of, ledger_of, rich
from tests.properties import holds_for_any
from tests.services import Mariadb


class Line(NamedTuple):
    amount: Decimal
    reason: str
    key: str
    balance_after: Decimal


class Step(NamedTuple):
    customer: str
    amount: Decimal
    reason: str
    key: str


CUSTOMERS = ("a", "b")
MOST = Decimal("99999999999999999999.999999")
AMOUNTS = st.decimals(-1000, 1000, places=2) | st.sampled_from(
    [Decimal("0.000001"), Decimal("-0.000001"), MOST, -MOST, Decimal(7), Decimal("0.0000001")]
)
STEPS = (  # few of them, again and again: so that they come as replays, and with keys of one another
    st.lists(
        st.builds(
            Step,
            st.sampled_from(CUSTOMERS),
            AMOUNTS,
            st.sampled_from(["paid", "printed"]),
            st.sampled_from(["1", "2", "3", "4", "5"]),
        ),
        min_size=1,
        max_size=8,
    ).flatmap(lambda steps: st.lists(st.sampled_from(steps), min_size=1, max_size=16))
)

Answer = Decimal | type[Exception]


async def answer_to(everyprint: Everyprint, step: Step, book: str) -> Answer:
    """The balance after it, or why it was refused; customers and keys are the book's own."""
    try:
        customer, amount, reason, key = step
        return (await everyprint.add_entry(book + customer, amount, reason, book + key)).amount
    except Refused as refusal:
        return type(refusal)


def on_paper(ledger: list[Step], step: Step) -> Answer:
    """What the step must be answered, by somebody who writes the ledger himself."""
    if step.amount != step.amount.quantize(Decimal("0.000001")):
        return NotExact
    for place, line in enumerate(ledger):
        if line.key == step.key:
            return sum_of(ledger[: place + 1], step.customer) if line == step else KeyReused
    after = sum_of([*ledger, step], step.customer)
    if after > MOST:
        return NotExact
    if after < 0:
        return BelowZero
    ledger.append(step)
    return after


def sum_of(ledger: Sequence[Step], customer: str) -> Decimal:
    return sum((step.amount for step in ledger if step.customer == customer), Decimal(0))


async def lines_of(storage: Storage, messenger_id: str) -> list[Line]:
    """Oldest first."""
    rows = select(EntryRow).where(col(EntryRow.messenger_id) == messenger_id).order_by(col(EntryRow.id))
    async with storage._engine.connect() as connection:
        found = await connection.execute(rows)
        return [Line(row.amount, row.reason, row.idempotency_key, row.balance_after) for row in found]


@pytest.fixture(params=[1, 2], ids=["one pool", "two pools"])
async def writers(
    request: pytest.FixtureRequest, storage: Storage, database_url: str
) -> AsyncIterator[Sequence[Everyprint]]:
    """As one process has them, and as two that share a database."""
    if request.param == 1:
        yield [storage.everyprint]
        return
    async with open_storage(database_url) as another:
        yield [storage.everyprint, another.everyprint]


def fifty(writers: Sequence[Everyprint]) -> Iterator[tuple[int, Everyprint]]:
    return zip(range(50), cycle(writers), strict=False)


async def at_once(changes: Iterable[Awaitable[Balance]]) -> list[Balance | BaseException]:
    return await asyncio.gather(*changes, return_exceptions=True)


# One after the other


EXACT = {
    ("0.1", "0.2"): "0.3",
    ("5000",): "5000",
    ("12345678901234567890", "0.000001"): "12345678901234567890.000001",
    ("99999999999999999999.999999", "-99999999999999999999.999998"): "0.000001",
    ("1E+3", "-0.0"): "1000",
    ("2.50", "-2.5"): "0",
}


async def test_amounts_are_exact(everyprint: Everyprint) -> None:
    for id, (amounts, sum) in enumerate(EXACT.items()):
        await everyprint.save_customer(str(id), "x")
        for amount in amounts:
            answer = await everyprint.add_entry(str(id), Decimal(amount), "reason", amount)

        assert str(answer.amount) == sum
        assert await everyprint.balances([str(id)]) == {str(id): answer}
        assert await ledger_of(everyprint, str(id)) == [Decimal(amount) for amount in reversed(amounts)]


async def test_what_would_have_to_be_rounded_is_refused(everyprint: Everyprint) -> None:
    customer = await rich(everyprint, str(MOST))
    for amount in ("0.0000001", "1E+20", "1E+999999", "1E-999999", "NaN", "sNaN", "Infinity", "0.000001"):
        with pytest.raises(NotExact):
            await everyprint.add_entry(customer, Decimal(amount), "reason", "key")

    assert await ledger_of(everyprint, customer) == [MOST]


async def test_a_balance_is_never_below_zero_nor_would_the_database_have_it(storage: Storage) -> None:
    everyprint = storage.everyprint
    customer = await rich(everyprint, "10")
    with pytest.raises(BelowZero) as refused:
        await everyprint.add_entry(customer, Decimal("-10.000001"), "printed", "second")
    with pytest.raises(DBAPIError, match="ck_balance_amount"):
        async with storage._engine.begin() as connection:
            await connection.execute(text("UPDATE balance SET amount = '-0.5'"))

    assert refused.value.balance == 10
    assert (await everyprint.add_entry(customer, Decimal(-10), "printed", "second")).amount == 0
    assert await ledger_of(everyprint, customer) == [-10, 10]


async def test_a_key_gets_the_first_answer_again_and_with_something_else_is_refused(
    everyprint: Everyprint,
) -> None:
    customer = await rich(everyprint, "10")
    await everyprint.save_customer("other", "x")
    first = await everyprint.add_entry(customer, Decimal("-2.5"), "printed", "key")
    await everyprint.add_entry(customer, Decimal("-7.5"), "printed", "Key")

    assert await everyprint.add_entry(customer, Decimal("-2.50"), "printed", "key") == first
    for whose, amount, reason in (
        (customer, "-3", "printed"),
        (customer, "-2.5", "Printed"),
        (customer, "-2.5", "printed 🎁"),
        ("other", "-2.5", "printed"),
    ):
        with pytest.raises(KeyReused):
            await everyprint.add_entry(whose, Decimal(amount), reason, "key")
    assert await amount_of(everyprint, customer) == 0


async def test_nobody_has_no_balance_to_add_to(everyprint: Everyprint) -> None:
    customer = await rich(everyprint, "10")
    for nobody in ("nobody", customer.lower(), f"{customer} ", ""):
        with pytest.raises(NotFound):
            await everyprint.add_entry(nobody, Decimal(1), "paid", "key")


async def test_the_ledger_comes_page_by_page_newest_first(everyprint: Everyprint) -> None:
    customer = await rich(everyprint, "1")
    for amount in (2, 3):
        await everyprint.add_entry(customer, Decimal(amount), f"reason {amount} é", str(amount))
    first = await everyprint.entries(customer, 2)
    await everyprint.add_entry(customer, Decimal(4), "newer", "4")
    rest = await everyprint.entries(customer, 2, first.rows[-1].id)

    assert [(entry.amount, entry.reason) for entry in first.rows] == [
        (Decimal(3), "reason 3 é"),
        (Decimal(2), "reason 2 é"),
    ]
    assert [entry.reason for entry in rest.rows] == ["paid"]
    assert (first.more, rest.more) == (True, False)


async def test_whatever_is_asked_of_it_the_ledger_is_as_it_would_be_on_paper(storage: Storage) -> None:
    numbers = count()

    async def is_as_on_paper(steps: list[Step]) -> None:
        book = str(next(numbers))
        ledger: list[Step] = []
        for customer in CUSTOMERS:
            await storage.everyprint.save_customer(book + customer, "x")
        for step in steps:
            assert await answer_to(storage.everyprint, step, book) == on_paper(ledger, step)
        for customer in CUSTOMERS:
            assert await lines_of(storage, book + customer) == [
                (step.amount, step.reason, book + step.key, sum_of(ledger[: place + 1], customer))
                for place, step in enumerate(ledger)
                if step.customer == customer
            ]
            assert await amount_of(storage.everyprint, book + customer) == sum_of(ledger, customer)

    await holds_for_any(STEPS, is_as_on_paper, examples=25)


# Fifty at once


async def test_no_update_is_lost_and_no_more_is_spent_than_there_is(writers: Sequence[Everyprint]) -> None:
    everyprint = writers[0]
    customer = await rich(everyprint, "5")
    paid = await at_once(
        writer.add_entry(customer, Decimal("0.1"), "paid", f"paid {n}") for n, writer in fifty(writers)
    )
    printed = await at_once(
        writer.add_entry(customer, Decimal(-1), "printed", f"printed {n}") for n, writer in fifty(writers)
    )

    steps = [5 + Decimal(n) / 10 for n in range(1, 51)]
    assert sorted(answer.amount for answer in paid if isinstance(answer, Balance)) == steps
    assert Counter(map(type, printed)) == {Balance: 10, BelowZero: 40}
    assert await amount_of(everyprint, customer) == sum(await ledger_of(everyprint, customer)) == 0


async def test_one_key_counts_once_and_for_one_customer(writers: Sequence[Everyprint]) -> None:
    everyprint = writers[0]
    customers = [str(n) for n in range(50)]
    for customer in customers:
        await everyprint.save_customer(customer, "x")
    same = await at_once(writer.add_entry("0", Decimal(5), "paid", "key") for _, writer in fifty(writers))
    others = await at_once(
        writer.add_entry(customers[n], Decimal(3), "paid", "another") for n, writer in fifty(writers)
    )

    assert same == same[:1] * 50
    assert Counter(map(type, [*same[:1], *others])) == {Balance: 2, KeyReused: 49}
    balances = (await everyprint.balances(customers)).values()
    assert sum(balance.amount for balance in balances) == 8


async def test_whatever_is_asked_of_it_at_once_the_ledger_adds_up(
    storage: Storage, writers: Sequence[Everyprint]
) -> None:
    numbers = count()

    async def adds_up(steps: list[Step]) -> None:
        book = str(next(numbers))
        await writers[0].save_customer(book + CUSTOMERS[0], "x")
        mine = [step._replace(customer=CUSTOMERS[0]) for step in steps]
        answers = await asyncio.gather(
            *(answer_to(writer, step, book) for step, writer in zip(mine, cycle(writers), strict=False))
        )
        lines = await lines_of(storage, book + CUSTOMERS[0])
        balances = list(accumulate(line.amount for line in lines))
        by_key = {line.key: line for line in lines}
        assert [line.balance_after for line in lines] == balances
        assert min(balances, default=0) >= 0
        assert await amount_of(writers[0], book + CUSTOMERS[0]) == sum(line.amount for line in lines)
        assert len(by_key) == len(lines)
        for step, answer in zip(mine, answers, strict=True):
            line = by_key.get(book + step.key)
            same = line is not None and (line.amount, line.reason) == (step.amount, step.reason)
            if isinstance(answer, Decimal):
                assert line
                assert same
                assert line.balance_after == answer
            elif answer is KeyReused:
                assert not same

    await holds_for_any(STEPS, adds_up, examples=10)


# Callers who leave, and databases that do


async def test_writers_who_leave_take_no_lock_with_them(everyprint: Everyprint) -> None:
    customer = await rich(everyprint, "1000")
    left: list[object] = []
    for turns in range(30):
        key = str(turns)
        writer = asyncio.create_task(everyprint.add_entry(customer, Decimal(-1), "printed", key))
        await asyncio.sleep(turns / 5000)
        writer.cancel()
        # Kept, as a log or the cycle that a traceback is keeps it: with all that it holds.
        left += await asyncio.gather(writer, return_exceptions=True)
        await everyprint.add_entry(customer, Decimal(-1), "printed", key)

    assert await amount_of(everyprint, customer) == 970
    assert asyncio.CancelledError in map(type, left)


async def test_a_database_lost_in_the_middle_loses_and_repeats_nothing(
    on_mariadb: Storage, mariadb_server: Mariadb
) -> None:
    everyprint = on_mariadb.everyprint
    customer = await rich(everyprint, "1")

    def write() -> list[asyncio.Task[Balance]]:
        entries = (everyprint.add_entry(customer, Decimal(1), "paid", str(n)) for n in range(100))
        return [asyncio.create_task(entry) for entry in entries]

    writers = write()
    await asyncio.wait(writers, return_when=asyncio.FIRST_COMPLETED)
    mariadb_server.stop()
    answers = await asyncio.gather(*writers, return_exceptions=True)
    lost = [answer for answer in answers if isinstance(answer, BaseException)]
    assert lost
    assert all(isinstance(error, Unavailable) for error in lost)
    with pytest.raises(Unavailable):
        await everyprint.balances([customer])

    mariadb_server.start()
    await asyncio.gather(*write())
    assert await ledger_of(everyprint, customer) == [1] * 101
    assert await amount_of(everyprint, customer) == 101


# The migration


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
    assert [await ledger_of(everyprint, id) for id in ("1", "2")] == [[1], [2]]
