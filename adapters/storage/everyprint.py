"""Everyprint's customers and what they may still spend, and the groups that we keep ourselves.

Refused
├── NotFound        no such customer, no such group
├── BelowZero       the balance is smaller than what would be taken
├── NotExact        the amount has more digits than we keep
├── KeyReused       the idempotency key came with another customer, amount or reason before
├── NameTaken       another group has this name
└── OtherSize       the group does not have as many people as was said
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from enum import IntEnum
from typing import Any, Generic, TypeVar

import msgspec
from msgspec.structs import replace
from sqlalchemy import ColumnElement, delete, distinct, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlmodel import col

from adapters.storage import entries
from adapters.storage.database import (
    AnyRow,
    Questions,
    Rows,
    batches,
    found,
    reads,
    writes,
    writes_identity,
)
from adapters.storage.identity import Key
from adapters.storage.persons import persons_of
from adapters.storage.tables import (
    MEMBER,
    BalanceRow,
    CustomerRow,
    EntryRow,
    GroupRow,
    MemberRow,
    exact,
    now,
)

T = TypeVar("T")


class Gender(IntEnum):
    MALE = 0
    FEMALE = 1


class Customer(msgspec.Struct, frozen=True):
    messenger_id: str
    last_name: str
    first_name: str | None
    gender: Gender | None
    phone_e164: str | None
    email: str | None
    created_at: datetime
    updated_at: datetime


class Balance(msgspec.Struct, frozen=True):
    messenger_id: str
    amount: Decimal
    currency: str
    updated_at: datetime


class Entry(msgspec.Struct, frozen=True):
    """A line of the ledger."""

    id: int
    amount: Decimal
    reason: str
    created_at: datetime


class Group(msgspec.Struct, frozen=True):
    id: int
    name: str
    size: int
    """Of its people each once, and none whom nobody knows any more."""
    created_at: datetime


class Page(msgspec.Struct, Generic[T], frozen=True):
    rows: list[T]
    more: bool


class Refused(Exception): ...


class NotFound(Refused): ...


class BelowZero(Refused):
    def __init__(self, balance: Decimal) -> None:
        super().__init__("the balance is too small")
        self.balance = balance


class NotExact(Refused): ...


class KeyReused(Refused): ...


class NameTaken(Refused): ...


class OtherSize(Refused):
    def __init__(self, size: int) -> None:
        super().__init__("the group has another size")
        self.size = size


_CUSTOMERS = select(CustomerRow).order_by(col(CustomerRow.messenger_id))
_GROUPS = (
    select(GroupRow, func.count(distinct(col(MemberRow.person))).label("size"))
    .outerjoin(MemberRow, col(MemberRow.group_id) == col(GroupRow.id))
    .group_by(col(GroupRow.id), col(GroupRow.name), col(GroupRow.created_at))
    .order_by(col(GroupRow.id))
)


class Everyprint(Questions):
    # Customers

    @reads
    async def customers(
        self, connection: AsyncConnection, messenger_ids: Collection[str]
    ) -> dict[str, Customer]:
        rows = await found(connection, _CUSTOMERS, col(CustomerRow.messenger_id), messenger_ids)
        return {row.messenger_id: _plain(row, Customer) for row in rows}

    @reads
    async def customers_by_phone(
        self, connection: AsyncConnection, phones: Collection[str]
    ) -> dict[str, list[Customer]]:
        """Everybody with one of the phones, which are as E.164 writes them."""
        rows = await found(connection, _CUSTOMERS, col(CustomerRow.phone_e164), phones)
        return _by((row.phone_e164, _plain(row, Customer)) for row in rows)

    @reads
    async def customers_by_email(
        self, connection: AsyncConnection, emails: Collection[str]
    ) -> dict[str, list[Customer]]:
        """Everybody with one of the addresses, under the address in lower case."""
        lowered = (email.lower() for email in emails)
        rows = await found(connection, _CUSTOMERS, col(CustomerRow.email), lowered)
        return _by((row.email, _plain(row, Customer)) for row in rows)

    @reads
    async def all_customers(
        self, connection: AsyncConnection, first: int, after: str | None = None
    ) -> Page[Customer]:
        """So many of all, in the order of their messenger ids, from behind the given one on."""
        rows = _CUSTOMERS
        if after is not None:
            rows = rows.where(col(CustomerRow.messenger_id) > after)
        return await _page(connection, rows, first, Customer)

    @writes_identity
    async def save_customer(
        self,
        connection: AsyncConnection,
        messenger_id: str,
        last_name: str,
        *,
        first_name: str | None = None,
        gender: Gender | None = None,
        phone_e164: str | None = None,
        email: str | None = None,
    ) -> Customer:
        """A new customer has a balance of 0. One we know keeps what is not said this time."""
        said = {
            "last_name": last_name,
            "first_name": first_name or None,
            "gender": gender,
            "phone_e164": phone_e164 or None,
            "email": email.lower() if email else None,
        }
        known = {name: value for name, value in said.items() if value is not None}
        moment = now()
        this = col(CustomerRow.messenger_id) == messenger_id
        changed = await connection.execute(update(CustomerRow).where(this).values(**known, updated_at=moment))
        if not changed.rowcount:
            customer = known | {"messenger_id": messenger_id, "created_at": moment, "updated_at": moment}
            await connection.execute(insert(CustomerRow).values(customer))
            balance = {"messenger_id": messenger_id, "updated_at": moment}
            await connection.execute(insert(BalanceRow).values(balance))
        return await _saved(connection, messenger_id)

    @writes_identity
    async def change_customer(
        self, connection: AsyncConnection, messenger_id: str, changes: Mapping[str, Any]
    ) -> Customer:
        """Sets what is named, by the names of Customer, also to None."""
        this = col(CustomerRow.messenger_id) == messenger_id
        change = update(CustomerRow).where(this).values(**changes, updated_at=now())
        if not (await connection.execute(change)).rowcount:
            raise NotFound("no such customer")
        return await _saved(connection, messenger_id)

    # Balances

    @reads
    async def balances(
        self, connection: AsyncConnection, messenger_ids: Collection[str]
    ) -> dict[str, Balance]:
        rows = await found(connection, select(BalanceRow), col(BalanceRow.messenger_id), messenger_ids)
        return {row.messenger_id: _plain(row, Balance) for row in rows}

    @reads
    async def entries(
        self, connection: AsyncConnection, messenger_id: str, first: int, after: int | None = None
    ) -> Page[Entry]:
        """So many lines of the ledger, newest first, from behind the given one on."""
        rows = select(EntryRow).where(col(EntryRow.messenger_id) == messenger_id)
        if after is not None:
            rows = rows.where(col(EntryRow.id) < after)
        return await _page(connection, rows.order_by(col(EntryRow.id).desc()), first, Entry)

    @reads
    async def entry_count(self, connection: AsyncConnection, messenger_id: str) -> int:
        mine = select(func.count()).where(col(EntryRow.messenger_id) == messenger_id)
        return (await connection.execute(mine)).scalar_one()

    @writes
    async def add_entry(
        self,
        connection: AsyncConnection,
        messenger_id: str,
        amount: Decimal,
        reason: str,
        idempotency_key: str,
    ) -> Balance:
        """Adds to the balance, or takes from it; a key counts once, and then gets the first answer."""
        amount = exactly(amount)
        # Whoever has the balance's row has the ledger too: what is read from here on stays until the commit.
        of_customer = col(BalanceRow.messenger_id) == messenger_id
        row = await _one(connection, select(BalanceRow).where(of_customer).with_for_update())
        if row is None or row.messenger_id != messenger_id:  # MySQL sees no blanks at the end
            raise NotFound("no such customer")
        balance = _plain(row, Balance)

        used = select(EntryRow).where(col(EntryRow.idempotency_key) == idempotency_key)
        if first := await _one(connection, used):
            if (first.messenger_id, first.amount, first.reason) != (messenger_id, amount, reason):
                raise KeyReused("the idempotency key was used for something else")
            return replace(balance, amount=first.balance_after, updated_at=first.created_at)

        after = replace(balance, amount=exactly(balance.amount + amount), updated_at=now())
        if after.amount < 0:
            raise BelowZero(balance.amount)
        entry = insert(EntryRow).values(
            messenger_id=messenger_id,
            amount=amount,
            balance_after=after.amount,
            reason=reason,
            idempotency_key=idempotency_key,
            created_at=after.updated_at,
        )
        await connection.execute(entry)
        change = update(BalanceRow).where(of_customer)
        await connection.execute(change.values(amount=after.amount, updated_at=after.updated_at))
        return after

    # Groups

    @reads
    async def groups(self, connection: AsyncConnection) -> list[Group]:
        return [_plain(row, Group) for row in await connection.execute(_GROUPS)]

    @reads
    async def group(self, connection: AsyncConnection, group_id: int) -> Group | None:
        return await _group(connection, group_id)

    @reads
    async def members(
        self, connection: AsyncConnection, group_id: int, first: int, after: str | None = None
    ) -> Page[str]:
        """So many keys of the group's members, in their order, from behind the given one on."""
        rows = select(col(MemberRow.member)).where(col(MemberRow.group_id) == group_id)
        if after is not None:
            rows = rows.where(col(MemberRow.member) > after)
        page = (await connection.execute(rows.order_by(col(MemberRow.member)).limit(first + 1))).all()
        return Page([row.member for row in page[:first]], more=len(page) > first)

    @reads
    async def groups_of(
        self, connection: AsyncConnection, members: Collection[str]
    ) -> dict[str, list[Group]]:
        columns = select(MemberRow).order_by(col(MemberRow.group_id))
        rows = await found(connection, columns, col(MemberRow.member), members)
        counted = await found(connection, _GROUPS, col(GroupRow.id), (row.group_id for row in rows))
        groups = {row.id: _plain(row, Group) for row in counted}
        return _by((row.member, groups[row.group_id]) for row in rows if row.group_id in groups)

    @writes
    async def create_group(self, connection: AsyncConnection, name: str) -> Group:
        await _refuse_taken(connection, name)
        moment = now()
        created = await connection.execute(insert(GroupRow).values(name=name, created_at=moment))
        return Group(created.lastrowid, name, 0, moment)

    @writes
    async def rename_group(self, connection: AsyncConnection, group_id: int, name: str) -> Group:
        this = col(GroupRow.id) == group_id
        await _refuse_taken(connection, name, col(GroupRow.id) != group_id)
        # The count says whether it is there: what we read may be from before somebody removed it.
        renamed = await connection.execute(update(GroupRow).where(this).values(name=name))
        group = await _group(connection, group_id)
        if not renamed.rowcount or group is None:
            raise NotFound("no such group")
        return group

    @writes_identity
    async def remove_group(self, connection: AsyncConnection, group_id: int, size: int) -> None:
        """Only while it has so many people."""
        group = await _existing(connection, group_id)
        if group.size != size:
            raise OtherSize(group.size)
        await connection.execute(delete(MEMBER).where(MEMBER.c.group_id == group_id))
        await connection.execute(delete(GroupRow).where(col(GroupRow.id) == group_id))

    @writes_identity
    async def add_members(self, connection: AsyncConnection, group_id: int, keys: Collection[Key]) -> Group:
        await _existing(connection, group_id)
        here = select(col(MemberRow.member)).where(col(MemberRow.group_id) == group_id)
        members = {str(key): key for key in keys}
        already = {row.member for row in await found(connection, here, col(MemberRow.member), members)}
        persons = await persons_of(connection, keys)
        rows = [
            {"group_id": group_id, "member": member, "person": persons.get(key)}
            for member, key in members.items()
            if member not in already
        ]
        if rows:
            await connection.execute(insert(MemberRow), rows)
        return await _existing(connection, group_id)

    @writes_identity
    async def remove_members(
        self, connection: AsyncConnection, group_id: int, keys: Collection[Key]
    ) -> Group:
        """Whoever is behind the keys, by whichever of their keys they are in the group."""
        await _existing(connection, group_id)
        persons = set((await persons_of(connection, keys)).values())
        for column, theirs in ((MEMBER.c.member, set(map(str, keys))), (MEMBER.c.person, persons)):
            for some in batches(theirs):
                members = delete(MEMBER).where(MEMBER.c.group_id == group_id, column.in_(some))
                await connection.execute(members)
        return await _existing(connection, group_id)


