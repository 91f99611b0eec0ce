"""Hyber's client: each message as its document prints it, the limits, the refusals and the reports."""

import asyncio
import json
from collections.abc import AsyncIterator, MutableMapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from pydantic import ValidationError

from adapters.circuit import FAILURES, CircuitState
from adapters.errors import (
    Busy,
    Fault,
    Malformed,
    Misconfigured,
    Rejected,
    SourceError,
    TimedOut,
    Unacceptable,
    Unasked,
    Unavailable,
)
from adapters.hyber.client import NOT_ACCEPTED, Hyber, HyberSettings
from adapters.hyber.message import Message, Option, Push, Sms, Viber, Whatsapp, problems
from adapters.hyber.report import Report, State, read_reports
from adapters.hyber.sandbox import EXPIRES, HyberSandbox
from adapters.rest import Mode

SEED = json.loads((Path(__file__).parents[1] / "seeds" / "hyber.json").read_text(encoding="utf-8"))
ID = "9f60ac8f-e721-5027-b838-e6fcb95fcd7a"


@pytest.fixture
async def sandbox() -> AsyncIterator[HyberSandbox]:
    async with HyberSandbox(moment=0, seconds_per_ttl_second=0) as opened:
        yield opened


@pytest.fixture
async def hyber(sandbox: HyberSandbox) -> AsyncIterator[Hyber]:
    settings = HyberSettings(timeout=0.5, connect_timeout=0.3).pointed_at(sandbox)
    async with Hyber.open(settings, Mode.REAL) as client:
        yield client


def to(phone: str = "+380961111111", *options: Option, **more: Any) -> Message:
    return Message(phone=phone, options=options or (SMS,), **more)


async def send_batch(hyber: Hyber, *messages: Message) -> list[str | SourceError]:
    form = messages[0].form
    assert form
    return await hyber.send_batch(form, messages)


def as_printed(*options: Option) -> Message:
    """With what the document's examples have in common."""
    return to(
        "+380961111111",
        *options,
        extra_id="AD-6640-7006",
        callback_url="https://send-dr-here.com",
        start_time="2020-12-12 10:10:10+03:00",
        tag="Campaign name",
        division_code="Division code",
    )


SMS = Sms(text="Text for SMS", alpha_name="GMSU", ttl=300)
BUTTON: dict[str, Any] = {
    "image": "https://example.com/image.png",
    "caption": "Click the button",
    "action": "https://example.com",
}
PUSH = Push(text="Text for Push", title="Title for Push", ttl=60, **BUTTON)
VIBER = Viber(text="Text for Viber", ttl=60, device="phone", **BUTTON)
FILE = Viber(
    ttl=60, device="phone", file_name="Name_for_document.docx", action="https://example.com/file.docx"
)
TEMPLATE = Whatsapp(text="Templated text for WhatsApp", ttl=604800)
SESSION = Whatsapp(
    text="Session text for WhatsApp",
    image="https://example.com/image.png",
    image_name="Name for image",
    document="https://example.com/file.docx",
    document_name="Name for document",
    audio="https://example.com/audio.mp3",
    video="https://example.com/video.mp4",
    video_name="Name for video",
    latitude="50.438820",
    longitude="30.498916",
    ttl=604800,
)
PRINTED = {
    "push_viber_sms": as_printed(PUSH, VIBER, SMS),
    "viber_sms": as_printed(VIBER, SMS),
    "viber_template": as_printed(Viber(text="Templated text for Viber", ttl=60)),
    "viber": as_printed(VIBER),
    "viber_alpha_name": as_printed(replace(VIBER, alpha_name="GMSU")),
    "viber_file": as_printed(FILE),
    "sms": as_printed(SMS),
    "whatsapp_template": as_printed(TEMPLATE),
    "whatsapp_session": as_printed(SESSION),
}


# What is sent


def test_every_example_of_the_document_is_here() -> None:
    assert SEED.keys() == {*PRINTED, "accepted", "refused"}


@pytest.mark.parametrize("name", PRINTED)
async def test_a_message_is_sent_as_the_document_prints_it(
    hyber: Hyber, sandbox: HyberSandbox, name: str
) -> None:
    assert problems(PRINTED[name]) == {}
    message_id = await hyber.send(PRINTED[name])

    (asked,) = sandbox.asked
    assert (asked.method, asked.path, asked.query) == ("POST", "/4075", {})
    # As text, where 60 and "60", or false and 0, are not the same.
    assert json.dumps(asked.body, sort_keys=True) == json.dumps(SEED[name], sort_keys=True)
    assert list(asked.body["channel_options"]) == asked.body["channels"] == SEED[name]["channels"]
    assert [accepted.message_id for accepted in sandbox.accepted] == [message_id]


