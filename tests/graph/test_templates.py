"""Templates, asked for through the graph."""

import pytest

from resolvers.ids import to_id
from schema.templates import count_blanks, fill_blanks
from tests.gateways import Gateway

OTP = to_id("Template", "997dd550-c8d8-4bf7-ad98-a5ac4844a1ed")
PREVIEW = """query ($id: ID!, $parameters: [String!]!) {
  template(id: $id) { preview(parameters: $parameters) }
}"""


async def test_templates_come_with_everything_mercately_says(gateway: Gateway) -> None:
    data = await gateway.data("{ templates { id text status type parameterCount } }")

    assert len(data["templates"]) == 30
    assert {
        "id": OTP,
        "text": "Your OTP for * is *. This is valid for *.",
        "status": "ACTIVE",
        "type": "TEXT",
        "parameterCount": 3,
    } in data["templates"]


@pytest.mark.parametrize("status", ["ACTIVE", "INACTIVE"])
async def test_templates_are_those_of_the_status_asked_for(gateway: Gateway, status: str) -> None:
    data = await gateway.data(
        "query ($status: TemplateStatus) { templates(status: $status) { status } }", status=status
    )

    assert {template["status"] for template in data["templates"]} == {status}


async def test_no_status_and_null_are_all_templates(gateway: Gateway) -> None:
    data = await gateway.data("{ a: templates { id } b: templates(status: null) { id } }")

    assert len(data["a"]) == len(data["b"]) == 30
    assert gateway.mercately.count("/whatsapp_templates") == 1


async def test_an_unknown_template_is_null(gateway: Gateway) -> None:
    data = await gateway.data(
        "query ($id: ID!) { template(id: $id) { id } }", id=to_id("Template", "no-such-template")
    )

    assert data == {"template": None}


async def test_a_preview_reads_as_the_customer_would_read_it(gateway: Gateway) -> None:
    data = await gateway.data(PREVIEW, id=OTP, parameters=["login", "4711", "5 minutes"])

    assert data["template"]["preview"] == "Your OTP for login is 4711. This is valid for 5 minutes."


@pytest.mark.parametrize("given", [[], ["a"], ["a", "b", "c", "d"]])
async def test_a_preview_with_the_wrong_count_says_how_many_it_takes(
    gateway: Gateway, given: list[str]
) -> None:
    answer = await gateway.ask(PREVIEW, id=OTP, parameters=given)

    (error,) = answer["errors"]
    assert error["extensions"]["code"] == "BAD_USER_INPUT"
    assert error["extensions"]["fields"] == {
        "parameters": f"This template takes 3 parameters, {len(given)} given."
    }
    assert error["path"] == ["template", "preview"]


async def test_a_status_and_a_type_of_tomorrow_survive(gateway: Gateway) -> None:
    carousel = {"text": "Hi", "status": "paused", "template_type": "carousel", "internal_id": "1"}
    gateway.mercately.trouble("wrong_shape", path="/whatsapp_templates", body={"templates": [carousel]})

    data = await gateway.data("{ templates { status type } }")

    assert data == {"templates": [{"status": "UNKNOWN", "type": "UNKNOWN"}]}


@pytest.mark.parametrize(
    ("text", "parameters", "reads"),
    [
        ("Hello", [], "Hello"),
        ("Hi *.", ["Ana"], "Hi Ana."),
        ("* at the start", ["Star"], "Star at the start"),
        ("**", ["a", "b"], "ab"),
        (r"\*bold\* for *", ["you"], "*bold* for you"),
        (r"* costs \*", ["*"], "* costs *"),
        (r"* and *", [r"\*", "*"], r"\* and *"),
        ("line one\nline * 🎉", ["dos"], "line one\nline dos 🎉"),
        ("", [], ""),
        ("\\", [], "\\"),
    ],
)
def test_every_star_is_a_blank_but_an_escaped_one(text: str, parameters: list[str], reads: str) -> None:
    assert count_blanks(text) == len(parameters)
    assert fill_blanks(text, parameters) == reads
