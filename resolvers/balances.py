"""Balances: in our own tables, with their ledger."""

from collections.abc import Sequence
from functools import partial

from adapters.storage import everyprint
from resolvers.checks import Checks
from resolvers.connections import check_first, connection, from_cursor, to_cursor
from resolvers.context import Context, Info
from resolvers.ids import NotOurs, to_id
from resolvers.people import NOBODY, By, by_id, person_of
from schema.balances import AdjustBalanceInput, Balance, BalanceEntry, BalanceEntryConnection
from schema.errors import BadInput, Conflict, NotFound

LONGEST = 255
"""Characters of a reason, and of an idempotency key."""
NOT_EXACT = "At most 20 digits before the point and 6 behind it, also of the balance."


def to_balance(balance: everyprint.Balance) -> Balance:
    return Balance(
        messenger_id=balance.messenger_id,
        amount=balance.amount,
        currency=balance.currency,
        updated_at=balance.updated_at,
    )


def to_balance_entry(entry: everyprint.Entry) -> BalanceEntry:
    return BalanceEntry(
        id=to_id("BalanceEntry", entry.id),
        amount=entry.amount,
        reason=entry.reason,
        created_at=entry.created_at,
    )


async def load_balances(source: everyprint.Everyprint, messenger_ids: Sequence[str]) -> list[Balance | None]:
    found = await source.balances(messenger_ids)
    return [to_balance(found[id]) if id in found else None for id in messenger_ids]


async def page_of_entries(
    source: everyprint.Everyprint, messenger_id: str, *, first: int, after: str | None
) -> BalanceEntryConnection:
    check_first(first)
    page = await source.entries(messenger_id, first, None if after is None else _behind(after))
    return connection(
        BalanceEntryConnection,
        [to_balance_entry(entry) for entry in page.rows],
        lambda index: to_cursor(str(page.rows[index].id)),
        has_next=page.more,
        after=after,
        total=partial(source.entry_count, messenger_id),
    )


def _behind(cursor: str) -> int:
    place = from_cursor(cursor)
    if not (place.isascii() and place.isdecimal() and len(place) < 19):
        raise NotOurs("after", "a cursor")
    return int(place)


async def adjust_balance(info: Info, input: AdjustBalanceInput) -> Balance:
    """Asks our own tables, and a vendor only who somebody is whom the directory does not know."""
    checks = Checks()
    by = checks.id("customerId", input.customer_id, by_id)
    reason = checks.text("reason", input.reason, LONGEST, required=True) or ""
    key = checks.text("idempotencyKey", input.idempotency_key, LONGEST, required=True, as_sent=True) or ""
    if not input.amount:
        checks.wrong("amount", "Say how much: more than 0 to add, less to take.")
    try:
        everyprint.exactly(input.amount)
    except everyprint.NotExact:
        checks.wrong("amount", NOT_EXACT)
    checks.refuse()
    account = await _account(info.context, by or By("", ""), input.customer_id)
    try:
        ledger = info.context.adapters.storage.everyprint
        return to_balance(await ledger.add_entry(account, input.amount, reason, key))
    except everyprint.NotFound:
        raise NotFound({"input.customerId": NOBODY}) from None
    except everyprint.NotExact:
        raise BadInput({"input.amount": NOT_EXACT}) from None
    except everyprint.BelowZero as error:
        sentence = "The balance is smaller than that: nothing was taken."
        raise Conflict({"input.amount": sentence}, balance=f"{error.balance:f}") from None
    except everyprint.KeyReused:
        raise Conflict({"input.idempotencyKey": "This key was used for something else."}) from None


async def _account(context: Context, by: By, id: str) -> str:
    """The messenger id of the account that the graph shows; of an account's own id, that one."""
    if by.kind == "everyprint":
        return by.value
    person = await person_of(context, id, "input.customerId")
    for entry in person.in_("everyprint"):
        return entry.key
    raise BadInput({"input.customerId": "This customer has no balance: save them in everyprint first."})