async def test_what_is_left_out_is_not_sent(hyber: Hyber, sandbox: HyberSandbox) -> None:
    await hyber.send(to("+380961111111", Viber(text="Привіт", ttl=60, track_clicks=True)))

    assert sandbox.asked[0].body == {
        "phone_number": 380961111111,
        "channels": ["viber"],
        "channel_options": {"viber": {"text": "Привіт", "ttl": 60, "ctr": True}},
    }


@pytest.mark.parametrize("status", [200, 202, 400, 500])
@pytest.mark.parametrize(
    ("body", "message_id"),
    [(SEED["accepted"], ID), ({"message_id": 1477417294667}, "1477417294667")],
    ids=str,
)
async def test_a_message_id_is_success_whatever_the_status(
    hyber: Hyber, sandbox: HyberSandbox, status: int, body: object, message_id: str
) -> None:
    sandbox.trouble("status", status=status, body=body)

    assert await hyber.send(to()) == message_id


async def test_the_credentials_are_checked_by_a_ping_that_sends_nothing(sandbox: HyberSandbox) -> None:
    right = HyberSettings().pointed_at(sandbox)
    async with Hyber.open(right, Mode.REAL) as hyber:
        await hyber.ping()
        assert hyber.alpha_name == "GMSU"
    for wrong in ({"login": "x"}, {"password": "x"}, {"client_id": "1/2"}):
        settings = HyberSettings.model_validate({**right.model_dump(), **wrong})
        async with Hyber.open(settings, Mode.REAL) as hyber:
            with pytest.raises(Misconfigured):
                await hyber.ping()
            with pytest.raises(Misconfigured) as refused:
                await hyber.send(to())
            assert not refused.value.in_doubt

    assert sandbox.accepted == []


def test_all_three_hosts_are_settings() -> None:
    settings = HyberSettings()

    assert settings.missing == ("client_id", "login", "password")
    for name in ("url", "batch_url", "reports_url"):
        assert getattr(settings, name).endswith(".hyber.im")
        with pytest.raises(ValidationError, match="must start with http"):
            HyberSettings.model_validate({name: "api.hyber.im"})


def test_a_login_that_http_cannot_carry_is_no_setting() -> None:
    with pytest.raises(ValidationError):
        HyberSettings(login="a:b")


async def test_a_sandbox_answers_for_all_three_hosts(hyber: Hyber, sandbox: HyberSandbox) -> None:
    await hyber.send(to(extra_id="1"))
    await send_batch(hyber, to(extra_id="2"))
    await hyber.report(ID)
    await hyber.report_of("1/2 ä")

    assert [asked.path for asked in sandbox.asked] == [
        "/4075",
        "/4075/batch/sync",
        f"/4075/api/dr/{ID}/simple",
        "/4075/api/dr/external/1/2 ä/simple",
    ]


# Its limits

SENTENCES = {
    "required": "This must not be empty.",
    "address": "This is no address: write it as https://example.com/page.",
    "alone": "Leave this out: a file goes alone.",
    "ending": "A file's name ends with what it is, such as .pdf, .docx or .xlsx.",
    "place": "A place needs both its latitude and its longitude.",
}
LONG_URL = "https://example.com/" + "a" * 237

RIGHT: dict[str, Message] = {
    "push at its shortest": to("+1234567", replace(PUSH, ttl=30, title="t" * 20, text="t" * 1000)),
    "push at its longest": to("+123456789012345", replace(PUSH, ttl=Push.longest_ttl, caption="c" * 30)),
    "viber at its shortest": to("+1234567", replace(VIBER, ttl=40, text="t" * 1000)),
    "viber at its longest": to("+1234567", replace(VIBER, ttl=Viber.longest_ttl, device="all")),
    "viber with an image alone": to("+1234567", Viber(ttl=60, image="http://a.b")),
    "viber that starts a call": to("+1234567", replace(VIBER, action="tel:+380961111111")),
    "viber that opens its scanner": to("+1234567", replace(VIBER, action="viber://more/qr")),
    "a file's longest name": to("+1234567", replace(FILE, file_name="n" * 20 + ".XLSX")),
    "sms at its shortest": to("+1234567", replace(SMS, text="@", alpha_name="a" * 11)),
    "sms at its longest": to("+1234567", replace(SMS, ttl=Sms.longest_ttl, text="ñ" * 765)),
    "sms in Cyrillic": to("+1234567", replace(SMS, text="Ж" * 335)),
    "sms with two euros": to("+1234567", replace(SMS, text="a" * 761 + "€€")),
    "sms with smileys": to("+1234567", replace(SMS, text="🎁" * 167)),
    "a place": to("+1234567", Whatsapp(ttl=604800, latitude="-90", longitude="180.0")),
    "a video": to("+1234567", Whatsapp(ttl=604800, video="https://a.b/c", video_name="n" * 1000)),
    "long ids": to(extra_id="e" * 64, tag="t" * 64, division_code="d" * 100, callback_url=LONG_URL[:256]),
}

