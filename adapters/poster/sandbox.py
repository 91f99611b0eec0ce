"""PosterSandbox: the marketing section of Poster's API, emulated with its documented shapes and known quirks.

What the vendor's documents show is answered to the letter. What only its public material tells, or nothing
tells, is marked "inferred" where it is decided.
"""

import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from typing import Any, ClassVar

import orjson
from aiohttp import web

from adapters.poster import demo
from adapters.poster.demo import Client, Group
from adapters.sandbox import Sandbox, answer

API = "/api/clients."
KOPECKS = 100

# The vendor's table; of the sentences only that of 11 is known to the letter.
ERRORS: Mapping[int, str] = {
    10: "Token is missing",
    11: "Bad access token",
    32: "Entity with this id does not exist",
    34: "Required property is absent or empty",
    38: "This name already exists",
    155: "Wrong parameter value",
    167: "This phone number is already taken",
    400: "Bad request format",
    701: "Parameter must be an integer",
}
PHONE_TAKEN = 167
"""Not in their table; seen, and in the flat form always."""

Endpoint = Callable[[web.Request], Awaitable[web.Response]]


class PosterError(Exception):
    """What the vendor refuses, by the code in its table."""

    def __init__(self, code: int) -> None:
        super().__init__(ERRORS[code])
        self.code = code


class PosterSandbox(Sandbox):
    """Poster for one account; every instance starts from the same people and keeps its own changes."""

    name = "poster"
    credentials: ClassVar[Mapping[str, str]] = {"token": "745d516e1b9320ed85b84d5bfda14148"}

    def __init__(self, *, flat_errors: bool = False) -> None:
        super().__init__()
        self.flat_errors = flat_errors
        self._groups = {group.id: group for group in demo.GROUPS}
        self._next_group_id = max(self._groups) + 1
        self._clients = {client.id: client for client in demo.clients()}

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        return [
            web.get(f"{API}getGroups", self._let_in(self._get_groups)),
            web.get(f"{API}getGroup", self._let_in(self._get_group)),
            web.post(f"{API}createGroup", self._let_in(self._create_group)),
            web.post(f"{API}updateGroup", self._let_in(self._update_group)),
            web.post(f"{API}removeGroup", self._let_in(self._remove_group)),
            web.get(f"{API}getClients", self._let_in(self._get_clients)),
            web.get(f"{API}getClient", self._let_in(self._get_client)),
            web.post(f"{API}updateClient", self._let_in(self._update_client)),
        ]

    def _let_in(self, endpoint: Endpoint) -> Endpoint:
        async def guarded(request: web.Request) -> web.Response:
            try:
                if not request.query.get("token"):
                    raise PosterError(10)
                if request.query["token"] != self.credentials["token"]:
                    raise PosterError(11)
                # Inferred: XML, which the vendor speaks and we do not, is refused as any other format.
                if request.query.get("format", "json") != "json":
                    raise PosterError(400)
                return await endpoint(request)
            except PosterError as error:
                return self._refusal(error)

        return guarded

    def _refusal(self, error: PosterError) -> web.Response:
        """An error's status is 200, as all else's."""
        problem = {"code": error.code, "message": str(error)}
        if self.flat_errors or error.code == PHONE_TAKEN:
            return answer({"error": error.code, "message": str(error)})
        return answer({"error": problem})

    async def _get_groups(self, _: web.Request) -> web.Response:
        sizes = self._sizes()
        return said([group_json(group, sizes[group.id]) for group in self._groups.values()])

    async def _get_group(self, request: web.Request) -> web.Response:
        group = self._group_of(request.query, "group_id")
        return said(group_json(group, self._sizes()[group.id]))

    async def _create_group(self, request: web.Request) -> web.Response:
        params = await params_of(request)
        for name in ("client_groups_name", "loyalty_type"):
            required(params, name)
        group = changed(Group(self._next_group_id, "", 0, Decimal(0), 0), params)
        self._save(group)
        self._next_group_id += 1
        return said(group.id)

    async def _update_group(self, request: web.Request) -> web.Response:
        params = await params_of(request)
        group = self._group_of(params, "client_groups_id")
        # Inferred: what is left out stays as it was.
        self._save(changed(group, params))
        return said(group.id)

    async def _remove_group(self, request: web.Request) -> web.Response:
        """Called group_id here, not client_groups_id; the clients go with their group."""
        group = self._group_of(await params_of(request), "group_id")
        del self._groups[group.id]
        self._clients = {c.id: c for c in self._clients.values() if c.group_id != group.id}
        return said(True)

    async def _get_clients(self, request: web.Request) -> web.Response:
        query = request.query
        rows = sorted(self._clients.values(), key=lambda row: row.id, reverse=query.get("sort") != "asc")
        if group_id := integer(query, "group_id"):
            rows = [row for row in rows if row.group_id == group_id]
        if phone := query.get("phone"):
            # Inferred: with or without its plus; unescaped, it is a space, which nobody has.
            rows = [row for row in rows if digits(row.phone) == phone.removeprefix("+")]
        offset = integer(query, "offset") or 0
        count = integer(query, "num") or len(rows)
        return said([self._client_json(row) for row in rows[offset : offset + count]])

    async def _get_client(self, request: web.Request) -> web.Response:
        client = self._clients.get(integer(request.query, "client_id", needed=True))
        if client is None:
            # Seen, while groups have an error of their own. Inferred: which of both methods does which.
            return said(False)
        more: dict[str, Any] = {"accumulation_products": [], "prize_products": []}
        return said([self._client_json(client) | more])

    async def _update_client(self, request: web.Request) -> web.Response:
        params = await params_of(request)
        client = self._clients.get(integer(params, "client_id", needed=True))
        if client is None:
            raise PosterError(32)
        changed = changed_client(client, params)
        if "client_groups_id_client" in params:
            changed = replace(changed, group_id=self._group_of(params, "client_groups_id_client").id)
        phone = digits(changed.phone)
        others = (other for other in self._clients.values() if other.id != client.id)
        if phone and any(digits(other.phone) == phone for other in others):
            raise PosterError(PHONE_TAKEN)
        self._clients[client.id] = changed
        return said(client.id)

    def _group_of(self, params: Mapping[str, Any], name: str) -> Group:
        group = self._groups.get(integer(params, name, needed=True))
        if group is None:
            raise PosterError(32)
        return group

    def _save(self, group: Group) -> None:
        if any(other.name == group.name and other.id != group.id for other in self._groups.values()):
            raise PosterError(38)
        self._groups[group.id] = group

    def _sizes(self) -> Counter[int]:
        return Counter(client.group_id for client in self._clients.values() if not client.deleted)

    def _client_json(self, client: Client) -> dict[str, Any]:
        group = self._groups.get(client.group_id)
        return {
            "client_id": str(client.id),
            "firstname": client.first_name,
            "lastname": client.last_name,
            "patronymic": client.patronymic,
            "discount_per": str(client.discount),
            "bonus": str(client.bonus),
            "total_payed_sum": str(client.total_spent),
            "date_activale": client.since,
            "phone": client.phone,
            "phone_number": digits(client.phone) or "0",
            "email": client.email,
            "birthday": client.birthday,
            "card_number": client.card_number,
            "client_sex": str(client.sex),
            "country": client.country,
            "city": client.city,
            "comment": client.comment,
            "address": client.address,
            "client_groups_id": str(client.group_id),
            # Inferred: what a client without a group has here.
            "client_groups_name": group.name if group else None,
            "client_groups_discount": plain(group.discount) if group else None,
            "loyalty_type": str(group.loyalty_type) if group else None,
            "birthday_bonus": str(group.birthday_bonus) if group else None,
            "delete": str(int(client.deleted)),
            "ewallet": str(client.ewallet),
        }


