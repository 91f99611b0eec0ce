"""Sources in trouble: a code at the field's path, and the rest of the answer."""

from typing import Any

import pytest
from pydantic import SecretStr

from adapters.lines import Line
from adapters.mercately.client import MercatelySettings
from adapters.poster.client import PosterSettings
from adapters.rest import Mode
from gateway.settings import Settings
from tests.gateways import Gateway, gateway_on

TROUBLES: list[tuple[str, dict[str, Any], str, str]] = [
    ("delay", {"seconds": 5}, "SOURCE_TIMEOUT", "Mercately did not answer in time."),
    ("status", {"status": 500}, "SOURCE_UNAVAILABLE", "Mercately failed to answer: try again later."),
    (
        "status",
        {"status": 429},
        "SOURCE_UNAVAILABLE",
        "Mercately asks us to slow down: try again in a moment.",
    ),
    ("reset", {}, "SOURCE_UNAVAILABLE", "Mercately cannot be reached: try again later."),
    ("short", {}, "SOURCE_UNAVAILABLE", "Mercately broke off its answer: try again later."),
    ("redirect_errors", {"errors": ["No"]}, "SOURCE_REJECTED", "Mercately refused the request."),
    ("status", {"status": 422}, "SOURCE_REJECTED", "Mercately refused the request."),
    ("html", {}, "SOURCE_MALFORMED", "Mercately answered something we cannot read."),
    ("truncated", {}, "SOURCE_MALFORMED", "Mercately answered something we cannot read."),
    ("wrong_shape", {}, "SOURCE_MALFORMED", "Mercately answered something we cannot read."),
    (
        "status",
        {"status": 401, "body": {"message": "Unauthorized"}},
        "SOURCE_MISCONFIGURED",
        "Mercately refuses our credentials: `switchboard doctor` says what to set.",
    ),
]


@pytest.mark.parametrize(("kind", "details", "code", "message"), TROUBLES, ids=lambda it: str(it)[:30])
async def test_trouble_with_agents_is_an_error_there_and_templates_still_arrive(
    gateway: Gateway, kind: Any, details: dict[str, Any], code: str, message: str
) -> None:
    gateway.mercately.trouble(kind, path="/agents", **details)

    answer = await gateway.ask("{ agents { id } templates { id } }")

    assert answer["data"]["agents"] is None
    assert len(answer["data"]["templates"]) == 30
    (error,) = answer["errors"]
    assert (error["path"], error["message"]) == (["agents"], message)
    assert error["extensions"]["code"] == code
    assert error["extensions"]["source"] == "MERCATELY"


async def test_a_refusal_carries_what_the_vendor_said_without_personal_data(gateway: Gateway) -> None:
    said = "El email ana@example.com y el +593 99 999 9999 ya existen"
    gateway.mercately.trouble("redirect_errors", path="/agents", errors=[said])

    error = await gateway.error("{ agents { id } }")

    assert error["extensions"]["vendorCode"] == "302"
    assert error["extensions"]["vendorMessage"] == "El email … y el … ya existen"


async def test_the_source_is_asked_again_once_it_is_well(gateway: Gateway) -> None:
    gateway.mercately.trouble("status", path="/agents", times=1)
    await gateway.error("{ agents { id } }")

    assert len((await gateway.data("{ agents { id } }"))["agents"]) == 40


async def test_an_operation_waits_no_longer_than_its_time(settings: Settings) -> None:
    impatient = settings.model_copy(update={"timeout": 0.2})
    async with gateway_on(impatient, timeout=4) as gateway:
        gateway.mercately.trouble("delay", seconds=5)
        error = await gateway.error("{ agents { id } }")

    assert error["extensions"]["code"] == "SOURCE_TIMEOUT"
    assert error["message"] == "Mercately did not answer within this request's time."


async def test_with_no_source_reachable_the_gateway_starts_and_says_so_at_each_field(
    settings: Settings,
) -> None:
    nobody = "http://127.0.0.1:9"
    lines = {
        "mercately": Line(Mode.REAL, MercatelySettings(url=nobody, slug="a", api_key=SecretStr("b"))),
        "poster": Line(Mode.REAL, PosterSettings(url=nobody, token=SecretStr("a"))),
    }
    async with gateway_on(settings, lines=lines) as gateway:
        answer = await gateway.ask("{ agents { id } templates { id } groups { id } __typename }")

    assert answer["data"] == {"agents": None, "templates": None, "groups": None, "__typename": "Query"}
    assert sorted(error["path"] for error in answer["errors"]) == [["agents"], ["groups"], ["templates"]]
    assert {error["extensions"]["code"] for error in answer["errors"]} == {"SOURCE_UNAVAILABLE"}


async def test_a_source_that_is_off_says_how_to_connect_it(settings: Settings) -> None:
    off = {"mercately": Line(Mode.OFF, MercatelySettings())}
    async with gateway_on(settings, lines=off) as gateway:
        error = await gateway.error("{ agents { id } }")

    assert error["extensions"] == {"code": "SOURCE_MISCONFIGURED", "source": "MERCATELY"}
    assert error["message"] == "Mercately is not connected: `switchboard doctor` says what to set."
