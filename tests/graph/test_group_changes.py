"""Mutations of groups and of who is in them: action -> answer -> what the sources and the graph say next."""

import asyncio
from collections.abc import MutableMapping
from typing import Any

import pytest
from sqlalchemy import text

from resolvers.ids import to_id
from tests.gateways import Gateway

GROUP = "{ id source name customerCount loyalty { type percent birthdayBonus } }"
CREATE = f"mutation ($input: CreateGroupInput!) {{ createGroup(input: $input) {GROUP} }}"
UPDATE = f"mutation ($id: ID!, $input: UpdateGroupInput!) {{ updateGroup(id: $id, input: $input) {GROUP} }}"
REMOVE = """mutation ($id: ID!, $count: Int!) {
  removeGroup(id: $id, confirmCustomerCount: $count) { id customersRemoved }
}"""
ADD = f"mutation ($id: ID!, $ids: [ID!]!) {{ addToGroup(groupId: $id, customerIds: $ids) {GROUP} }}"
TAKE = f"mutation ($id: ID!, $ids: [ID!]!) {{ removeFromGroup(groupId: $id, customerIds: $ids) {GROUP} }}"
READ = f"query ($id: ID!) {{ group(id: $id) {GROUP} groups {GROUP} }}"
MEMBERS = """query ($id: ID!) {
  group(id: $id) { customerCount customers { edges { node { id } } } }
  customers(filter: {groupId: $id}) { edges { node { id } } }
}"""


def poster(id: int) -> str:
    return to_id("Group", f"poster:{id}")


AWA, MARIANA, KOFFI, MOUSSA = (
    to_id("Customer", f"everyprint:{id}")
    for id in ("2413659892012345", "2418804713350926", "2425071184469731", "2431966027741180")
)
SALOME, AWA_TOO = to_id("Customer", "mercately:4880ksrqh3878"), to_id("Customer", "poster:1")
NOBODY, NO_GROUP = to_id("Customer", "poster:100000"), to_id("Group", "everyprint:99")
BONUS = {"type": "BONUS", "percent": "7.5", "birthdayBonus": "50.50"}


async def own_groups(gateway: Gateway) -> dict[str, str]:
    groups = (await gateway.data("{ groups(source: EVERYPRINT) { id name } }"))["groups"]
    return {group["name"]: group["id"] for group in groups}


async def read(gateway: Gateway, id: str) -> Any:
    """The group as both questions answer it, which is one answer."""
    data = await gateway.data(READ, id=id)
    listed = {group["id"]: group for group in data["groups"]}
    assert listed.get(id) == data["group"]
    return data["group"]


async def members(gateway: Gateway, id: str) -> set[str]:
    data = await gateway.data(MEMBERS, id=id)
    in_group = ids_in(data["group"]["customers"])
    assert in_group == ids_in(data["customers"])
    return in_group


def ids_in(customers: Any) -> set[str]:
    return {edge["node"]["id"] for edge in customers["edges"]}


async def groups_of(gateway: Gateway, id: str) -> set[str]:
    query = "query ($id: ID!) { customer(by: {id: $id}) { groups { id } } }"
    return {group["id"] for group in (await gateway.data(query, id=id))["customer"]["groups"]}


def writes(gateway: Gateway) -> list[Any]:
    return [asked for asked in gateway.poster.asked if asked.method == "POST"]


# Groups


