"""Decimals: exact as they are sent, plain as they are answered; what is none, or not sure, is refused."""

from decimal import Decimal
from itertools import count
from typing import Any

import orjson
import strawberry
from hypothesis import strategies as st

from gateway.graph import Graph
from gateway.settings import Settings
from resolvers.ids import to_id
from tests.gateways import Gateway, gateway_on
from tests.properties import holds_for_any


@strawberry.type(name="Query")
class Echo:
    @strawberry.field
    def echo(self, value: Decimal) -> Decimal:
        return value


LITERALS = {
    "0.1": "0.1",
    '"0.1"': "0.1",
    "7": "7",
    "-12.50": "-12.50",
    "1E-6": "0.000001",
    "1e3": "1000",
    '"1E+3"': "1000",
    '"+5."': "5",
    '".5"': "0.5",
    "0.1000000000000000055511151231257827": "0.1000000000000000055511151231257827",
    "99999999999999999999.999999": "99999999999999999999.999999",
}
VARIABLES = {
    '"0.000001"': "0.000001",
    '"-99999999999999999999.999999"': "-99999999999999999999.999999",
    '"1e-6"': "0.000001",
    "5": "5",
    "18446744073709551615": "18446744073709551615",
    "0.1": "0.1",
    "-1.50": "-1.5",
    "1e-7": "0.0000001",
    "123456789012.345": "123456789012.345",
}
NOT_EXACT = [  # as JSON is read, these have lost digits, or may have
    "0.30000000000000004",
    "1234567890123.4567",
    "19999999999999999999",
    "1e20",
]
NO_NUMBERS = [
    *("true", "[1]", "{}", '""', '" 1"', '"1 "', '"1\\n"', '"1,5"', '"."', '"0x10"'),
    *('"NaN"', '"sNaN"', '"Infinity"', '"-Infinity"', '"1_000"', '"١"', '"１"', '"1e"', '"one"'),
    *("1e300", "1e-300", '"1e999999999"', '"-1e-999999999"', f'"{"9" * 65}"', f'"{"9" * 100_000}"'),
]
NO_NUMBERS_IN_A_DOCUMENT = [*NO_NUMBERS, "ONE", "{a: 1}", "1e999999999", "-1e-999999999", "9" * 65]


async def echoed(gateway: Gateway, query: str, variable: str = "null") -> Any:
    """What comes back, or the error's code; the variable is written as JSON."""
    body = b'{"query": %b, "variables": {"value": %b}}' % (orjson.dumps(query), variable.encode())
    headers = {"Content-Type": "application/json"}
    async with gateway.session.post(f"{gateway.url}/graphql", data=body, headers=headers) as response:
        answer = await response.json(content_type=None)
    if "errors" not in answer:
        return answer["data"]["echo"]
    (error,) = answer["errors"]
    assert len(error["message"]) < 200, "a huge value is not repeated"
    return error["extensions"]["code"]


async def test_a_decimal_is_what_was_sent_to_the_last_digit_or_an_error(settings: Settings) -> None:
    variable = "query ($value: Decimal!) { echo(value: $value) }"
    async with gateway_on(settings, graph=Graph(query=Echo)) as gateway:
        literals = {text: await echoed(gateway, f"{{ echo(value: {text}) }}") for text in LITERALS}
        variables = {text: await echoed(gateway, variable, text) for text in VARIABLES}
        refused = {text: await echoed(gateway, variable, text) for text in [*NOT_EXACT, *NO_NUMBERS]}
        refused_literals = {
            text: await echoed(gateway, f"{{ echo(value: {text}) }}") for text in NO_NUMBERS_IN_A_DOCUMENT
        }

    assert literals == LITERALS
    assert variables == VARIABLES
    assert set(refused.values()) == set(refused_literals.values()) == {"BAD_USER_INPUT"}


ADJUST = """mutation ($id: ID!, $amount: Decimal!, $key: String!) {
  adjustBalance(input: {customerId: $id, amount: $amount, reason: "x", idempotencyKey: $key}) { amount }
}"""
TAKE_BACK = """mutation ($id: ID!, $key: String!) {
  adjustBalance(input: {customerId: $id, amount: %s, reason: "x", idempotencyKey: $key}) {
    amount entries { edges { node { amount } } }
  }
}"""


async def test_any_amount_we_keep_goes_in_as_text_and_as_literal_and_comes_back_the_same(
    town: Gateway,
) -> None:
    numbers = count()

    async def comes_back(drawn: tuple[Decimal, str]) -> None:
        amount, spelling = drawn
        number, plain = next(numbers), format(amount, "f")
        customer = (await town.storage.everyprint.save_customer(f"n{number}", "x")).messenger_id
        id, spelled = to_id("Customer", f"everyprint:{customer}"), format(amount, spelling)

        paid = await town.data(ADJUST, id=id, amount=spelled, key=f"in {number}")
        taken = await town.data(TAKE_BACK % f"-{spelled}", id=id, key=f"out {number}")

        assert paid["adjustBalance"] == {"amount": plain}
        assert taken["adjustBalance"] == {
            "amount": "0",
            "entries": {"edges": [{"node": {"amount": f"-{plain}"}}, {"node": {"amount": plain}}]},
        }

    amounts = st.integers(1, 10**26 - 1).map(lambda millionths: Decimal(millionths).scaleb(-6))
    plain_amounts = amounts.map(lambda amount: Decimal(format(amount, "f").rstrip("0").rstrip(".")))
    await holds_for_any(st.tuples(plain_amounts, st.sampled_from("feE")), comes_back, examples=15)
