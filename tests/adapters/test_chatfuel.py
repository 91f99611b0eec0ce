"""Chatfuel, written to over a socket: what arrives there, and what its answers become."""

from collections.abc import AsyncIterator, MutableMapping
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from pydantic import ValidationError

from adapters.chatfuel.client import LONGEST_TEXT, Chatfuel, ChatfuelSettings
from adapters.chatfuel.sandbox import Accepted, ChatfuelSandbox
from adapters.errors import (
    Busy,
    Fault,
    Malformed,
    Misconfigured,
    Rejected,
    SourceError,
    TimedOut,
    Unacceptable,
    Unavailable,
)
from adapters.rest import Mode
from tests.raw import Raw, Trouble, babbles, hang, says

LogLines = list[MutableMapping[str, Any]]

BOT, TOKEN = ChatfuelSandbox.credentials.values()
AWA = "2413659892012345"
TEXT = "Ça marche & c'est +20 % 🎁\nà demain"


def client_of(url: str, **settings: object) -> AbstractAsyncContextManager[Chatfuel]:
    little = {"url": url, "timeout": 0.5, "connect_timeout": 0.3, "bot_id": BOT, "token": TOKEN}
    return Chatfuel.open(ChatfuelSettings.model_validate({**little, **settings}), Mode.REAL)


@pytest.fixture
async def sandbox() -> AsyncIterator[ChatfuelSandbox]:
    async with ChatfuelSandbox() as opened:
        yield opened


@pytest.fixture
async def chatfuel(sandbox: ChatfuelSandbox) -> AsyncIterator[Chatfuel]:
    async with client_of(sandbox.url) as client:
        yield client


# What is sent


async def test_a_text_is_sent_as_documented_all_of_it_in_the_query(
    sandbox: ChatfuelSandbox, chatfuel: Chatfuel
) -> None:
    await chatfuel.send(AWA, TEXT)

    (asked,) = sandbox.asked
    assert (asked.method, asked.path, asked.body) == ("POST", f"/bots/{BOT}/users/{AWA}/send", {})
    assert asked.query == {
        "chatfuel_token": TOKEN,
        "chatfuel_message_tag": "UPDATE",
        "chatfuel_block_name": "Message",
        "text": TEXT,
    }
    assert sandbox.accepted == [Accepted(AWA, "Message", {"text": TEXT})]


@pytest.mark.parametrize("shown_by", ["block", "flow"])
async def test_block_or_flow_attribute_and_tag_are_settings(sandbox: ChatfuelSandbox, shown_by: str) -> None:
    settings = {shown_by: "Our news", "attribute": "the text", "tag": "ACCOUNT_UPDATE"}
    async with client_of(sandbox.url, **settings) as chatfuel:
        await chatfuel.send(AWA, "Hello")

    assert sandbox.asked[0].query == {
        "chatfuel_token": TOKEN,
        "chatfuel_message_tag": "ACCOUNT_UPDATE",
        f"chatfuel_{shown_by}_name": "Our news",
        "the text": "Hello",
    }
    assert sandbox.accepted == [Accepted(AWA, "Our news", {"the text": "Hello"})]


async def test_a_space_is_no_plus_and_the_body_is_json() -> None:
    async with Raw(says(b'{"success": true}')) as raw, client_of(raw.url) as chatfuel:
        await chatfuel.send(AWA, "1 + 1")

    assert b"&text=1%20%2B%201 HTTP/1.1" in raw.heard[0]
    assert b"Content-Type: application/json\r\n" in raw.heard[0]


async def test_the_longest_text_arrives_whole(sandbox: ChatfuelSandbox, chatfuel: Chatfuel) -> None:
    await chatfuel.send(AWA, "🎁" * LONGEST_TEXT)

    assert sandbox.accepted[0].attributes == {"text": "🎁" * LONGEST_TEXT}


@pytest.mark.parametrize("user_id", ["", "../../bots", "1/2", "1?x=y", "1 2", "é", "1\n", "1" * 65])
async def test_what_is_no_user_id_never_gets_into_a_path(
    sandbox: ChatfuelSandbox, chatfuel: Chatfuel, user_id: str
) -> None:
    with pytest.raises(Unacceptable) as caught:
        await chatfuel.send(user_id, "Hello")

    assert caught.value.faults == {"messenger_id": Fault.INVALID}
    assert not sandbox.asked


# What it answers

TOKEN_AND_PHONE = {"success": False, "result": f"No block for {TOKEN} and +593 99 999 9999"}

