"""MercatelySandbox: the retailers API of Mercately, emulated with its documented shapes and its known quirks.

What the vendor's documents show is answered to the letter. What only its public material tells is marked
"inferred" where it is decided.
"""

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone
from itertools import zip_longest
from random import Random
from typing import Any, ClassVar, TypeVar

import orjson
from aiohttp import web

from adapters.mercately import demo
from adapters.mercately.demo import CALLING_CODES, Channel, Conversation, Customer
from adapters.sandbox import Sandbox, answer

API = "/retailers/api/v1"
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
PER_PAGE = 100
WRITABLE = frozenset(
    ("first_name", "last_name", "email", "phone", "notes", "address", "city", "state", "zip_code")
)
PARAMETER = re.compile(r"(?<!\\)\*")
NO_PAGES = {"X-Total-Pages": "0"}
EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
NO_BALANCE = (
    "Usted no tiene suficiente saldo para enviar mensajes de Whatsapp, por favor, "
    "contáctese con su agente de ventas para recargar su saldo"
)
NOT_OPTED_IN = "No fue posible verificar el número de destino"
NOT_DELIVERED = "No fue posible entregar el mensaje al número de destino"

UNREACHABLE = "9500"

Row = TypeVar("Row")
Endpoint = Callable[[web.Request], Awaitable[web.Response]]


class RubyError(Exception):
    """An exception the vendor did not expect: its message is shown to the client, with status 500."""


@dataclass(frozen=True, slots=True)
class Accepted:
    phone: str
    template_id: str
    text: str