async def test_a_group_at_poster_is_created_and_changed_in_whole_units(town: Gateway) -> None:
    input: dict[str, Any] = {"source": "POSTER", "name": " VIP ", "loyalty": BONUS}
    created = (await town.data(CREATE, input=input))["createGroup"]
    id = created["id"]

    assert created == {
        "id": poster(6),
        "source": "POSTER",
        "name": "VIP",
        "customerCount": 0,
        "loyalty": BONUS | {"birthdayBonus": "50.5"},
    }
    assert await read(town, id) == created

    for change, bonus in (
        ({"name": "Regulars"}, "50.5"),
        ({"loyalty": {"type": "BONUS", "percent": "10.00"}}, "50.5"),
        ({"loyalty": {"type": "BONUS", "percent": 12, "birthdayBonus": None}}, "0"),
        ({"loyalty": {"type": "BONUS", "percent": "99.99", "birthdayBonus": "0.01"}}, "0.01"),
        ({"loyalty": {"type": "DISCOUNT", "percent": "100"}}, "0"),
        ({"loyalty": {"type": "DISCOUNT", "percent": 0, "birthdayBonus": 0}}, "0"),
    ):
        changed = (await town.data(UPDATE, id=id, input=change))["updateGroup"]
        assert (changed["name"], changed["loyalty"]["birthdayBonus"]) == ("Regulars", bonus)
        assert await read(town, id) == changed
    assert len(writes(town)) == 7
    assert writes(town)[2].body == {
        "client_groups_id": "6",
        "client_groups_name": "Regulars",
        "loyalty_type": "1",
        "client_groups_discount": "10",
        "birthday_bonus": "50.5",
    }


async def test_a_group_kept_here_is_created_and_renamed_and_no_vendor_hears_of_it(town: Gateway) -> None:
    input = {"source": "EVERYPRINT", "name": " Fête\u0301 🎉 "}
    created = (await town.data(CREATE, input=input))["createGroup"]

    assert created | {"id": ""} == {
        "id": "",
        "source": "EVERYPRINT",
        "name": "Fêté 🎉",
        "customerCount": 0,
        "loyalty": None,
    }
    renamed = (await town.data(UPDATE, id=created["id"], input={"name": "x" * 128}))["updateGroup"]
    assert renamed == created | {"name": "x" * 128}
    assert town.poster.count("") == town.mercately.count("") == 0
    assert await read(town, created["id"]) == renamed


LOYALTY = {"type": "BONUS", "percent": 10}
PERCENT = "A percentage is from 0 to 100, of at most 2 decimals."
FIELDS: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "another source": (
        {"source": "MERCATELY", "name": "x"},
        {"source": "Groups are at POSTER or, kept here, at EVERYPRINT."},
    ),
    "everything": (
        {"source": "POSTER", "name": " ", "loyalty": {**LOYALTY, "percent": 101, "birthdayBonus": -1}},
        {
            "name": "This must not be empty.",
            "loyalty.percent": PERCENT,
            "loyalty.birthdayBonus": "This must be 0 or more.",
        },
    ),
    "no loyalty": (
        {"source": "POSTER", "name": "x" * 256},
        {
            "name": "At most 255 characters; 256 given.",
            "loyalty": "A group at Poster does not go without this.",
        },
    ),
    "loyalty of our own": (
        {"source": "EVERYPRINT", "name": "x" * 129, "loyalty": LOYALTY},
        {
            "name": "At most 128 characters; 129 given.",
            "loyalty": "A group kept here has no loyalty scheme: leave this out.",
        },
    ),
    "a bonus beside a discount": (
        {"source": "POSTER", "name": "x\ny", "loyalty": {**BONUS, "type": "DISCOUNT"}},
        {
            "name": "Control characters are not accepted here.",
            "loyalty.birthdayBonus": "Only where bonuses are saved up: leave this out.",
        },
    ),
    **{
        f"{percent} percent": (
            {"source": "POSTER", "name": "x", "loyalty": {**LOYALTY, "percent": percent}},
            {"loyalty.percent": PERCENT},
        )
        for percent in ("-0.01", "100.01", "7.555", "1e-30", "1e30")
    },
    **{
        f"a bonus of {bonus}": (
            {"source": "POSTER", "name": "x", "loyalty": {**LOYALTY, "birthdayBonus": bonus}},
            {"loyalty.birthdayBonus": sentence},
        )
        for sentence, bonuses in {
            "This must be 0 or more.": ("-1",),
            "Poster does not keep this exactly: give fewer digits.": ("0.001", "1e-30", "1e30", "1e13"),
        }.items()
        for bonus in bonuses
    },
}


