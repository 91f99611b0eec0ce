"""The loaders of one operation: each is built when it is first asked for, and asks at most once a key."""

import asyncio
from collections.abc import Sequence
from functools import cached_property, partial
from itertools import chain
from operator import attrgetter
from typing import Any, TypeAlias

from strawberry import ID
from strawberry.dataloader import DataLoader

from adapters import Adapters
from adapters.mercately.client import Conversation as Row
from adapters.rest import Mode
from adapters.storage.directory import Filter
from adapters.storage.identity import Key
from adapters.storage.messages import Id
from resolvers.agents import load_agents, load_all_agents
from resolvers.balances import load_balances, page_of_entries
from resolvers.broadcasts import load_broadcasts, load_counts, page_of_broadcasts, page_of_deliveries
from resolvers.conversations import (
    Page,
    PageKey,
    load_conversations,
    load_pages,
    load_rows_of,
    order,
    page_of_conversations,
    page_of_rows,
)
from resolvers.customers import load_customers, load_customers_in, page_of_customers, to_filter
from resolvers.groups import (
    Groups,
    group_key,
    load_groups,
    load_marketing_groups,
    load_own_groups,
    load_own_groups_of,
)
from resolvers.messages import load_messages, page_of_messages
from resolvers.people import By
from resolvers.stale import Stale
from resolvers.templates import load_all_templates, load_templates
from resolvers.waiting import all_of, each_of
from schema.agents import Agent
from schema.balances import Balance, BalanceEntryConnection
from schema.broadcasts import Broadcast, BroadcastConnection, BroadcastCounts
from schema.conversations import Conversation, ConversationChannel, ConversationConnection
from schema.customers import Customer, CustomerConnection, CustomerFilter
from schema.errors import BadInput
from schema.groups import Group
from schema.messages import Message, MessageConnection, MessageStatus
from schema.sources import Source
from schema.templates import Template

Membership: TypeAlias = tuple[tuple[str, ...], tuple[str, ...]]
"""By which own groups may know a person, and the groups of which their sources say it."""
Address: TypeAlias = tuple[str | None, str | None]
"""A phone, a Messenger id, or both."""