WRONG: dict[str, tuple[Message, dict[str, str]]] = {
    "no channel": (
        Message(phone="+1234567", options=()),
        {"channels": "At least one channel is needed."},
    ),
    "a channel twice": (
        to("+1234567", VIBER, SMS, VIBER),
        {"channels": "Each channel at most once; viber stands there 2 times."},
    ),
    **{
        f"phone {phone!r}": (
            to(phone),
            {"phone": "This is no phone number: write it as +593999999999."},
        )
        for phone in ("", "380961111111", "+0961111111", "+380 96 111 11 11", "+1234567890123456", "+12345६")
    },
    "long ids": (
        to(extra_id="e" * 65, tag="t" * 65, division_code="d" * 101, callback_url=LONG_URL),
        {
            "extra_id": "At most 64 characters; 65 given.",
            "tag": "At most 64 characters; 65 given.",
            "division_code": "At most 100 characters; 101 given.",
            "callback_url": "At most 256 characters; 257 given.",
        },
    ),
    "push beneath and beyond": (
        to("+1234567", Push(title="", ttl=29, image="x", action="viber://chat", caption="c" * 31)),
        {
            "push.ttl": "Between 30 and 86400 seconds; 29 given.",
            "push.text": SENTENCES["required"],
            "push.title": SENTENCES["required"],
            "push.image": SENTENCES["address"],
            "push.action": SENTENCES["address"],
            "push.caption": "At most 30 characters; 31 given.",
        },
    ),
    "push too long": (
        to("+1234567", Push(title="t" * 21, text="t" * 1001, ttl=86401)),
        {
            "push.ttl": "Between 30 and 86400 seconds; 86401 given.",
            "push.text": "At most 1000 characters; 1001 given.",
            "push.title": "At most 20 characters; 21 given.",
        },
    ),
    "viber too long": (
        to("+1234567", Viber(ttl=86401, text="t" * 1001, image=LONG_URL, action="ftp://a.b")),
        {
            "viber.ttl": "Between 40 and 86400 seconds; 86401 given.",
            "viber.text": "At most 1000 characters; 1001 given.",
            "viber.image": "At most 256 characters; 257 given.",
            "viber.action": SENTENCES["address"],
        },
    ),
    "viber too short": (
        to("+1234567", Viber(ttl=39, caption="Click")),
        {
            "viber.ttl": "Between 40 and 86400 seconds; 39 given.",
            "viber.text": "A Viber message needs a text, an image or a file.",
        },
    ),
    "a file with company": (
        to("+1234567", replace(FILE, text="t", image="https://a.b", caption="c")),
        {
            "viber.text": SENTENCES["alone"],
            "viber.image": SENTENCES["alone"],
            "viber.caption": SENTENCES["alone"],
        },
    ),
    "a file that is nowhere": (
        to("+1234567", replace(FILE, action=None)),
        {"viber.action": "Say where the file is."},
    ),
    "a file's name": (
        to("+1234567", replace(FILE, file_name="n" * 26)),
        {"viber.file_name": "At most 25 characters; 26 given."},
    ),
    **{
        f"file {name!r}": (
            to("+1234567", replace(FILE, file_name=name)),
            {"viber.file_name": SENTENCES["ending"]},
        )
        for name in ("", "name", "name.exe", ".pdf", "name.pdf.", "pdf")
    },
    "sms of nothing": (
        to("+1234567", Sms(ttl=299, alpha_name="")),
        {
            "sms.ttl": "Between 300 and 259200 seconds; 299 given.",
            "sms.text": SENTENCES["required"],
            "sms.alpha_name": SENTENCES["required"],
        },
    ),
    "sms too long": (
        to("+1234567", Sms(ttl=259201, alpha_name="a" * 12, text="a" * 764 + "€")),
        {
            "sms.ttl": "Between 300 and 259200 seconds; 259201 given.",
            "sms.text": "At most 765 characters; 766 given.",
            "sms.alpha_name": "At most 11 characters; 12 given.",
        },
    ),
    **{
        f"sms in UCS-2, {letter!r}": (
            to("+1234567", replace(SMS, text=letter * times)),
            {"sms.text": "At most 335 characters where one of them is not in the GSM alphabet; 336 given."},
        )
        for letter, times in (("Ж", 336), ("ê", 336), ("🎁", 168))
    },
    **{
        f"alpha name {name!r}": (
            to("+1234567", replace(SMS, alpha_name=name)),
            {"sms.alpha_name": "Only letters, digits and signs of the GSM alphabet."},
        )
        for name in ("Магазин", "A€")
    },
    "whatsapp of nothing": (
        to("+1234567", Whatsapp(ttl=86400)),
        {
            "whatsapp.ttl": "WhatsApp takes 604800 seconds and nothing else.",
            "whatsapp.text": "A WhatsApp message needs a text, an image, a document, audio, a video or a "
            "place.",
        },
    ),
    "whatsapp too long": (
        to(
            "+1234567",
            replace(SESSION, text="t" * 1001, audio=LONG_URL, document="x", image_name="n" * 1001),
        ),
        {
            "whatsapp.text": "At most 1000 characters; 1001 given.",
            "whatsapp.audio": "At most 256 characters; 257 given.",
            "whatsapp.document": SENTENCES["address"],
            "whatsapp.image_name": "At most 1000 characters; 1001 given.",
        },
    ),
    "off the map": (
        to("+1234567", replace(SESSION, latitude="90.1", longitude="-180.000001")),
        {
            "whatsapp.latitude": "A number between -90 and 90.",
            "whatsapp.longitude": "A number between -180 and 180.",
        },
    ),
    "no number": (
        to("+1234567", replace(SESSION, latitude="nan", longitude="1e1")),
        {
            "whatsapp.latitude": "A number between -90 and 90.",
            "whatsapp.longitude": "A number between -180 and 180.",
        },
    ),
    "half a place": (
        to("+1234567", replace(SESSION, latitude=None)),
        {"whatsapp.latitude": SENTENCES["place"]},
    ),
    "the other half": (
        to("+1234567", replace(SESSION, longitude=None)),
        {"whatsapp.longitude": SENTENCES["place"]},
    ),
    "several channels": (
        to("x", replace(PUSH, ttl=1), replace(VIBER, ttl=1), replace(SMS, ttl=1), replace(TEMPLATE, ttl=1)),
        {
            "phone": "This is no phone number: write it as +593999999999.",
            "push.ttl": "Between 30 and 86400 seconds; 1 given.",
            "viber.ttl": "Between 40 and 86400 seconds; 1 given.",
            "sms.ttl": "Between 300 and 259200 seconds; 1 given.",
            "whatsapp.ttl": "WhatsApp takes 604800 seconds and nothing else.",
        },
    ),
}


