"""Mutations of a customer's profile: query -> answer -> what the sources and the graph say next."""

import asyncio
import gc
from typing import Any

import pytest
from pydantic import SecretStr

from adapters.storage.identity import Key
from gateway.settings import Settings, UseAuth
from resolvers import changes
from resolvers.ids import to_id
from tests.gateways import Gateway, gateway_on

AWA = to_id("Customer", "everyprint:2413659892012345")
AWA_AT_MERCATELY = "4880pbiig3874"
GABRIEL = to_id("Customer", "mercately:4880mylqi3881")
YAO = to_id("Customer", "everyprint:2471694408825193")
PROFILE = """{
  id sources firstName lastName gender email phone notes address { street city state zipCode } tags { name }
  agent { email } balance { amount }
}"""
SAVE = f"mutation ($input: SaveCustomerInput!) {{ saveCustomer(input: $input) {PROFILE} }}"
CREATE = f"mutation ($input: CreateCustomerInput!) {{ createCustomer(input: $input) {PROFILE} }}"
UPDATE = f"""mutation ($id: ID!, $input: UpdateCustomerInput!) {{
  updateCustomer(id: $id, input: $input) {PROFILE}
}}"""
READ = f"query ($id: ID!) {{ customer(by: {{id: $id}}) {PROFILE} }}"
FOUND = "query ($search: String!) { customers(filter: {search: $search}) { edges { node { id } } } }"


async def ids_found(gateway: Gateway, search: str) -> list[str]:
    page = (await gateway.data(FOUND, search=search))["customers"]
    return [edge["node"]["id"] for edge in page["edges"]]


def written(gateway: Gateway) -> list[tuple[str, Any]]:
    """What the vendors were asked to change."""
    asked = [*gateway.mercately.asked, *gateway.poster.asked]
    return [(one.path.rpartition("/")[2], one.body) for one in asked if one.method != "GET"]


def asked_nothing(gateway: Gateway) -> bool:
    return not (gateway.mercately.asked or gateway.poster.asked)


# saveCustomer


async def test_a_customer_is_saved_with_a_balance_of_nothing_and_joins_who_has_their_phone(
    town: Gateway,
) -> None:
    input = {"messengerId": "58918EJS", "lastName": "lil kim", "gender": "MALE"}

    alone = (await town.data(SAVE, input=input))["saveCustomer"]
    nobody_was_asked = asked_nothing(town)
    joined = (await town.data(SAVE, input=input | {"phone": "+593 99 000 9111"}))["saveCustomer"]

    assert nobody_was_asked
    assert alone["id"] == to_id("Customer", "everyprint:58918EJS")
    assert (alone["sources"], alone["lastName"], alone["gender"]) == (["EVERYPRINT"], "lil kim", "MALE")
    assert alone["balance"] == {"amount": "0"}
    assert joined["sources"] == ["EVERYPRINT", "MERCATELY"]
    assert (joined["firstName"], joined["lastName"]) == ("Gabriel", "lil kim")
    assert (await town.data(READ, id=GABRIEL))["customer"] == joined
    assert await ids_found(town, "lil kim") == [alone["id"]]


async def test_who_is_saved_again_is_updated_and_keeps_what_is_not_said(town: Gateway) -> None:
    input = {"messengerId": "2471694408825193", "lastName": " N’Guessan ", "gender": "FEMALE"}

    again = (await town.data(SAVE, input=input))["saveCustomer"]

    assert (again["firstName"], again["lastName"], again["gender"]) == ("Yao", "N’Guessan", "FEMALE")
    assert (await town.data(READ, id=YAO))["customer"] == again
    assert await ids_found(town, "N’Guessan") == [YAO]


# createCustomer


async def test_a_customer_is_created_at_mercately_as_its_documents_show(town: Gateway) -> None:
    input = {
        "firstName": "Juan",
        "lastName": "Campos",
        "email": "juan@email.com",
        "phone": "+12036534789",
        "notes": "New notes\r\non two lines",
        "address": {"street": "Calle 5", "city": "Fort Worth", "state": "TX", "zipCode": "76106"},
        "agentId": to_id("Agent", 2763),
        "tags": ["VIP", "VIP"],
    }

    created = (await town.data(CREATE, input=input))["createCustomer"]

    assert written(town) == [
        (
            "customers",
            {
                "customer": {
                    "first_name": "Juan",
                    "last_name": "Campos",
                    "email": "juan@email.com",
                    "phone": "+12036534789",
                    "notes": "New notes\non two lines",
                    "address": "Calle 5",
                    "city": "Fort Worth",
                    "state": "TX",
                    "zip_code": "76106",
                    "agent_id": 2763,
                    "tags": [{"name": "VIP", "value": True}],
                }
            },
        )
    ]
    assert created["address"] == input["address"]
    assert (created["sources"], created["tags"]) == (["MERCATELY"], [{"name": "VIP"}])
    assert (await town.data(READ, id=created["id"]))["customer"] == created
    assert await ids_found(town, "juan campos") == [created["id"]]


