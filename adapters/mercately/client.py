"""Mercately's client: its wire models, and one method per question we ask."""

import re
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeVar

import msgspec
from msgspec.structs import astuple, force_setattr
from pydantic import Field, SecretStr

from adapters.cache import Keep
from adapters.errors import Fault, Malformed, Rejected, SourceError, Unacceptable
from adapters.mercately.sandbox import MercatelySandbox
from adapters.rest import UNREADABLE, Kept, Path, Rest

API = "/retailers/api/v1"
CUSTOMER = API + "/customers/{id}"
CUSTOMERS_A_PAGE = 100
WEB_ID = re.compile(r"[0-9]{1,18}[a-z]{5}([0-9]{1,18})")
"""Retailer, five letters, row; the numbers are at most as long as a 64-bit one."""
REPEATED_PAGES = 3
"""So many pages in a row with nobody new on them are no chance: the list has no end."""

# Of their sentences some are known from their documents, the others are what their framework says.
FAULTS = (
    (re.compile("presentes", re.I), ("phone", "email"), Fault.MISSING),
    (re.compile("(first.name|nombre).*(vac[ií]o|blank)", re.I), ("first_name",), Fault.MISSING),
    (re.compile("(last.name|apellido).*(vac[ií]o|blank)", re.I), ("last_name",), Fault.MISSING),
    (re.compile("(phone|tel[eé]fono|n[uú]mero).*(uso|taken|registrado)", re.I), ("phone",), Fault.TAKEN),
    (re.compile("(uso|taken|registrado).*(phone|tel[eé]fono|n[uú]mero)", re.I), ("phone",), Fault.TAKEN),
    (re.compile("email.*(uso|taken|registrado)", re.I), ("email",), Fault.TAKEN),
    (re.compile("email.*inv[aá]lid", re.I), ("email",), Fault.INVALID),
    (re.compile("(phone|tel[eé]fono|n[uú]mero).*inv[aá]lid", re.I), ("phone",), Fault.INVALID),
    (re.compile("missing phone number and/or internal_id", re.I), ("phone", "template"), Fault.MISSING),
    (re.compile("missing phone number", re.I), ("phone",), Fault.MISSING),
    (re.compile("template not found", re.I), ("template",), Fault.INVALID),
    (re.compile("parameters mismatch", re.I), ("parameters",), Fault.INVALID),
)

NOT_SENT = re.compile("No fue posible (verificar|entregar)")
"""The number has not opted in, or WhatsApp refused the message: a clear no, though its status is a 500."""

Channel = Literal["messenger", "whatsapp"]
T = TypeVar("T")
if TYPE_CHECKING:
    Nullable = Annotated[T, "null on the wire"]
else:
    Nullable = T | None
    """May arrive as null, but never stays it: `__post_init__` puts something better in its place."""


class MercatelySettings(Kept):
    credentials: ClassVar = ("slug", "api_key")

    url: str = Field("https://app.mercately.com", description="The part before /retailers/api/v1.")
    slug: str = Field("", description="The retailer's slug.")
    api_key: SecretStr = Field(SecretStr(""), description="The retailer's API key.")
    rate: float | None = Field(
        None, gt=0, description="Messages a second at most, of all processes; left out, there is no limit."
    )
    cache_lists: float = Field(
        120,
        ge=0,
        le=3_600,
        description="Seconds for which agents and templates are answered without asking again; 0 is off.",
    )

    @property
    def keep_lists(self) -> Keep:
        return Keep(self.cache_lists, self.stale, is_theirs=True)


class Agent(msgspec.Struct, frozen=True):
    id: int
    first_name: str | None = None
    last_name: str | None = None
    email: str | None = None
    admin: bool | None = None


class Template(msgspec.Struct, frozen=True):
    text: str
    status: str
    type: str = msgspec.field(name="template_type")
    id: str | None = msgspec.field(name="internal_id", default=None)


class Tag(msgspec.Struct, frozen=True):
    id: str = msgspec.field(name="web_id")
    name: str = msgspec.field(name="tag")


