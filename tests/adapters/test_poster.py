"""Poster's answers, read into our models, and its refusals, told apart."""

import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, MutableMapping
from contextlib import AbstractAsyncContextManager
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from adapters.circuit import FAILURES
from adapters.errors import (
    Busy,
    Fault,
    Malformed,
    Misconfigured,
    Rejected,
    SourceError,
    TimedOut,
    Unacceptable,
    Unavailable,
)
from adapters.poster.client import Client, Group, Poster, PosterSettings
from adapters.poster.sandbox import PosterSandbox
from adapters.rest import Mode
from tests.raw import HEAD, Raw, Trouble, babbles, hang, lying, says

LogLines = list[MutableMapping[str, Any]]

SEED = json.loads((Path(__file__).parents[1] / "seeds" / "poster.json").read_text(encoding="utf-8"))
TOKEN = PosterSandbox.credentials["token"]
NO_GROUPS = b'{"response": []}'

# As the vendor's own documents show one.
ELENA = {
    "client_id": "50",
    "firstname": "Елена",
    "lastname": "Попова",
    "patronymic": "Андреевна",
    "discount_per": "5",
    "bonus": "1050",
    "total_payed_sum": "123456",
    "date_activale": "2016-04-06 14:54:47",
    "phone": "+7 963 031-38-44",
    "phone_number": "79630313844",
    "email": "elena@example.com",
    "birthday": "1985-04-12",
    "card_number": "000123",
    "client_sex": "2",
    "country": "Россия",
    "city": "Москва",
    "comment": "Без сахара",
    "address": "ул. Ленина, 5",
    "client_groups_id": "4",
    "client_groups_name": "Скидочная система 10%",
    "client_groups_discount": "10",
    "loyalty_type": "2",
    "birthday_bonus": "0",
    "delete": "0",
    "ewallet": "300",
}


class Vendor:
    """The sandbox, saying what it is told to, and the client that hears it."""

    def __init__(self, sandbox: PosterSandbox, client: Poster) -> None:
        self.sandbox = sandbox
        self.client = client

    def says(self, body: object) -> None:
        self.sandbox.heal()
        self.sandbox.trouble("wrong_shape", body=body)

    async def group(self, **fields: object) -> Group | None:
        self.says({"response": {"client_groups_id": "1", **fields}})
        return await self.client.group(1)

    async def reads(self, **fields: object) -> Client | None:
        self.says({"response": [{"client_id": "1", **fields}]})
        return await self.client.client(1)

    async def refuses(self, status: int, body: object) -> SourceError:
        self.sandbox.trouble("status", status=status, body=body)
        with pytest.raises(SourceError) as caught:
            await self.client.groups()
        return caught.value


def client_of(url: str, **settings: object) -> AbstractAsyncContextManager[Poster]:
    little = {"url": url, "timeout": 0.5, "connect_timeout": 0.3, "cache": 0, "stale": 0}
    return Poster.open(PosterSettings.model_validate({**little, "token": TOKEN, **settings}), Mode.REAL)


@pytest.fixture
async def sandbox() -> AsyncIterator[PosterSandbox]:
    async with PosterSandbox() as opened:
        yield opened


@pytest.fixture
async def poster(sandbox: PosterSandbox) -> AsyncIterator[Poster]:
    async with client_of(sandbox.url) as client:
        yield client


@pytest.fixture
def vendor(sandbox: PosterSandbox, poster: Poster) -> Vendor:
    return Vendor(sandbox, poster)


# Groups


async def test_the_documented_groups_are_read_whole(vendor: Vendor) -> None:
    vendor.says(SEED["groups"])

    assert await vendor.client.groups() == {
        1: Group(1, "Постоянный посетитель", 1, Decimal(10), Decimal(50), 125),
        4: Group(4, "Скидочная система 10%", 2, Decimal(10), Decimal(0), 43),
        5: Group(5, "Скидочная система 20%", 2, Decimal(20), Decimal(0), 42),
    }


async def test_the_documented_group_is_read_whole(vendor: Vendor) -> None:
    vendor.says(SEED["group"])

    assert await vendor.client.group(1) == Group(
        id=1,
        name="Постоянный посетитель",
        loyalty_type=1,
        percent=Decimal(10),
        birthday_bonus=Decimal(50),
        customer_count=125,
    )