async def test_who_is_created_with_the_phone_of_somebody_known_elsewhere_is_that_person(
    town: Gateway,
) -> None:
    input = {"firstName": "Aminata", "lastName": "Koné", "phone": "+2250500009107"}

    created = (await town.data(CREATE, input=input))["createCustomer"]

    assert created["sources"] == ["EVERYPRINT", "MERCATELY", "POSTER"]
    assert created["balance"] == {"amount": "4750"}


# updateCustomer


async def test_every_source_that_knows_the_person_is_written_what_it_keeps(town: Gateway) -> None:
    input = {
        "firstName": "Awa Marie",
        "email": "Awa@example.com",
        "notes": "Call first",
        "address": {"city": "Thiès"},
        "agentId": to_id("Agent", 2763),
        "addTags": ["Navidad"],
        "removeTags": ["VIP"],
    }

    updated = (await town.data(UPDATE, id=AWA, input=input))["updateCustomer"]

    assert dict(written(town)) == {
        AWA_AT_MERCATELY: {
            "customer": {
                "first_name": "Awa Marie",
                "email": "Awa@example.com",
                "notes": "Call first",
                "city": "Thiès",
                "agent_id": 2763,
                "tags": [{"name": "Navidad", "value": True}, {"name": "VIP", "value": False}],
            }
        },
        "clients.updateClient": {
            "client_id": "1",
            "client_name": "Diop Awa\u00a0Marie",
            "client_groups_id_client": "1",
            "email": "Awa@example.com",
            "comment": "Call first",
            "city": "Thiès",
        },
    }
    assert (updated["firstName"], updated["lastName"]) == ("Awa Marie", "Diop")
    assert (updated["email"], updated["notes"]) == ("awa@example.com", "Call first")
    assert updated["tags"] == [{"name": "Mayorista"}, {"name": "Navidad"}]
    assert updated["agent"] == {"email": "agent@example.com"}
    assert (await town.data(READ, id=AWA))["customer"] == updated
    assert await ids_found(town, "awa marie") == [AWA]


async def test_what_is_null_is_taken_away_and_what_is_left_out_stays(town: Gateway) -> None:
    input: dict[str, Any] = {"email": None, "notes": None, "address": None}

    updated = (await town.data(UPDATE, id=AWA, input=input))["updateCustomer"]

    assert (updated["email"], updated["notes"]) == (None, None)
    assert updated["address"] == {"street": None, "city": None, "state": None, "zipCode": None}
    assert (updated["firstName"], updated["phone"]) == ("Awa", "+221770009101")
    assert (await town.data(READ, id=AWA))["customer"] == updated


@pytest.mark.parametrize("id", ["mercately:4880pbiig3874", "poster:1", "mercately-row:3874"])
async def test_a_person_is_updated_by_any_of_their_ids(town: Gateway, id: str) -> None:
    updated = await town.data(UPDATE, id=to_id("Customer", id), input={"gender": "MALE"})

    assert updated["updateCustomer"]["id"] == AWA
    assert updated["updateCustomer"]["gender"] == "MALE"
    assert [name for name, _ in written(town)] == ["clients.updateClient"]


async def test_two_changes_in_one_operation_each_answer_what_is_there_then(town: Gateway) -> None:
    query = """mutation ($id: ID!) {
      one: updateCustomer(id: $id, input: {firstName: "One"}) { firstName }
      two: updateCustomer(id: $id, input: {firstName: "Two"}) { firstName }
    }"""

    assert await town.data(query, id=AWA) == {"one": {"firstName": "One"}, "two": {"firstName": "Two"}}