ANSWERS: dict[str, tuple[int, object, type[SourceError] | None, str | None, bool]] = {
    # `success` decides
    "yes": (200, {"success": True}, None, None, False),
    "yes, in words": (200, {"success": True, "result": "ok", "more": 1}, None, None, False),
    "yes, with something else": (200, {"success": True, "result": {"a": 1}}, None, None, False),
    "yes, with a 500": (500, {"success": True}, None, None, False),
    "no": (200, {"success": False}, Rejected, "", False),
    "no, in words": (400, {"success": False, "result": "No such block"}, Rejected, "No such block", False),
    "no, with something else": (400, {"success": False, "result": [1]}, Rejected, "", False),
    "no, with a 500": (500, {"success": False, "result": "Tag"}, Rejected, "Tag", False),
    "no, with secrets": (200, TOKEN_AND_PHONE, Rejected, "No block for … and …", False),
    "nobody": (404, {"success": False, "result": "User not found"}, Unacceptable, "User not found", False),
    "nobody, said otherwise": (
        200,
        {"success": False, "result": "Unknown user"},
        Unacceptable,
        "Unknown user",
        False,
    ),
    # Our credentials, our haste
    "401": (401, {"success": False, "result": "Invalid token"}, Misconfigured, None, False),
    "403": (403, "<html>", Misconfigured, None, False),
    "429": (429, {"success": False}, Busy, None, False),
    # It does not say
    "400": (400, "", Rejected, "", False),
    "404": (404, {"message": "Not Found"}, Rejected, "", False),
    "500": (500, "", Unavailable, None, True),
    "502": (502, "<html>Bad Gateway</html>", Unavailable, None, True),
    "302": (302, "", Malformed, None, True),
    "nothing": (200, "", Malformed, None, True),
    "something else": (200, {"result": "ok"}, Malformed, None, True),
    "null": (200, {"success": None}, Malformed, None, True),
    "a word": (200, {"success": "true"}, Malformed, None, True),
    "HTML": (200, "<html>", Malformed, None, True),
}


@pytest.mark.parametrize(("status", "body", "kind", "said", "in_doubt"), ANSWERS.values(), ids=ANSWERS)
async def test_each_answer_is_taken_at_its_word(
    sandbox: ChatfuelSandbox,
    chatfuel: Chatfuel,
    status: int,
    body: object,
    kind: type[SourceError] | None,
    said: str | None,
    in_doubt: bool,
) -> None:
    sandbox.trouble("status", status=status, body=body)
    if kind is None:
        await chatfuel.send(AWA, "Hello")
        return
    with pytest.raises(SourceError) as caught:
        await chatfuel.send(AWA, "Hello")

    assert type(caught.value) is kind
    assert caught.value.in_doubt is in_doubt
    if isinstance(caught.value, Rejected):
        assert (caught.value.vendor_code, caught.value.vendor_message) == (str(status), said)
    if isinstance(caught.value, Unacceptable):
        assert caught.value.faults == {"messenger_id": Fault.INVALID}


@pytest.mark.parametrize(
    ("user_id", "kind"),
    [("2413659892012404", Unacceptable), ("2413659892012403", Rejected), ("Awa", Unacceptable)],
)
async def test_who_cannot_be_written_to_is_told_apart(
    chatfuel: Chatfuel, user_id: str, kind: type[SourceError]
) -> None:
    with pytest.raises(SourceError) as caught:
        await chatfuel.send(user_id, "Hello")

    assert type(caught.value) is kind
    assert not caught.value.in_doubt


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("3", 3.0), ("0", 0.0), ("", None), ("soon", None), ("-1", None), ("9" * 400, None)],
)
async def test_how_long_to_wait_is_read(
    sandbox: ChatfuelSandbox, chatfuel: Chatfuel, header: str, seconds: float | None
) -> None:
    sandbox.trouble("status", status=429, headers={"Retry-After": header} if header else None)
    with pytest.raises(Busy) as caught:
        await chatfuel.send(AWA, "Hello")

    assert caught.value.retry_after == seconds


async def test_too_many_requests_are_busy(sandbox: ChatfuelSandbox, chatfuel: Chatfuel) -> None:
    sandbox.rate = 0
    with pytest.raises(Busy) as caught:
        await chatfuel.send(AWA, "Hello")

    assert (caught.value.retry_after, sandbox.accepted) == (1.0, [])


@pytest.mark.parametrize("wrong", [{"token": "wrong"}, {"token": ""}, {"bot_id": "5a6d"}], ids=str)
async def test_the_wrong_credentials_are_ours_to_mend(
    sandbox: ChatfuelSandbox, wrong: dict[str, str]
) -> None:
    async with client_of(sandbox.url, **wrong) as chatfuel:
        with pytest.raises(Misconfigured, match=r"^Chatfuel refuses our credentials: "):
            await chatfuel.send(AWA, "Hello")


