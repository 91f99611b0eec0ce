"""Parameters: what a caller of the door says, in the query, in a form or in a JSON object."""

import asyncio
import json
from collections.abc import Iterable
from urllib.parse import parse_qsl

from aiohttp import web
from strawberry import UNSET
from strawberry.utils.str_converters import to_snake_case

from gateway.view import JSON, SLOWEST_BODY
from resolvers.checks import Checks
from schema.errors import BadInput

FORM = "application/x-www-form-urlencoded"
KEY = "Idempotency-Key"
"""The header, as draft-ietf-httpapi-idempotency-key-header has it; quotes may be left out."""

_CHATFUELS_NAMES = {
    "messenger user id": "messenger_id",
    "last name": "last_name",
    "first name": "first_name",
}
"""Its own attributes, and what everyprint's documents call them."""

_GRAPHS_NAMES = {
    "content.messenger.text": "message",
    "audience.group": "group",
    "to.messengerId": "customer_id",
    "idempotencyKey": KEY,
}
"""Where the graph has it, and what everyprint's documents call it."""

Pairs = Iterable[tuple[str, object]]


class Parameters(Checks):
    """What nobody asks for may be anything: a bot sends all that it knows of a person."""

    def __init__(self, pairs: Pairs) -> None:
        super().__init__(at="")
        self._values: dict[str, list[object]] = {}
        for name, value in pairs:
            self._values.setdefault(_CHATFUELS_NAMES.get(name, name), []).append(value)

    def path(self, name: str) -> str:
        return _GRAPHS_NAMES.get(name) or to_snake_case(name)

    def get(self, name: str) -> str | None:
        """UNSET where it is left out, or wrong."""
        texts = {_text(value) for value in self._values.get(name, ())}
        if None in texts:
            self.wrong(name, "Send it as text, or as a whole number.")
        elif len(texts) > 1:
            self.wrong(name, "This came twice, with different values.")
        elif texts:
            return texts.pop()
        return UNSET  # type: ignore[no-any-return]  # as Strawberry has it


async def read(request: web.Request) -> Parameters:
    query = _of_form("query", request.rel_url.raw_query_string.encode(errors="surrogateescape"))
    keys = [("idempotencyKey", key) for key in request.headers.getall(KEY, ())]
    return Parameters([*query, *await _of_body(request), *keys])


async def _of_body(request: web.Request) -> Pairs:
    """Also of a GET, where everyprint's documents send one, and aiohttp's own `post` reads none."""
    try:
        async with asyncio.timeout(SLOWEST_BODY):
            body = await request.read()
    except TimeoutError:
        raise BadInput({"body": "It did not arrive in time."}) from None
    except web.HTTPRequestEntityTooLarge:
        raise BadInput({"body": "It is too large."}) from None
    except web.RequestPayloadError:
        raise BadInput({"body": "It cannot be read."}) from None
    if not body:
        return ()
    if (request.charset or "utf-8").lower() in ("utf-8", "utf8"):
        if request.content_type == FORM:
            return _of_form("body", body)
        if request.content_type == JSON:
            return _of_json(body)
    raise BadInput({"body": f"Send it as {FORM} or as {JSON}, in UTF-8."})


def _of_form(place: str, form: bytes) -> Pairs:
    try:
        return parse_qsl(form.decode(), keep_blank_values=True, errors="strict")
    except ValueError:
        raise BadInput({place: "This is no form in UTF-8."}) from None


def _of_json(body: bytes) -> Pairs:
    try:
        pairs = json.loads(body.decode(), object_pairs_hook=tuple)  # keeps what is there twice
    except (ValueError, RecursionError):
        raise BadInput({"body": "This is no JSON in UTF-8."}) from None
    if not isinstance(pairs, tuple):
        raise BadInput({"body": "Send a JSON object, with a member for each parameter."})
    return pairs


def _text(value: object) -> str | None:
    if type(value) is int:  # True and False are integers too
        return str(value)
    if not isinstance(value, str):
        return None
    text = value.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":  # as the documents' curl lines have it
        text = text[1:-1].strip()
    return text