async def test_when_one_source_fails_the_answer_says_which_were_written(town: Gateway) -> None:
    town.poster.trouble("status", status=503, path="POST ")
    town.mercately.trouble("reset", path="PUT ")

    answer = await town.ask(UPDATE, id=AWA, input={"lastName": "Ndiaye"})

    (error,) = answer["errors"]
    assert answer["data"] is None
    assert error["path"] == ["updateCustomer"]
    assert error["message"].startswith("1 of 3 parts were written. Mercately ")
    assert error["extensions"]["code"] == "SOURCE_UNAVAILABLE"
    assert error["extensions"]["written"] == ["EVERYPRINT"]
    assert error["extensions"]["unknown"] == ["MERCATELY", "POSTER"]
    assert error["extensions"]["notWritten"] == []
    assert set(error["extensions"]["failures"]) == {"MERCATELY", "POSTER"}
    assert await ids_found(town, "ndiaye") == [AWA]
    assert [one.method for one in town.mercately.asked if one.method != "GET"] == ["PUT"], "never sent again"


async def test_what_a_source_refuses_is_named_and_the_others_are_written(town: Gateway) -> None:
    mariana = to_id("Customer", "everyprint:2418804713350926")
    taken = "Ya tienes un cliente registrado con este número de teléfono."
    town.mercately.trouble("redirect_errors", path="PUT ", errors=[taken])

    error = await town.error(UPDATE, id=mariana, input={"phone": "+593 99 000 9999"})

    assert error["extensions"]["code"] == "CONFLICT"
    assert list(error["extensions"]["fields"]) == ["input.phone"]
    assert error["extensions"]["written"] == ["EVERYPRINT", "POSTER"]
    assert error["extensions"]["notWritten"] == ["MERCATELY"]


async def test_a_change_is_made_to_its_end_though_the_caller_has_left(town: Gateway) -> None:
    town.mercately.trouble("delay", path="PUT ", seconds=0.4)
    caller = asyncio.create_task(town.ask(UPDATE, id=GABRIEL, input={"lastName": "Gone"}))
    async with asyncio.timeout(10):
        while not written(town):
            await asyncio.sleep(0.01)

    caller.cancel()

    async with asyncio.timeout(10):
        while await ids_found(town, "gone") != [GABRIEL]:
            await asyncio.sleep(0.05)


async def test_a_change_that_fails_after_its_caller_has_left_is_no_exception_that_nobody_caught(
    town: Gateway,
) -> None:
    missed = list[object]()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: missed.append(context))
    town.mercately.trouble("delay", path="PUT ", seconds=0.3)
    town.mercately.trouble("html", path="PUT ")
    caller = asyncio.create_task(town.ask(UPDATE, id=GABRIEL, input={"lastName": "Gone"}))
    async with asyncio.timeout(10):
        while not written(town):
            await asyncio.sleep(0.01)
    caller.cancel()
    async with asyncio.timeout(10):
        while changes._under_way:  # to wait for them would be to look at how they end
            await asyncio.sleep(0.01)
    gc.collect()

    assert missed == []


async def test_what_was_taken_though_the_connection_broke_is_in_doubt_and_shown(town: Gateway) -> None:
    town.mercately.trouble("drop", path="PUT ")

    error = await town.error(UPDATE, id=GABRIEL, input={"lastName": "Doubtful"})

    assert error["extensions"]["outcome"] == "UNKNOWN"
    assert len(written(town)) == 1
    assert await ids_found(town, "doubtful") == [GABRIEL]


# Refusals