async def test_the_sandbox_has_the_documented_groups(poster: Poster) -> None:
    groups = await poster.groups()

    assert {id: group.customer_count for id, group in groups.items()} == {1: 125, 4: 43, 5: 42}
    assert [await poster.group(id) for id in groups] == list(groups.values())


@pytest.mark.parametrize(
    ("factor", "bonus"), [(100, Decimal(50)), (1, Decimal(5_000)), ("1000", Decimal(5)), (None, Decimal(50))]
)
async def test_how_many_kopecks_make_a_unit_is_a_setting(
    sandbox: PosterSandbox, factor: object, bonus: Decimal
) -> None:
    settings = {} if factor is None else {"birthday_bonus_factor": factor}
    async with client_of(sandbox.url, **settings) as poster:
        assert [group.birthday_bonus for group in (await poster.groups()).values()] == [bonus, 0, 0]


@pytest.mark.parametrize("factor", [0, -100, "NaN", "Infinity", "many"])
def test_a_factor_with_which_nobody_can_count_is_refused(factor: object) -> None:
    with pytest.raises(ValidationError):
        PosterSettings.model_validate({"birthday_bonus_factor": factor})


async def test_numbers_may_also_come_as_numbers(vendor: Vendor) -> None:
    vendor.says(
        {
            "response": {
                "client_groups_id": 1,
                "client_groups_name": 2024,
                "loyalty_type": 2,
                "client_groups_discount": 7.55,
                "birthday_bonus": 1,
                "count_groups_clients": 3,
                "use_ewallet": 0,
                "delete": 0,
            }
        }
    )

    assert await vendor.client.group(1) == Group(1, "2024", 2, Decimal("7.55"), Decimal("0.01"), 3)


@pytest.mark.parametrize("empty", ["", "0", 0, None, "missing"])
async def test_a_group_may_lack_all_but_its_id(vendor: Vendor, empty: object) -> None:
    names = ("client_groups_name", "client_groups_discount", "birthday_bonus", "count_groups_clients")
    fields = {} if empty == "missing" else dict.fromkeys(names, empty)

    assert await vendor.group(**fields) == Group(1)


async def test_types_that_no_document_mentions_survive(vendor: Vendor) -> None:
    group = await vendor.group(loyalty_type="3")

    assert group is not None
    assert group.loyalty_type == 3


@pytest.mark.parametrize("deleted", ["1", 1, True])
async def test_a_deleted_group_is_left_out(vendor: Vendor, deleted: object) -> None:
    kept = {"client_groups_id": "4", "delete": "0"}

    assert await vendor.group(delete=deleted) is None
    vendor.says({"response": [{"client_groups_id": "1", "delete": deleted}, kept]})
    assert list(await vendor.client.groups()) == [4]


# Clients


async def test_a_client_is_read_whole(vendor: Vendor) -> None:
    elena = await vendor.reads(**ELENA)

    assert elena == Client(
        id=50,
        first_name="Елена",
        last_name="Попова",
        patronymic="Андреевна",
        phone="+7 963 031-38-44",
        phone_number="79630313844",
        email="elena@example.com",
        birthday_text="1985-04-12",
        sex=2,
        country="Россия",
        city="Москва",
        address="ул. Ленина, 5",
        comment="Без сахара",
        group_id=4,
        group_name="Скидочная система 10%",
        card_number="000123",
        percent=Decimal(5),
        bonus=Decimal("10.50"),
        total_spent=Decimal("1234.56"),
        ewallet=Decimal(3),
    )
    assert elena.birthday == date(1985, 4, 12)


@pytest.mark.parametrize("empty", ["", "0", 0, None, "0000-00-00", "missing"])
async def test_a_client_may_lack_all_but_its_id(vendor: Vendor, empty: object) -> None:
    fields = {} if empty == "missing" else dict.fromkeys(ELENA.keys() - {"client_id"}, empty)
    client = await vendor.reads(**fields)

    assert client == Client(1)
    assert client.birthday is None


async def test_what_is_text_may_also_come_as_a_number(vendor: Vendor) -> None:
    client = await vendor.reads(phone_number=79630313844, card_number=123, firstname=7, bonus=1050.5)

    assert client == Client(
        1, first_name="7", phone_number="79630313844", card_number="123", bonus=Decimal("10.505")
    )


@pytest.mark.parametrize("text", ["0000-05-17", "1985-00-00", "1985-02-30", "17.05.1985", "2", "сегодня"])
async def test_half_a_birthday_is_none(vendor: Vendor, text: str) -> None:
    client = await vendor.reads(birthday=text)

    assert client is not None
    assert client.birthday is None