class CustomField(msgspec.Struct, frozen=True):
    name: str = msgspec.field(name="field_name")
    # The colon within the key is the vendor's; newer versions are said to have lost it.
    content: str | None = msgspec.field(name="field_content:", default=None)
    newer_content: str | None = msgspec.field(name="field_content", default=None)

    def __post_init__(self) -> None:
        force_setattr(self, "content", self.content or self.newer_content or None)
        force_setattr(self, "newer_content", None)


class Customer(msgspec.Struct, frozen=True, kw_only=True):
    """What is empty there is None here; the phone is as they store it, with the spaces within it."""

    id: Annotated[str, msgspec.Meta(min_length=1)]
    first_name: str | None = None
    last_name: str | None = None
    email: str | None = None
    phone: str | None = None
    # Always null in their documents; their table keeps a number.
    meli_customer_id: int | str | None = None
    meli_nickname: str | None = None
    id_type: str | None = None
    id_number: str | None = None
    address: str | None = None
    city: str | None = None
    state: str | None = None
    zip_code: str | None = None
    country: str | None = msgspec.field(name="country_id", default=None)
    notes: str | None = None
    whatsapp_opt_in: Nullable[bool] = False
    whatsapp_name: str | None = None
    tags: Nullable[tuple[Tag, ...]] = ()
    custom_fields: Nullable[tuple[CustomField, ...]] = ()

    def __post_init__(self) -> None:
        _tidy_texts(self)
        force_setattr(self, "whatsapp_opt_in", bool(self.whatsapp_opt_in))
        force_setattr(self, "tags", self.tags or ())
        force_setattr(self, "custom_fields", self.custom_fields or ())

    @property
    def row_id(self) -> int | None:
        """The id by which conversations know this customer."""
        parts = WEB_ID.fullmatch(self.id)
        return int(parts[1]) or None if parts else None


class Conversation(msgspec.Struct, frozen=True, kw_only=True):
    """What was said with one customer over one channel; the vendor gives it no id of its own."""

    # Told by the list, not by the row: the name is one they never send.
    channel: Channel = msgspec.field(name="(the list it is in)", default="messenger")
    customer_row_id: int | None = msgspec.field(name="customer_id", default=None)
    message_count: int
    last_interaction: Annotated[datetime, msgspec.Meta(tz=True)]
    first_name: str | None = None
    last_name: str | None = None
    email: str | None = None
    phone: str | None = None
    agent_id: int | None = None

    def __post_init__(self) -> None:
        _tidy_texts(self)
        force_setattr(self, "customer_row_id", self.customer_row_id or None)
        force_setattr(self, "agent_id", self.agent_id or None)
        if self.last_interaction.tzinfo is not UTC:
            force_setattr(self, "last_interaction", _in_utc(self.last_interaction))


class _Agents(msgspec.Struct):
    agents: list[Agent]


class _Templates(msgspec.Struct):
    templates: list[Template]


class _Customers(msgspec.Struct, kw_only=True):
    results: int = 0
    customers: tuple[Customer, ...]


class _Found(msgspec.Struct):
    customer: Customer


class _Done(msgspec.Struct):
    message: str


class _Notification(msgspec.Struct):
    # By the two companies that carry it.
    status: Literal["submitted", "queued"]


class _Sent(msgspec.Struct):
    """There is no id in it."""

    info: _Notification


class Page(list[T]):
    """One page of a list, and how many rows the whole list has."""

    def __init__(self, rows: Iterable[T], total: int) -> None:
        super().__init__(rows)
        self.total = total


class _Messenger(msgspec.Struct, kw_only=True):
    results: int = 0
    # Without a Facebook page it is the number 0.
    conversations: tuple[Conversation, ...] | Literal[0] = msgspec.field(name="messenger_conversations")


class _Whatsapp(msgspec.Struct, kw_only=True):
    results: int = 0
    conversations: tuple[Conversation, ...] = msgspec.field(name="whatsapp_conversations")

    def __post_init__(self) -> None:
        for conversation in self.conversations:
            force_setattr(conversation, "channel", "whatsapp")