def entry_of(customer: Customer) -> entries.Entry:
    """The customer as the directory has them."""
    return entries.Entry(
        source="everyprint",
        key=customer.messenger_id,
        first_name=customer.first_name,
        last_name=customer.last_name,
        phone=customer.phone_e164,
        email=customer.email,
        profile=msgspec.json.encode(customer),
        as_of=round(customer.updated_at.timestamp() * 1000),
    )


async def _saved(connection: AsyncConnection, messenger_id: str) -> Customer:
    """The customer as they were written, in the directory too."""
    this = col(CustomerRow.messenger_id) == messenger_id
    saved = _plain((await connection.execute(_CUSTOMERS.where(this))).one(), Customer)
    await entries.write_entries(connection, [entry_of(saved)], newest=True)
    return saved


async def _group(connection: AsyncConnection, group_id: int) -> Group | None:
    row = await _one(connection, _GROUPS.where(col(GroupRow.id) == group_id))
    return None if row is None else _plain(row, Group)


async def _existing(connection: AsyncConnection, group_id: int) -> Group:
    group = await _group(connection, group_id)
    if group is None:
        raise NotFound("no such group")
    return group


async def _refuse_taken(connection: AsyncConnection, name: str, *among: ColumnElement[bool]) -> None:
    """Says it kindly; the unique constraint says it to who comes at the same time."""
    if await _one(connection, select(GroupRow).where(col(GroupRow.name) == name, *among)):
        raise NameTaken("another group has this name")


async def _one(connection: AsyncConnection, rows: Rows) -> AnyRow | None:
    return (await connection.execute(rows)).one_or_none()


async def _page(connection: AsyncConnection, rows: Rows, first: int, kind: type[T]) -> Page[T]:
    """The first of the rows, and whether there are more."""
    page = (await connection.execute(rows.limit(first + 1))).all()
    return Page([_plain(row, kind) for row in page[:first]], more=len(page) > first)


def _plain(row: AnyRow, kind: type[T]) -> T:
    return msgspec.convert(row, kind, from_attributes=True)


def _by(pairs: Iterable[tuple[str, T]]) -> dict[str, list[T]]:
    lists = defaultdict[str, list[T]](list)
    for key, value in pairs:
        lists[key].append(value)
    return dict(lists)


def exactly(amount: Decimal) -> Decimal:
    """The amount as the ledger keeps it; NotExact for one that it would have to round."""
    try:
        return exact(amount)
    except ValueError as error:
        raise NotExact(str(error)) from None