async def test_what_no_group_can_be_is_refused_before_anybody_is_asked(town: Gateway) -> None:
    own = (await own_groups(town))["Wholesale"]
    for input, wrong in FIELDS.values():
        error = await town.error(CREATE, input=input)
        fields = {f"input.{name}": sentence for name, sentence in wrong.items()}
        assert error["extensions"] == {"code": "BAD_USER_INPUT", "fields": fields}

        if "source" not in wrong:
            change = {name: value for name, value in input.items() if name != "source"}
            id = own if input["source"] == "EVERYPRINT" else poster(1)
            if "loyalty" not in input:  # then it stays
                del fields["input.loyalty"]
            assert (await town.error(UPDATE, id=id, input=change))["extensions"]["fields"] == fields
    for id in (own, poster(1)):
        for change, sentence in (
            ({}, {"input": "Say what to change."}),
            ({"name": None}, {"input.name": "This must not be empty."}),
            ({"loyalty": None}, {"input.loyalty": "No loyalty scheme can be taken away: leave this out."}),
        ):
            assert (await town.error(UPDATE, id=id, input=change))["extensions"]["fields"] == sentence
    assert town.poster.count("") == 0
    assert len(await own_groups(town)) == 3


@pytest.mark.parametrize("source", ["poster", "everyprint"])
async def test_a_name_is_one_groups(town: Gateway, source: str) -> None:
    here = await own_groups(town)
    name, id = {
        "poster": ("Скидочная система 10%", poster(1)),
        "everyprint": ("Students", here["Wholesale"]),
    }[source]
    input = {"source": source.upper(), "name": name} | ({"loyalty": LOYALTY} if source == "poster" else {})

    for error in (
        await town.error(CREATE, input=input),
        await town.error(UPDATE, id=id, input={"name": name}),
    ):
        assert error["extensions"]["code"] == "CONFLICT"
        assert list(error["extensions"]["fields"]) == ["input.name"]
    assert (await read(town, id))["name"] != name


async def test_an_id_that_names_nothing_and_one_that_is_none_are_told_apart(town: Gateway) -> None:
    for kind in (poster(99), NO_GROUP):
        for query, variables in (
            (UPDATE, {"input": {"name": "x"}}),
            (REMOVE, {"count": 0}),
            (ADD, {"ids": [AWA]}),
        ):
            error = await town.error(query, id=kind, **variables)
            argument = "groupId" if query is ADD else "id"
            assert error["extensions"] == {
                "code": "NOT_FOUND",
                "fields": {argument: "There is no such group."},
            }
    assert (await town.error(TAKE, id=NO_GROUP, ids=[AWA]))["extensions"]["code"] == "NOT_FOUND"
    assert not writes(town)
    town.poster.asked.clear()

    for wrong in ("x", to_id("Group", "poster:" + "9" * 30), to_id("Group", "hyber:1"), AWA):
        for query, variables in (
            (UPDATE, {"input": {"name": "x"}}),
            (REMOVE, {"count": 0}),
            (ADD, {"ids": [AWA]}),
            (TAKE, {"ids": [AWA]}),
        ):
            assert (await town.error(query, id=wrong, **variables))["extensions"]["code"] == "BAD_USER_INPUT"
    assert town.poster.count("") == 0