class MercatelySandbox(Sandbox):
    """Mercately for one retailer; every instance starts from the same people and keeps its own changes.

    WhatsApp carries a notification to everybody who opted in, but to those whose phone ends in

    ...9500   whom it refuses
    """

    name = "mercately"
    credentials: ClassVar[Mapping[str, str]] = {
        "slug": "sandbox",
        "api_key": "5a6d6265726361746573616e64626f78",
    }

    def __init__(
        self,
        *,
        now: datetime = NOW,
        balance: bool = True,
        facebook_connected: bool = True,
        shuffled_pages: bool = False,
    ) -> None:
        super().__init__()
        self.now = now
        self.balance = balance
        self.facebook_connected = facebook_connected
        self.shuffled_pages = shuffled_pages
        self._turns = Random("mercately pages")
        self._customers = {customer.id: customer for customer in demo.customers()}
        self._ids_by_phone = {c.phone: c.id for c in demo.customers() if c.phone}
        self._next_row = demo.FIRST_ROW + demo.CUSTOMERS
        self._conversations = {"messenger": self._demo("messenger"), "whatsapp": self._demo("whatsapp")}
        self._tags = {tag.tag: tag for tag in demo.tags()}
        self._agent_ids = {agent.id for agent in demo.agents()}
        self._templates = {template.internal_id: template for template in demo.templates()}

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        return [
            web.get(f"{API}/ping", self._let_in(self._ping)),
            web.get(f"{API}/agents", self._let_in(self._list_agents)),
            web.get(f"{API}/customers", self._let_in(self._list_customers)),
            web.post(f"{API}/customers", self._let_in(self._create_customer)),
            web.get(f"{API}/customers/{{id}}", self._let_in(self._show_customer)),
            web.put(f"{API}/customers/{{id}}", self._let_in(self._update_customer)),
            web.get(f"{API}/messenger_conversations", self._let_in(self._list_messenger)),
            web.get(f"{API}/whatsapp_conversations", self._let_in(self._list_whatsapp)),
            web.get(f"{API}/whatsapp_templates", self._let_in(self._list_templates)),
            web.post(f"{API}/whatsapp/send_notification_by_id", self._let_in(self._send)),
        ]

    def _let_in(self, endpoint: Endpoint) -> Endpoint:
        async def guarded(request: web.Request) -> web.Response:
            # The slug finds the retailer before the key is looked at, hence the 404.
            if request.headers.get("Slug") != self.credentials["slug"]:
                return told("Resource not found", status=404)
            if request.headers.get("Api-Key") != self.credentials["api_key"]:
                return told("Unauthorized", status=401)
            try:
                return await endpoint(request)
            except RubyError as error:
                return told(str(error), status=500)

        return guarded

    async def _ping(self, _: web.Request) -> web.Response:
        return told("Ok")

    async def _list_agents(self, _: web.Request) -> web.Response:
        return answer({"agents": demo.agents()})

    async def _list_templates(self, _: web.Request) -> web.Response:
        return answer({"templates": demo.templates()})

    async def _list_customers(self, request: web.Request) -> web.Response:
        rows = list(self._customers.values())
        if self.shuffled_pages:
            # Without ORDER BY rows move a little between two requests: some repeat, some are missed.
            turn = self._turns.randint(0, 10)
            rows = rows[turn:] + rows[:turn]
        return answer(
            {
                "results": len(rows),
                "total_pages": total_pages(len(rows), PER_PAGE),
                "customers": [customer_json(row) for row in page_of(rows, request, PER_PAGE)],
            }
        )

    async def _show_customer(self, request: web.Request) -> web.Response:
        customer = self._customers.get(request.match_info["id"])
        if customer is None:
            return answer({"message": "Customer not found"}, status=404)
        return answer({"message": "Customer found successfully", "customer": customer_json(customer)})

    async def _create_customer(self, request: web.Request) -> web.Response:
        fields = customer_fields(await params_of(request))
        customer = changed(self._new_customer(api_created=True), fields)
        if problems := self._problems_of(customer):
            return answer({"errors": problems}, status=302)
        customer = self._assigned(self._tagged(customer, fields), fields)
        self._save(customer)
        return answer({"message": "Customer created successfully", "customer": customer_json(customer)})

    async def _update_customer(self, request: web.Request) -> web.Response:
        customer = self._customers.get(request.match_info["id"])
        if customer is None:
            return answer({"message": "Customer not found"}, status=404)
        fields = customer_fields(await params_of(request))
        # The vendor saves the tags before it validates the rest, so a refused update may have changed them.
        tagged = self._tagged(customer, fields)
        self._save(tagged)
        updated = changed(tagged, fields)
        if problems := self._problems_of(updated):
            return answer({"errors": problems}, status=302)
        self._save(self._assigned(updated, fields))
        return answer({"message": "Customer updated successfully"})

    async def _list_messenger(self, request: web.Request) -> web.Response:
        if not self.facebook_connected:
            return answer({"results": 0, "total_pages": 0, "messenger_conversations": 0})
        return self._list_conversations("messenger", request)

    async def _list_whatsapp(self, request: web.Request) -> web.Response:
        return self._list_conversations("whatsapp", request)

    def _list_conversations(self, channel: Channel, request: web.Request) -> web.Response:
        per_page = ruby_int(request.query.get("results_per_page", str(PER_PAGE)))
        if per_page <= 0:
            raise RubyError("divided by 0")
        rows = sorted(self._conversations[channel].values(), key=age_order, reverse=True)
        if request.query.get("unassigned") == "true":
            rows = [row for row in rows if self._customers[row.customer_id].agent_id is None]
        page = page_of(rows, request, per_page)
        return answer(
            {
                "results": len(rows),
                "total_pages": total_pages(len(rows), per_page),
                f"{channel}_conversations": [self._conversation_json(channel, row) for row in page],
            }
        )

    def _conversation_json(self, channel: Channel, conversation: Conversation) -> dict[str, Any]:
        customer = self._customers[conversation.customer_id]
        shown = {
            "id": None,
            "customer_id": customer.row,
            "message_count": conversation.message_count,
            "last_interaction": iso(conversation.last_interaction).replace("+00:00", "Z"),
            "first_name": customer.first_name,
            "last_name": customer.last_name,
            "email": customer.email,
        }
        if channel == "whatsapp":
            shown["phone"] = customer.phone
        return {**shown, "agent_id": customer.agent_id}

    async def _send(self, request: web.Request) -> web.Response:
        params = await params_of(request)
        phone, internal_id = text_of(params.get("phone_number")), text_of(params.get("internal_id"))
        if not self.balance:
            return answer({"message": NO_BALANCE}, status=401, headers=NO_PAGES)
        if not (phone and internal_id):
            return told("Error: Missing phone number and/or internal_id", status=400)
        template = self._templates.get(internal_id)
        if template is None:
            return told("Error: Template not found. Please check the ID sent.", status=404)
        given, required = texts_of(params.get("template_params")), len(PARAMETER.findall(template.text))
        if len(given) != required:
            mismatch = f"Error: Parameters mismatch. Required {required}, but {len(given)} sent."
            return told(mismatch, status=400)
        text = filled(template.text, given)
        return self._deliver(self._addressee(phone, params), internal_id, text, params)

    def _deliver(
        self, customer: Customer, template_id: str, text: str, params: Mapping[str, Any]
    ) -> web.Response:
        if problems := self._problems_of(customer):
            return answer({"message": "Error: Customer not found", "errors": ", ".join(problems)}, status=404)
        customer = self._assigned(self._tagged(customer, params), params)
        self._save(customer)
        # Inferred: whom the API created has not been asked yet; their opt-in comes with the first message.
        if not (customer.whatsapp_opt_in or customer.api_created):
            return told("Error", status=500, info={"message": NOT_OPTED_IN})
        self._save(replace(customer, whatsapp_opt_in=True))
        phone = customer.phone or ""
        if phone.endswith(UNREACHABLE):
            return told("Error", status=500, info={"message": NOT_DELIVERED})
        self._continue_conversation(customer)
        self.accepted.append(Accepted(phone, template_id, text))
        return told("Ok", info=self._notification(customer, text))

    def _addressee(self, phone: str, params: Mapping[str, Any]) -> Customer:
        """The customer with this phone, or a new one, with the details of the request that are not blank."""
        phone = phone if phone.startswith("+") else f"+{phone}"
        known_as = self._ids_by_phone.get(phone)
        if known_as is None and phone.startswith("+52"):
            known_as = self._ids_by_phone.get(f"+521{phone[3:]}")
        details = {name: value for name, value in params.items() if name != "phone" and text_of(value)}
        if known_as is not None:
            return changed(self._customers[known_as], details)
        return changed(self._new_customer(phone=phone, whatsapp_opt_in=True), details)

    def _continue_conversation(self, customer: Customer) -> None:
        self.now += timedelta(seconds=1)
        conversations = self._conversations["whatsapp"]
        said = conversations[customer.id].message_count if customer.id in conversations else 0
        conversations[customer.id] = Conversation(customer.id, said + 1, self.now)

    def _notification(self, customer: Customer, text: str) -> dict[str, Any]:
        return {
            "channel": "whatsapp",
            "content": {"text": text},
            "direction": "outbound",
            "status": "submitted",
            "destination": customer.phone,
            "country": country_of(customer.phone or ""),
            "created_time": iso(self.now.astimezone(timezone(timedelta(hours=-4)))),
            "error": None,
        }

    def _problems_of(self, customer: Customer) -> list[str]:
        """Why the vendor would refuse to save this customer; names and e-mails bind those the API created."""
        problems = []
        if customer.api_created:
            # Inferred: Rails' own Spanish sentences, as the vendor shows them for products.
            problems += [] if customer.first_name else ["First name no puede estar vacío"]
            problems += [] if customer.last_name else ["Last name no puede estar vacío"]
            problems += [] if customer.phone or customer.email else ["Numero o email deben estar presentes."]
            problems += ["Email ya está en uso"] if self._email_taken(customer) else []
        if customer.email and not EMAIL.fullmatch(customer.email):
            problems.append("Email invalido")
        if customer.phone and self._ids_by_phone.get(customer.phone, customer.id) != customer.id:
            problems.append("Ya tienes un cliente registrado con este número de teléfono.")
        return problems

    def _email_taken(self, customer: Customer) -> bool:
        if not customer.email:
            return False
        return any(
            other.email == customer.email and other.id != customer.id for other in self._customers.values()
        )

    def _tagged(self, customer: Customer, params: Mapping[str, Any]) -> Customer:
        """The customer with the tags the request adds, without those it removes; unknown ones are ignored."""
        wanted = params.get("tags")
        tags = {tag.tag: tag for tag in customer.tags}
        for entry in wanted if isinstance(wanted, list) else []:
            name = text_of(entry.get("name")) if isinstance(entry, dict) else None
            if name not in self._tags:
                continue
            if entry.get("value") in (True, "true"):
                tags[name] = self._tags[name]
            elif entry.get("value") in (False, "false"):
                tags.pop(name, None)
        return replace(customer, tags=tuple(tags.values()))

    def _assigned(self, customer: Customer, params: Mapping[str, Any]) -> Customer:
        agent_id = ruby_int(text_of(params.get("agent_id")) or "")
        return replace(customer, agent_id=agent_id) if agent_id in self._agent_ids else customer

    def _new_customer(self, **known: Any) -> Customer:
        return Customer(id=demo.web_id(self._next_row), row=self._next_row, **known)

    def _save(self, customer: Customer) -> None:
        before = self._customers.get(customer.id)
        if before is not None and before.phone:
            del self._ids_by_phone[before.phone]
        if customer.phone:
            self._ids_by_phone[customer.phone] = customer.id
        self._customers[customer.id] = customer
        self._next_row = max(self._next_row, customer.row + 1)

    def _demo(self, channel: Channel) -> dict[str, Conversation]:
        return {row.customer_id: row for row in demo.conversations(channel, self.now)}


