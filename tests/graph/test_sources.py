"""Sources: how each is doing, told without asking any of them."""

from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import SecretStr

from adapters.lines import Line
from adapters.mercately.client import MercatelySettings
from adapters.poster.client import PosterSettings
from adapters.rest import Mode
from gateway.settings import Settings, load
from tests.gateways import Gateway, gateway_on
from tests.services import Mariadb

SOURCES = """{ sources {
    source configured sandbox state circuit requests errors p50Ms p95Ms lastError lastErrorAt
} }"""


async def status(gateway: Gateway, source: str) -> dict[str, Any]:
    (found,) = [one for one in (await gateway.data(SOURCES))["sources"] if one["source"] == source]
    status: dict[str, Any] = found
    return status


async def test_each_source_of_this_version_is_there_and_none_is_asked(gateway: Gateway) -> None:
    asked = len(gateway.mercately.asked), len(gateway.poster.asked)
    answer = await gateway.data("{ sources { source configured sandbox state circuit errors lastError } }")

    well = {
        "configured": True,
        "sandbox": False,
        "state": "UP",
        "circuit": "CLOSED",
        "errors": 0,
        "lastError": None,
    }
    assert answer["sources"] == [
        {"source": source, **well} for source in ("EVERYPRINT", "MERCATELY", "POSTER", "HYBER", "CHATFUEL")
    ]
    assert (len(gateway.mercately.asked), len(gateway.poster.asked)) == asked


async def test_a_sandbox_and_a_source_that_is_off_say_so(settings: Settings) -> None:
    lines = {
        "mercately": Line(Mode.SANDBOX, MercatelySettings()),
        "poster": Line(Mode.OFF, PosterSettings()),
    }
    async with gateway_on(settings, lines=lines) as gateway:
        await gateway.error("{ groups(source: POSTER) { id } }")
        answer = await gateway.data("{ sources { source configured sandbox state requests lastError } }")

    _, mercately, poster, *_ = answer["sources"]
    assert (mercately["configured"], mercately["sandbox"]) == (False, True)
    assert poster == {
        "source": "POSTER",
        "configured": False,
        "sandbox": False,
        "state": "OFF",
        "requests": 0,
        "lastError": None,
    }


async def test_calls_and_how_long_they_take_are_told(gateway: Gateway) -> None:
    before = await status(gateway, "POSTER")
    gateway.poster.trouble("delay", path="/clients.getGroups", seconds=0.2)
    for _ in range(3):
        await gateway.data("{ groups { id } }")

    after = await status(gateway, "POSTER")
    assert after["requests"] >= before["requests"] + 3
    assert after["errors"] == before["errors"]
    assert 200 <= after["p95Ms"] < 1500


async def test_a_source_in_trouble_is_down_then_degraded_with_a_sentence_and_its_time(
    gateway: Gateway,
) -> None:
    gateway.mercately.trouble("status", status=500, body={"message": "ana@example.com, +593 99 999 9999"})
    for _ in range(3):
        await gateway.error("{ agents { id } }")
    down = await status(gateway, "MERCATELY")

    assert down["state"] == "DOWN"
    assert down["errors"] >= 3
    assert down["lastError"] == "Mercately failed to answer: try again later."
    at = datetime.fromisoformat(down["lastErrorAt"])
    assert at.utcoffset() == timedelta()
    assert datetime.now(UTC) - at < timedelta(seconds=10)
    assert (await status(gateway, "POSTER"))["state"] == "UP"

    gateway.mercately.heal()
    await gateway.data("{ agents { id } }")
    healed = await status(gateway, "MERCATELY")
    assert (healed["state"], healed["lastError"]) == ("DEGRADED", down["lastError"])


async def test_a_vendor_that_says_no_is_up(gateway: Gateway) -> None:
    gateway.mercately.trouble("redirect_errors", path="/agents", errors=["ana@example.com ya existe"])
    for _ in range(3):
        await gateway.error("{ agents { id } }")

    mercately = await status(gateway, "MERCATELY")
    assert (mercately["state"], mercately["lastError"]) == ("UP", None)


async def test_an_operation_that_ran_out_of_time_was_failed_by_its_source(settings: Settings) -> None:
    impatient = settings.model_copy(update={"timeout": 0.2})
    async with gateway_on(impatient, timeout=4) as gateway:
        gateway.mercately.trouble("delay", seconds=5)
        await gateway.error("{ agents { id } }")
        mercately = await status(gateway, "MERCATELY")

    assert (mercately["state"], mercately["lastError"]) == ("DOWN", "Mercately did not answer in time.")


async def test_how_they_are_is_answered_when_nothing_is_reachable(
    mariadb_server: Mariadb, our_mariadb_url: str
) -> None:
    settings = load(database_url=our_mariadb_url)
    nobody = "http://127.0.0.1:9"
    lines = {
        "mercately": Line(Mode.REAL, MercatelySettings(url=nobody, slug="a", api_key=SecretStr("b"))),
        "poster": Line(Mode.REAL, PosterSettings(url=nobody, token=SecretStr("a"))),
    }
    async with gateway_on(settings, lines=lines) as gateway:
        mariadb_server.stop()
        for _ in range(3):
            await gateway.ask("{ agents { id } groups { id } }")
            async with gateway.session.get(f"{gateway.url}/health/ready") as ready:
                assert ready.status == 503
        down = await gateway.data("{ sources { source state lastError } }")

        mariadb_server.start()
        async with gateway.session.get(f"{gateway.url}/health/ready") as ready:
            assert ready.status == 200
        everyprint = await status(gateway, "EVERYPRINT")

    # Nobody has asked the others.
    assert down["sources"][:3] == [
        {"source": source, "state": "DOWN", "lastError": f"{title} cannot be reached: try again later."}
        for source, title in [
            ("EVERYPRINT", "The database"),
            ("MERCATELY", "Mercately"),
            ("POSTER", "Poster"),
        ]
    ]
    assert everyprint["state"] == "DEGRADED"