async def test_a_group_at_poster_is_removed_with_its_clients_once_their_number_is_repeated(
    town: Gateway,
) -> None:
    error = await town.error(REMOVE, id=poster(4), count=42)
    sentence = "The group has 43 customers: repeat this number to remove it and them, for good."
    assert (error["message"], error["extensions"]) == (
        sentence,
        {"code": "CONFLICT", "fields": {"confirmCustomerCount": sentence}, "customerCount": 43},
    )
    assert not writes(town)
    assert await members(town, poster(4)) == {MARIANA}

    removed = await town.data(REMOVE, id=poster(4), count=43)

    assert removed["removeGroup"] == {"id": poster(4), "customersRemoved": 43}
    assert await read(town, poster(4)) is None
    # She is known elsewhere too, and lives on there.
    query = """query ($id: ID!) {
      gone: customer(by: {posterId: "126"}) { id }
      customer(by: {id: $id}) { id sources groups { name } }
      customers(filter: {search: "Mariana"}) { edges { node { id sources } } }
      inPoster: customers(filter: {source: POSTER}) { edges { node { id } } }
    }"""
    data = await town.data(query, id=MARIANA)
    rest = {"id": MARIANA, "sources": ["EVERYPRINT", "MERCATELY"]}
    assert data["gone"] is None
    assert data["customer"] == rest | {"groups": [{"name": "Christmas cards"}]}
    assert data["customers"]["edges"] == [{"node": rest}]
    assert AWA in ids_in(data["inPoster"])
    assert MARIANA not in ids_in(data["inPoster"])


async def test_a_group_kept_here_is_removed_without_anybody(town: Gateway) -> None:
    id = (await own_groups(town))["Wholesale"]
    size = len(await members(town, id))
    for count in (0, size - 1, size + 1, -1):
        extensions = (await town.error(REMOVE, id=id, count=count))["extensions"]
        sentence = f"The group has {size} customers: repeat this number to remove it."
        fields = {"confirmCustomerCount": sentence}
        assert extensions == {"code": "CONFLICT", "fields": fields, "customerCount": size}

    assert (await town.data(REMOVE, id=id, count=size))["removeGroup"] == {"id": id, "customersRemoved": 0}
    assert await read(town, id) is None
    assert await groups_of(town, AWA) == {(await own_groups(town))["Christmas cards"], poster(1)}
    assert not writes(town)


# Members


async def test_people_are_put_into_groups_kept_here_once_and_taken_out_again(town: Gateway) -> None:
    id = (await own_groups(town))["Students"]
    before = await members(town, id)

    for _ in range(2):
        added = (await town.data(ADD, id=id, ids=[AWA, AWA_TOO, SALOME, MOUSSA]))["addToGroup"]
        assert added["customerCount"] == len(before) + 3
    assert await members(town, id) == before | {AWA, SALOME, MOUSSA}
    assert id in await groups_of(town, AWA)

    for _ in range(2):
        taken = (await town.data(TAKE, id=id, ids=[AWA_TOO, MOUSSA, MARIANA]))["removeFromGroup"]
        assert taken["customerCount"] == len(before) + 1
    assert await members(town, id) == before | {SALOME}
    assert id not in await groups_of(town, AWA)
    assert not writes(town)


async def test_a_client_of_poster_is_moved_out_of_the_group_before(town: Gateway) -> None:
    moved = (await town.data(ADD, id=poster(5), ids=[AWA, SALOME, AWA_TOO]))["addToGroup"]

    assert moved["customerCount"] == 44
    assert await read(town, poster(5)) == moved
    assert (await read(town, poster(1)))["customerCount"] == 123
    assert {AWA, SALOME} <= await members(town, poster(5))
    assert await members(town, poster(1)) == {KOFFI}
    assert poster(5) in await groups_of(town, AWA)
    assert (
        sorted(asked.body.items() for asked in writes(town))
        == [
            [("client_groups_id_client", "5"), ("client_id", "1"), ("client_name", "Diop Awa")],
            [("client_groups_id_client", "5"), ("client_id", "3"), ("client_name", "Andrade Salomé")],
        ]
        or len(writes(town)) == 2
    )