def told(message: str, *, status: int = 200, info: Mapping[str, Any] | None = None) -> web.Response:
    """The vendor's envelope of a message; most other answers come without one."""
    return answer({"message": message, "info": info or {"data": {}}}, status=status, headers=NO_PAGES)


def customer_json(customer: Customer) -> dict[str, Any]:
    return {
        "id": customer.id,
        "first_name": customer.first_name,
        "last_name": customer.last_name,
        "email": customer.email,
        "phone": customer.phone,
        "meli_customer_id": None,
        "meli_nickname": None,
        "id_type": customer.id_type,
        "id_number": customer.id_number,
        "address": customer.address,
        "city": customer.city,
        "state": customer.state,
        "zip_code": customer.zip_code,
        "country_id": customer.country_id,
        "notes": customer.notes,
        "whatsapp_opt_in": customer.whatsapp_opt_in,
        "whatsapp_name": customer.whatsapp_name,
        "tags": customer.tags,
        # The colon within the key is the vendor's.
        "custom_fields": [
            {"field_name": name, "field_content:": content} for name, content in customer.custom_fields
        ],
    }


async def params_of(request: web.Request) -> dict[str, Any]:
    """The request's parameters, from JSON or from a form with names like `customer[tags][][name]`."""
    try:
        if request.content_type == "application/json":
            return dict(orjson.loads(await request.read() or b"{}"))
        return nested(
            (name, value) for name, value in (await request.post()).items() if isinstance(value, str)
        )
    except (AttributeError, TypeError, ValueError):
        body = '{"status":400,"error":"Bad Request"}'
        raise web.HTTPBadRequest(text=body, content_type="application/json") from None


