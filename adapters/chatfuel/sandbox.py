"""ChatfuelSandbox: the Broadcasting API of Chatfuel, emulated.

Its documents show what is asked, and the two fields of what is answered. The status and the sentence of every
refusal are inferred, and so is what happens beyond 25 requests a second.
"""

import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import orjson
from aiohttp import web

from adapters.sandbox import Sandbox, answer

RESERVED = "chatfuel_"
SHOWING = ("chatfuel_block_name", "chatfuel_block_id", "chatfuel_flow_name", "chatfuel_flow_id")
"""What names the thing to show: exactly one of them."""
KNOWN = frozenset(("chatfuel_token", "chatfuel_message_tag", *SHOWING))
MESSAGE_TAGS = frozenset(
    (
        "ACCOUNT_UPDATE",
        "CONFIRMED_EVENT_UPDATE",
        "HUMAN_AGENT",
        "NON_PROMOTIONAL_SUBSCRIPTION",
        "POST_PURCHASE_UPDATE",
        "UPDATE",
    )
)
USER_ID = re.compile(r"[0-9]+|[0-9a-f]{24}")

STRANGER = "404"
UNREACHABLE = "403"


@dataclass(frozen=True, slots=True)
class Accepted:
    user_id: str
    block: str
    """What they are shown: a block or a flow, by its name or id."""
    attributes: Mapping[str, str]


class ChatfuelSandbox(Sandbox):
    """Chatfuel for one bot, who knows everybody but those whose ids end in

    ...404   who never talked to the bot
    ...403   who talked to it too long ago: the refusal is a 200, for all the vendor says of its statuses
    """

    name = "chatfuel"
    credentials: ClassVar[Mapping[str, str]] = {
        "bot_id": "5a6d62657261746573616e64",
        "token": "sandboxsandboxsandboxsandboxsandboxsandboxsandboxsandboxsandboxs",
    }

    def __init__(self, *, rate: int = 25, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self.rate = rate
        """Requests a second."""
        self._clock = clock
        self._let_in: deque[float] = deque()

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        return [web.post("/bots/{bot_id}/users/{user_id}/send", self._send)]

    async def _send(self, request: web.Request) -> web.Response:
        # A token is one bot's, so that of another bot is as wrong as none.
        bot_id, token = request.match_info["bot_id"], request.query.get("chatfuel_token")
        if (bot_id, token) != (self.credentials["bot_id"], self.credentials["token"]):
            return refused("Invalid token", status=401)
        if not self._has_room():
            return refused("Too many requests", status=429, headers={"Retry-After": "1"})
        params = await params_of(request)
        if params is None:
            return refused("Bad request")
        showing = [params[name] for name in SHOWING if params.get(name)]
        if len(showing) != 1:
            return refused("Exactly one block or flow is required")
        if params.get("chatfuel_message_tag", "UPDATE") not in MESSAGE_TAGS:
            return refused("Unknown message tag")
        if any(name.startswith(RESERVED) for name in params.keys() - KNOWN):
            return refused(f"Names that start with {RESERVED} are reserved")
        user_id = request.match_info["user_id"]
        if not USER_ID.fullmatch(user_id) or user_id.endswith(STRANGER):
            return refused("User not found", status=404)
        if user_id.endswith(UNREACHABLE):
            return refused("The user's last interaction was more than 24 hours ago", status=200)
        # `tags` replaces the user's tags, and is no attribute.
        attributes = {name: value for name, value in params.items() if name not in KNOWN | {"tags"}}
        self.accepted.append(Accepted(user_id, showing[0], attributes))
        return answer({"result": "ok", "success": True})

    def _has_room(self) -> bool:
        now = self._clock()
        while self._let_in and self._let_in[0] <= now - 1:
            self._let_in.popleft()
        if len(self._let_in) >= self.rate:
            return False
        self._let_in.append(now)
        return True


def refused(result: str, *, status: int = 400, headers: Mapping[str, str] | None = None) -> web.Response:
    return answer({"result": result, "success": False}, status=status, headers=headers)


async def params_of(request: web.Request) -> dict[str, Any] | None:
    """From the query and from the body, which is JSON or nothing; None if it is something else."""
    if request.content_type != "application/json":
        return None
    try:
        return {**orjson.loads(await request.read() or b"{}"), **request.query}
    except (TypeError, ValueError):
        return None
