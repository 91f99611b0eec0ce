"""The emulated Poster: the documented shapes and each quirk, seen by a plain HTTP client."""

import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from adapters.poster.sandbox import PosterSandbox

API = "/api/clients."
TOKEN = PosterSandbox.credentials["token"]
SEED = json.loads((Path(__file__).parents[1] / "seeds" / "poster.json").read_text(encoding="utf-8"))
NEW = {
    "client_groups_name": "Новая",
    "loyalty_type": 1,
    "client_groups_discount": 10,
    "birthday_bonus": 50.00,
}
READ = ("getGroups", "getGroup", "getClients", "getClient")
WRITTEN = ("createGroup", "updateGroup", "removeGroup", "updateClient")


class Api:
    """A plain client that puts the token into each query and gives JSON, which comes with status 200."""

    def __init__(self, sandbox: PosterSandbox, session: ClientSession) -> None:
        self.sandbox = sandbox
        self.session = session

    async def ask(self, http: str, method: str, query: dict[str, str], **options: Any) -> Any:
        async with self.session.request(http, API + method, params=query, **options) as response:
            assert response.status == 200
            return await response.json()

    async def get(self, method: str, **query: str | int) -> Any:
        return await self.ask(
            "GET", method, {"token": TOKEN, "format": "json", **{k: str(v) for k, v in query.items()}}
        )

    async def post(self, method: str, body: object) -> Any:
        return await self.ask("POST", method, {"token": TOKEN, "format": "json"}, json=body)

    async def post_form(self, method: str, body: object) -> Any:
        return await self.ask("POST", method, {"token": TOKEN, "format": "json"}, data=body)

    async def clients(self, **query: str | int) -> list[dict[str, Any]]:
        found = (await self.get("getClients", **query))["response"]
        assert isinstance(found, list)
        return found

    async def ids(self, **query: str | int) -> list[int]:
        return [int(client["client_id"]) for client in await self.clients(**query)]

    async def groups(self) -> dict[str, Any]:
        found = (await self.get("getGroups"))["response"]
        return {group["client_groups_id"]: group for group in found}


@asynccontextmanager
async def opened(sandbox: PosterSandbox) -> AsyncIterator[Api]:
    async with sandbox, ClientSession(sandbox.url) as session:
        yield Api(sandbox, session)


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with opened(PosterSandbox()) as opened_api:
        yield opened_api


def code_of(answer: Any) -> int:
    assert list(answer) == ["error"]
    assert list(answer["error"]) == ["code", "message"]
    assert answer["error"]["message"]
    code: int = answer["error"]["code"]
    return code


# What the vendor documents


async def test_the_documented_groups_are_answered_to_the_letter(api: Api) -> None:
    answer = await api.get("getGroups")

    assert answer == SEED["groups"]
    assert [list(group) for group in answer["response"]] == [list(g) for g in SEED["groups"]["response"]]


async def test_the_documented_group_is_answered_to_the_letter(api: Api) -> None:
    assert await api.get("getGroup", group_id=1) == SEED["group"]


@pytest.mark.parametrize("send", [Api.post, Api.post_form])
async def test_a_group_is_created_updated_and_removed_as_documented(api: Api, send: Any) -> None:
    assert await send(api, "createGroup", NEW) == SEED["group_created"]
    renamed = {**NEW, "client_groups_id": 6, "client_groups_name": "Другая"}
    assert await send(api, "updateGroup", renamed) == SEED["group_updated"]
    assert (await api.groups())["6"]["client_groups_name"] == "Другая"
    assert await send(api, "removeGroup", {"group_id": 6}) == SEED["group_removed"]
    assert "6" not in await api.groups()


async def test_json_is_the_format_when_none_is_named(api: Api) -> None:
    assert await api.ask("GET", "getGroups", {"token": TOKEN}) == SEED["groups"]


@pytest.mark.parametrize(("http", "methods"), [("POST", READ), ("GET", WRITTEN)])
async def test_reading_is_get_and_writing_is_post(api: Api, http: str, methods: tuple[str, ...]) -> None:
    for method in methods:
        async with api.session.request(http, API + method, params={"token": TOKEN}) as response:
            assert response.status == 404


# Credentials and errors


@pytest.mark.parametrize(("http", "method"), [*(("GET", m) for m in READ), *(("POST", m) for m in WRITTEN)])
async def test_nothing_is_answered_without_the_token(api: Api, http: str, method: str) -> None:
    assert code_of(await api.ask(http, method, {})) == 10
    assert code_of(await api.ask(http, method, {"token": ""})) == 10
    assert await api.ask(http, method, {"token": "wrong"}) == SEED["bad_token"]


async def test_a_token_in_the_body_is_none(api: Api) -> None:
    assert code_of(await api.ask("POST", "createGroup", {}, json={**NEW, "token": TOKEN})) == 10


async def test_errors_may_be_flat() -> None:
    async with opened(PosterSandbox(flat_errors=True)) as api:
        answer = await api.ask("GET", "getGroups", {"token": "wrong"})

    assert answer == {"error": 11, "message": "Bad access token"}


