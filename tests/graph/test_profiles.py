"""Mutations of a customer's profile: query -> answer -> what the sources and the graph say next."""

from tests.gateways import Gateway

SAVE = """mutation ($input: SaveCustomerInput!) {
  saveCustomer(input: $input) { id sources messengerId lastName gender balance { amount } }
}"""


async def test_a_saved_customer_is_answered_with_a_balance_of_nothing(town: Gateway) -> None:
    input = {"messengerId": "58918EJS", "lastName": "lil kim", "gender": "MALE"}

    answer = await town.data(SAVE, input=input)

    assert answer["saveCustomer"] == {
        "id": "Q3VzdG9tZXI6ZXZlcnlwcmludDo1ODkxOEVKUw",
        "sources": ["EVERYPRINT"],
        "messengerId": "58918EJS",
        "lastName": "lil kim",
        "gender": "MALE",
        "balance": {"amount": "0"},
    }