LONG = "x" * 51
REFUSED: dict[str, tuple[str, dict[str, Any], set[str]]] = {
    "saved with everything wrong": (
        SAVE,
        {
            "input": {
                "messengerId": "58918 EJS",
                "lastName": LONG,
                "gender": "MALE",
                "firstName": "a\u0000b",
                "phone": "call me",
                "email": "awa@",
            }
        },
        {"input.messengerId", "input.lastName", "input.firstName", "input.phone", "input.email"},
    ),
    "saved without a name": (
        SAVE,
        {"input": {"messengerId": "", "lastName": " ", "gender": "FEMALE"}},
        {"input.messengerId", "input.lastName"},
    ),
    "created with everything wrong": (
        CREATE,
        {
            "input": {
                "firstName": "",
                "lastName": "x" * 256,
                "email": "no@no",
                "phone": "1",
                "notes": "\u001b[31m",
                "address": {"zipCode": "\u0007"},
                "agentId": "nobody",
                "tags": ["", "x" * 256],
            }
        },
        {
            "input.firstName",
            "input.lastName",
            "input.email",
            "input.phone",
            "input.notes",
            "input.address.zipCode",
            "input.agentId",
            "input.tags.0",
            "input.tags.1",
        },
    ),
    "created without a way to reach them": (
        CREATE,
        {"input": {"firstName": "A", "lastName": "B"}},
        {"input.email"},
    ),
    "created with too many tags": (
        CREATE,
        {"input": {"firstName": "A", "lastName": "B", "email": "a@b.ec", "tags": ["t"] * 51}},
        {"input.tags"},
    ),
    "updated with nothing": (UPDATE, {"id": AWA, "input": {}}, {"input"}),
    "updated by an id of another type": (
        UPDATE,
        {"id": to_id("Agent", 2763), "input": {"firstName": "A"}},
        {"id"},
    ),
    "updated with everything wrong": (
        UPDATE,
        {
            "id": AWA,
            "input": {
                "firstName": None,
                "lastName": LONG,
                "email": "@",
                "phone": "999",
                "agentId": None,
                "addTags": ["VIP"],
                "removeTags": ["VIP"],
            },
        },
        {"input.firstName", "input.email", "input.phone", "input.agentId", "input.removeTags.0"},
    ),
    "updated with a name too long for everyprint": (
        UPDATE,
        {"id": AWA, "input": {"lastName": LONG}},
        {"input.lastName"},
    ),
    "updated with what nobody who knows them keeps": (
        UPDATE,
        {
            "id": YAO,
            "input": {"notes": "A", "agentId": to_id("Agent", 2763), "addTags": ["VIP"], "firstName": "Y"},
        },
        {"input.notes", "input.agentId", "input.addTags.0"},
    ),
    "updated with a phone that Mercately would change": (
        UPDATE,
        {"id": GABRIEL, "input": {"phone": "+221770009999"}},
        {"input.phone"},
    ),
}


@pytest.mark.parametrize(("query", "variables", "fields"), REFUSED.values(), ids=REFUSED)
async def test_bad_input_is_refused_whole_before_anybody_is_asked(
    town: Gateway, query: str, variables: dict[str, Any], fields: set[str]
) -> None:
    error = await town.error(query, **variables)

    assert error["extensions"]["code"] == "BAD_USER_INPUT"
    assert set(error["extensions"]["fields"]) == fields
    assert asked_nothing(town)


async def test_an_unknown_agent_and_an_unknown_tag_are_refused_before_the_change(town: Gateway) -> None:
    unknown = {"agentId": to_id("Agent", 1), "addTags": ["VIP", "vip"], "removeTags": ["Nada"]}
    fields = {"input.agentId", "input.addTags.1", "input.removeTags.0"}
    new = {"firstName": "A", "lastName": "B", "email": "a@b.ec", "agentId": to_id("Agent", 1), "tags": ["?"]}

    updated = await town.error(UPDATE, id=AWA, input=unknown)
    created = await town.error(CREATE, input=new)

    assert set(updated["extensions"]["fields"]) == fields
    assert set(created["extensions"]["fields"]) == {"input.agentId", "input.tags.0"}
    assert written(town) == []


async def test_an_id_that_names_nobody_is_not_found(town: Gateway) -> None:
    for id in ("everyprint:1", "mercately:4880aaaaa1", "poster:99999", "mercately-row:1"):
        error = await town.error(UPDATE, id=to_id("Customer", id), input={"firstName": "A"})
        assert error["extensions"] == {"code": "NOT_FOUND", "fields": {"id": "There is no such customer."}}
    assert written(town) == []


TAKEN = {
    "a phone": ({"phone": "+22890009103"}, "phone"),
    "a phone that is spelled otherwise there": ({"phone": "+593990009111"}, "phone"),
    "an e-mail": ({"email": "gabriel.intriago@example.com"}, "email"),
}


@pytest.mark.parametrize(("said", "field"), TAKEN.values(), ids=TAKEN)
async def test_what_somebody_else_has_at_mercately_is_a_conflict(
    town: Gateway, said: dict[str, str], field: str
) -> None:
    error = await town.error(CREATE, input={"firstName": "A", "lastName": "B", **said})

    assert error["extensions"]["code"] == "CONFLICT"
    assert error["extensions"]["fields"] == {
        f"input.{field}": "Mercately has this already, for somebody or something else."
    }


