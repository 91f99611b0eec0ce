"""Plain: Strawberry with aiohttp on both sides, as its documentation shows it, or tuned.

`python -m bench.peers.plain plain|tuned PORT UPSTREAM`
"""

import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import strawberry
import uvloop
from aiohttp import web
from strawberry.aiohttp.views import GraphQLView
from strawberry.extensions import ParserCache, ValidationCache

from bench.peers import nouns
from bench.peers.client import GET, Get, Loads, asking
from bench.peers.nouns import (
    Agent,
    Conversation,
    ConversationPage,
    Customer,
    CustomerPage,
    Post,
    Query,
    Tag,
    User,
)
from tests.services import HOST


def to_user(row: Any) -> User:
    return User(
        id=row["id"],
        name=row["name"],
        username=row["username"],
        email=row["email"],
        phone=row["phone"],
        website=row["website"],
    )


def to_post(row: Any) -> Post:
    return Post(id=row["id"], user_id=row["userId"], title=row["title"], body=row["body"])


def to_customer(row: Any) -> Customer:
    return Customer(
        id=row["id"],
        first_name=row["firstName"],
        last_name=row["lastName"],
        email=row["email"],
        phone=row["phone"],
        id_type=row["idType"],
        id_number=row["idNumber"],
        address=row["address"],
        city=row["city"],
        state=row["state"],
        zip_code=row["zipCode"],
        notes=row["notes"],
        agent_id=row["agentId"],
        whatsapp_opt_in=row["whatsappOptIn"],
        created_at=row["createdAt"],
        tags=[Tag(id=tag["id"], tag=tag["tag"]) for tag in row["tags"]],
    )


def to_agent(row: Any) -> Agent:
    return Agent(
        id=row["id"],
        first_name=row["firstName"],
        last_name=row["lastName"],
        email=row["email"],
        role=row["role"],
    )


def to_conversation(row: Any) -> Conversation:
    return Conversation(
        id=row["id"],
        status=row["status"],
        channel=row["channel"],
        agent_id=row["agentId"],
        customer_id=row["customerId"],
        unread=row["unread"],
        last_message=row["lastMessage"],
        last_interaction=row["lastInteraction"],
    )


class Loaders(nouns.Loaders):
    def __init__(self, get: Get) -> None:
        self._get = get

    async def posts(self) -> list[Post]:
        return [to_post(row) for row in await self._get("/posts")]

    async def customers(self, page: int) -> CustomerPage:
        said = await self._get(f"/customers?page={page}")
        rows = [to_customer(row) for row in said["customers"]]
        return CustomerPage(results=said["results"], total_pages=said["totalPages"], customers=rows)

    async def conversations(self, page: int) -> ConversationPage:
        said = await self._get(f"/conversations?page={page}")
        rows = [to_conversation(row) for row in said["conversations"]]
        return ConversationPage(results=said["results"], total_pages=said["totalPages"], conversations=rows)

    async def _users(self, ids: Sequence[int]) -> list[User]:
        return [to_user(row) for row in await asyncio.gather(*(self._get(f"/users/{id}") for id in ids))]

    async def _customers(self, ids: Sequence[int]) -> list[Customer]:
        said = await asyncio.gather(*(self._get(f"/customers/{id}") for id in ids))
        return [to_customer(each["customer"]) for each in said]

    async def _agents(self, ids: Sequence[int]) -> list[Agent | None]:
        found = {row["id"]: to_agent(row) for row in (await self._get("/agents"))["agents"]}
        return [found.get(id) for id in ids]


@dataclass(slots=True)
class Context:
    loaders: Loaders


class View(GraphQLView[Context, None]):
    async def get_context(
        self, request: web.Request, response: web.Response | web.WebSocketResponse
    ) -> Context:
        return Context(Loaders(request.app[GET]))


class TunedView(View):
    def decode_json(self, data: str | bytes) -> object:
        return orjson.loads(data)

    def encode_json(self, data: object) -> bytes:
        return orjson.dumps(data)


def main(kind: str, port: str, upstream: str) -> None:
    tuned = kind == "tuned"
    view = TunedView if tuned else View
    loads: Loads = orjson.loads if tuned else json.loads
    schema = strawberry.Schema(Query, extensions=[ParserCache, ValidationCache] if tuned else [])
    app = web.Application()
    app.cleanup_ctx.append(asking(upstream, loads))
    app.router.add_route("POST", "/graphql", view(schema=schema))
    loop = uvloop.new_event_loop() if tuned else None
    web.run_app(app, host=HOST, port=int(port), access_log=None, loop=loop)


if __name__ == "__main__":
    main(*sys.argv[1:])
