"""The emulated Hyber: what it takes, what becomes of it by its number, and whom it tells."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientError, ClientSession, encode_basic_auth, web

from adapters.hyber.sandbox import (
    EXPIRES,
    FAILS,
    ONLY_SMS,
    REFUSED,
    SEES,
    SILENT,
    TRIES,
    HyberSandbox,
)

SEED = json.loads((Path(__file__).parents[1] / "seeds" / "hyber.json").read_text(encoding="utf-8"))
SHAPES = [name for name in SEED if name not in ("accepted", "refused")]
CREDENTIALS = HyberSandbox.credentials
RIGHT = encode_basic_auth(CREDENTIALS["login"], CREDENTIALS["password"])
NOT_FOUND = {"error_code": 36004, "error_text": "Message not found"}


class Api:
    """A plain client that is let in."""

    def __init__(self, sandbox: HyberSandbox, session: ClientSession) -> None:
        self.sandbox = sandbox
        self.session = session

    async def ask(self, method: str, path: str, **request: Any) -> tuple[int, Any]:
        async with self.session.request(method, f"/{CREDENTIALS['client_id']}{path}", **request) as response:
            return response.status, await response.json()

    async def send(self, ending: str = "1111", shape: str = "sms", **changes: Any) -> str:
        body = {**SEED[shape], "phone_number": int(f"38096111{ending}"), **changes}
        status, answer = await self.ask("POST", "", json=body)
        assert (status, list(answer)) == (200, ["message_id"])
        message_id: str = answer["message_id"]
        return message_id

    async def refuses(self, body: Any, path: str = "") -> Any:
        status, answer = await self.ask("POST", path, json=body)
        assert (status, list(answer)) == (self.sandbox.error_status, ["error_code", "error_text"])
        assert self.sandbox.accepted == []
        return answer

    async def report(self, message_id: str) -> Any:
        return (await self.ask("GET", f"/api/dr/{message_id}/simple"))[1]

    async def ending(self, *sent: Any, **changes: Any) -> tuple[Any, ...]:
        """How it ended: channel, status, substatus, hyber_status."""
        message_id = await self.send(*sent, **changes)
        await self.sandbox.settled()
        report = await self.report(message_id)
        return report["last_partner"], report["status"], report["substatus"], report["hyber_status"]


@asynccontextmanager
async def opened(**settings: Any) -> AsyncIterator[Api]:
    at_once = {"moment": 0, "seconds_per_ttl_second": 0, **settings}
    headers = {"Authorization": RIGHT}
    async with HyberSandbox(**at_once) as sandbox, ClientSession(sandbox.url, headers=headers) as session:
        yield Api(sandbox, session)


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with opened() as opened_api:
        yield opened_api


class Ear:
    """A callback that hears reports, and answers them what it is told to."""

    def __init__(self) -> None:
        self.url = ""
        self.heard: list[Any] = []
        self.answers: list[int] = []

    async def hear(self, request: web.Request) -> web.Response:
        self.heard.append(await request.json())
        return web.Response(status=self.answers.pop(0) if self.answers else 200)

    def codes(self) -> list[int]:
        return [report["hyber_status"] for report in self.heard]


@pytest.fixture
async def ear() -> AsyncIterator[Ear]:
    ear, app = Ear(), web.Application()
    app.add_routes([web.post("/reports", ear.hear)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    ear.url = f"{site.name}/reports"
    yield ear
    await runner.cleanup()


# What it takes


@pytest.mark.parametrize("shape", SHAPES)
async def test_each_documented_message_is_taken_and_remembered(api: Api, shape: str) -> None:
    message_id = await api.send(shape=shape, callback_url=None)
    async with api.session.get("/_sandbox/accepted") as response:
        (accepted,) = await response.json()

    assert accepted["message_id"] == message_id
    assert accepted["phone"] == "380961111111"
    for name in ("extra_id", "channels", "channel_options"):
        assert accepted[name] == SEED[shape][name]


async def test_what_is_sent_twice_is_taken_twice(api: Api) -> None:
    ids = [await api.send(callback_url=None) for _ in range(2)]

    assert [accepted.message_id for accepted in api.sandbox.accepted] == ids
    assert len(set(ids)) == 2
    found = await api.ask("GET", "/api/dr/external/AD-6640-7006/simple")
    assert found[1]["message_id"] == ids[1]


async def test_a_phone_may_be_text(api: Api) -> None:
    await api.send(phone_number="+380961111111", callback_url=None)

    assert api.sandbox.accepted[0].phone == "380961111111"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", ""),
        ("POST", "/batch/sync"),
        ("GET", "/api/dr/1/simple"),
        ("GET", "/api/dr/external/1/simple"),
    ],
)
async def test_nobody_is_let_in_without_credentials(api: Api, method: str, path: str) -> None:
    for client_id, authorization in (
        (CREDENTIALS["client_id"], ""),
        (CREDENTIALS["client_id"], encode_basic_auth(CREDENTIALS["login"], "wrong")),
        (CREDENTIALS["client_id"], encode_basic_auth("wrong", CREDENTIALS["password"])),
        ("1", RIGHT),
    ):
        headers = {"Authorization": authorization}
        async with (
            ClientSession(api.sandbox.url, headers=headers) as session,
            session.request(method, f"/{client_id}{path}", json=SEED["sms"]) as response,
        ):
            assert response.status == 401
            assert response.headers["WWW-Authenticate"].startswith("Basic ")

    assert api.sandbox.accepted == []


# What it refuses

MISSING = 36002
INCORRECT = 36003


@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize(
    "number", [int(f"38096111{REFUSED}"), 0, 123456, 1234567890123456, "no", -380961111111]
)
async def test_an_incorrect_number_is_refused_as_documented(status: int, number: object) -> None:
    async with opened(error_status=status) as api:
        assert await api.refuses({**SEED["sms"], "phone_number": number}) == SEED["refused"]


@pytest.mark.parametrize(
    ("shape", "path"),
    [
        *(("sms", name) for name in ("phone_number", "channels", "channel_options")),
        *(("push_viber_sms", f"channel_options.{channel}") for channel in ("push", "viber", "sms")),
        *(("push_viber_sms", f"channel_options.push.{name}") for name in ("text", "ttl", "title")),
        *(("push_viber_sms", f"channel_options.sms.{name}") for name in ("text", "ttl", "alpha_name")),
        *(("viber_template", f"channel_options.viber.{name}") for name in ("text", "ttl")),
        *(("whatsapp_template", f"channel_options.whatsapp.{name}") for name in ("text", "ttl")),
    ],
)
async def test_without_a_mandatory_parameter_nothing_is_taken(api: Api, shape: str, path: str) -> None:
    body: Any = json.loads(json.dumps(SEED[shape]))
    *folders, name = path.split(".")
    folder = body
    for step in folders:
        folder = folder[step]
    del folder[name]

    refused = await api.refuses(body)
    assert refused["error_code"] == MISSING
    assert refused["error_text"].endswith(path.removeprefix("channel_options."))


@pytest.mark.parametrize(
    "change",
    [
        {"channels": ["sms", "sms"]},
        {"channels": ["fax"]},
        {"channels": "sms"},
        {"channels": [1]},
        {"channel_options": "sms"},
        {"extra_id": "e" * 65},
        {"extra_id": 7},
        {"callback_url": "h" * 257},
        *(
            {"channel_options": {"sms": {**SEED["sms"]["channel_options"]["sms"], "ttl": ttl}}}
            for ttl in (299, 259_201, "300", 300.5, True)
        ),
    ],
    ids=str,
)
async def test_an_incorrect_parameter_is_refused(api: Api, change: dict[str, Any]) -> None:
    assert (await api.refuses({**SEED["sms"], **change}))["error_code"] == INCORRECT


async def test_what_is_no_json_is_refused(api: Api) -> None:
    for path in ("", "/batch/sync"):
        for body in (b"", b"{", b"[1]", b"7"):
            status, answer = await api.ask("POST", path, data=body)
            assert (status, answer["error_code"]) == (200, 36001)


# Batches

BATCH = {
    "messages": [
        {"phone_number": 380961111111, "extra_id": "AD-6640-7006", "text": "Hello #1"},
        {"phone_number": 380962222222, "extra_id": "AD-6640-7007", "text": "Hello #2"},
    ],
    "channels": ["viber", "sms"],
    "channel_options": {"viber": {"ttl": 60}, "sms": {"alpha_name": "GMSU", "ttl": 300}},
}


async def test_a_batch_answers_for_each_message(api: Api) -> None:
    status, answer = await api.ask("POST", "/batch/sync", json=BATCH)

    first, second = api.sandbox.accepted
    assert (status, answer) == (
        200,
        {
            "messages": [
                {
                    "processed": True,
                    "phone_number": "380961111111",
                    "message_id": first.message_id,
                    "extra_id": "AD-6640-7006",
                    "accepted": True,
                },
                {
                    "processed": True,
                    "phone_number": "380962222222",
                    "message_id": second.message_id,
                    "extra_id": "AD-6640-7007",
                    "accepted": True,
                },
            ]
        },
    )
    assert (first.text, second.text) == ("Hello #1", "Hello #2")


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ({"phone_number": int(f"38096111{REFUSED}"), "text": "Hello"}, 36024),
        ({"text": "Hello"}, MISSING),
        ({"phone_number": 380961111111}, MISSING),
        ({"phone_number": 380961111111, "text": "Hello", "extra_id": "e" * 65}, INCORRECT),
    ],
)
async def test_one_refused_message_of_a_batch_stops_no_other(
    api: Api, message: dict[str, Any], code: int
) -> None:
    body = {**BATCH, "messages": [message, BATCH["messages"][1]]}  # type: ignore[index]
    _, answer = await api.ask("POST", "/batch/sync", json=body)

    refused, taken = answer["messages"]
    assert (refused["accepted"], refused["processed"], refused["error_code"]) == (False, False, code)
    assert taken["accepted"]
    assert [accepted.extra_id for accepted in api.sandbox.accepted] == ["AD-6640-7007"]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"messages": []}, MISSING),
        ({"messages": None}, MISSING),
        ({"messages": {}}, MISSING),
        ({"messages": "all"}, INCORRECT),
        ({"messages": [1]}, INCORRECT),
        ({"messages": [1] * 50_001}, INCORRECT),
        ({"channels": []}, MISSING),
        ({"channel_options": {"viber": {"ttl": 60}}}, MISSING),
        ({"channel_options": {"viber": {"ttl": 1}, "sms": {"alpha_name": "GMSU", "ttl": 300}}}, INCORRECT),
    ],
    ids=[str(number) for number in range(9)],
)
async def test_a_batch_that_makes_no_sense_is_refused_whole(
    api: Api, change: dict[str, Any], code: int
) -> None:
    assert (await api.refuses({**BATCH, **change}, "/batch/sync"))["error_code"] == code


# What becomes of a message, by its number

ENDINGS: dict[str, tuple[str, str, tuple[Any, ...]]] = {
    "anybody, by push": ("1111", "push_viber_sms", ("push", 2, 23, 23021)),
    "anybody, by Viber": ("1111", "viber_sms", ("viber", 2, 23, 23033)),
    "anybody, by SMS": ("1111", "sms", ("sms", 2, 23, 23011)),
    "anybody, by WhatsApp": ("1111", "whatsapp_session", ("whatsapp", 2, 23, 23053)),
    "who fails": (FAILS, "push_viber_sms", ("sms", 3, 36, 36021)),
    "who expires": (EXPIRES, "push_viber_sms", ("sms", 3, 35, 35015)),
    "who is only on SMS": (ONLY_SMS, "push_viber_sms", ("sms", 2, 23, 23011)),
    "who is only on SMS, without one": (ONLY_SMS, "viber", ("viber", 3, 35, 35015)),
    "who is silent": (SILENT, "push_viber_sms", ("hyber", -1, -1, -1)),
    "who sees, on Viber": (SEES, "viber", ("viber", 2, 24, 24033)),
    "who sees, on WhatsApp": (SEES, "whatsapp_template", ("whatsapp", 2, 24, 24053)),
    "who cannot be seen to see": (SEES, "sms", ("sms", 2, 23, 23011)),
}


@pytest.mark.parametrize(("ending", "shape", "ended"), ENDINGS.values(), ids=ENDINGS)
async def test_a_number_ends_as_it_says(
    api: Api, ear: Ear, ending: str, shape: str, ended: tuple[Any, ...]
) -> None:
    assert await api.ending(ending, shape, callback_url=ear.url) == ended
    assert ear.heard == api.sandbox.pushed
    expected = [] if ending == SILENT else [ended[-1]]
    assert ear.codes() == ([23033 if shape == "viber" else 23053, *expected] if ended[2] == 24 else expected)


async def test_a_channel_has_its_ttl_before_the_next_ones_turn() -> None:
    async with opened(seconds_per_ttl_second=0.001) as api:
        started = asyncio.get_running_loop().time()
        await api.ending(ONLY_SMS, "push_viber_sms", callback_url=None)
        took = asyncio.get_running_loop().time() - started

    assert took >= 0.12  # 60 s of push and 60 s of Viber


async def test_before_it_ends_a_message_has_no_status() -> None:
    async with opened(moment=60) as api:
        message_id = await api.send()
        report = await api.report(message_id)

    assert report.pop("time") > 1_700_000_000_000
    assert report == {
        "phone_number": "380961111111",
        "last_partner": "hyber",
        "message_id": message_id,
        "extra_id": "AD-6640-7006",
        "status": -1,
        "substatus": -1,
        "hyber_status": -1,
    }


async def test_stopping_ends_what_was_under_way() -> None:
    before = len(asyncio.all_tasks())
    async with opened(moment=60) as api:
        await api.send()
        assert len(asyncio.all_tasks()) > before

    assert len(asyncio.all_tasks()) == before


# Whom it tells


async def test_a_report_is_pushed_as_documented(api: Api, ear: Ear) -> None:
    message_id = await api.send(callback_url=ear.url)
    await api.sandbox.settled()

    (report,) = ear.heard
    assert isinstance(report.pop("time"), int)
    assert report == {
        "number": "380961111111",
        "sent_via": "sms",
        "message_id": message_id,
        "extra_id": "AD-6640-7006",
        "status": 2,
        "substatus": 23,
        "hyber_status": 23011,
        "total_sms_parts": 1,
        "delivered_sms_parts": 1,
    }


async def test_reports_come_twice_and_the_newest_first_on_order(ear: Ear) -> None:
    async with opened(pushes=2, newest_first=True) as api:
        await api.ending(SEES, "viber", callback_url=ear.url)

    assert ear.codes() == [24033, 24033, 23033, 23033]


async def test_a_callback_that_fails_is_tried_again_and_then_dropped(api: Api, ear: Ear) -> None:
    ear.answers = [500]
    await api.ending(callback_url=ear.url)
    assert (len(ear.heard), len(api.sandbox.pushed)) == (2, 1)

    ear.answers = [500] * TRIES
    await api.ending(callback_url=ear.url)
    assert (len(ear.heard), len(api.sandbox.pushed)) == (2 + TRIES, 1)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/reports", "no address", None])
async def test_a_callback_that_is_not_there_stops_nothing(api: Api, url: str | None) -> None:
    assert await api.ending(callback_url=url) == ("sms", 2, 23, 23011)
    assert api.sandbox.pushed == []


async def test_an_unknown_message_is_not_found(api: Api) -> None:
    for path in ("/api/dr/1/simple", "/api/dr/external/1/simple"):
        assert await api.ask("GET", path) == (404, NOT_FOUND)


async def test_a_message_may_be_found_only_after_a_while() -> None:
    async with opened(not_found_first=2) as api:
        message_id = await api.send(callback_url=None)
        by_id, by_extra_id = f"/api/dr/{message_id}/simple", "/api/dr/external/AD-6640-7006/simple"

        assert await api.ask("GET", by_id) == (404, NOT_FOUND)
        assert await api.ask("GET", by_extra_id) == (404, NOT_FOUND)
        assert (await api.ask("GET", by_extra_id))[0] == 200


async def test_what_is_dropped_was_taken(api: Api) -> None:
    api.sandbox.trouble("drop")
    with pytest.raises(ClientError):
        await api.send(callback_url=None)

    assert len(api.sandbox.accepted) >= 1
