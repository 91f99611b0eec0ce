"""Money: what is added to a balance or taken from it -> what the ledger and the graph say next."""

import asyncio
from typing import Any

import pytest
from pydantic import SecretStr

from gateway.settings import Settings, UseAuth
from resolvers.ids import to_id
from tests.gateways import Gateway, gateway_on

AWA = "everyprint:2413659892012345"
ADJUST = """mutation ($input: AdjustBalanceInput!) {
  adjustBalance(input: $input) {
    amount currency entries(first: 2) { totalCount edges { node { amount reason } } }
  }
}"""
READ = """query ($id: ID!) { customer(by: {id: $id}) {
  balance { amount currency entries(first: 2) { totalCount edges { node { amount reason } } } }
} }"""


TOO_SMALL = "The balance is smaller than that: nothing was taken."


def input_of(id: str = AWA, key: str = "k", **said: Any) -> dict[str, Any]:
    whole = {
        "customerId": to_id("Customer", id),
        "amount": "500",
        "reason": "Goodwill",
        "idempotencyKey": key,
    }
    return whole | said


async def adjust(gateway: Gateway, **said: Any) -> Any:
    return (await gateway.data(ADJUST, input=input_of(**said)))["adjustBalance"]


async def balance(gateway: Gateway, id: str = AWA) -> Any:
    return (await gateway.data(READ, id=to_id("Customer", id)))["customer"]["balance"]


async def test_what_is_added_and_taken_is_a_line_of_the_ledger_each_and_asks_no_vendor(town: Gateway) -> None:
    added = await adjust(town, amount="500.25")
    taken = await adjust(town, amount="-50000.25", reason=" Order 1100 ", key="other")
    nobody_was_asked = not (town.mercately.asked or town.poster.asked)

    assert nobody_was_asked
    assert (added["amount"], added["currency"]) == ("50000.25", "XOF")
    assert taken["amount"] == "0"
    assert taken["entries"] == {
        "totalCount": 7,
        "edges": [
            {"node": {"amount": "-50000.25", "reason": "Order 1100"}},
            {"node": {"amount": "500.25", "reason": "Goodwill"}},
        ],
    }
    assert await balance(town) == taken


@pytest.mark.parametrize("id", ["mercately:4880pbiig3874", "poster:1", "mercately-row:3874"])
async def test_any_id_of_the_person_leads_to_the_one_balance(town: Gateway, id: str) -> None:
    town.mercately.trouble("reset")
    town.poster.trouble("reset")

    assert (await adjust(town, id=id))["amount"] == "50000"
    assert (await adjust(town))["amount"] == "50000", "the same key for the same customer, by another id"


async def test_a_key_answers_its_first_result_and_nothing_else(town: Gateway) -> None:
    first = await adjust(town, amount="10.5")
    await adjust(town, amount="1", key="later")

    again = await adjust(town, amount="10.500")
    assert (again["amount"], first["amount"]) == ("49510.5", "49510.5")
    assert (await balance(town))["amount"] == "49511.5"
    assert (await adjust(town, amount="10", key="K"))["amount"] == "49521.5", "another key"
    for other in ({"amount": "10"}, {"amount": "10.5", "reason": "x"}, {"id": "everyprint:2425071184469731"}):
        error = await town.error(ADJUST, input=input_of(**({"amount": "10.5"} | other)))
        assert error["extensions"] == {
            "code": "CONFLICT",
            "fields": {"input.idempotencyKey": "This key was used for something else."},
        }
    assert (await balance(town))["entries"]["totalCount"] == 8


async def test_fifty_requests_at_once_with_one_key_count_once(town: Gateway) -> None:
    answers = await asyncio.gather(*(adjust(town, key="twin") for _ in range(50)))

    assert {answer["amount"] for answer in answers} == {"50000"}
    assert (await balance(town))["entries"]["totalCount"] == 6


