"""Own: the loaders of a customer's own token, which know this one person and nobody else.

What a key leads to that is not theirs is as if it were not there. What has no loader here is asked for with
what is theirs, or is behind a field to which such a token does not lead.
"""

from collections.abc import Sequence
from functools import cached_property

from strawberry.dataloader import DataLoader

from adapters import Adapters
from adapters.mercately.client import Conversation as Row
from adapters.storage.identity import Key
from adapters.storage.messages import Id
from resolvers.loaders import Loaders
from resolvers.merge import ROW
from resolvers.people import By
from resolvers.stale import Stale
from schema.conversations import Conversation
from schema.customers import Customer
from schema.messages import Message, MessageConnection


class OwnLoaders(Loaders):
    def __init__(self, adapters: Adapters, region: str, stale: Stale, own: By) -> None:
        super().__init__(adapters, region, stale)
        self._everybody = Loaders(adapters, region, stale)
        self._own = own

    @cached_property
    def customer(self) -> DataLoader[By, Customer | None]:
        return DataLoader(self._load_customers)

    @cached_property
    def customer_in(self) -> DataLoader[Row, Customer | None]:
        return DataLoader(self._load_customers_in, cache_key_fn=lambda row: row.customer_row_id)

    async def _customer_at(self, phone: str | None, messenger_id: str | None) -> Customer | None:
        me = await self._me()
        return me if me and await self._is_theirs(me, phone, messenger_id) else None

    @cached_property
    def conversation(self) -> DataLoader[tuple[str, int], Conversation | None]:
        return DataLoader(self._load_conversations)

    @cached_property
    def message(self) -> DataLoader[Id, Message | None]:
        return DataLoader(self._load_messages)

    async def messages_to(
        self, phones: Sequence[str], messenger_ids: Sequence[str], *, first: int, after: str | None
    ) -> MessageConnection:
        alone = await self._without_shared(phones)
        return await super().messages_to(alone, messenger_ids, first=first, after=after)

    @cached_property
    def _is_shared(self) -> DataLoader[str, bool]:
        return DataLoader(self._load_whether_shared)

    async def _me(self) -> Customer | None:
        return await self._everybody.customer.load(self._own)

    async def _load_customers(self, keys: Sequence[By]) -> list[Customer | None]:
        me = await self._me()
        return [me if me and is_named(me, by) else None for by in keys]

    async def _load_customers_in(self, rows: Sequence[Row]) -> list[Customer | None]:
        me = await self._me()
        return [me if me and row.customer_row_id in me.row_ids else None for row in rows]

    async def _load_conversations(self, keys: Sequence[tuple[str, int]]) -> list[Conversation | None]:
        me = await self._me()
        theirs = [key for key in keys if me and key[1] in me.row_ids]
        found = dict(zip(theirs, await self._everybody.conversation.load_many(theirs), strict=True))
        return [found.get(key) for key in keys]

    async def _load_messages(self, ids: Sequence[Id]) -> list[Message | None]:
        me = await self._me()
        found = await self._everybody.message.load_many(ids)
        return [message if me and message and await self._has_got(me, message) else None for message in found]

    async def _has_got(self, me: Customer, message: Message) -> bool:
        return await self._is_theirs(me, message.recipient.phone, message.recipient.messenger_id)

    async def _is_theirs(self, me: Customer, phone: str | None, messenger_id: str | None) -> bool:
        if messenger_id is None and phone is not None and not await self._without_shared([phone]):
            return False
        return is_at(me, phone, messenger_id)

    async def _without_shared(self, phones: Sequence[str]) -> list[str]:
        """What went to a phone that two people have, who were parted, may be for either."""
        shared = await self._is_shared.load_many(phones)
        return [phone for phone, is_shared in zip(phones, shared, strict=True) if not is_shared]

    async def _load_whether_shared(self, phones: Sequence[str]) -> list[bool]:
        me = await self._me()
        mine = me.member_keys if me else ()
        known = await self._adapters.storage.directory.of_phones(phones)
        return [
            any(str(Key(entry.source, entry.key)) not in mine for entry in known.get(phone, ()))
            for phone in phones
        ]


def is_named(customer: Customer, by: By) -> bool:
    if by.kind == "phone":
        return by.value in customer.phones
    if by.kind == "email":
        return by.value == (customer.email or "").lower()
    if by.kind == ROW:
        return int(by.value) in customer.row_ids
    return f"{by.kind}:{by.value}" in customer.member_keys


def is_at(customer: Customer, phone: str | None, messenger_id: str | None) -> bool:
    """Is there an address, and is each that is given theirs?"""
    if phone is None and messenger_id is None:
        return False
    return phone in (None, *customer.phones) and messenger_id in (None, *customer.messenger_ids)