@pytest.mark.parametrize("message", RIGHT.values(), ids=RIGHT)
async def test_what_is_just_within_the_limits_is_accepted(hyber: Hyber, message: Message) -> None:
    assert problems(message) == {}
    assert await hyber.send(message)


@pytest.mark.parametrize(("message", "found"), WRONG.values(), ids=WRONG)
def test_all_that_is_beyond_the_limits_is_said_at_once(message: Message, found: dict[str, str]) -> None:
    assert problems(message) == found


# What it refuses


def error(code: object, text: str | None = "Why not") -> dict[str, object]:
    return {"error_code": code, "error_text": text}


REFUSALS: dict[str, tuple[int, object, type[SourceError], str | None, bool]] = {
    # It says no, whatever the status.
    "the documented one": (200, SEED["refused"], Unacceptable, "36024", False),
    "with 400": (400, SEED["refused"], Unacceptable, "36024", False),
    "with 500": (500, SEED["refused"], Unacceptable, "36024", False),
    "the older code": (200, error(1154), Unacceptable, "1154", False),
    "a code as text": (200, error("36024"), Unacceptable, "36024", False),
    "another code": (200, error(1127), Rejected, "1127", False),
    "without a text": (200, error(1127, None), Rejected, "1127", False),
    "400": (400, "", Rejected, "400", False),
    "404": (404, "<html>", Rejected, "404", False),
    # Our credentials
    "401": (401, "", Misconfigured, None, False),
    "401 with its own words": (401, error(1127), Misconfigured, None, False),
    "403": (403, "<html>", Misconfigured, None, False),
    # It asks us to wait.
    "429": (429, "", Busy, None, False),
    "429 with its own words": (429, error(1127), Busy, None, False),
    # It may have done it.
    "500": (500, "", Unavailable, None, True),
    "503": (503, "<html>", Unavailable, None, True),
    "302": (302, "", Malformed, None, True),
    "nothing at all": (200, "", Malformed, None, True),
    "neither": (200, {"job_id": ID}, Malformed, None, True),
    "an empty id": (200, {"message_id": ""}, Malformed, None, True),
    "no id": (200, {"message_id": None}, Malformed, None, True),
    "a list": (200, [SEED["accepted"]], Malformed, None, True),
    "no JSON": (200, "message_id", Malformed, None, True),
}


@pytest.mark.parametrize(("status", "body", "kind", "code", "in_doubt"), REFUSALS.values(), ids=REFUSALS)
async def test_each_refusal_is_an_error_of_ours(
    hyber: Hyber,
    sandbox: HyberSandbox,
    status: int,
    body: object,
    kind: type[SourceError],
    code: str | None,
    in_doubt: bool,
) -> None:
    sandbox.trouble("status", status=status, body=body)
    with pytest.raises(SourceError) as caught:
        await hyber.send(to())

    assert type(caught.value) is kind
    assert caught.value.in_doubt is in_doubt
    assert caught.value.extensions.get("vendorCode") == code
    assert sandbox.count("/4075") == 1