# When it does not answer


@pytest.mark.parametrize(
    ("kind", "error", "accepted"),
    [
        ("drop", Unavailable, 1),
        ("reset", Unavailable, 0),
        ("short", Unavailable, 1),
        ("truncated", Malformed, 1),
    ],
)
async def test_a_text_is_sent_once_and_whether_it_was_is_in_doubt(
    sandbox: ChatfuelSandbox, chatfuel: Chatfuel, kind: Any, error: type[SourceError], accepted: int
) -> None:
    sandbox.trouble(kind)
    with pytest.raises(error) as caught:
        await chatfuel.send(AWA, "Hello")

    assert caught.value.in_doubt
    assert (len(sandbox.asked), len(sandbox.accepted)) == (1, accepted)


async def test_a_late_answer_is_in_doubt_and_a_closed_door_is_not(
    sandbox: ChatfuelSandbox, chatfuel: Chatfuel
) -> None:
    sandbox.trouble("delay", seconds=30)
    with pytest.raises(TimedOut) as late:
        await chatfuel.send(AWA, "Hello")
    async with Raw(None) as raw, client_of(raw.url) as nobody:
        with pytest.raises(Unavailable) as closed:
            await nobody.send(AWA, "Hello")

    assert (late.value.in_doubt, closed.value.in_doubt) == (True, False)


LEAKY: dict[str, Trouble | None] = {
    "a closed port": None,
    "no answer": hang,
    "no HTTP": babbles(b"SSH-2.0-OpenSSH_9.2\r\n"),
    "a repeated token": says(f'{{"success": false, "result": "{TOKEN} Hello"}}'.encode()),
    "a redirect": says(b"", "Location: http://192.0.2.1/", status="302 Found"),
    "an unknown encoding": says(b"{}", "Content-Encoding: br"),
}


@pytest.mark.parametrize("trouble", LEAKY.values(), ids=LEAKY)
async def test_no_error_and_no_log_line_holds_the_token_the_user_or_the_text(
    trouble: Trouble | None, log_lines: LogLines
) -> None:
    async with Raw(trouble) as raw, client_of(raw.url) as chatfuel:
        with pytest.raises(SourceError) as caught:
            await chatfuel.send(AWA, "Good morning")

    error: BaseException | None = caught.value
    seen = [str(log_lines), str(caught.value.extensions)]
    while error:
        seen += [repr(error), repr(error.args), str(vars(error))]
        error = error.__cause__ or error.__context__
    assert not any(secret in text for text in seen for secret in (TOKEN, AWA, "morning"))


# The doctor's question


async def test_the_ping_sends_nothing_and_says_only_whether_anybody_answers(
    sandbox: ChatfuelSandbox, chatfuel: Chatfuel
) -> None:
    await chatfuel.ping()
    for status in (200, 401, 403, 405):
        sandbox.trouble("status", status=status, body="<html>", times=1)
        await chatfuel.ping()

    assert {(asked.method, asked.path, *asked.query) for asked in sandbox.asked} == {("GET", "/bots")}
    assert sandbox.accepted == []
    sandbox.trouble("status", status=503)
    with pytest.raises(Unavailable):
        await chatfuel.ping()


async def test_a_source_that_is_off_is_not_asked(sandbox: ChatfuelSandbox) -> None:
    async with Chatfuel.open(ChatfuelSettings(url=sandbox.url), Mode.OFF) as chatfuel:
        with pytest.raises(Misconfigured):
            await chatfuel.ping()
        with pytest.raises(Misconfigured):
            await chatfuel.send(AWA, "Hello")

    assert not sandbox.asked


# Settings


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"block": "News", "flow": "Welcome"}, "the text is shown by one of them, set only that one"),
        ({"attribute": "chatfuel_text"}, "must not be `tags` or start with `chatfuel_`"),
        ({"attribute": "Chatfuel_text"}, "must not be `tags` or start with `chatfuel_`"),
        ({"attribute": "tags"}, "must not be `tags`"),
        ({"attribute": ""}, "at least 1 character"),
        ({"tag": ""}, "at least 1 character"),
        ({"bot_id": "../5a6d"}, "must be letters and digits"),
    ],
    ids=str,
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, str], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        ChatfuelSettings.model_validate(settings)


@pytest.mark.parametrize("shown_by", ["block", "flow"])
async def test_a_block_or_a_flow_of_ones_own_is_kept_when_the_sandbox_answers(
    sandbox: ChatfuelSandbox, shown_by: str
) -> None:
    settings = ChatfuelSettings.model_validate({shown_by: "Our news"}).pointed_at(sandbox)

    assert settings.shown_by == {f"chatfuel_{shown_by}_name": "Our news"}