async def test_people_may_be_called_null(vendor: Vendor) -> None:
    assert await vendor.reads(firstname="null", lastname="NULL") == Client(
        1, first_name="null", last_name="NULL"
    )


async def test_what_the_vendor_adds_is_ignored(vendor: Vendor) -> None:
    more = {"accumulation_products": [{"id": 1}], "prize_products": {"1": [2]}, "loyalty": None}

    assert await vendor.reads(**more) == Client(1)


@pytest.mark.parametrize("deleted", ["1", 1, True])
async def test_a_deleted_client_is_left_out(vendor: Vendor, deleted: object) -> None:
    assert await vendor.reads(delete=deleted) is None
    assert await vendor.client.clients(offset=0, count=10) == []
    assert await vendor.client.clients_by_phone("+79630313844") == []


async def test_a_client_of_the_sandbox_is_found_by_id_and_by_phone(poster: Poster) -> None:
    koffi = await poster.client(2)

    assert koffi is not None
    assert (koffi.first_name, koffi.last_name) == ("Koffi", "Amegan")
    assert (koffi.phone, koffi.email) == ("+228 90 00 91 03", "koffi.amegan@example.net")
    assert (koffi.group_id, koffi.group_name) == (1, "Постоянный посетитель")
    assert await poster.clients_by_phone("+22890009103") == [koffi]
    assert await poster.clients_by_phone("+593990000000") == []


async def test_the_plus_of_a_phone_is_escaped() -> None:
    async with Raw(says(NO_GROUPS)) as raw, client_of(raw.url) as poster:
        await poster.clients_by_phone("+593991234567")

    assert b"phone=%2B593991234567" in raw.heard[0]


async def test_clients_are_asked_for_oldest_first(sandbox: PosterSandbox, poster: Poster) -> None:
    clients = await poster.clients(offset=100, count=30, group_id=1)

    assert [client.id for client in clients] == list(range(101, 126))
    assert sandbox.asked[-1].query == {
        "num": "30",
        "offset": "100",
        "order_by": "client_id",
        "sort": "asc",
        "group_id": "1",
        "format": "json",
        "token": TOKEN,
    }


@pytest.mark.parametrize(("page", "calls"), [(500, 3), (400, 4), (1_200, 2), (5_000, 1), (1, None)])
async def test_all_clients_come_once_however_they_are_paged(
    sandbox: PosterSandbox, poster: Poster, page: int, calls: int | None
) -> None:
    group_id = None if calls else 5
    ids = [c.id async for clients in poster.all_clients(page=page, group_id=group_id) for c in clients]
    alive = await poster.clients(offset=0, count=5_000, group_id=group_id)

    assert ids == [client.id for client in alive] == sorted(set(ids))
    assert len(ids) == 42 if group_id else 1_000 < len(ids) < 1_200
    assert sandbox.count("getClients") == (calls or 43) + 1


async def test_all_clients_can_begin_at_any_row(poster: Poster) -> None:
    everybody = await poster.clients(offset=0, count=5_000)
    behind = await poster.clients(offset=700, count=5_000)
    read = [client async for clients in poster.all_clients(page=100, offset=700) for client in clients]

    assert read == behind == everybody[-len(behind) :]


async def test_a_page_of_deleted_clients_is_not_the_last(vendor: Vendor) -> None:
    gone, kept = {"client_id": "1", "delete": "1"}, {"client_id": "2"}
    for rows in ([gone, gone], [gone, kept], []):
        vendor.sandbox.trouble("wrong_shape", body={"response": rows}, times=1)

    assert [page async for page in vendor.client.all_clients(page=2)] == [[], [Client(2)], []]


# Absence

NOTHING: dict[str, Any] = {
    "false": {"response": False},
    "null": {"response": None},
    "32": {"error": {"code": 32, "message": "Id does not exist"}},
    "flat 32": {"error": 32, "message": "Id does not exist"},
    "404": {"error": {"code": 404, "message": "Not found"}},
    "404 as text": {"error": {"code": "404", "message": "Not found"}},
}


