"""Handler: each answer by a handler written for it, REST on both sides, and no GraphQL at all.

`python -m bench.peers.handler PORT UPSTREAM`
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import uvloop
from aiohttp import web

from bench.peers.client import GET, Get, asking
from tests.services import HOST


async def flat_list(get: Get) -> dict[str, Any]:
    said = await get("/customers?page=1")
    rows = [
        {
            "id": row["id"],
            "firstName": row["firstName"],
            "lastName": row["lastName"],
            "email": row["email"],
            "phone": row["phone"],
            "city": row["city"],
            "state": row["state"],
            "agentId": row["agentId"],
            "createdAt": row["createdAt"],
            "notes": row["notes"],
        }
        for row in said["customers"]
    ]
    return {"customers": {"totalPages": said["totalPages"], "customers": rows}}


async def parents(get: Get) -> dict[str, Any]:
    posts = await get("/posts")
    said = await asyncio.gather(*(get(f"/users/{id}") for id in {post["userId"] for post in posts}))
    users = {user["id"]: {"id": user["id"], "name": user["name"], "email": user["email"]} for user in said}
    rows = [
        {"id": post["id"], "userId": post["userId"], "title": post["title"], "user": users[post["userId"]]}
        for post in posts
    ]
    return {"posts": rows}


async def relations(get: Get) -> dict[str, Any]:
    said = await get("/conversations?page=1")
    conversations = said["conversations"]
    ids = {conversation["customerId"] for conversation in conversations}
    people, found = await asyncio.gather(
        get("/agents"), asyncio.gather(*(get(f"/customers/{id}") for id in ids))
    )
    agents = {
        agent["id"]: {"id": agent["id"], "firstName": agent["firstName"], "email": agent["email"]}
        for agent in people["agents"]
    }
    customers = {
        customer["id"]: {
            "id": customer["id"],
            "firstName": customer["firstName"],
            "phone": customer["phone"],
            "tags": [{"id": tag["id"], "tag": tag["tag"]} for tag in customer["tags"]],
        }
        for each in found
        if (customer := each["customer"])
    }
    rows = [
        {
            "id": conversation["id"],
            "status": conversation["status"],
            "customer": customers[conversation["customerId"]],
            "agent": agents[conversation["agentId"]],
        }
        for conversation in conversations
    ]
    return {"conversations": {"totalPages": said["totalPages"], "conversations": rows}}


PATHS: dict[str, Callable[[Get], Awaitable[dict[str, Any]]]] = {
    "/Q2": flat_list,
    "/Q3": parents,
    "/Q4": relations,
}


def serving(
    find: Callable[[Get], Awaitable[dict[str, Any]]],
) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(request: web.Request) -> web.Response:
        await request.read()
        data = await find(request.app[GET])
        return web.Response(body=orjson.dumps({"data": data}), content_type="application/json")

    return handle


def main(port: str, upstream: str) -> None:
    app = web.Application()
    app.cleanup_ctx.append(asking(upstream, orjson.loads))
    app.add_routes([web.post(path, serving(find)) for path, find in PATHS.items()])
    web.run_app(app, host=HOST, port=int(port), access_log=None, loop=uvloop.new_event_loop())


if __name__ == "__main__":
    main(*sys.argv[1:])
