"""Agents: from Mercately, which only ever lists them all."""

from collections.abc import Sequence

import strawberry
from strawberry.dataloader import DataLoader

from adapters.mercately import client as mercately
from resolvers.ids import number_of, to_id
from schema.agents import Agent
from schema.context import Info


def to_agent(agent: mercately.Agent) -> Agent:
    return Agent(
        id=to_id("Agent", agent.id),
        first_name=agent.first_name,
        last_name=agent.last_name,
        email=agent.email,
        admin=bool(agent.admin),
        key=agent.id,
    )


async def load_all_agents(source: mercately.Mercately, _: Sequence[None]) -> list[dict[int, Agent]]:
    found = await source.agents()
    return [{id: to_agent(agent) for id, agent in found.items()}]


async def load_agents(everyone: DataLoader[None, dict[int, Agent]], ids: Sequence[int]) -> list[Agent | None]:
    found = await everyone.load(None)
    return [found.get(id) for id in ids]


async def list_agents(info: Info) -> list[Agent] | None:
    return list((await info.context.loaders.agents.load(None)).values())


async def find_agent(info: Info, id: strawberry.ID) -> Agent | None:
    return await info.context.loaders.agent.load(number_of(id, "Agent"))