async def test_a_format_that_we_do_not_speak_is_refused(api: Api) -> None:
    assert code_of(await api.get("getGroups", format="xml")) == 400


@pytest.mark.parametrize(
    ("method", "query", "code"),
    [
        ("getGroup", {}, 34),
        ("getGroup", {"group_id": ""}, 34),
        ("getGroup", {"group_id": "2"}, 32),
        ("getGroup", {"group_id": "first"}, 701),
        ("getClient", {}, 34),
        ("getClient", {"client_id": "-1"}, 701),
        ("getClients", {"num": "ten"}, 701),
        ("getClients", {"offset": "1.5"}, 701),
    ],
)
async def test_a_question_that_makes_no_sense_is_refused(
    api: Api, method: str, query: dict[str, str], code: int
) -> None:
    assert code_of(await api.get(method, **query)) == code


@pytest.mark.parametrize(
    ("method", "change", "code"),
    [
        ("createGroup", {"client_groups_name": " "}, 34),
        ("createGroup", {"client_groups_name": None}, 34),
        ("createGroup", {"client_groups_name": "Постоянный посетитель"}, 38),
        ("createGroup", {"loyalty_type": None}, 34),
        ("createGroup", {"loyalty_type": 3}, 155),
        ("createGroup", {"client_groups_discount": "ten"}, 155),
        ("createGroup", {"client_groups_discount": -1}, 155),
        ("createGroup", {"birthday_bonus": "NaN"}, 155),
        ("updateGroup", {}, 34),
        ("updateGroup", {"client_groups_id": 6}, 32),
        ("updateGroup", {"client_groups_id": 1, "client_groups_name": "Скидочная система 10%"}, 38),
        ("updateGroup", {"client_groups_id": 1, "client_groups_name": ""}, 34),
        ("removeGroup", {"client_groups_id": 1}, 34),
        ("removeGroup", {"group_id": 6}, 32),
        ("updateClient", {}, 34),
        ("updateClient", {"client_id": 10_000}, 32),
        ("updateClient", {"client_id": 2, "client_name": " "}, 34),
        ("updateClient", {"client_id": 2, "client_groups_id_client": 6}, 32),
        ("updateClient", {"client_id": 2, "client_sex": 3}, 155),
    ],
)
async def test_a_change_that_makes_no_sense_is_refused(
    api: Api, method: str, change: dict[str, object], code: int
) -> None:
    assert code_of(await api.post(method, {**NEW, **change})) == code
    assert await api.get("getGroups") == SEED["groups"]


@pytest.mark.parametrize("body", ["{", "[1]", "7", ""])
async def test_a_body_that_cannot_be_read_is_refused(api: Api, body: str) -> None:
    headers = {"Content-Type": "application/json"}
    answer = await api.ask("POST", "createGroup", {"token": TOKEN}, data=body, headers=headers)

    assert code_of(answer) == 400


# Groups


@pytest.mark.parametrize(("written", "read"), [(50.00, "5000"), ("0.5", "50"), (0, "0"), ("", "0")])
async def test_a_bonus_is_written_in_whole_units_and_read_in_kopecks(
    api: Api, written: object, read: str
) -> None:
    await api.post("createGroup", {**NEW, "birthday_bonus": written})

    assert (await api.groups())["6"]["birthday_bonus"] == read


@pytest.mark.parametrize(("written", "read"), [(10.00, "10"), ("12.50", "12.5"), (100, "100")])
async def test_a_percentage_is_read_as_it_was_written(api: Api, written: object, read: str) -> None:
    await api.post("createGroup", {**NEW, "client_groups_discount": written})

    assert (await api.groups())["6"]["client_groups_discount"] == read


@pytest.mark.parametrize("change", [{"client_groups_discount": "12"}, {"loyalty_type": "2"}])
async def test_what_an_update_leaves_out_stays(api: Api, change: dict[str, str]) -> None:
    await api.post("updateGroup", {"client_groups_id": 1, **change})

    assert (await api.groups())["1"] == {**SEED["group"]["response"], **change}


async def test_a_new_group_is_empty_and_never_has_the_id_of_one_before(api: Api) -> None:
    assert (await api.post("createGroup", NEW))["response"] == 6
    assert (await api.groups())["6"]["count_groups_clients"] == "0"
    await api.post("removeGroup", {"group_id": 6})

    assert (await api.post("createGroup", NEW))["response"] == 7


async def test_a_group_is_removed_with_all_its_clients(api: Api) -> None:
    gone = await api.ids(group_id=4)
    everybody = await api.ids()
    await api.post("removeGroup", {"group_id": 4})

    assert len(gone) == 43
    assert await api.ids() == [id for id in everybody if id not in gone]
    assert await api.get("getClient", client_id=gone[0]) == {"response": False}


# Clients


async def test_a_client_has_the_documented_fields_all_of_them_text(api: Api) -> None:
    [client] = (await api.get("getClient", client_id=1))["response"]
    also_listed = {k: v for k, v in client.items() if k not in ("accumulation_products", "prize_products")}

    assert also_listed == (await api.clients(num=1, sort="asc"))[0]
    assert {type(value) for value in also_listed.values()} == {str}
    assert (client["client_groups_id"], client["client_groups_name"]) == ("1", "Постоянный посетитель")
    assert (client["accumulation_products"], client["prize_products"]) == ([], [])