@pytest.mark.parametrize("body", NOTHING.values(), ids=NOTHING)
@pytest.mark.parametrize("status", [200, 404])
async def test_who_is_not_there_is_none(vendor: Vendor, status: int, body: object) -> None:
    if status == 404 and "response" in str(body):
        body = NOTHING["404"]
    vendor.sandbox.trouble("status", status=status, body=body)

    assert await vendor.client.group(7) is None
    assert await vendor.client.client(7) is None
    assert vendor.client.record.calls == {("group", "ok"): 1, ("client", "ok"): 1}


@pytest.mark.parametrize("flat_errors", [True, False])
async def test_the_sandbox_does_not_know_whom_nobody_knows(flat_errors: bool) -> None:
    async with PosterSandbox(flat_errors=flat_errors) as sandbox, client_of(sandbox.url) as poster:
        assert await poster.group(2) is None
        assert await poster.client(100_000) is None
        assert await poster.clients(offset=0, count=10, group_id=2) == []


@pytest.mark.parametrize("empty", [[], False, None])
async def test_no_groups_and_no_clients_are_none(vendor: Vendor, empty: object) -> None:
    vendor.says({"response": empty})

    assert await vendor.client.groups() == {}
    assert await vendor.client.clients(offset=0, count=10) == []
    assert await vendor.client.clients_by_phone("+79630313844") == []


async def test_no_client_in_their_array_of_one_is_none(vendor: Vendor) -> None:
    vendor.says({"response": []})

    assert await vendor.client.client(7) is None


# Writing

VIP = ("VIP", 1, Decimal("7.5"), Decimal("50.50"))


async def test_a_group_is_created_and_changed_in_whole_units_and_removed(
    sandbox: PosterSandbox, poster: Poster
) -> None:
    id = await poster.create_group(*VIP)
    assert await poster.group(id) == Group(id, *VIP)
    assert await poster.update_group(id, "Regular", 2, Decimal("1E+1"), Decimal(0))
    assert await poster.group(id) == Group(id, "Regular", 2, Decimal(10), Decimal(0))
    assert await poster.remove_group(id)
    assert await poster.group(id) is None

    created, updated, removed = (asked for asked in sandbox.asked if asked.method == "POST")
    names = ("client_groups_name", "loyalty_type", "client_groups_discount", "birthday_bonus")
    assert created.body == dict(zip(names, ("VIP", "1", "7.5", "50.5"), strict=True))
    assert updated.body == dict(
        zip(("client_groups_id", *names), (str(id), "Regular", "2", "10", "0"), strict=True)
    )
    assert removed.body == {"group_id": str(id)}
    assert created.query == updated.query == removed.query == {"format": "json", "token": TOKEN}


@pytest.mark.parametrize(
    ("factor", "kept", "refused"),
    [
        (100, ["0", "0.01", "50.00", "9999999999999.99"], ["0.001", "1e13", "1e-9999999", "1e9999999"]),
        (1, ["1"], ["0.5"]),
        ("0.5", ["2"], ["1"]),
    ],
)
async def test_a_bonus_is_kept_where_they_answer_it_as_it_was_written(
    sandbox: PosterSandbox, factor: object, kept: list[str], refused: list[str]
) -> None:
    async with client_of(sandbox.url, birthday_bonus_factor=factor) as poster:
        assert all(poster.keeps(Decimal(bonus)) for bonus in kept)
        assert not any(poster.keeps(Decimal(bonus)) for bonus in refused)


async def test_a_change_of_a_client_writes_what_changes_their_name_and_their_group(
    sandbox: PosterSandbox, poster: Poster
) -> None:
    koffi = await poster.client(2)
    assert koffi
    changes = {"phone": "+22890009999", "email": None, "sex": None, "comment": "Likes tea", "group_id": 4}

    assert await poster.update_client(koffi, **changes)
    changed = await poster.client(2)

    assert changed
    assert (changed.phone_number, changed.email, changed.sex) == ("22890009999", None, None)
    assert (changed.comment, changed.group_id, changed.city) == ("Likes tea", 4, koffi.city)
    assert sandbox.asked[-2].body == {
        "client_id": "2",
        "client_name": "Amegan Koffi",
        "client_groups_id_client": "4",
        "client_sex": "0",
        "phone": "+22890009999",
        "email": "",
        "comment": "Likes tea",
    }