async def test_a_refused_number_is_ours_to_name_and_not_to_repeat(
    hyber: Hyber, sandbox: HyberSandbox, log_lines: list[MutableMapping[str, Any]]
) -> None:
    sandbox.trouble("wrong_shape", body=error(36024, "Phone number 380961111111 incorrect"))
    with pytest.raises(Unacceptable) as caught:
        await hyber.send(to())

    assert caught.value.faults == {"phone": Fault.INVALID}
    assert caught.value.vendor_message == "Phone number … incorrect"
    assert "380961111111" not in str(log_lines)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ({"Retry-After": "7"}, 7),
        ({"Retry-After": "Sat, 01 Jan 2000 00:00:00 GMT"}, 0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-1"}, None),
        ({}, None),
    ],
    ids=str,
)
async def test_a_busy_vendor_says_how_long_to_wait(
    hyber: Hyber, sandbox: HyberSandbox, header: dict[str, str], seconds: float | None
) -> None:
    sandbox.trouble("status", status=429, headers=header)
    with pytest.raises(Busy) as caught:
        await hyber.send(to())

    assert caught.value.retry_after == seconds


BROKEN: dict[str, tuple[dict[str, Any], type[SourceError]]] = {
    "a drop": ({"kind": "drop"}, Unavailable),
    "a reset": ({"kind": "reset"}, Unavailable),
    "a short body": ({"kind": "short"}, Unavailable),
    "half a document": ({"kind": "truncated"}, Malformed),
    "HTML": ({"kind": "html"}, Malformed),
    "a delay": ({"kind": "delay", "seconds": 30}, TimedOut),
}


@pytest.mark.parametrize(("trouble", "kind"), BROKEN.values(), ids=BROKEN)
async def test_what_breaks_off_is_in_doubt_and_sent_once(
    hyber: Hyber, sandbox: HyberSandbox, trouble: dict[str, Any], kind: type[SourceError]
) -> None:
    sandbox.trouble(**trouble)
    for attempt in (hyber.send(to(extra_id="1")), send_batch(hyber, to(extra_id="1"))):
        with pytest.raises(SourceError) as caught:
            await attempt

        assert type(caught.value) is kind
        assert caught.value.in_doubt
    assert len(sandbox.asked) == 2


async def test_what_was_dropped_is_found_by_our_own_id(hyber: Hyber, sandbox: HyberSandbox) -> None:
    sandbox.trouble("drop", path="POST")
    with pytest.raises(Unavailable):
        await hyber.send(to(extra_id="prod-7-1-1"))
    found = await hyber.report_of("prod-7-1-1")

    assert found
    assert [accepted.message_id for accepted in sandbox.accepted] == [found.message_id]


async def test_nobody_there_is_no_doubt(sandbox: HyberSandbox) -> None:
    settings = HyberSettings().pointed_at(sandbox).model_copy(update={"url": "http://127.0.0.1:9"})
    async with Hyber.open(settings, Mode.REAL) as hyber:
        with pytest.raises(Unavailable) as caught:
            await hyber.send(to())

    assert not caught.value.in_doubt


# Batches


async def test_a_batch_gives_each_recipient_their_own_text(hyber: Hyber, sandbox: HyberSandbox) -> None:
    viber, sms = replace(VIBER, text=None), replace(SMS, text=None)
    texts = {"+380961111111": "Hello #1", "+380962222222": "Hello #2", "+380963336024": "Hello #3"}
    first, second, refused = await send_batch(
        hyber,
        *(
            to(phone, replace(viber, text=text), replace(sms, text=text), extra_id=text[-1], tag="Sale")
            for phone, text in texts.items()
        ),
    )

    (asked,) = sandbox.asked
    assert asked.body == {
        "messages": [
            {"phone_number": int(phone), "extra_id": text[-1], "text": text} for phone, text in texts.items()
        ],
        "tag": "Sale",
        "channels": ["viber", "sms"],
        "channel_options": {
            "viber": {
                name: value
                for name, value in SEED["viber"]["channel_options"]["viber"].items()
                if name != "text"
            },
            "sms": {"alpha_name": "GMSU", "ttl": 300, "ctr": False},
        },
    }
    assert [first, second] == [accepted.message_id for accepted in sandbox.accepted]
    assert isinstance(refused, Unacceptable)
    assert (refused.vendor_code, refused.faults) == ("36024", {"phone": Fault.INVALID})


async def test_a_batch_may_say_nothing_but_a_file(hyber: Hyber, sandbox: HyberSandbox) -> None:
    await send_batch(hyber, to("+380961111111", FILE, extra_id="1"))

    assert sandbox.asked[0].body["messages"] == [{"phone_number": 380961111111, "extra_id": "1"}]


def test_a_batch_is_of_one_form_which_says_the_same_on_each_channel() -> None:
    sms = to(extra_id="1")

    assert sms.form == to("+380962222222", replace(SMS, text="Other"), extra_id="2").form
    for other in (to(tag="Sale"), to("+380961111111", VIBER), to("+380961111111", replace(SMS, ttl=60))):
        assert other.form != sms.form
    assert to("+380961111111", PUSH, SMS).form is None