async def test_an_unknown_client_is_answered_with_false(api: Api) -> None:
    assert await api.get("getClient", client_id=10_000) == {"response": False}


async def test_clients_without_a_number_are_all_of_them_newest_first(api: Api) -> None:
    ids = await api.ids()

    assert len(ids) >= 1_000
    assert ids == sorted(ids, reverse=True)


async def test_pages_follow_each_other_and_then_there_are_none(api: Api) -> None:
    ordered: dict[str, str | int] = {"order_by": "client_id", "sort": "asc", "num": 500}
    pages = [await api.ids(**ordered, offset=offset) for offset in (0, 500, 1_000, 1_500)]

    assert [id for page in pages for id in page] == sorted(await api.ids())
    assert (len(pages[0]), pages[3]) == (500, [])


@pytest.mark.parametrize(("group_id", "size"), [(1, 125), (4, 43), (5, 42), (6, 0)])
async def test_a_group_has_as_many_clients_as_it_says(api: Api, group_id: int, size: int) -> None:
    assert len(await api.ids(group_id=group_id)) == size


async def test_a_client_is_found_by_phone_with_its_plus_escaped(api: Api) -> None:
    client = next(client for client in await api.clients() if client["phone"])
    phone = client["phone_number"]

    assert await api.clients(phone=f"+{phone}") == await api.clients(phone=phone) == [client]
    assert await api.clients(phone=f" {phone}") == []


async def test_the_clients_are_as_uneven_as_real_ones(api: Api) -> None:
    clients = await api.clients()
    phones = [client["phone_number"] for client in clients if client["phone_number"] != "0"]

    assert len(phones) == len(set(phones)) < len(clients)
    for name, empty in {"firstname": "", "birthday": "0000-00-00", "city": "0", "phone": ""}.items():
        assert 0 < sum(client[name] == empty for client in clients) < len(clients)
    assert Counter(client["delete"] for client in clients if client["client_groups_id"] != "0") == {"0": 210}
    assert 0 < sum(client["delete"] == "1" for client in clients) < 50


async def test_those_whom_other_sources_know_too_are_spelled_as_poster_does(api: Api) -> None:
    [mariana] = (await api.get("getClient", client_id=126))["response"]

    assert (mariana["firstname"], mariana["lastname"]) == ("Mariana", "Espinoza")
    assert (mariana["phone"], mariana["phone_number"]) == ("+593 99 000 91 02", "593990009102")
    assert (mariana["client_sex"], mariana["client_groups_id"], mariana["delete"]) == ("2", "4", "0")


@pytest.mark.parametrize("send", [Api.post, Api.post_form])
@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("Попова Елена Андреевна", ("Попова", "Елена", "Андреевна")),
        ("Попова  Елена", ("Попова", "Елена", "")),
        ("Попова", ("Попова", "", "")),
        ("Попова Елена Андреевна оглы", ("Попова", "Елена", "Андреевна оглы")),
        ("De\u00a0la\u00a0Cruz María", ("De\u00a0la\u00a0Cruz", "María", "")),
    ],
)
async def test_a_name_is_written_as_one_and_read_as_three(
    api: Api, send: Any, name: str, names: tuple[str, ...]
) -> None:
    assert await send(api, "updateClient", {"client_id": 2, "client_name": name}) == {"response": 2}
    [client] = (await api.get("getClient", client_id=2))["response"]

    assert (client["lastname"], client["firstname"], client["patronymic"]) == names


async def test_what_an_update_of_a_client_leaves_out_stays(api: Api) -> None:
    [before] = (await api.get("getClient", client_id=2))["response"]
    change = {"client_id": 2, "client_groups_id_client": 4, "city": "Kara", "email": ""}
    await api.post("updateClient", change)
    [after] = (await api.get("getClient", client_id=2))["response"]

    changed = {name: value for name, value in after.items() if value != before[name]}
    assert {"client_groups_id": "4", "city": "Kara", "email": ""}.items() <= changed.items()
    assert {name for name in changed if "group" not in name} <= {
        "city",
        "email",
        "loyalty_type",
        "birthday_bonus",
    }
    assert (await api.groups())["4"]["count_groups_clients"] == "44"


async def test_a_taken_phone_is_refused_in_the_flat_form(api: Api) -> None:
    taken = {"client_id": 2, "phone": "+593990009102"}
    answer = await api.post("updateClient", taken)

    assert answer == {"error": 167, "message": "This phone number is already taken"}
    assert await api.post("updateClient", {**taken, "client_id": 126}) == {"response": 126}


# Two sandboxes


async def test_two_sandboxes_start_with_the_same_data_and_share_no_change() -> None:
    async with opened(PosterSandbox()) as one, opened(PosterSandbox()) as other:
        assert await one.get("getClients") == await other.get("getClients")
        await one.post("removeGroup", {"group_id": 1})

        assert await other.get("getGroups") == SEED["groups"]
        assert len(await other.ids(group_id=1)) == 125