_LISTS: Mapping[Channel, type[_Messenger | _Whatsapp]] = {"messenger": _Messenger, "whatsapp": _Whatsapp}


class _Refusal(msgspec.Struct):
    """Both of their error envelopes."""

    message: str | list[str] = ""
    errors: str | list[str] = msgspec.field(default_factory=list)
    info: Any = None

    @property
    def lines(self) -> list[str]:
        return _lines(self.message) + _lines(self.errors)

    @property
    def said(self) -> str:
        return "; ".join(self.lines)

    @property
    def reason(self) -> str:
        """Why a notification was not sent."""
        reason = self.info.get("message") if isinstance(self.info, dict) else None
        return reason if isinstance(reason, str) else ""


class Mercately(Rest):
    name = "mercately"
    title = "Mercately"
    Settings = MercatelySettings
    Sandbox = MercatelySandbox

    _settings: MercatelySettings

    @classmethod
    def headers(cls, settings: MercatelySettings) -> Mapping[str, str]:
        return {"Slug": settings.slug, "Api-Key": settings.api_key.get_secret_value()}

    @property
    def rate(self) -> float | None:
        """Messages a second that it may be sent at most."""
        return self._settings.rate

    async def ping(self) -> None:
        await self._get("agents", f"{API}/agents", _Agents)

    async def agents(self) -> dict[int, Agent]:
        found = await self._get("agents", f"{API}/agents", _Agents, self._settings.keep_lists)
        return {agent.id: agent for agent in found.agents}

    async def templates(self) -> dict[str, Template]:
        """Those with an id: one without can be neither named nor sent."""
        keep = self._settings.keep_lists
        found = await self._get("templates", f"{API}/whatsapp_templates", _Templates, keep)
        return {template.id: template for template in found.templates if template.id}

    async def customers(self, page: int) -> Page[Customer]:
        """One page, in no order; an empty one is past the last, whatever their total says."""
        found = await self._get("customers", f"{API}/customers", _Customers, page=str(page))
        return Page(found.customers, found.results)

    async def every_customer(self, first_page: int = 1) -> AsyncGenerator[Page[Customer], None]:
        """All pages from the first asked for, one list a page, each customer in the first that has them.

        Rows move between their pages: a list may come out empty before the end, and a pass may miss a few.
        """
        seen: set[str] = set()
        page, repeated = max(first_page, 1), 0
        while customers := await self.customers(page):
            new = {customer.id: customer for customer in customers if customer.id not in seen}
            repeated = 0 if new else repeated + 1
            if repeated == REPEATED_PAGES:
                raise Malformed(self.name, f"{self.title} repeats its customers without end.")
            seen.update(new)
            yield Page(new.values(), customers.total)
            page += 1

    async def customer(self, id: str) -> Customer | None:
        """The customer with this web id; whatever else is asked for is nobody's, and is not sent to them."""
        if not WEB_ID.fullmatch(id):
            return None
        try:
            keep = self._settings.keep_people
            found = await self._get("customer", Path(CUSTOMER, id=id), _Found, keep)
        except Rejected as refusal:
            if _is_nobody(refusal):
                return None
            raise
        return found.customer

    async def create_customer(self, profile: Mapping[str, Any], tags: Iterable[str] = ()) -> Customer:
        """`profile` by the names of Customer, and `agent_id`. Unknown tags and agents they ignore."""
        body = {"customer": {**profile, **_tags(dict.fromkeys(tags, True))}}
        found = await self._change("create customer", "POST", f"{API}/customers", _Found, json=body)
        return found.customer

    async def update_customer(
        self, id: str, profile: Mapping[str, Any], tags: Mapping[str, bool] | None = None
    ) -> bool:
        """Changes what is given; tags are added (True) or taken off. False for a customer who is not there.

        They write the tags first: when the rest is refused, the tags may be changed all the same.
        """
        if not WEB_ID.fullmatch(id):
            return False
        body = {"customer": {**profile, **_tags(tags or {})}}
        try:
            await self._change("update customer", "PUT", Path(CUSTOMER, id=id), _Done, json=body)
        except Rejected as refusal:
            if _is_nobody(refusal):
                return False
            raise
        return True

    async def conversations(
        self, channel: Channel, page: int, *, count: int = 100, unassigned: bool = False
    ) -> Page[Conversation]:
        """One page, newest first, of all or of those that no agent has; past the last page it is empty."""
        if count < 1:  # they would divide by it
            return Page((), 0)
        path, only = f"{API}/{channel}_conversations", {"unassigned": "true"} if unassigned else {}
        found = await self._get(
            "conversations",
            path,
            _LISTS[channel],
            self._settings.keep_passing,
            page=str(page),
            results_per_page=str(count),
            **only,
        )
        return Page(found.conversations or (), found.results)

    async def send_template(
        self,
        phone: str,
        template_id: str,
        parameters: Sequence[str],
        *,
        agent_id: int | None = None,
        tags: Mapping[str, bool] | None = None,
        details: Mapping[str, str] | None = None,
    ) -> None:
        """Sends the template, its stars filled from left to right; they take it, and say no more about it.

        The customer with this phone, created if there is none, gets the agent, the tags (True) or loses them,
        and gets `details`, by the names of Customer. Unknown agents and tags and blank details they ignore.
        """
        body = {
            "phone_number": phone,
            "internal_id": template_id,
            **({"template_params": list(parameters)} if parameters else {}),
            **({} if agent_id is None else {"agent_id": agent_id}),
            **_tags(tags or {}),
            **(details or {}),
        }
        path = f"{API}/whatsapp/send_notification_by_id"
        await self._change("send template", "POST", path, _Sent, json=body)

    def _refusal(self, status: int, body: bytes) -> SourceError | None:
        if 200 <= status < 300:
            return None
        refusal = _read_refusal(body)
        said = refusal.said
        # An unknown slug is a 404, checked before the key; today's documentation calls a bad key a 400.
        if (status, said) in {(404, "Resource not found"), (401, "Unauthorized"), (400, "Unauthorized")}:
            return self._refused_credentials()
        # Their validation answers 302 with the errors as JSON and no Location, or 400 with several messages;
        # that of notifications begins its sentences so.
        if said and (
            status == 302
            or (status == 400 and isinstance(refusal.message, list))
            or (status in (400, 404) and said.startswith("Error: "))
        ):
            return Unacceptable(
                self.name,
                f"{self.title} refused the request.",
                faults=_faults(refusal.lines),
                vendor_code=str(status),
                vendor_message=said,
            )
        if said and 400 <= status < 429:  # 401 among them, when there is no balance left to send with
            return self._said_no(str(status), said)
        if status == 500 and NOT_SENT.match(refusal.reason):
            return self._said_no(str(status), refusal.reason)
        return super()._refusal(status, body)


