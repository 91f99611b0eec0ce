"""Poster's client: its wire models, and one method per question we ask."""

from collections.abc import AsyncGenerator, Callable, Mapping
from datetime import date
from decimal import Context, Decimal, Inexact, InvalidOperation
from typing import Any, ClassVar, TypeVar

import msgspec
from msgspec.structs import astuple, force_setattr, replace
from pydantic import Field, SecretStr

from adapters.cache import NOT_AT_ALL, Keep
from adapters.errors import Fault, Rejected, SourceError, Unacceptable
from adapters.poster.sandbox import PosterSandbox
from adapters.rest import UNREADABLE, Kept, Rest

T = TypeVar("T")

API = "/api/clients."
KOPECKS = 100
EXACTLY = Context(prec=60, traps=[Inexact, InvalidOperation])
PAGE = 500
DIGITS = 15
"""An amount has at most."""

EMPTY = ("", "0", "0000-00-00", 0, None)
"""What they write where there is nothing."""

BAD_CREDENTIALS = {"10", "11", "12", "20", "54"}
"""Token missing, invalid or expired; application not authorised; access denied."""

ABSENT = {"32", "404"}
"""No such id; not found."""

FAULTS: Mapping[str, Mapping[str, Fault]] = {
    "34": {},
    "38": {"name": Fault.TAKEN},
    "155": {},
    "167": {"phone": Fault.TAKEN},
    "701": {},
}
"""Which of our values a change was refused for; mostly they do not say."""

# They answer three names and take one, whose words they tell apart by the spaces (inferred): within a name,
# and where one is missing before another, we write a no-break space instead.
NBSP = "\N{NO-BREAK SPACE}"

TEXTS = {"phone", "email", "city", "address", "comment"}
"""Written as they are."""


class PosterSettings(Kept):
    credentials: ClassVar = ("token",)

    url: str = Field("https://demo.joinposter.com", description="The part before /api/clients.getGroups.")
    token: SecretStr = Field(SecretStr(""), description="The account's access token.")
    birthday_bonus_factor: Decimal = Field(
        Decimal(100),
        gt=0,
        description="Poster answers a birthday bonus in kopecks: how many make one of our units.",
    )


class _Row(msgspec.Struct, frozen=True):
    def __post_init__(self) -> None:
        """Decimal reads `NaN`, `Infinity` and `1e-9999999`, with which nobody can count."""
        for value in astuple(self):
            if isinstance(value, Decimal) and not (value.is_finite() and abs(value.adjusted()) < DIGITS):
                raise ValueError("Expected an amount")


class Group(_Row, frozen=True):
    id: int = msgspec.field(name="client_groups_id")
    name: str = msgspec.field(name="client_groups_name", default="")
    loyalty_type: int = 0
    """1: bonuses are saved up; 2: a discount is given."""
    percent: Decimal = msgspec.field(name="client_groups_discount", default=Decimal(0))
    """Of an order: what is saved up or discounted, by the type."""
    birthday_bonus: Decimal = Decimal(0)
    customer_count: int = msgspec.field(name="count_groups_clients", default=0)
    deleted: bool = msgspec.field(name="delete", default=False)