SAID = {
    "Email invalido": ("BAD_USER_INPUT", ["input.email"]),
    "First name no puede estar vacío": ("BAD_USER_INPUT", ["input.firstName"]),
    "Numero o email deben estar presentes.": ("BAD_USER_INPUT", ["input.phone", "input.email"]),
    "Ya tienes un cliente registrado con este número de teléfono.": ("CONFLICT", ["input.phone"]),
    "Something that they say since today": ("BAD_USER_INPUT", ["input"]),
}


@pytest.mark.parametrize(
    ("said", "code", "fields"), [(said, *means) for said, means in SAID.items()], ids=SAID
)
async def test_what_mercately_answers_with_302_names_the_field(
    town: Gateway, said: str, code: str, fields: list[str]
) -> None:
    town.mercately.trouble("redirect_errors", path="PUT ", errors=[said])

    error = await town.error(UPDATE, id=GABRIEL, input={"firstName": "G"})

    assert error["extensions"]["code"] == code
    assert list(error["extensions"]["fields"]) == fields


# A source is down

DOWN = {
    "created": (CREATE, {"input": {"firstName": "A", "lastName": "B", "email": "a@b.ec"}}),
    "updated": (UPDATE, {"id": GABRIEL, "input": {"firstName": "G"}}),
}


@pytest.mark.parametrize(("query", "variables"), DOWN.values(), ids=DOWN)
@pytest.mark.parametrize(
    ("trouble", "code", "unknown"),
    [
        ({"kind": "status", "status": 500}, "SOURCE_UNAVAILABLE", True),
        ({"kind": "status", "status": 401}, "SOURCE_MISCONFIGURED", False),
        ({"kind": "status", "status": 429}, "SOURCE_UNAVAILABLE", False),
        ({"kind": "html"}, "SOURCE_MALFORMED", True),
        ({"kind": "delay", "seconds": 2}, "SOURCE_TIMEOUT", True),
    ],
)
async def test_a_change_that_mercately_does_not_confirm_is_an_error_that_says_whether_it_may_be_made(
    town: Gateway, query: str, variables: dict[str, Any], trouble: dict[str, Any], code: str, unknown: bool
) -> None:
    town.mercately.trouble(**trouble)

    error = await town.error(query, **variables)

    assert error["extensions"]["code"] == code
    assert (error["extensions"].get("outcome") == "UNKNOWN") is unknown


async def test_a_change_at_a_source_that_is_not_there_was_certainly_not_made(town: Gateway) -> None:
    await town.mercately.stop()

    error = await town.error(CREATE, input={"firstName": "A", "lastName": "B", "email": "a@b.ec"})

    assert error["extensions"] == {"code": "SOURCE_UNAVAILABLE", "source": "MERCATELY"}


async def test_what_was_written_and_cannot_be_read_again_says_that_it_was_written(settings: Settings) -> None:
    nowhere = SecretStr("mysql+aiomysql://nobody@127.0.0.1:1/nothing")
    async with gateway_on(
        settings.model_copy(update={"database_url": nowhere, "auth": UseAuth.OPEN})
    ) as gateway:
        gateway.mercately.trouble("reset", path="GET ")

        error = await gateway.error(CREATE, input={"firstName": "A", "lastName": "B", "email": "a@b.ec"})

    assert error["message"].startswith("It was written, but cannot be shown now: ")
    assert error["extensions"]["outcome"] == "WRITTEN"
    assert len(written(gateway)) == 1


async def test_without_the_database_nobody_is_saved(settings: Settings) -> None:
    nowhere = SecretStr("mysql+aiomysql://nobody@127.0.0.1:1/nothing")
    async with gateway_on(
        settings.model_copy(update={"database_url": nowhere, "auth": UseAuth.OPEN})
    ) as gateway:
        error = await gateway.error(SAVE, input={"messengerId": "1", "lastName": "A", "gender": "MALE"})

    assert error["extensions"] == {"code": "SOURCE_UNAVAILABLE", "source": "EVERYPRINT"}


async def test_who_is_saved_while_the_vendors_are_down_is_saved(town: Gateway) -> None:
    town.mercately.trouble("reset")
    town.poster.trouble("reset")

    saved = await town.ask(
        SAVE, input={"messengerId": "2413659892012345", "lastName": "Ba", "gender": "FEMALE"}
    )

    assert saved["data"]["saveCustomer"]["lastName"] == "Ba"
    assert set(saved["extensions"]["sources"]) == {"MERCATELY", "POSTER"}
    assert await town.storage.directory.entries([Key("everyprint", "2413659892012345")])
