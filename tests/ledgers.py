"""Ledgers: a customer with money, what they may still spend, and the lines behind it."""

from decimal import Decimal

from adapters.storage.everyprint import Everyprint


async def rich(everyprint: Everyprint, amount: str) -> str:
    """The messenger id of a customer with so much."""
    await everyprint.save_customer("58918EJS", "lil kim")
    await everyprint.add_entry("58918EJS", Decimal(amount), "paid", "first")
    return "58918EJS"


async def amount_of(everyprint: Everyprint, messenger_id: str) -> Decimal:
    return (await everyprint.balances([messenger_id]))[messenger_id].amount


async def ledger_of(everyprint: Everyprint, messenger_id: str) -> list[Decimal]:
    page = await everyprint.entries(messenger_id, 1000)
    assert not page.more
    return [entry.amount for entry in page.rows]