@pytest.mark.parametrize(
    "names",
    [
        ("Amegan", "Koffi", None),
        ("De la Cruz", "María José", "Abdul ogly"),
        ("Попова", None, "Андреевна"),
        (None, "Koffi", None),
        (None, None, "Андреевна"),
        ("Amegan", None, None),
        (None, None, None),
    ],
    ids=str,
)
async def test_each_name_is_read_as_it_was_written(poster: Poster, names: tuple[str | None, ...]) -> None:
    koffi = await poster.client(2)
    assert koffi

    last_name, first_name, patronymic = names
    assert await poster.update_client(
        koffi, last_name=last_name, first_name=first_name, patronymic=patronymic
    )
    changed = await poster.client(2)

    assert changed
    assert (changed.last_name, changed.first_name, changed.patronymic) == names


def writes(poster: Poster) -> dict[str, Awaitable[object]]:
    return {
        "createGroup": poster.create_group(*VIP),
        "updateGroup": poster.update_group(7, *VIP),
        "removeGroup": poster.remove_group(7),
        "updateClient": poster.update_client(Client(100_000, group_id=1), city="Lomé"),
    }


@pytest.mark.parametrize(
    ("code", "faults"),
    [(34, {}), (38, {"name": Fault.TAKEN}), (155, {}), (167, {"phone": Fault.TAKEN}), (701, {})],
)
async def test_a_value_that_is_not_accepted_is_named(
    vendor: Vendor, code: int, faults: dict[str, Fault]
) -> None:
    for body in bodies(code):
        vendor.says(body)
        for change in writes(vendor.client).values():
            with pytest.raises(Unacceptable) as caught:
                await change
            assert (caught.value.faults, caught.value.vendor_code) == (faults, str(code))
            assert not caught.value.in_doubt


async def test_a_taken_name_and_a_taken_phone_are_refused(poster: Poster) -> None:
    koffi, group = await poster.client(2), await poster.group(4)
    assert koffi
    assert group
    for change in (
        poster.create_group(group.name, 2, Decimal(1), Decimal(0)),
        poster.update_group(5, group.name, 2, Decimal(1), Decimal(0)),
    ):
        with pytest.raises(Unacceptable) as caught:
            await change
        assert caught.value.faults == {"name": Fault.TAKEN}
    with pytest.raises(Unacceptable) as caught:
        await poster.update_client(koffi, phone="+593 99 000 91 02")
    assert caught.value.faults == {"phone": Fault.TAKEN}


@pytest.mark.parametrize("body", NOTHING.values(), ids=NOTHING)
async def test_a_change_of_what_is_not_there_is_none(vendor: Vendor, body: object) -> None:
    vendor.says(body)
    create, *changes = writes(vendor.client).values()

    assert [await change for change in changes] == [False, False, False]
    with pytest.raises(Malformed) as caught:
        await create
    assert caught.value.in_doubt


async def test_the_sandbox_changes_nothing_of_what_it_does_not_know(poster: Poster) -> None:
    create, *changes = writes(poster).values()

    assert [await change for change in changes] == [False, False, False]
    assert await create == 6


@pytest.mark.parametrize("answer", [4082, "4082", True])
async def test_a_change_is_made_whatever_id_they_answer(vendor: Vendor, answer: object) -> None:
    vendor.says({"response": answer})
    create, *changes = writes(vendor.client).values()

    assert [await change for change in changes] == [True, True, True]
    create.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("method", ["createGroup", "updateGroup", "removeGroup", "updateClient"])
async def test_a_change_is_sent_once_though_the_connection_drops(
    sandbox: PosterSandbox, poster: Poster, method: str
) -> None:
    sandbox.trouble("drop", path="POST")
    changes = writes(poster)
    with pytest.raises(Unavailable) as caught:
        await changes.pop(method)
    for change in changes.values():
        change.close()  # type: ignore[attr-defined]

    assert caught.value.in_doubt
    assert caught.value.extensions["outcome"] == "UNKNOWN"
    assert sandbox.count(method) == 1


# What it refuses

TROUBLES: dict[str, tuple[int, object, type[SourceError], str | None]] = {
    # Our credentials
    **{str(code): (200, code, Misconfigured, None) for code in (10, 11, 12, 20, 54)},
    "401": (401, "", Misconfigured, None),
    "403": (403, "<html>", Misconfigured, None),
    "400 with 11": (400, 11, Misconfigured, None),
    # It says no
    **{str(code): (200, code, Rejected, str(code)) for code in (34, 38, 99, 155, 167, 400, 700, 701, 4001)},
    "a code as text": (200, "700", Rejected, "700"),
    "403 with 700": (403, 700, Rejected, "700"),
    "400": (400, "", Rejected, "400"),
    "a bare 404": (404, "<html>", Rejected, "404"),
    # It fails
    "429": (429, "", Busy, None),
    "429 with 700": (429, 700, Busy, None),
    "500": (500, "", Unavailable, None),
    "503 with 11": (503, 11, Unavailable, None),
    # It answers what nobody can read
    "302": (302, "", Malformed, None),
    "nothing at all": (200, "", Malformed, None),
}