def _tidy_texts(row: Customer | Conversation) -> None:
    if row.phone:
        force_setattr(row, "phone", row.phone.strip())
    if "" in astuple(row):
        for name in row.__struct_fields__:
            if getattr(row, name) == "":
                force_setattr(row, name, None)


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("The moment is outside of the calendar") from error


def _read_refusal(body: bytes) -> _Refusal:
    try:
        return msgspec.json.decode(body, type=_Refusal)
    except UNREADABLE:
        return _Refusal()


def _faults(lines: Iterable[str]) -> dict[str, Fault]:
    """As far as we understand what they say; several sentences may come as one."""
    sentences = (sentence for line in lines for sentence in line.split(", "))
    return {name: fault for sentence in sentences for name, fault in _faults_of(sentence)}


def _faults_of(line: str) -> list[tuple[str, Fault]]:
    for pattern, names, fault in FAULTS:
        if pattern.search(line):
            return [(name, fault) for name in names]
    return []


def _is_nobody(refusal: Rejected) -> bool:
    return (refusal.vendor_code, refusal.vendor_message) == ("404", "Customer not found")


def _tags(tags: Mapping[str, bool]) -> dict[str, list[dict[str, Any]]]:
    return {"tags": [{"name": name, "value": add} for name, add in tags.items()]} if tags else {}


def _lines(said: str | list[str]) -> list[str]:
    return [said] if isinstance(said, str) and said else list(said)
