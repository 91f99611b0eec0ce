"""Plain: the same graph by Strawberry alone, as its documentation shows it; tuned: with all that is not ours.

`python -m bench.plain PORT UPSTREAM plain|tuned`. Types, translation and ids are the gateway's own, so that
both give the same answers.
"""

import json
import sys
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import msgspec
import orjson
import strawberry
import uvloop
from aiohttp import web
from strawberry.aiohttp.views import GraphQLView
from strawberry.extensions import ParserCache, ValidationCache

from adapters.mercately import client as mercately
from resolvers.agents import to_agent
from resolvers.ids import to_id
from schema.agents import Agent
from tests.services import HOST

SESSION = web.AppKey("session", aiohttp.ClientSession)
Info = strawberry.Info[dict[str, Any], None]


async def read(info: Info, path: str) -> bytes:
    session = info.context["request"].app[SESSION]
    async with session.get(mercately.API + path) as response:
        response.raise_for_status()
        body: bytes = await response.read()
    return body


# --- Plain ----------------------------------------------------------------------------------------


async def plain_agents(info: Info) -> list[Agent] | None:
    found = json.loads(await read(info, "/agents"))
    return [
        Agent(
            id=to_id("Agent", agent["id"]),
            first_name=agent["first_name"],
            last_name=agent["last_name"],
            email=agent["email"],
            admin=bool(agent["admin"]),
            key=agent["id"],
        )
        for agent in found["agents"]
    ]


@strawberry.type(name="Query")
class PlainQuery:
    agents: list[Agent] | None = strawberry.field(resolver=plain_agents)


def plain_view() -> GraphQLView:
    return GraphQLView(strawberry.Schema(PlainQuery))


# --- Tuned ----------------------------------------------------------------------------------------


class Agents(msgspec.Struct):
    agents: list[mercately.Agent]


decode_agents = msgspec.json.Decoder(Agents).decode


async def tuned_agents(info: Info) -> list[Agent] | None:
    found = decode_agents(await read(info, "/agents"))
    return [to_agent(agent) for agent in found.agents]


@strawberry.type(name="Query")
class TunedQuery:
    agents: list[Agent] | None = strawberry.field(resolver=tuned_agents)


class TunedView(GraphQLView):
    def decode_json(self, data: str | bytes) -> object:
        return orjson.loads(data)

    def encode_json(self, data: object) -> bytes:
        return orjson.dumps(data)


def tuned_view() -> GraphQLView:
    return TunedView(strawberry.Schema(TunedQuery, extensions=[ParserCache, ValidationCache]))


# --- Both -----------------------------------------------------------------------------------------


def create_app(view: GraphQLView, upstream: str) -> web.Application:
    async def session(app: web.Application) -> AsyncIterator[None]:
        async with aiohttp.ClientSession(upstream) as app[SESSION]:
            yield

    app = web.Application()
    app.cleanup_ctx.append(session)
    app.router.add_route("*", "/graphql", view)
    return app


if __name__ == "__main__":
    port, upstream, kind = sys.argv[1:]
    app = create_app(tuned_view() if kind == "tuned" else plain_view(), upstream)
    loop = uvloop.new_event_loop() if kind == "tuned" else None
    web.run_app(app, host=HOST, port=int(port), access_log=None, loop=loop)