def said(response: object) -> web.Response:
    return answer({"response": response})


def group_json(group: Group, size: int) -> dict[str, str]:
    """All of it text, the bonus in kopecks."""
    return {
        "client_groups_id": str(group.id),
        "client_groups_name": group.name,
        "loyalty_type": str(group.loyalty_type),
        "client_groups_discount": plain(group.discount),
        "birthday_bonus": str(group.birthday_bonus),
        "count_groups_clients": str(size),
    }


async def params_of(request: web.Request) -> Mapping[str, Any]:
    """The request's parameters, from a form or from JSON."""
    if request.content_type != "application/json":
        return {name: value for name, value in (await request.post()).items() if isinstance(value, str)}
    try:
        return dict(orjson.loads(await request.read()))
    except (TypeError, ValueError):
        raise PosterError(400) from None


def changed(group: Group, params: Mapping[str, Any]) -> Group:
    """The group with what is given; the bonus, which is answered in kopecks, is given in whole units."""
    values: dict[str, Any] = {}
    if "client_groups_name" in params:
        values["name"] = required(params, "client_groups_name")
    if "loyalty_type" in params:
        values["loyalty_type"] = integer(params, "loyalty_type", needed=True)
        if values["loyalty_type"] not in (1, 2):
            raise PosterError(155)
    if "client_groups_discount" in params:
        values["discount"] = amount(params, "client_groups_discount")
    if "birthday_bonus" in params:
        values["birthday_bonus"] = int(amount(params, "birthday_bonus") * KOPECKS)
    return replace(group, **values)


def changed_client(client: Client, params: Mapping[str, Any]) -> Client:
    """The client with what is given. Inferred: what is left out stays as it was."""
    texts = ("phone", "email", "city", "address", "comment")
    values: dict[str, Any] = {name: str(params[name] or "") for name in texts if name in params}
    if "client_name" in params:
        # Inferred, from their example: the words are told apart by spaces, and come in this order.
        words = [word for word in str(params["client_name"] or "").split(" ") if word]
        if not words:
            raise PosterError(34)
        names = ("last_name", "first_name", "patronymic")
        values |= dict(zip(names, [*words[:2], " ".join(words[2:]), "", ""], strict=False))
    if "client_sex" in params:
        values["sex"] = integer(params, "client_sex")
        if values["sex"] not in (0, 1, 2):
            raise PosterError(155)
    return replace(client, **values)


def required(params: Mapping[str, Any], name: str) -> str:
    text = str(params.get(name) or "").strip()
    if not text:
        raise PosterError(34)
    return text


def integer(params: Mapping[str, Any], name: str, *, needed: bool = False) -> int:
    """The number, or 0 where it is left out."""
    text = required(params, name) if needed else str(params.get(name) or "0")
    if not re.fullmatch(r"\d{1,18}", text, re.ASCII):
        raise PosterError(701)
    return int(text)


def amount(params: Mapping[str, Any], name: str) -> Decimal:
    try:
        number = Decimal(str(params[name] or 0))
        if 0 <= number < 10**9:
            return number
    except InvalidOperation:  # no number, or one that is not a number
        pass
    raise PosterError(155)


def plain(number: Decimal) -> str:
    """10, not 10.00 or 1E+1."""
    return f"{number.normalize():f}"


def digits(phone: str) -> str:
    return re.sub(r"\D", "", phone, flags=re.ASCII)