def nested(form: Iterable[tuple[str, str]]) -> dict[str, Any]:
    params: dict[str, Any] = {}
    for name, value in form:
        keys = re.findall(r"^[^\[]+|(?<=\[)[^\]]*(?=\])", name)
        nest(params, keys, value)
    return params


def nest(node: dict[str, Any], keys: list[str], value: str) -> None:
    key, inner = keys[0], keys[1:]
    if not inner:
        node[key] = value
    elif inner == [""]:
        node.setdefault(key, []).append(value)
    elif inner[0] == "":
        entries = node.setdefault(key, [])
        # A name that the last entry already has starts the next entry.
        if not entries or inner[1] in entries[-1]:
            entries.append({})
        nest(entries[-1], inner[1:], value)
    else:
        nest(node.setdefault(key, {}), inner, value)


def customer_fields(params: Mapping[str, Any]) -> dict[str, Any]:
    fields = params.get("customer")
    if not isinstance(fields, dict) or not fields:
        raise RubyError("param is missing or the value is empty: customer")
    return fields


def changed(customer: Customer, fields: Mapping[str, Any]) -> Customer:
    """The customer with the writable ones of these fields; all others are dropped without a word."""
    writable = {name: fields[name] for name in WRITABLE & fields.keys()}
    values: dict[str, Any] = {
        name: text_of(value) for name, value in writable.items() if not isinstance(value, dict | list)
    }
    if values.get("phone") and customer.country_id:
        values["phone"] = with_calling_code(values["phone"], CALLING_CODES[customer.country_id])
    return replace(customer, **values)


def with_calling_code(phone: str, code: str) -> str:
    # Inferred: the vendor only says that the prefix of a known country is forced.
    return phone if phone.startswith(f"+{code}") else f"+{code}{phone.removeprefix('+')}"


def country_of(phone: str) -> str | None:
    return next((country for country, code in CALLING_CODES.items() if phone.startswith(f"+{code}")), None)


def text_of(value: object) -> str | None:
    """A scalar as Rails stores it in a text column; anything else is dropped."""
    return str(value).strip() if isinstance(value, str | int | float) else None


def texts_of(value: object) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else []


def ruby_int(text: str) -> int:
    """As Ruby's to_i: the number a text begins with, or 0."""
    number = re.match(r"\s*([+-]?\d+)", text)
    return int(number[1]) if number else 0


def page_of(rows: list[Row], request: web.Request, per_page: int) -> list[Row]:
    page = max(1, ruby_int(request.query.get("page", "1")))
    return rows[(page - 1) * per_page : page * per_page]


def total_pages(results: int, per_page: int) -> int:
    """The vendor's arithmetic: a full last page is followed by an empty one."""
    return results // per_page + 1


def age_order(conversation: Conversation) -> tuple[datetime, str]:
    return conversation.last_interaction, conversation.customer_id


def iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds")


def filled(template: str, values: Iterable[str]) -> str:
    """The template with its stars replaced, left to right; an escaped star becomes a star."""
    pieces = [piece.replace("\\*", "*") for piece in PARAMETER.split(template)]
    return "".join(piece + value for piece, value in zip_longest(pieces, values, fillvalue=""))