async def test_who_cannot_be_in_a_group_is_named_before_anything_is_written(town: Gateway) -> None:
    here = (await own_groups(town))["Students"]
    not_theirs = "Poster does not know this customer: it groups its own only."
    table: list[tuple[str, str, list[str], str, set[str]]] = [
        (ADD, here, [], "BAD_USER_INPUT", {"customerIds"}),
        (TAKE, here, [], "BAD_USER_INPUT", {"customerIds"}),
        (ADD, here, [AWA] * 101, "BAD_USER_INPUT", {"customerIds"}),
        (ADD, poster(1), [AWA, "x", poster(1)], "BAD_USER_INPUT", {"customerIds.1", "customerIds.2"}),
        (ADD, "x", ["x"], "BAD_USER_INPUT", {"groupId", "customerIds.0"}),
        (ADD, here, [AWA, NOBODY], "NOT_FOUND", {"customerIds.1"}),
        (TAKE, here, [NOBODY, AWA], "NOT_FOUND", {"customerIds.0"}),
        (ADD, poster(5), [AWA, MOUSSA], "BAD_USER_INPUT", {"customerIds.1"}),
        (TAKE, poster(1), [AWA], "BAD_USER_INPUT", {"groupId"}),
    ]
    for query, id, ids, code, arguments in table:
        extensions = (await town.error(query, id=id, ids=ids))["extensions"]
        assert (extensions["code"], extensions["fields"].keys()) == (code, arguments)
    error = await town.error(ADD, id=poster(5), ids=[AWA, MOUSSA])
    assert error["extensions"]["fields"] == {"customerIds.1": not_theirs}
    assert {asked.path for asked in town.poster.asked} == {"/api/clients.getClient"}  # of whom nobody knows
    assert AWA not in await members(town, here)


# Sources in trouble


async def test_with_poster_down_nothing_is_written_there_and_own_groups_go_on(town: Gateway) -> None:
    own = (await own_groups(town))["Students"]
    size = len(await members(town, own))
    town.poster.trouble("status", status=503)
    table: list[tuple[str, dict[str, Any]]] = [
        (CREATE, {"input": {"source": "POSTER", "name": "VIP", "loyalty": LOYALTY}}),
        (UPDATE, {"id": poster(1), "input": {"name": "VIP"}}),
        (REMOVE, {"id": poster(1), "count": 125}),
        (ADD, {"id": poster(5), "ids": [AWA]}),
    ]
    for query, variables in table:
        extensions = (await town.error(query, **variables))["extensions"]
        assert (extensions["code"], extensions["source"]) == ("SOURCE_UNAVAILABLE", "POSTER")
        assert ("outcome" in extensions) is (query is CREATE)
    assert (await town.data(ADD, id=own, ids=[MOUSSA]))["addToGroup"]["customerCount"] == size + 1


async def test_a_change_whose_answer_is_lost_is_made_once_and_said_to_be_doubtful(town: Gateway) -> None:
    town.poster.trouble("drop", path="POST")
    table: dict[str, tuple[str, dict[str, Any]]] = {
        "createGroup": (CREATE, {"input": {"source": "POSTER", "name": "VIP", "loyalty": LOYALTY}}),
        "updateGroup": (UPDATE, {"id": poster(1), "input": {"name": "Regulars"}}),
        "updateClient": (ADD, {"id": poster(5), "ids": [AWA]}),
        "removeGroup": (REMOVE, {"id": poster(4), "count": 43}),
    }
    for method, (query, variables) in table.items():
        error = await town.error(query, **variables)
        assert error["extensions"]["outcome"] == "UNKNOWN"
        assert town.poster.count(method) == 1
    assert (await read(town, poster(6)))["name"] == "VIP"

    town.poster.heal()
    town.poster.trouble("status", path="getGroups", status=503)
    error = await town.error(UPDATE, id=poster(1), input={"name": "VIPs"})
    assert error["extensions"] == {"code": "SOURCE_UNAVAILABLE", "source": "POSTER", "outcome": "WRITTEN"}