async def test_of_two_inputs_with_one_key_at_once_one_counts(town: Gateway) -> None:
    inputs = [input_of(amount=amount, key="rivals") for amount in ("1", "2") for _ in range(25)]
    answers = await asyncio.gather(*(town.ask(ADJUST, input=input) for input in inputs))

    codes = [answer["errors"][0]["extensions"]["code"] for answer in answers if "errors" in answer]
    amounts = {answer["data"]["adjustBalance"]["amount"] for answer in answers if "errors" not in answer}
    assert codes == ["CONFLICT"] * 25
    assert len(amounts) == 1
    assert amounts == {(await balance(town))["amount"]}
    assert (await balance(town))["entries"]["totalCount"] == 6


async def test_fifty_at_once_take_what_there_is_and_no_more(town: Gateway) -> None:
    inputs = [input_of(amount="-1000", key=str(n)) for n in range(50)]
    answers = await asyncio.gather(*(town.ask(ADJUST, input=input) for input in inputs))

    refused = [answer["errors"][0]["extensions"] for answer in answers if "errors" in answer]
    assert refused == [{"code": "CONFLICT", "fields": {"input.amount": TOO_SMALL}, "balance": "500"}]
    assert (await balance(town))["amount"] == "500"


REFUSED: dict[str, tuple[dict[str, Any], str, set[str]]] = {
    "everything wrong": (
        {"customerId": "?", "amount": "0", "reason": " ", "idempotencyKey": ""},
        "BAD_USER_INPUT",
        {"input.customerId", "input.amount", "input.reason", "input.idempotencyKey"},
    ),
    "too exact": (input_of(amount="0.0000001"), "BAD_USER_INPUT", {"input.amount"}),
    "too much": (input_of(amount="1e20"), "BAD_USER_INPUT", {"input.amount"}),
    "more than fits": (input_of(amount="99999999999999999999.999999"), "BAD_USER_INPUT", {"input.amount"}),
    "too long": (
        input_of(reason="r" * 256, key="k" * 256),
        "BAD_USER_INPUT",
        {"input.reason", "input.idempotencyKey"},
    ),
    "control characters": (
        input_of(reason="a\u0000", key="\u001b"),
        "BAD_USER_INPUT",
        {"input.reason", "input.idempotencyKey"},
    ),
    "a key with a blank behind it": (input_of(key="k "), "BAD_USER_INPUT", {"input.idempotencyKey"}),
    "a customer without a balance": (
        input_of(id="mercately:4880mylqi3881"),
        "BAD_USER_INPUT",
        {"input.customerId"},
    ),
    "nobody": (input_of(id="everyprint:1"), "NOT_FOUND", {"input.customerId"}),
    "nobody, but for a blank behind it": (input_of(id=f"{AWA} "), "NOT_FOUND", {"input.customerId"}),
    "more than there is": (input_of(amount="-49500.000001"), "CONFLICT", {"input.amount"}),
}


@pytest.mark.parametrize(("input", "code", "fields"), REFUSED.values(), ids=REFUSED)
async def test_what_is_refused_names_the_fields_asks_nobody_and_leaves_the_balance_alone(
    town: Gateway, input: dict[str, Any], code: str, fields: set[str]
) -> None:
    error = await town.error(ADJUST, input=input)

    assert error["extensions"]["code"] == code
    assert set(error["extensions"]["fields"]) == fields
    assert [*town.mercately.asked, *town.poster.asked] == []
    assert (await balance(town))["amount"] == "49500"


async def test_without_the_database_nothing_is_said_to_be_done(settings: Settings) -> None:
    nowhere = SecretStr("mysql+aiomysql://nobody@127.0.0.1:1/nothing")
    async with gateway_on(
        settings.model_copy(update={"database_url": nowhere, "auth": UseAuth.OPEN})
    ) as gateway:
        error = await gateway.error(ADJUST, input=input_of())

    assert error["extensions"] == {"code": "SOURCE_UNAVAILABLE", "source": "EVERYPRINT"}