async def test_what_a_batch_says_of_each_message(hyber: Hyber, sandbox: HyberSandbox) -> None:
    sandbox.trouble(
        "wrong_shape",
        body={
            "messages": [
                {"extra_id": "1", "message_id": ID, "accepted": True, "processed": True, "phone_number": "3"},
                {"extra_id": 2, "message_id": 77, "accepted": True},
                {"extra_id": "3", "message_id": None, "accepted": False},
                {"extra_id": "4", "message_id": ID, "error_code": 36011, "error_text": "Blocked"},
                {"extra_id": "5", "message_id": None, "accepted": True},
                {"message_id": ID, "accepted": True},
            ]
        },
    )
    outcomes = await send_batch(hyber, *(to(extra_id=str(number)) for number in range(1, 7)))

    assert [getattr(outcome, "vendor_code", outcome) for outcome in outcomes[:4]] == [
        ID,
        "77",
        NOT_ACCEPTED,
        "36011",
    ]
    for unmentioned in outcomes[4:]:
        assert isinstance(unmentioned, Unavailable)
        assert unmentioned.in_doubt


@pytest.mark.parametrize("body", [{"job_id": ID}, {"messages": None}, {"messages": [1]}, []], ids=str)
async def test_a_batch_that_cannot_be_read_is_in_doubt(
    hyber: Hyber, sandbox: HyberSandbox, body: object
) -> None:
    sandbox.trouble("wrong_shape", body=body)
    with pytest.raises(Malformed) as caught:
        await send_batch(hyber, to(extra_id="1"))

    assert caught.value.in_doubt


async def test_a_batch_that_is_refused_as_a_whole_is_a_refusal(hyber: Hyber, sandbox: HyberSandbox) -> None:
    sandbox.trouble("wrong_shape", body=error(1127))
    with pytest.raises(Rejected) as caught:
        await send_batch(hyber, to(extra_id="1"))

    assert caught.value.vendor_code == "1127"


# Those who come together


async def test_those_who_come_together_go_together(hyber: Hyber, sandbox: HyberSandbox) -> None:
    crowd = [to(f"+38096111111{number}", extra_id=str(number)) for number in range(5)]
    apart = [to(extra_id="v", tag="Sale"), to("+380961111111", PUSH, SMS, extra_id="two texts"), to()]
    ids = await asyncio.gather(*map(hyber.send, crowd + apart))

    accepted = {each.message_id: each.extra_id for each in sandbox.accepted}
    assert [accepted[id] for id in ids] == [each.extra_id for each in crowd + apart]
    assert sorted(len(asked.body.get("messages", [0])) for asked in sandbox.asked) == [1, 1, 1, 5]


async def test_who_is_refused_among_others_is_refused_alone(hyber: Hyber, sandbox: HyberSandbox) -> None:
    crowd = [to(phone, extra_id=phone) for phone in ("+380961111111", "+380962226024", "+380963333333")]
    first, refused, last = await asyncio.gather(*map(hyber.send, crowd), return_exceptions=True)

    assert isinstance(refused, Unacceptable)
    assert [first, last] == [accepted.message_id for accepted in sandbox.accepted]


async def test_those_who_are_refused_together_are_sent_one_by_one(
    hyber: Hyber, sandbox: HyberSandbox
) -> None:
    sandbox.trouble("wrong_shape", path="batch", body=error(1127), times=1)
    ids = await asyncio.gather(*(hyber.send(to(extra_id=str(number))) for number in range(3)))

    assert sorted(ids) == sorted(accepted.message_id for accepted in sandbox.accepted)
    assert len(sandbox.asked) == 4


async def test_what_breaks_off_is_in_doubt_for_all_who_went(hyber: Hyber, sandbox: HyberSandbox) -> None:
    sandbox.trouble("drop", path="batch")
    sends = (hyber.send(to(extra_id=str(number))) for number in range(3))
    outcomes = await asyncio.gather(*sends, return_exceptions=True)

    assert all(isinstance(outcome, Unavailable) and outcome.in_doubt for outcome in outcomes)
    assert len(sandbox.asked) == 1


async def test_who_comes_later_does_not_wait_for_a_slow_answer(hyber: Hyber, sandbox: HyberSandbox) -> None:
    sandbox.trouble("delay", seconds=0.4, times=1)
    slow = asyncio.create_task(hyber.send(to(extra_id="1")))
    while not sandbox.asked:
        await asyncio.sleep(0.001)
    async with asyncio.timeout(0.2):
        await hyber.send(to(extra_id="2"))

    assert not slow.done()
    await slow


# Reports