class Client(_Row, frozen=True):
    id: int = msgspec.field(name="client_id")
    first_name: str | None = msgspec.field(name="firstname", default=None)
    last_name: str | None = msgspec.field(name="lastname", default=None)
    patronymic: str | None = None
    phone: str | None = None
    """As people write it: +7 963 031-38-44."""
    phone_number: str | None = None
    """The same, digits only, with the country's."""
    email: str | None = None
    birthday_text: str | None = msgspec.field(name="birthday", default=None)
    sex: int | None = msgspec.field(name="client_sex", default=None)
    """1: male; 2: female."""
    country: str | None = None
    city: str | None = None
    address: str | None = None
    comment: str | None = None
    group_id: int | None = msgspec.field(name="client_groups_id", default=None)
    group_name: str | None = msgspec.field(name="client_groups_name", default=None)
    card_number: str | None = None
    percent: Decimal = msgspec.field(name="discount_per", default=Decimal(0))
    """Their own discount, where it is more than the group's."""
    bonus: Decimal = Decimal(0)
    total_spent: Decimal = msgspec.field(name="total_payed_sum", default=Decimal(0))
    ewallet: Decimal = Decimal(0)
    deleted: bool = msgspec.field(name="delete", default=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("first_name", "last_name", "patronymic"):
            if NBSP in (text := getattr(self, name) or ""):
                force_setattr(self, name, text.replace(NBSP, " ").strip() or None)

    @property
    def birthday(self) -> date | None:
        """A birthday without its year or its day is none: MySQL keeps 0000-05-17."""
        try:
            return date.fromisoformat(self.birthday_text or "")
        except ValueError:
            return None


# A list is always there, if only as false; where one thing is asked for, an error may say that it is not.


class _Groups(msgspec.Struct):
    response: list[Group] | None


class _Group(msgspec.Struct):
    response: Group | None = None


class _Clients(msgspec.Struct):
    response: list[Client] | None


class _Client(msgspec.Struct):
    response: list[Client] | None = None


class _Created(msgspec.Struct):
    response: int


class _Changed(msgspec.Struct):
    """An id, though not always that of what was changed; true; or false, which is no success."""

    response: int | str | bool | None = None


class _Problem(msgspec.Struct):
    code: int | str | None = None
    message: str | None = None


class _Refusal(msgspec.Struct):
    """Both of their envelopes: `{"error": {"code": 11, "message": ""}}` or `{"error": 11, "message": ""}`."""

    error: _Problem | int | str | bool | None = None
    message: str | None = None

    @property
    def problem(self) -> _Problem:
        if isinstance(self.error, _Problem):
            return self.error
        return _Problem(self.error or None, self.message)


_read_json = msgspec.json.Decoder(dict[str, Any], float_hook=str).decode
_read_refusal = msgspec.json.Decoder(_Refusal).decode


class Poster(Rest):
    name = "poster"
    title = "Poster"
    Settings = PosterSettings
    Sandbox = PosterSandbox

    _settings: PosterSettings

    @classmethod
    def parameters(cls, settings: PosterSettings) -> Mapping[str, str]:
        return {"token": settings.token.get_secret_value()}

    async def ping(self) -> None:
        await self._ask("groups", "getGroups", _Groups)

    async def groups(self) -> dict[int, Group]:
        found = await self._ask("groups", "getGroups", _Groups, self._settings.keep_passing)
        groups = map(self._in_units, found.response or ())
        return {group.id: group for group in groups if not group.deleted}

    async def group(self, id: int) -> Group | None:
        keep = self._settings.keep_passing
        found = (await self._ask("group", "getGroup", _Group, keep, group_id=str(id))).response
        return None if found is None or found.deleted else self._in_units(found)

    async def client(self, id: int) -> Client | None:
        keep = self._settings.keep_people
        found = await self._ask("client", "getClient", _Client, keep, client_id=str(id))
        return next(iter(_living(found)), None)

    async def clients(self, *, offset: int, count: int, group_id: int | None = None) -> list[Client]:
        """The clients among the `count` rows from `offset` on, by id.

        A page with deleted clients in it is shorter, without being the last: `all_clients` knows which is.
        """
        return _living(await self._page(offset, count, group_id))

    async def all_clients(
        self, *, page: int = PAGE, offset: int = 0, group_id: int | None = None
    ) -> AsyncGenerator[list[Client], None]:
        """Every client, page by page, by id, or those behind so many rows."""
        rows = page
        while rows == page:
            found = await self._page(offset, page, group_id)
            rows = len(found.response or ())
            offset += rows
            yield _living(found)

    async def clients_by_phone(self, phone: str) -> list[Client]:
        """Those with this phone, in E.164."""
        keep = self._settings.keep_people
        return _living(await self._ask("clients by phone", "getClients", _Clients, keep, phone=phone))

    def keeps(self, bonus: Decimal) -> bool:
        """Whether a birthday bonus is read as it was written: whole kopecks, and of few digits."""
        try:
            kopecks = EXACTLY.multiply(bonus, self._settings.birthday_bonus_factor)
        except (Inexact, InvalidOperation):
            return False
        return kopecks.adjusted() < DIGITS and kopecks == kopecks.to_integral_value()

    async def create_group(
        self, name: str, loyalty_type: int, percent: Decimal, birthday_bonus: Decimal
    ) -> int:
        """Answers its id."""
        form = _group_form(name, loyalty_type, percent, birthday_bonus)
        return (await self._write("create group", "createGroup", _Created, form)).response

    async def update_group(
        self, id: int, name: str, loyalty_type: int, percent: Decimal, birthday_bonus: Decimal
    ) -> bool:
        """Whether there is such a group; all is written, for they do not say that what is left out stays."""
        form = _group_form(name, loyalty_type, percent, birthday_bonus)
        return await self._write_to("update group", "updateGroup", client_groups_id=str(id), **form)

    async def remove_group(self, id: int) -> bool:
        """Whether there was such a group; all its clients go with it, for good."""
        return await self._write_to("remove group", "removeGroup", group_id=str(id))

    async def update_client(self, client: Client, **changes: Any) -> bool:
        """Whether there is such a client; `changes` are by our names, and what is None is emptied.

        The name and the group are written with every change: they must be there.
        """
        new = replace(client, **changes)
        form = {name: value or "" for name, value in changes.items() if name in TEXTS}
        if "sex" in changes:
            form["client_sex"] = str(new.sex or 0)
        if new.group_id:
            form["client_groups_id_client"] = str(new.group_id)
        return await self._write_to(
            "update client", "updateClient", client_id=str(client.id), client_name=_full_name(new), **form
        )

    async def _write_to(self, question: str, method: str, **form: str) -> bool:
        return bool((await self._write(question, method, _Changed, form)).response)

    async def _write(self, question: str, method: str, answer: type[T], form: Mapping[str, str]) -> T:
        try:
            return await self._change(question, "POST", API + method, answer, form=form, format="json")
        except Rejected as refusal:
            if refusal.vendor_code not in FAULTS:
                raise
            raise Unacceptable(
                self.name,
                str(refusal),
                faults=FAULTS[refusal.vendor_code],
                vendor_code=refusal.vendor_code,
                vendor_message=refusal.vendor_message,
            ) from None

    async def _page(self, offset: int, count: int, group_id: int | None) -> _Clients:
        group = {} if group_id is None else {"group_id": str(group_id)}
        # Oldest first, or whoever is created meanwhile would move everybody to the next page.
        oldest_first = {"order_by": "client_id", "sort": "asc"}
        return await self._ask(
            "clients", "getClients", _Clients, num=str(count), offset=str(offset), **oldest_first, **group
        )

    async def _ask(
        self, question: str, method: str, answer: type[T], keep: Keep = NOT_AT_ALL, /, **parameters: str
    ) -> T:
        return await self._get(question, API + method, answer, keep, format="json", **parameters)

    def _in_units(self, group: Group) -> Group:
        return replace(group, birthday_bonus=group.birthday_bonus / self._settings.birthday_bonus_factor)

    def _reader(self, answer: type[T]) -> Callable[[bytes], T]:
        def read(body: bytes) -> T:
            said = _read_json(body)
            if "response" in said:
                said["response"] = _meant(said["response"])
            return msgspec.convert(said, answer, strict=False)

        return read

    def _refusal(self, status: int, body: bytes) -> SourceError | None:
        if status == 429 or status >= 500:
            return super()._refusal(status, body)
        problem = _problem(body)
        code = str(problem.code or 0)
        if code == "0":
            return super()._refusal(status, body)
        if code in BAD_CREDENTIALS:
            return self._refused_credentials()
        if code in ABSENT:
            return None
        if code.isdecimal():
            # 700 among them: the account's tariff does not include it, which no second try changes.
            return self._said_no(code, self._discreet(problem.message or ""))
        return self._said_no(str(status), self._discreet(code))

    def _discreet(self, said: str) -> str:
        """Their sentence, should it repeat our token, without it."""
        token = self._settings.token.get_secret_value()
        return said.replace(token, "…") if token else said


def _group_form(name: str, loyalty_type: int, percent: Decimal, birthday_bonus: Decimal) -> Mapping[str, str]:
    """Written in whole units is the bonus, though they answer kopecks."""
    return {
        "client_groups_name": name,
        "loyalty_type": str(loyalty_type),
        "client_groups_discount": _plain(percent),
        "birthday_bonus": _plain(birthday_bonus),
    }


def _plain(number: Decimal) -> str:
    """10, not 10.00, 1E+1 or -0."""
    return f"{number.normalize() + 0:f}"


def _full_name(client: Client) -> str:
    names = (client.last_name, client.first_name, client.patronymic)
    words = (NBSP.join((name or "").split()) or NBSP for name in names)
    return " ".join(words).rstrip() or NBSP


def _problem(body: bytes) -> _Problem:
    try:
        return _read_refusal(body).problem
    except UNREADABLE:
        return _Problem()


def _meant(response: Any) -> Any:
    """The answer without what is empty, for our defaults to stand there, and with its numbers as text.

    They write numbers as text already, mostly: so msgspec reads both the same way.
    """
    if isinstance(response, list):
        return [_meant(row) for row in response]
    if isinstance(response, dict):
        return {name: _text(value) for name, value in response.items() if value not in EMPTY}
    return None if response is False else response


def _text(value: Any) -> Any:
    return str(value) if isinstance(value, int) else value


def _living(found: _Clients | _Client) -> list[Client]:
    return [_in_units(client) for client in found.response or () if not client.deleted]


def _in_units(client: Client) -> Client:
    return replace(
        client,
        bonus=client.bonus / KOPECKS,
        total_spent=client.total_spent / KOPECKS,
        ewallet=client.ewallet / KOPECKS,
    )
