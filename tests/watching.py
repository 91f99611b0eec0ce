"""Watching: a subscription's answers as they come, over SSE and over WebSocket."""

import json
from collections.abc import AsyncIterator
from typing import Any

from tests.gateways import Gateway


async def over_sse(gateway: Gateway, query: str, **variables: Any) -> AsyncIterator[dict[str, Any]]:
    body, headers = {"query": query, "variables": variables}, {"Accept": "text/event-stream"}
    async with gateway.session.post(f"{gateway.url}/graphql", json=body, headers=headers) as response:
        async for line in response.content:
            if line.startswith(b"data: {"):
                yield json.loads(line[6:])
        assert line == b"\r\n"


async def over_a_socket(gateway: Gateway, query: str, **variables: Any) -> AsyncIterator[dict[str, Any]]:
    async with gateway.session.ws_connect(
        f"{gateway.url}/graphql", protocols=["graphql-transport-ws"]
    ) as socket:
        await socket.send_json({"type": "connection_init"})
        assert (await socket.receive_json())["type"] == "connection_ack"
        payload = {"query": query, "variables": variables}
        await socket.send_json({"id": "1", "type": "subscribe", "payload": payload})
        while (message := await socket.receive_json())["type"] != "complete":
            if message["type"] == "error":
                yield {"errors": message["payload"]}
                return
            yield message["payload"]


WAYS = {"sse": over_sse, "a socket": over_a_socket}