# From the vendor's documents; what is added to one of them stands beside it.
SIMPLE = {
    "phone_number": "380961111111",
    "last_partner": "sms",
    "message_id": ID,
    "extra_id": "AD-6640-7006",
    "time": 1477417294667,
    "status": 2,
    "substatus": 23,
    "hyber_status": 23011,
    "total_sms_parts": 1,
    "delivered_sms_parts": 1,
    "clicks": 2,
}
PUSHED = {
    "number": "380961111111",
    "time": 1477417294667,
    "status": 2,
    "substatus": 23,
    "hyber_status": 23011,
    "message_id": ID,
    "extra_id": "AD-6640-7006",
    "sent_via": "sms",
}
DELIVERED = Report(
    state=State.DELIVERED,
    message_id=ID,
    extra_id="AD-6640-7006",
    phone="+380961111111",
    channel="sms",
    at=datetime(2016, 10, 25, 17, 41, 34, 667000, UTC),
    vendor_code="23011",
)

STATES: dict[str, tuple[dict[str, Any], State, str | None]] = {
    "nothing yet": ({"status": -1}, State.ACCEPTED, "-1"),
    "nothing yet, in detail": ({"status": -1, "substatus": -1, "hyber_status": -1}, State.ACCEPTED, "-1"),
    "in progress": ({"status": 1}, State.SENT, "1"),
    "sending": ({"status": 1, "substatus": 11}, State.SENT, "11"),
    "accepted by the channel": ({"status": 1, "substatus": 12, "hyber_status": 12011}, State.SENT, "12011"),
    "an SMS delivered": ({"status": 2, "substatus": 23, "hyber_status": 23011}, State.DELIVERED, "23011"),
    "on Viber": ({"status": 2, "substatus": 23, "hyber_status": 23033}, State.DELIVERED, "23033"),
    "by a template": (
        {"status": 2, "substatus": 23, "hyber_status": 23043, "matching_template_id": 6349599},
        State.DELIVERED,
        "23043",
    ),
    "without details": ({"status": 2}, State.DELIVERED, "2"),
    "as text": ({"status": "2", "substatus": "23", "hyber_status": "23011"}, State.DELIVERED, "23011"),
    "another delivery": ({"status": 2, "substatus": 27, "hyber_status": 27001}, State.DELIVERED, "27001"),
    "seen": ({"status": 2, "substatus": 24, "hyber_status": 24033}, State.SEEN, "24033"),
    "expired": ({"status": 3, "substatus": 35, "hyber_status": 35015}, State.EXPIRED, "35015"),
    "expired, by its error": ({"error_code": 35015, "error_text": "SMS expired"}, State.EXPIRED, "35015"),
    "not within its ttl": ({"status": 3, "substatus": 26}, State.EXPIRED, "26"),
    "failed": ({"status": 3, "substatus": 36, "hyber_status": 36021}, State.FAILED, "36021"),
    "failed, by its error": ({"error_code": 36024}, State.FAILED, "36024"),
    "an older error": ({"error_code": 1154}, State.FAILED, "1154"),
    "another failure": ({"status": 3, "substatus": 39, "hyber_status": 39001}, State.FAILED, "39001"),
    "an unknown status": ({"status": 9}, State.ACCEPTED, "9"),
    "no status": ({}, State.ACCEPTED, None),
}


@pytest.mark.parametrize(("said", "state", "code"), STATES.values(), ids=STATES)
async def test_each_status_is_a_state_of_ours_with_its_code(
    hyber: Hyber, sandbox: HyberSandbox, said: dict[str, Any], state: State, code: str | None
) -> None:
    sandbox.trouble("wrong_shape", body={"message_id": ID, **said})
    report = await hyber.report(ID)

    assert report == Report(state=state, message_id=ID, vendor_code=code)
    assert read_reports(json.dumps({"message_id": ID, **said}).encode()) == [report]


async def test_the_documented_report_is_read_whole(hyber: Hyber, sandbox: HyberSandbox) -> None:
    sandbox.trouble("wrong_shape", body=SIMPLE)

    assert await hyber.report(ID) == await hyber.report_of("AD-6640-7006") == DELIVERED


@pytest.mark.parametrize("name", ["last_partner", "sent_via", "delivered_via"])
@pytest.mark.parametrize(("said", "channel"), [("viber", "viber"), ("hyber", None), ("", None)])
def test_the_platform_is_no_channel(name: str, said: str, channel: str | None) -> None:
    body = {"message_id": ID, "status": -1, name: said}
    (report,) = read_reports(json.dumps(body).encode())

    assert report.channel == channel


async def test_an_unknown_message_has_no_report(hyber: Hyber, sandbox: HyberSandbox) -> None:
    assert await hyber.report(ID) is None
    assert await hyber.report_of("prod-7-1-1") is None
    for body in (error(1127, "Message not found"), error(2, "Message does not exist")):
        sandbox.heal()
        sandbox.trouble("wrong_shape", body=body)
        assert await hyber.report(ID) is None


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (404, "", Rejected),  # a wrong address, for all we know
        (404, "<html>", Rejected),
        (400, error(1127), Rejected),
        (401, "", Misconfigured),
        (429, "", Busy),
        (500, "", Unavailable),
        (200, "", Malformed),
        (200, {}, Malformed),
        (200, [], Malformed),
        (200, {"status": 2}, Malformed),
        (200, {"message_id": ID, "time": 10**18}, Malformed),
        (200, {"message_id": ID, "status": "delivered"}, Malformed),
    ],
    ids=str,
)
async def test_what_is_no_answer_is_never_taken_for_an_unknown_message(
    hyber: Hyber, sandbox: HyberSandbox, status: int, body: object, kind: type[SourceError]
) -> None:
    sandbox.trouble("status", status=status, body=body)
    with pytest.raises(SourceError) as caught:
        await hyber.report_of("1")

    assert type(caught.value) is kind
    assert not caught.value.in_doubt