def bodies(said: object) -> Iterator[object]:
    """In both of their envelopes, if it is a code."""
    if not said or said == "<html>":
        yield said
    else:
        yield {"error": {"code": said, "message": "Why not"}}
        yield {"error": said, "message": "Why not"}


@pytest.mark.parametrize(("status", "said", "kind", "code"), TROUBLES.values(), ids=TROUBLES)
async def test_each_refusal_is_an_error_of_ours(
    vendor: Vendor, status: int, said: object, kind: type[SourceError], code: str | None
) -> None:
    for body in bodies(said):
        vendor.sandbox.heal()
        refusal = await vendor.refuses(status, body)

        assert type(refusal) is kind
        told = {"vendorCode": code} | ({"vendorMessage": "Why not"} if said and body != "<html>" else {})
        assert refusal.extensions == {"code": kind.code, "source": "POSTER"} | (told if code else {})


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"error": {"code": 167, "message": "Phone +79630313844 is taken"}}, "Phone … is taken"),
        ({"error": {"code": 42, "message": f"Token {TOKEN} cannot"}}, "Token … cannot"),
        ({"error": "Try again", "status": 7}, "Try again"),
        ({"error": {"code": "E_TOKEN"}}, "E_TOKEN"),
    ],
)
async def test_a_refusal_is_told_without_what_is_personal_or_secret(
    vendor: Vendor, body: object, told: str
) -> None:
    refusal = await vendor.refuses(200, body)

    assert isinstance(refusal, Rejected)
    assert refusal.vendor_message == told
    assert str(refusal) == "Poster refused the request."


@pytest.mark.parametrize("message", [{}, {"message": None}])
async def test_a_code_without_words_is_enough(vendor: Vendor, message: dict[str, None]) -> None:
    for body in ({"error": {"code": 12, **message}}, {"error": 12, **message}):
        vendor.sandbox.heal()

        assert type(await vendor.refuses(200, body)) is Misconfigured


async def test_without_a_token_a_refusal_is_told_whole(sandbox: PosterSandbox) -> None:
    sandbox.trouble("wrong_shape", body={"error": 34, "message": "No name"})
    async with client_of(sandbox.url, token="") as poster:
        with pytest.raises(Rejected) as caught:
            await poster.groups()

    assert caught.value.vendor_message == "No name"


@pytest.mark.parametrize("error", [0, "0", "", None, False, {}, {"code": 0, "message": "ok"}], ids=str)
async def test_no_error_is_no_refusal(vendor: Vendor, error: object) -> None:
    vendor.says({"error": error, "response": SEED["groups"]["response"]})

    assert list(await vendor.client.groups()) == [1, 4, 5]


@pytest.mark.parametrize("flat_errors", [True, False])
@pytest.mark.parametrize("token", ["", "wrong"])
async def test_a_token_that_is_missing_or_wrong_is_ours_to_mend(flat_errors: bool, token: str) -> None:
    async with (
        PosterSandbox(flat_errors=flat_errors) as sandbox,
        client_of(sandbox.url, token=token) as poster,
    ):
        with pytest.raises(Misconfigured, match=r"^Poster refuses our credentials: "):
            await poster.ping()


UNREADABLE: dict[str, object] = {
    "a list": [],
    "no response": {},
    "true": {"response": True},
    "a number": {"response": 6},
    "text": {"response": "none"},
    "a group of nothing": {"response": [{}]},
    "an id that is none": {"response": [{"client_groups_id": "first"}]},
    "an amount that is none": {"response": [{"client_groups_id": "1", "birthday_bonus": "much"}]},
    "NaN": {"response": [{"client_groups_id": "1", "birthday_bonus": "NaN"}]},
    "sNaN": {"response": [{"client_groups_id": "1", "birthday_bonus": "sNaN"}]},
    "infinity": {"response": [{"client_groups_id": "1", "client_groups_discount": "-Infinity"}]},
    "a percentage beyond all": {
        "response": [{"client_groups_id": "1", "client_groups_discount": "1e9999999"}]
    },
    "a number without end": {"response": [{"client_groups_id": "1", "count_groups_clients": "9" * 5_000}]},
    "no such id": NOTHING["32"],
    "not found": NOTHING["404"],
}


