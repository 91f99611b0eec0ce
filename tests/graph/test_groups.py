"""Groups, asked for through the graph."""

import pytest

from resolvers.ids import to_id
from tests.gateways import Gateway

REGULARS = to_id("Group", "poster:1")


async def test_groups_come_as_the_vendor_documents_them_in_whole_units(gateway: Gateway) -> None:
    data = await gateway.data(
        "{ groups { id source name customerCount loyalty { type percent birthdayBonus } } }"
    )

    assert {
        "id": REGULARS,
        "source": "POSTER",
        "name": "Постоянный посетитель",
        "customerCount": 125,
        "loyalty": {"type": "BONUS", "percent": "10", "birthdayBonus": "50"},
    } in data["groups"]
    assert {
        "id": to_id("Group", "poster:5"),
        "source": "POSTER",
        "name": "Скидочная система 20%",
        "customerCount": 42,
        "loyalty": {"type": "DISCOUNT", "percent": "20", "birthdayBonus": "0"},
    } in data["groups"]


async def test_groups_of_one_source(gateway: Gateway) -> None:
    data = await gateway.data(
        "{ all: groups { id } poster: groups(source: POSTER) { id } sms: groups(source: HYBER) { id } }"
    )

    assert data["all"] == data["poster"] != []
    assert data["sms"] == []
    assert gateway.poster.count("clients.getGroups") == 1


async def test_a_group_is_found_by_its_id_and_by_node(gateway: Gateway) -> None:
    data = await gateway.data(
        "query ($id: ID!) { group(id: $id) { name } node(id: $id) { ... on Group { name } } }", id=REGULARS
    )

    assert data["group"] == data["node"] == {"name": "Постоянный посетитель"}
    assert gateway.poster.count("") == 1


async def test_an_unknown_group_is_null(gateway: Gateway) -> None:
    data = await gateway.data("query ($id: ID!) { group(id: $id) { id } }", id=to_id("Group", "poster:999"))

    assert data == {"group": None}


@pytest.mark.parametrize("id", ["x", to_id("Group", "1"), to_id("Group", "nobody:1"), to_id("Agent", 1)])
async def test_what_is_no_group_id_is_bad_input(gateway: Gateway, id: str) -> None:
    error = await gateway.error("query ($id: ID!) { group(id: $id) { id } }", id=id)

    assert error["extensions"]["code"] == "BAD_USER_INPUT"
    assert gateway.poster.count("") == 0


async def test_a_group_without_a_known_scheme_has_no_loyalty(gateway: Gateway) -> None:
    row = {
        "client_groups_id": "9",
        "client_groups_name": "New",
        "loyalty_type": "7",
        "count_groups_clients": "0",
    }
    gateway.poster.trouble("wrong_shape", body={"response": [row]})

    data = await gateway.data("{ groups { name loyalty { type } } }")

    assert data == {"groups": [{"name": "New", "loyalty": None}]}


async def test_with_poster_down_agents_still_arrive(gateway: Gateway) -> None:
    gateway.poster.trouble("status", status=503)

    answer = await gateway.ask("{ groups { id } agents { id } }")

    assert answer["data"]["groups"] is None
    assert len(answer["data"]["agents"]) == 40
    (error,) = answer["errors"]
    assert (error["path"], error["extensions"]) == (
        ["groups"],
        {"code": "SOURCE_UNAVAILABLE", "source": "POSTER"},
    )


async def test_a_refusal_with_http_200_is_a_refusal(gateway: Gateway) -> None:
    gateway.poster.trouble("wrong_shape", body={"error": {"code": 700, "message": "Ограничение по тарифу"}})

    error = await gateway.error("{ groups { id } }")

    assert error["extensions"] == {
        "code": "SOURCE_REJECTED",
        "source": "POSTER",
        "vendorCode": "700",
        "vendorMessage": "Ограничение по тарифу",
    }