class Loaders:
    def __init__(self, adapters: Adapters, region: str, stale: Stale) -> None:
        self._adapters = adapters
        self._region = region
        self._stale = stale

    # Customers

    @cached_property
    def customer(self) -> DataLoader[By, Customer | None]:
        return DataLoader(partial(load_customers, self._adapters, self._region, self._stale, self._rows_of))

    @cached_property
    def customer_in(self) -> DataLoader[Row, Customer | None]:
        load = partial(load_customers_in, self._adapters, self._region, self._stale)
        return DataLoader(load, cache_key_fn=attrgetter("customer_row_id"))

    async def customers(self, filter: CustomerFilter, *, first: int, after: str | None) -> CustomerConnection:
        return await self._page(to_filter(filter), first=first, after=after)

    async def members(self, group_id: ID, *, first: int, after: str | None) -> CustomerConnection:
        return await self._page(Filter(group=group_key(group_id)), first=first, after=after)

    async def _page(self, filter: Filter, *, first: int, after: str | None) -> CustomerConnection:
        return await page_of_customers(self._adapters, self._stale, filter, first=first, after=after)

    @cached_property
    def balance(self) -> DataLoader[str, Balance | None]:
        return DataLoader(partial(load_balances, self._adapters.storage.everyprint))

    async def balance_entries(
        self, messenger_id: str, *, first: int, after: str | None
    ) -> BalanceEntryConnection:
        return await page_of_entries(
            self._adapters.storage.everyprint, messenger_id, first=first, after=after
        )

    # Groups

    @cached_property
    def _groups(self) -> dict[str, DataLoader[None, Groups]]:
        own = partial(load_own_groups, self._adapters.storage.everyprint)
        return {
            "everyprint": DataLoader(own),
            "poster": DataLoader(partial(load_marketing_groups, self._adapters.poster)),
        }

    @cached_property
    def group(self) -> DataLoader[Key, Group | None]:
        return DataLoader(partial(load_groups, self._groups))

    async def groups(self, source: Source | None) -> list[Group]:
        """Of one source, or of all that are connected."""
        unconnected = {"poster"} if self._adapters.poster.mode is Mode.OFF else set()
        wanted = self._groups.keys() - unconnected if source is None else self._groups.keys() & {source.value}
        found = await all_of(self._groups[name].load(None) for name in sorted(wanted))
        return [group for groups in found for group in groups.values()]

    @cached_property
    def _own_groups_of(self) -> DataLoader[str, list[Group]]:
        return DataLoader(partial(load_own_groups_of, self._adapters.storage.everyprint))

    @cached_property
    def groups_of(self) -> DataLoader[Membership, list[Group]]:
        return DataLoader(self._load_groups_of)

    async def _load_groups_of(self, members: Sequence[Membership]) -> list[list[Group] | BaseException]:
        own, others = await asyncio.gather(
            each_of(self._own_groups_of, [keys for keys, _ in members]),
            each_of(self.group, [list(map(Key.parse, keys)) for _, keys in members]),
        )
        return [_together(*found) for found in zip(own, others, strict=True)]

    # Conversations

    @cached_property
    def agents(self) -> DataLoader[None, dict[int, Agent]]:
        return DataLoader(partial(load_all_agents, self._adapters.mercately))

    @cached_property
    def agent(self) -> DataLoader[int, Agent | None]:
        return DataLoader(partial(load_agents, self.agents))

    @cached_property
    def conversation(self) -> DataLoader[tuple[str, int], Conversation | None]:
        return DataLoader(partial(load_conversations, self._adapters.mercately))

    @cached_property
    def _pages_of_conversations(self) -> DataLoader[PageKey, Page]:
        return DataLoader(partial(load_pages, self._adapters.mercately))

    async def conversations(self, **asked: Any) -> ConversationConnection:
        """Every agent's are picked from the same pages."""
        return await page_of_conversations(self._page_of_conversations, **asked)

    async def _page_of_conversations(self, key: PageKey) -> Page:
        page = await self._pages_of_conversations.load(key)
        async with self._turn:  # those who waited for it go on one by one, and others in between
            await asyncio.sleep(0)
        return page

    @cached_property
    def _turn(self) -> asyncio.Lock:
        return asyncio.Lock()

    @cached_property
    def _rows_of(self) -> DataLoader[int, list[Row]]:
        return DataLoader(partial(load_rows_of, self._adapters.mercately))

    async def conversations_of(
        self, row_ids: Sequence[int], *, channel: ConversationChannel | None, first: int, after: str | None
    ) -> ConversationConnection:
        rows = sorted(chain.from_iterable(await self._rows_of.load_many(row_ids)), key=order)
        return page_of_rows(rows, channel=channel, first=first, after=after)

    @cached_property
    def agent_of(self) -> DataLoader[tuple[int, ...], Agent | None]:
        return DataLoader(self._load_agents_of)

    async def _load_agents_of(self, people: Sequence[tuple[int, ...]]) -> list[Agent | BaseException | None]:
        rows = await each_of(self._rows_of, people)
        agents = await each_of(self.agent, [_latest_agent(found) for found in rows])
        return [_one_of(*found) for found in zip(rows, agents, strict=True)]

    # Messages

    @cached_property
    def message(self) -> DataLoader[Id, Message | None]:
        return DataLoader(partial(load_messages, self._adapters.storage))

    async def messages_to(
        self, phones: Sequence[str], messenger_ids: Sequence[str], *, first: int, after: str | None
    ) -> MessageConnection:
        return await page_of_messages(self._adapters.storage, phones, messenger_ids, first=first, after=after)

    @cached_property
    def broadcast(self) -> DataLoader[int, Broadcast | None]:
        return DataLoader(partial(load_broadcasts, self._adapters.storage.broadcasts))

    @cached_property
    def broadcast_counts(self) -> DataLoader[int, BroadcastCounts]:
        return DataLoader(partial(load_counts, self._adapters.storage.broadcasts))

    async def broadcasts(self, *, first: int, after: str | None) -> BroadcastConnection:
        return await page_of_broadcasts(self._adapters.storage.broadcasts, first=first, after=after)

    async def deliveries(
        self, key: int, *, statuses: Sequence[MessageStatus] | None, first: int, after: str | None
    ) -> MessageConnection:
        return await page_of_deliveries(
            self._adapters.storage, self.broadcast_counts, key, statuses=statuses, first=first, after=after
        )

    @cached_property
    def customer_at(self) -> DataLoader[Address, Customer | None]:
        return DataLoader(self._load_customers_at)

    async def _load_customers_at(self, addresses: Sequence[Address]) -> list[Customer | BaseException | None]:
        return await asyncio.gather(*(self._customer_at(*each) for each in addresses), return_exceptions=True)

    async def _customer_at(self, phone: str | None, messenger_id: str | None) -> Customer | None:
        found = await self.customer.load(By("everyprint", messenger_id)) if messenger_id else None
        if found or not phone:
            return found
        try:
            return await self.customer.load(By("phone", phone))
        except BadInput:  # several people have it
            return None

    # Templates

    @cached_property
    def templates(self) -> DataLoader[None, dict[str, Template]]:
        return DataLoader(partial(load_all_templates, self._adapters.mercately))

    @cached_property
    def template(self) -> DataLoader[str, Template | None]:
        return DataLoader(partial(load_templates, self.templates))


def _together(
    own: list[list[Group]] | BaseException, others: list[Group | None] | BaseException
) -> list[Group] | BaseException:
    """Each once."""
    if isinstance(own, BaseException):
        return own
    if isinstance(others, BaseException):
        return others
    return list({group.id: group for group in [*chain.from_iterable(own), *others] if group}.values())


def _latest_agent(rows: list[list[Row]] | BaseException) -> list[int]:
    """One, or none."""
    if isinstance(rows, BaseException):
        return []
    assigned = [(order(row), row.agent_id) for row in chain.from_iterable(rows) if row.agent_id]
    return [min(assigned)[1]] if assigned else []


def _one_of(
    rows: list[list[Row]] | BaseException, agents: list[Agent | None] | BaseException
) -> Agent | BaseException | None:
    if isinstance(rows, BaseException):
        return rows
    return agents if isinstance(agents, BaseException) else next(iter(agents), None)