PUSHES: dict[str, tuple[object, list[Report]]] = {
    "one": (PUSHED, [DELIVERED]),
    "one in a list": ([PUSHED], [DELIVERED]),
    "none": ([], []),
    "a number as one": ({**PUSHED, "number": 380961111111}, [DELIVERED]),
    "a phone_number": (SIMPLE, [DELIVERED]),
    "a phone with its plus": ({**PUSHED, "number": "+380961111111"}, [DELIVERED]),
    "what is new": ({**PUSHED, "price": {"amount": 1}, "matching_template_id": 0}, [DELIVERED]),
    "an id as a number": ({**PUSHED, "message_id": 77}, [replace(DELIVERED, message_id="77")]),
    "our id alone": ({**PUSHED, "message_id": None}, [replace(DELIVERED, message_id=None)]),
    "their id alone": ({**PUSHED, "extra_id": None}, [replace(DELIVERED, extra_id=None)]),
    "the documented several": (
        [
            PUSHED,
            {**PUSHED, "time": 1477417299000, "status": 3, "substatus": 35, "hyber_status": 35015},
            {**PUSHED, "time": 1477417299050, "hyber_status": 23033, "sent_via": "viber"},
        ],
        [
            DELIVERED,
            replace(
                DELIVERED,
                state=State.EXPIRED,
                vendor_code="35015",
                at=datetime(2016, 10, 25, 17, 41, 39, tzinfo=UTC),
            ),
            replace(
                DELIVERED,
                channel="viber",
                vendor_code="23033",
                at=datetime(2016, 10, 25, 17, 41, 39, 50000, UTC),
            ),
        ],
    ),
}


@pytest.mark.parametrize(("body", "reports"), PUSHES.values(), ids=PUSHES)
def test_what_is_pushed_is_read(body: object, reports: list[Report]) -> None:
    assert read_reports(json.dumps(body).encode()) == reports


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"7",
        b'"delivered"',
        b"{",
        b"{}",
        b"\xff",
        b"[" * 5000,
        b"[[]]",
        b'[{"message_id": "1", "status": 2}, {}]',
        b'{"message_id": "", "extra_id": null}',
        b'{"message_id": {"id": 1}}',
        b'{"message_id": "1", "time": -1}',
        b'{"message_id": "1", "time": 1e400}',
        b'{"message_id": "1", "time": 99999999999999999}',
        b'{"message_id": "1", "status": "delivered"}',
        b'{"message_id": "1", "hyber_status": [23011]}',
        b'{"message_id": "1", "sent_via": 4}',
    ],
    ids=str,
)
def test_what_cannot_be_read_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed, match=r"^Hyber pushed a report that we cannot read\.$"):
        read_reports(body)


def test_the_last_moment_of_the_calendar_is_one() -> None:
    (report,) = read_reports(b'{"message_id": "1", "time": 253402300799999}')

    assert report.at
    assert report.at.year == 9999


async def test_a_message_is_followed_to_its_end(hyber: Hyber, sandbox: HyberSandbox) -> None:
    phone = "+38096111" + EXPIRES
    message_id = await hyber.send(to(phone, VIBER, SMS, extra_id="prod-7-1-1"))
    await sandbox.settled()
    report = await hyber.report(message_id)

    assert report
    assert (report.state, report.channel, report.phone) == (State.EXPIRED, "sms", phone)
    assert report == await hyber.report_of("prod-7-1-1")


async def test_while_one_of_their_hosts_is_dead_the_others_are_asked(sandbox: HyberSandbox) -> None:
    async with HyberSandbox() as reports:
        settings = HyberSettings(probe_interval=60).pointed_at(sandbox)
        settings = settings.model_copy(update={"reports_url": reports.url})
        async with Hyber.open(settings, Mode.REAL) as hyber:
            reports.trouble("reset")
            for _ in range(FAILURES):
                with pytest.raises(Unavailable):
                    await hyber.report(ID)
            asked = len(reports.asked)

            assert await hyber.send(to())
            assert all(
                isinstance(id, str) for id in await send_batch(hyber, to(extra_id="1"), to(extra_id="2"))
            )
            with pytest.raises(Unasked):
                await hyber.report(ID)
            assert len(reports.asked) == asked
            assert hyber.circuit.state is CircuitState.OPEN, "and so `sources` says"
