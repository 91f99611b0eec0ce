"""The loaders of one operation: each is built when it is first asked for, and asks at most once a key."""

from functools import cached_property, partial
from typing import Any

from strawberry.dataloader import DataLoader

from adapters import Adapters
from resolvers.agents import load_agents, load_all_agents
from resolvers.conversations import load_conversations, page_of_conversations
from resolvers.groups import load_all_groups, load_groups
from resolvers.templates import load_all_templates, load_templates
from schema.agents import Agent
from schema.conversations import Conversation, ConversationConnection
from schema.groups import Group
from schema.templates import Template


class Loaders:
    def __init__(self, adapters: Adapters) -> None:
        self._adapters = adapters

    @cached_property
    def agents(self) -> DataLoader[None, dict[int, Agent]]:
        return DataLoader(partial(load_all_agents, self._adapters.mercately))

    @cached_property
    def agent(self) -> DataLoader[int, Agent | None]:
        return DataLoader(partial(load_agents, self.agents))

    @cached_property
    def conversation(self) -> DataLoader[tuple[str, int], Conversation | None]:
        return DataLoader(partial(load_conversations, self._adapters.mercately))

    async def conversations(self, **asked: Any) -> ConversationConnection:
        """No batch and nothing kept: a page is asked for once."""
        return await page_of_conversations(self._adapters.mercately, **asked)

    @cached_property
    def groups(self) -> DataLoader[None, dict[str, Group]]:
        return DataLoader(partial(load_all_groups, self._adapters.poster))

    @cached_property
    def group(self) -> DataLoader[str, Group | None]:
        return DataLoader(partial(load_groups, self.groups))

    @cached_property
    def templates(self) -> DataLoader[None, dict[str, Template]]:
        return DataLoader(partial(load_all_templates, self._adapters.mercately))

    @cached_property
    def template(self) -> DataLoader[str, Template | None]:
        return DataLoader(partial(load_templates, self.templates))