async def test_of_several_clients_it_is_said_who_was_moved(town: Gateway) -> None:
    town.poster.trouble("status", path="POST", status=503, times=1)
    error = await town.error(ADD, id=poster(5), ids=[AWA, KOFFI])

    extensions = error["extensions"]
    (moved,), (doubtful,) = extensions["written"], extensions["unknown"]
    assert {moved, doubtful} == {AWA, KOFFI}
    assert moved in await members(town, poster(5))
    assert doubtful in await members(town, poster(1))


async def test_what_the_database_cannot_take_after_poster_did_it_is_logged_and_mended_later(
    town: Gateway, log_lines: list[MutableMapping[str, Any]]
) -> None:
    for table in ("directory_entry", "customer_group_member", "customer_group"):
        async with town.storage._engine.begin() as connection:
            await connection.execute(text(f"DROP TABLE {table}"))

    assert (await town.data(REMOVE, id=poster(4), count=43))["removeGroup"]["customersRemoved"] == 43
    told = [line for line in log_lines if line["log_level"] == "warning"]
    assert [(line["event"], line["code"]) for line in told] == [
        ("the directory did not forget who was removed", "SOURCE_UNAVAILABLE")
    ]
    for query, variables in (
        (CREATE, {"input": {"source": "EVERYPRINT", "name": "VIP"}}),
        (UPDATE, {"id": NO_GROUP, "input": {"name": "VIP"}}),
        (REMOVE, {"id": NO_GROUP, "count": 0}),
        (ADD, {"id": NO_GROUP, "ids": [AWA]}),
        (TAKE, {"id": NO_GROUP, "ids": [AWA]}),
    ):
        extensions = (await town.error(query, **variables))["extensions"]
        assert extensions == {"code": "SOURCE_UNAVAILABLE", "source": "EVERYPRINT"}


# What others ask meanwhile


async def test_an_older_question_under_way_does_not_answer_a_newer_one(town: Gateway) -> None:
    town.poster.trouble("delay", path="getGroups", seconds=1, times=1)
    older = asyncio.create_task(town.data(READ, id=poster(6)))
    while not town.poster.count("getGroups"):
        await asyncio.sleep(0.005)

    created = await town.data(CREATE, input={"source": "POSTER", "name": "VIP", "loyalty": LOYALTY})
    newer = await town.data(READ, id=poster(6))

    assert newer["group"] == created["createGroup"]
    await older


async def test_who_is_moved_is_read_anew_though_somebody_asks_for_them(town: Gateway) -> None:
    town.poster.trouble("delay", path="getClient", seconds=1, times=1)
    query = '{ customer(by: {posterId: "1"}) { groups { id } } }'
    older = asyncio.create_task(town.data(query))
    while not town.poster.count("getClient"):
        await asyncio.sleep(0.005)

    await town.data(ADD, id=poster(5), ids=[AWA])

    assert town.poster.count("getClient") == 2
    await older
    assert AWA in await members(town, poster(5))


async def test_each_mutation_of_an_operation_answers_what_is_there_after_it(town: Gateway) -> None:
    query = """mutation ($id: ID!, $awa: [ID!]!, $koffi: [ID!]!) {
      a: addToGroup(groupId: $id, customerIds: $awa) { customerCount }
      b: addToGroup(groupId: $id, customerIds: $koffi) {
        customerCount customers { edges { node { id } } }
      }
      c: updateGroup(id: $id, input: {name: "VIP"}) { name customerCount }
    }"""
    data = await town.data(query, id=poster(5), awa=[AWA], koffi=[KOFFI])

    assert data["a"] == {"customerCount": 43}
    assert data["b"]["customerCount"] == 44
    assert {AWA, KOFFI} <= ids_in(data["b"]["customers"])
    assert data["c"] == {"name": "VIP", "customerCount": 44}
