"""Who is one person and who is not, said by hand: query -> answer -> what the graph says next."""

from typing import Any

import pytest
from pydantic import SecretStr

from gateway.settings import Settings, UseAuth
from resolvers.ids import to_id
from tests.gateways import Gateway, gateway_on

YAO = to_id("Customer", "everyprint:2471694408825193")
GABRIEL = to_id("Customer", "mercately:4880mylqi3881")
KOMLAN = to_id("Customer", "poster:211")
AWA = to_id("Customer", "everyprint:2413659892012345")
LINK = "mutation ($ids: [ID!]!) { linkCustomers(ids: $ids) { id sources messengerId firstName } }"
UNLINK = """mutation ($id: ID!, $source: Source!) {
  unlinkCustomer(id: $id, source: $source) { id sources messengerId firstName }
}"""
READ = "query ($id: ID!) { customer(by: {id: $id}) { id sources messengerId firstName } }"
EVERYBODY = "{ customers(first: 100) { edges { node { id } } } }"


async def listed(gateway: Gateway) -> set[str]:
    return {edge["node"]["id"] for edge in (await gateway.data(EVERYBODY))["customers"]["edges"]}


async def test_three_who_are_said_to_be_one_are_one_by_each_of_their_ids(town: Gateway) -> None:
    linked = (await town.data(LINK, ids=[KOMLAN, GABRIEL, YAO]))["linkCustomers"]

    assert linked["id"] == YAO
    assert linked["sources"] == ["EVERYPRINT", "MERCATELY", "POSTER"]
    for id in (KOMLAN, GABRIEL, YAO):
        assert (await town.data(READ, id=id))["customer"] == linked
    assert await listed(town) & {KOMLAN, GABRIEL, YAO} == {YAO}


async def test_a_link_may_be_said_twice_and_by_a_row_of_mercately(town: Gateway) -> None:
    row = to_id("Customer", "mercately-row:3881")

    once = await town.data(LINK, ids=[row, YAO])
    twice = await town.data(LINK, ids=[YAO, GABRIEL])

    assert once == twice
    assert once["linkCustomers"]["sources"] == ["EVERYPRINT", "MERCATELY"]


async def test_what_a_phone_had_joined_is_parted_and_stays_so(town: Gateway) -> None:
    rest = (await town.data(UNLINK, id=AWA, source="POSTER"))["unlinkCustomer"]
    alone = (await town.data(READ, id=to_id("Customer", "poster:1")))["customer"]

    assert (rest["id"], rest["sources"]) == (AWA, ["EVERYPRINT", "MERCATELY"])
    assert (await town.data(READ, id=AWA))["customer"] == rest
    assert (alone["id"], alone["sources"]) == (to_id("Customer", "poster:1"), ["POSTER"])
    assert {AWA, alone["id"]} <= await listed(town)
    again = (await town.data(LINK, ids=[AWA, alone["id"]]))["linkCustomers"]
    assert again["sources"] == ["EVERYPRINT", "MERCATELY", "POSTER"]


async def test_who_is_answered_is_whom_the_id_names_then(town: Gateway) -> None:
    alone = (await town.data(UNLINK, id=AWA, source="EVERYPRINT"))["unlinkCustomer"]

    assert (alone["id"], alone["sources"]) == (AWA, ["EVERYPRINT"])
    others = (await town.data(READ, id=to_id("Customer", "mercately:4880pbiig3874")))["customer"]
    assert others["sources"] == ["MERCATELY", "POSTER"]


REFUSED: dict[str, tuple[str, dict[str, Any], str, str]] = {
    "a link of one": (LINK, {"ids": [YAO]}, "BAD_USER_INPUT", "ids"),
    "a link of the same twice": (LINK, {"ids": [YAO, YAO]}, "BAD_USER_INPUT", "ids"),
    "a link of two names of one entry": (
        LINK,
        {"ids": [GABRIEL, to_id("Customer", "mercately-row:3881")]},
        "BAD_USER_INPUT",
        "ids",
    ),
    "a link of too many": (
        LINK,
        {"ids": [to_id("Customer", f"poster:{n}") for n in range(1, 22)]},
        "BAD_USER_INPUT",
        "ids",
    ),
    "a link of what is no id": (LINK, {"ids": [YAO, "?"]}, "BAD_USER_INPUT", "ids.1"),
    "a link with a group": (LINK, {"ids": [to_id("Group", "poster:1"), YAO]}, "BAD_USER_INPUT", "ids.0"),
    "a link with nobody": (LINK, {"ids": [YAO, to_id("Customer", "poster:99999")]}, "NOT_FOUND", "ids.1"),
    "an unlink of nobody": (
        UNLINK,
        {"id": to_id("Customer", "everyprint:1"), "source": "EVERYPRINT"},
        "NOT_FOUND",
        "id",
    ),
    "an unlink from where they are not": (
        UNLINK,
        {"id": YAO, "source": "POSTER"},
        "BAD_USER_INPUT",
        "source",
    ),
    "an unlink from their only source": (
        UNLINK,
        {"id": YAO, "source": "EVERYPRINT"},
        "BAD_USER_INPUT",
        "source",
    ),
    "an unlink from what has no customers": (
        UNLINK,
        {"id": AWA, "source": "HYBER"},
        "BAD_USER_INPUT",
        "source",
    ),
}


@pytest.mark.parametrize(("query", "variables", "code", "field"), REFUSED.values(), ids=REFUSED)
async def test_what_makes_no_sense_is_refused_and_changes_nobody(
    town: Gateway, query: str, variables: dict[str, Any], code: str, field: str
) -> None:
    before = await listed(town)

    error = await town.error(query, **variables)

    assert error["extensions"]["code"] == code
    assert list(error["extensions"]["fields"]) == [field]
    assert await listed(town) == before


@pytest.mark.parametrize(
    ("query", "variables"),
    [(LINK, {"ids": [KOMLAN, GABRIEL]}), (UNLINK, {"id": AWA, "source": "EVERYPRINT"})],
    ids=["link", "unlink"],
)
async def test_people_are_linked_and_parted_while_the_vendors_are_down(
    town: Gateway, query: str, variables: dict[str, Any]
) -> None:
    town.mercately.trouble("reset")
    town.poster.trouble("reset")

    answer = await town.ask(query, **variables)

    assert "errors" not in answer
    assert all(answer["data"].values())


@pytest.mark.parametrize(
    ("query", "variables"),
    [(LINK, {"ids": [KOMLAN, GABRIEL]}), (UNLINK, {"id": AWA, "source": "EVERYPRINT"})],
    ids=["link", "unlink"],
)
async def test_without_the_database_nobody_is_linked_or_parted(
    settings: Settings, query: str, variables: dict[str, Any]
) -> None:
    nowhere = SecretStr("mysql+aiomysql://nobody@127.0.0.1:1/nothing")
    async with gateway_on(
        settings.model_copy(update={"database_url": nowhere, "auth": UseAuth.OPEN})
    ) as gateway:
        error = await gateway.error(query, **variables)

    assert error["extensions"] == {"code": "SOURCE_UNAVAILABLE", "source": "EVERYPRINT"}