@pytest.mark.parametrize("body", UNREADABLE.values(), ids=UNREADABLE)
async def test_what_is_no_list_of_groups_is_malformed(vendor: Vendor, body: object) -> None:
    vendor.says(body)
    with pytest.raises(Malformed):
        await vendor.client.groups()


@pytest.mark.parametrize("field", ["bonus", "total_payed_sum", "ewallet", "discount_per"])
@pytest.mark.parametrize(
    "amount", ["NaN", "Infinity", "1e9999999", "1e-9999999", "9" * 20, {"a": 1}, [1]], ids=str
)
async def test_amounts_with_which_nobody_can_count_are_malformed(
    vendor: Vendor, field: str, amount: object
) -> None:
    with pytest.raises(Malformed):
        await vendor.reads(**{field: amount})


# Where the token shows


async def test_the_token_goes_along_in_every_query_and_nowhere_else() -> None:
    async with Raw(says(NO_GROUPS)) as raw, client_of(raw.url) as poster:
        for ask in questions(poster):
            await ask()

    assert len(raw.heard) == 6
    for head in raw.heard:
        request, _, headers = head.decode().partition("\r\n")
        assert request.count(f"token={TOKEN}") == 1
        assert TOKEN not in headers


def questions(poster: Poster) -> list[Callable[[], Awaitable[object]]]:
    return [
        poster.ping,
        poster.groups,
        lambda: poster.client(50),
        lambda: poster.clients(offset=0, count=10),
        lambda: poster.clients(offset=0, count=10, group_id=4),
        lambda: poster.clients_by_phone("+79630313844"),
    ]


async def test_no_log_line_holds_the_token_or_a_phone(
    sandbox: PosterSandbox, poster: Poster, log_lines: LogLines
) -> None:
    for ask in questions(poster):
        await ask()
    sandbox.trouble("status", status=500)
    for ask in questions(poster):
        with pytest.raises(Unavailable):
            await ask()

    assert len(log_lines) == 6 + FAILURES  # then it is not even asked
    assert {line["call"] for line in log_lines} == {"groups", "client", "clients", "clients by phone"}
    assert not any(secret in str(log_lines) for secret in (TOKEN, "79630313844", "token"))


def test_no_picture_of_the_settings_holds_the_token() -> None:
    settings = PosterSettings.model_validate({"token": TOKEN})

    assert TOKEN not in f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"


def chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


async def fails(url: str) -> SourceError:
    async with client_of(url) as poster:
        with pytest.raises(SourceError) as caught:
            await poster.groups()
    return caught.value


def assert_discreet(error: SourceError) -> None:
    assert error.__cause__
    for link in chain(error):
        assert TOKEN not in f"{link} {link!r} {link.args} {vars(link)}"


@pytest.mark.parametrize(
    ("trouble", "kind"),
    [
        (None, Unavailable),
        (hang, TimedOut),
        (lying, Unavailable),
        (says(b"<html>"), Malformed),
        (babbles(b"SSH-2.0-OpenSSH_9.2\r\n"), Malformed),
        (babbles(HEAD + b"Content-Length: x\r\n\r\n"), Malformed),
    ],
)
async def test_no_error_holds_the_token_however_deep_one_looks(
    trouble: Trouble | None, kind: type[SourceError], log_lines: LogLines
) -> None:
    async with Raw(trouble) as raw:
        error = await fails(raw.url)

    assert type(error) is kind
    assert_discreet(error)
    assert TOKEN not in str(log_lines)


async def test_no_error_of_a_connection_that_nobody_accepts_holds_the_token() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as deaf, socket.socket() as taken:
        taken.connect(deaf.getsockname())  # the only place in its queue
        error = await fails(f"http://127.0.0.1:{deaf.getsockname()[1]}")

    assert type(error) is TimedOut
    assert_discreet(error)


async def test_a_redirect_does_not_take_the_token_along(sandbox: PosterSandbox, poster: Poster) -> None:
    async with Raw(says(NO_GROUPS)) as elsewhere:
        sandbox.trouble("redirect", url=elsewhere.url)
        with pytest.raises(Malformed):
            await poster.groups()

    assert elsewhere.accepted == 0
