"""The door: what everyprint's bot sends -> the return code it gets -> what the graph says next."""

import asyncio
import json
import shlex
import sqlite3
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, MutableMapping
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from aiohttp import FormData
from pydantic import SecretStr

from adapters.storage.identity import Key
from gateway.settings import Settings, UseAuth, UseDoor
from resolvers import changes
from resolvers.ids import split_id
from tests.gateways import Gateway, gateway_on
from tests.services import CURL, path_of

SEEDS = Path(__file__).parent.parent / "seeds"
CUSTOMERS, BROADCAST = SEEDS / "everyprint-customers.sh", SEEDS / "everyprint-broadcast.sh"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
JSON = {"Content-Type": "application/json"}
KIM = {"messenger_id": "58918EJS", "last_name": "lil kim", "gender": "Male"}
DONE = (200, {"return_code": "111"})
FAILED = (200, {"message": "Something failed behind us: wait, then try again.", "return_code": "333"})
SECRET = "hunter2 ñ"


def wrong(message: str, status: int = 200) -> tuple[int, Any]:
    return status, {"message": message, "return_code": "222"}


async def call(gateway: Gateway, method: str, path: str, **request: Any) -> tuple[int, Any]:
    async with gateway.session.request(method, f"{gateway.url}/everyprint/api/{path}", **request) as response:
        return response.status, await response.json()


async def save(gateway: Gateway, **request: Any) -> tuple[int, Any]:
    return await call(gateway, "POST", "customer/save", **request)


async def balance(gateway: Gateway, **request: Any) -> tuple[int, Any]:
    return await call(gateway, "GET", "customer/balance", **request)


async def known(gateway: Gateway, messenger_id: str) -> Any:
    data = await gateway.data(
        """query ($id: String!) {
          customer(by: {messengerId: $id}) { lastName firstName gender phone email balance { amount } }
        }""",
        id=messenger_id,
    )
    return data["customer"]


async def everybody(gateway: Gateway) -> int:
    count: int = (await gateway.data("{ customers { totalCount } }"))["customers"]["totalCount"]
    return count


@pytest.fixture
async def open_door(settings: Settings, database_url: str) -> AsyncIterator[Gateway]:
    """A gateway with a door, on an empty database of each kind."""
    settings = settings.model_copy(update={"database_url": SecretStr(database_url), "door": UseDoor.ON})
    async with gateway_on(settings) as opened:
        yield opened


async def run(printed: str, gateway: Gateway) -> Any:
    """The curl line as it is printed, but for the host."""
    program, *arguments = shlex.split(printed.replace("http://3islabs.com", gateway.url), comments=True)
    assert program == "curl"
    process = await asyncio.create_subprocess_exec(path_of(CURL), *arguments, stdout=PIPE, stderr=PIPE)
    out, complaint = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 0, complaint.decode()
    return json.loads(out)


async def test_the_curl_lines_of_the_documents_work_as_printed(open_door: Gateway) -> None:
    to_save, to_ask = CUSTOMERS.read_text(encoding="utf-8").split("\n\n")

    assert await run(to_ask, open_door) == {
        "message": "messenger_id: No customer has this id: save the customer first.",
        "return_code": "222",
    }
    assert await run(to_save, open_door) == {"return_code": "111"}
    assert await known(open_door, "58918EJS") == {
        "lastName": "lil kim",
        "firstName": None,
        "gender": "MALE",
        "phone": None,
        "email": None,
        "balance": {"amount": "0"},
    }
    assert await run(to_ask, open_door) == {"balance": "0", "return_code": "111"}

    await open_door.storage.everyprint.add_entry("58918EJS", Decimal(5000), "paid", "1")
    assert await run(to_ask, open_door) == {"balance": "5000", "return_code": "111"}
    assert await run(to_save, open_door) == {"return_code": "111"}
    assert await run(to_ask, open_door) == {"balance": "5000", "return_code": "111"}


WAYS: dict[str, dict[str, Any]] = {
    "query": {"params": KIM},
    "form": {"data": KIM},
    "JSON": {"json": KIM},
    "JSON with a charset": {
        "data": json.dumps(KIM),
        "headers": {"Content-Type": "application/json; charset=UTF-8"},
    },
    "query and form": {"params": {"messenger_id": "58918EJS"}, "data": KIM},
    "query and JSON": {"params": {"gender": "Male"}, "json": KIM},
    "Chatfuel's names": {
        "json": {"messenger user id": "58918EJS", "last name": "lil kim", "gender": "male"},
    },
    "Chatfuel's names in a query": {
        "params": {"messenger user id": "58918EJS", "last name": "lil kim", "gender": "male"},
    },
    "both names": {"json": KIM | {"messenger user id": "58918EJS"}},
    "all that Chatfuel knows": {
        "json": KIM | {"timezone": -5, "locale": None, "tags": ["a"], "\ud800": {"deep": [True]}},
    },
    "quotes": {"data": {"messenger_id": '"58918EJS"', "last_name": "' lil kim '", "gender": " 'Male' "}},
    "a number as gender": {"json": KIM | {"gender": 0}},
    "a digit as gender": {"data": KIM | {"gender": "'0'"}},
}


async def test_every_way_to_send_saves(open_door: Gateway) -> None:
    answers, people = {}, {}
    for number, (way, request) in enumerate(WAYS.items()):
        somebody = json.loads(json.dumps(request).replace("58918EJS", f"kim{number}"))
        answers[way] = await save(open_door, **somebody)
        person = await known(open_door, f"kim{number}")
        people[way] = person and (person["lastName"], person["gender"], person["balance"]["amount"])

    assert answers == dict.fromkeys(WAYS, DONE)
    assert people == dict.fromkeys(WAYS, ("lil kim", "MALE", "0"))


async def test_every_way_to_ask_gets_the_balance(open_door: Gateway) -> None:
    await save(open_door, json=KIM | {"messenger_id": 2413659892012345678901})
    await open_door.storage.everyprint.add_entry("2413659892012345678901", Decimal("1200000.50"), "paid", "1")
    ways: dict[str, dict[str, Any]] = {
        "query": {"params": {"messenger_id": "2413659892012345678901"}},
        "quotes": {"params": {"messenger_id": "'2413659892012345678901'"}},
        "Chatfuel's name": {"params": {"messenger user id": "2413659892012345678901"}},
        "form": {"data": b"messenger_id=2413659892012345678901", "headers": FORM},
        "JSON": {"data": b'{"messenger_id": 2413659892012345678901}', "headers": JSON},
        "with what nobody asks for": {
            "params": {"messenger_id": "2413659892012345678901", "last_name": ["a", "b"], "gender": "x"}
        },
    }

    answers = {way: await balance(open_door, **request) for way, request in ways.items()}

    assert answers == dict.fromkeys(ways, (200, {"balance": "1200000.5", "return_code": "111"}))


async def test_saving_again_updates_and_keeps_what_is_not_said(open_door: Gateway) -> None:
    more = {"first name": "Kimberly", "phone": "+221 77 000 91 77", "email": "Kim@Example.com"}
    assert await save(open_door, json=KIM | more) == DONE
    assert await save(open_door, data=KIM | {"last_name": "José", "gender": "FEMALE", "phone": ""}) == DONE

    assert await known(open_door, "58918EJS") == {
        "lastName": "José",
        "firstName": "Kimberly",
        "gender": "FEMALE",
        "phone": "+221770009177",
        "email": "kim@example.com",
        "balance": {"amount": "0"},
    }


# Sending


async def planned(gateway: Gateway, answer: Any) -> list[tuple[str, str, str]]:
    """Of each delivery of a broadcast that was answered: its status, the Messenger id, the text."""
    id = answer["broadcast_id"]
    while await gateway.storage.broadcasts.step(int(split_id(id)[1]), "the test", 0):
        pass
    data = await gateway.data(
        """query ($id: ID!) { broadcast(id: $id) { channels deliveries { edges { node {
          status text recipient { messengerId }
        } } } } }""",
        id=id,
    )
    assert data["broadcast"]["channels"] == ["MESSENGER"]
    nodes = [edge["node"] for edge in data["broadcast"]["deliveries"]["edges"]]
    return sorted((node["status"], node["recipient"]["messengerId"], node["text"]) for node in nodes)


async def test_the_curl_lines_about_broadcasts_work_as_printed(open_door: Gateway) -> None:
    to_all, to_one, to_group = BROADCAST.read_text(encoding="utf-8").split("\n\n")
    assert await run(to_group, open_door) == {
        "message": "group: No group has this name.",
        "return_code": "222",
    }
    for messenger_id in ("58918EJS", "EDY6dsLD"):
        await save(open_door, data=KIM | {"messenger_id": messenger_id})
    group = await open_door.storage.everyprint.create_group("Yaounde Students")
    await open_door.storage.everyprint.add_members(group.id, [Key("everyprint", "EDY6dsLD")])

    everybody, one, students = [await run(line, open_door) for line in (to_all, to_one, to_group)]

    assert [sorted(answer) for answer in (everybody, one, students)] == [
        ["broadcast_id", "return_code"],
        ["message_id", "return_code"],
        ["broadcast_id", "return_code"],
    ]
    assert {answer["return_code"] for answer in (everybody, one, students)} == {"111"}
    prank = "This is a prank"
    assert await planned(open_door, everybody) == [
        ("QUEUED", "58918EJS", prank),
        ("QUEUED", "EDY6dsLD", prank),
    ]
    assert await planned(open_door, students) == [("QUEUED", "EDY6dsLD", prank)]
    (sent,) = open_door.chatfuel.asked
    footer = "No footer in your document, are you aware ?"
    assert (sent.path.rpartition("/users/")[2], sent.query["text"]) == ("EDY6dsLD/send", footer)
    shown = "query ($id: ID!) { message(id: $id) { text recipient { messengerId } } }"
    assert (await open_door.data(shown, id=one["message_id"]))["message"] == {
        "text": footer,
        "recipient": {"messengerId": "EDY6dsLD"},
    }


async def test_one_customer_gets_a_message_by_any_way_to_send(gateway: Gateway) -> None:
    said = {"customer_id": "58918EJS", "message": "Ready: {nobody} fills this in"}
    ways: list[tuple[str, dict[str, Any]]] = [
        ("GET", {"params": said}),
        ("GET", {"data": said}),
        ("POST", {"data": said}),
        ("POST", {"json": said}),
    ]
    for method, request in ways:
        status, answer = await call(gateway, method, "broadcast/customer", **request)
        assert (status, answer["return_code"]) == (200, "111")
    async with gateway.session.head(
        f"{gateway.url}/everyprint/api/broadcast/customer", params=said
    ) as response:
        assert response.status == 405

    assert [asked.query["text"] for asked in gateway.chatfuel.asked] == [said["message"]] * len(ways)


async def test_a_key_that_comes_again_sends_nothing_again(open_door: Gateway) -> None:
    for messenger_id in ("58918EJS", "EDY6dsLD"):
        await save(open_door, data=KIM | {"messenger_id": messenger_id})
    await open_door.storage.everyprint.create_group("Students")

    async def send(path: str, key: str, method: str = "POST", **said: str) -> tuple[int, Any]:
        """An answer without its sentence has done what was asked."""
        said = {"message": "Hola"} | said
        return await call(open_door, method, path, data=said, headers={"Idempotency-Key": key})

    async def sent() -> tuple[int, int]:
        return await open_door.storage.broadcasts.count(), len(open_door.chatfuel.asked)

    to_one = {"customer_id": "58918EJS"}
    for path, said in (("broadcast", {}), ("broadcast/customer", to_one)):
        twins = await asyncio.gather(*(send(path, '"8e03978e"', **said) for _ in range(20)))
        assert twins == [twins[0]] * 20
        assert twins[0][1]["return_code"] == "111"
        assert await send(path, "8e03978e", **said) == twins[0], "with quotes or without"
        assert (await send(path, "8E03978E", **said)) != twins[0], "another key"
    assert await sent() == (2, 2)
    assert (await send("broadcast/customer", "8e03978e", "GET", **to_one)) == twins[0]

    reused = wrong("Idempotency-Key: This key was used for something else.")
    assert await send("broadcast", "8e03978e", message="Adios") == reused
    assert await send("broadcast/group", "8e03978e", group="Students") == reused
    assert await send("broadcast/customer", "8e03978e", customer_id="EDY6dsLD") == reused
    assert await send("broadcast", "x" * 256) == wrong("Idempotency-Key: At most 255 characters; 256 given.")
    assert await send("broadcast", "") == wrong(f"Idempotency-Key: {EMPTY}")
    assert await send("broadcast/group", "new", group="None such") == wrong("group: No group has this name.")
    assert await sent() == (2, 2)
    assert (await send("broadcast/group", "new", group="Students"))[1]["return_code"] == "111", (
        "a refusal is not kept"
    )


async def test_what_is_wrong_with_a_broadcast_is_said_by_the_names_of_the_documents(gateway: Gateway) -> None:
    known = "These there are: {firstName}, {lastName}, {phone}, {email}."
    table: dict[str, tuple[str, dict[str, Any], str]] = {
        "nothing": ("broadcast", {}, f"message: {EMPTY}"),
        "too long": ("broadcast", {"message": "x" * 2001}, "message: At most 2000 characters; 2001 given."),
        "no such value": ("broadcast", {"message": "{name}"}, f"message: There is no {{name}}. {known}"),
        "a group left empty": ("broadcast/group", {"group": "''"}, f"message: {EMPTY} group: {EMPTY}"),
        "no such group": (
            "broadcast/group",
            {"group": "Yaounde Students", "message": "x"},
            "group: No group has this name.",
        ),
        "nobody": ("broadcast/customer", {}, f"message: {EMPTY} customer_id: {EMPTY}"),
        "no id": (
            "broadcast/customer",
            {"customer_id": "a-b", "message": "x"},
            "customer_id: Letters and digits only.",
        ),
    }

    answers = {name: await call(gateway, "POST", path, data=said) for name, (path, said, _) in table.items()}
    twice = await call(gateway, "POST", "broadcast", params={"message": "a"}, data={"message": "b"})

    assert answers == {name: wrong(says) for name, (_, _, says) in table.items()}
    assert twice == wrong(f"message: {TWICE}")
    assert await gateway.storage.broadcasts.count() == 0
    assert not gateway.chatfuel.asked


EMPTY = "This must not be empty."
NO_GENDER = "gender: This must be Male or Female, or 0 or 1."
TWICE = "This came twice, with different values."
NO_TEXT = "Send it as text, or as a whole number."
NO_JSON = "body: This is no JSON in UTF-8."
NEITHER = "body: Send it as application/x-www-form-urlencoded or as application/json, in UTF-8."

WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "nothing": ({}, f"{NO_GENDER} messenger_id: {EMPTY} last_name: {EMPTY}"),
    "everything wrong": (
        {
            "json": {
                "messenger_id": "a-b",
                "last_name": "x" * 51,
                "gender": "yes",
                "phone": "1",
                "email": "@",
                "first name": "\x00",
            }
        },
        f"{NO_GENDER} messenger_id: Letters and digits only. last_name: At most 50 characters; 51 given. "
        "first_name: Control characters are not accepted here. "
        "phone: This is no phone number: write it as +593999999999. email: This is no e-mail address.",
    ),
    "only quotes": ({"data": KIM | {"last_name": "''"}}, f"last_name: {EMPTY}"),
    "no gender that we know": ({"data": KIM | {"gender": "2"}}, NO_GENDER),
    "true as gender": ({"json": KIM | {"gender": True}}, f"gender: {NO_TEXT}"),
    "null": ({"json": KIM | {"last_name": None}}, f"last_name: {NO_TEXT}"),
    "a broken number": ({"json": KIM | {"messenger_id": 1.5}}, f"messenger_id: {NO_TEXT}"),
    "a list": ({"json": KIM | {"messenger_id": ["58918EJS"]}}, f"messenger_id: {NO_TEXT}"),
    "twice in query and form": ({"params": {"last_name": "other"}, "data": KIM}, f"last_name: {TWICE}"),
    "twice in query and JSON": ({"params": {"last_name": "other"}, "json": KIM}, f"last_name: {TWICE}"),
    "twice in the form": (
        {"data": FormData([*KIM.items(), ("messenger_id", "other")])},
        f"messenger_id: {TWICE}",
    ),
    "twice in the JSON": (
        {"data": json.dumps(KIM)[:-1] + ', "last_name": "other"}', "headers": JSON},
        f"last_name: {TWICE}",
    ),
    "by both names": ({"json": KIM | {"messenger user id": "other"}}, f"messenger_id: {TWICE}"),
    "NUL in the id": (
        {"data": KIM | {"messenger_id": "a\0b"}},
        "messenger_id: Control characters are not accepted here.",
    ),
    "half a character": (
        {"data": b'{"messenger_id": "1", "last_name": "\\ud800", "gender": 0}', "headers": JSON},
        "last_name: Control characters are not accepted here.",
    ),
    "no UTF-8 in the form": (
        {"data": b"messenger_id=1&gender=0&last_name=\xff", "headers": FORM},
        "body: This is no form in UTF-8.",
    ),
    "no UTF-8 behind percents": (
        {"data": b"messenger_id=1&gender=0&last_name=%ff", "headers": FORM},
        "body: This is no form in UTF-8.",
    ),
    "no UTF-8 in the JSON": ({"data": b'{"last_name": "\xff"}', "headers": JSON}, NO_JSON),
    "half a JSON": ({"data": b'{"messenger_id": ', "headers": JSON}, NO_JSON),
    "deep JSON": ({"data": b"[" * 100_000, "headers": JSON}, NO_JSON),
    "a long number": ({"data": b'{"a": ' + b"9" * 100_000 + b"}", "headers": JSON}, NO_JSON),
    "a list as JSON": ({"json": [KIM]}, "body: Send a JSON object, with a member for each parameter."),
    "text as JSON": ({"json": "x"}, "body: Send a JSON object, with a member for each parameter."),
    "plain text": ({"data": json.dumps(KIM), "headers": {"Content-Type": "text/plain"}}, NEITHER),
    "of no type": ({"data": json.dumps(KIM), "headers": {"Content-Type": ""}}, NEITHER),
    "in another charset": (
        {"data": json.dumps(KIM), "headers": {"Content-Type": "application/json; charset=latin-1"}},
        NEITHER,
    ),
    "too large": ({"data": KIM | {"more": "x" * 300_000}}, "body: It is too large."),
}


async def test_wrong_input_is_refused_with_all_that_is_wrong_and_nothing_is_written(
    open_door: Gateway,
) -> None:
    answers = {name: await save(open_door, **request) for name, (request, _) in WRONG.items()}

    assert answers == {name: wrong(says) for name, (_, says) in WRONG.items()}
    assert await everybody(open_door) == 0


async def test_an_id_that_cannot_be_is_refused_before_the_database_is_asked(open_door: Gateway) -> None:
    sent = {
        b"": EMPTY,
        b"messenger_id=%00": "Control characters are not accepted here.",
        b"messenger_id=" + b"1" * 65: "At most 64 characters; 65 given.",
        b"messenger_id=%F0%9F%90%99": "Letters and digits only.",
        b"messenger_id=1&messenger_id=2": TWICE,
    }

    answers = {form: await balance(open_door, data=form, headers=FORM) for form in sent}

    assert answers == {form: wrong(f"messenger_id: {says}") for form, says in sent.items()}


async def raw(gateway: Gateway, request: bytes) -> bytes:
    """What is answered to these bytes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(gateway.url.rpartition(":")[2]))
    with closing(writer):
        writer.write(request)
        return await asyncio.wait_for(reader.readuntil(b"}"), 10)


async def test_a_query_and_a_body_that_cannot_be_read_are_refused(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.parameters.SLOWEST_BODY", 0.1)
    line = b"GET /everyprint/api/customer/balance%s HTTP/1.1\r\nHost: localhost\r\n%s\r\n"
    sent = {
        line % (b"?messenger_id=%FF", b""): b"query: This is no form in UTF-8.",
        line % (b"", b"Content-Length: 5\r\n"): b"body: It did not arrive in time.",
        line % (b"", b"Content-Length: 5\r\nContent-Encoding: gzip\r\n")
        + b"plain": b"body: It cannot be read.",
    }

    answers = {request: await raw(gateway, request) for request in sent}

    assert [request for request, says in sent.items() if b'"%s"' % says not in answers[request]] == []


async def test_a_wrong_method_is_405(gateway: Gateway) -> None:
    async with (
        gateway.session.get(f"{gateway.url}/everyprint/api/customer/save", params=KIM) as saving,
        gateway.session.post(f"{gateway.url}/everyprint/api/customer/balance", data=KIM) as asking,
    ):
        assert (saving.status, asking.status) == (405, 405)


async def test_a_dead_database_is_333(settings: Settings) -> None:
    nowhere = SecretStr("mysql+aiomysql://me@127.0.0.1:9/x")
    settings = settings.model_copy(update={"database_url": nowhere, "door": UseDoor.ON})
    async with gateway_on(settings) as gateway:  # it cannot know whether somebody has a key
        assert await save(gateway) == FAILED
    async with gateway_on(settings.model_copy(update={"auth": UseAuth.OPEN})) as gateway:
        assert await save(gateway, data=KIM) == FAILED
        assert await balance(gateway, params=KIM) == FAILED
        assert await save(gateway) == wrong(WRONG["nothing"][1])
        said = {"message": "x", "group": "Students", "customer_id": "1"}
        for path in ("broadcast", "broadcast/group", "broadcast/customer"):
            assert await call(gateway, "POST", path, data=said) == FAILED


async def test_what_nobody_expected_is_333_and_a_line_in_the_log(
    gateway: Gateway, log_lines: list[MutableMapping[str, Any]]
) -> None:
    await save(gateway, data=KIM)
    with closing(sqlite3.connect(gateway.settings.data_dir / "switchboard.db")) as database:
        database.execute("UPDATE balance SET amount = 'plenty'")
        database.commit()

    assert await balance(gateway, params=KIM) == FAILED
    (line,) = [line for line in log_lines if line["event"] == "unexpected"]
    assert line["log_level"] == "error"


async def test_a_bot_that_leaves_does_not_cut_a_write(
    gateway: Gateway, log_lines: list[MutableMapping[str, Any]]
) -> None:
    with closing(sqlite3.connect(gateway.settings.data_dir / "switchboard.db")) as database:
        database.execute("BEGIN IMMEDIATE")  # nobody else writes for now
        saving = asyncio.create_task(save(gateway, data=KIM))
        while not changes._under_way:
            await asyncio.sleep(0.01)
        saving.cancel()
        while not [line for line in log_lines if line["event"] == "request" and line["status"] == 499]:
            await asyncio.sleep(0.01)
    await changes.all_ended()

    assert (await known(gateway, "58918EJS"))["lastName"] == "lil kim"


async def test_the_door_is_there_by_default_only_where_the_database_is_embedded(
    settings: Settings, our_mariadb_url: str
) -> None:
    shared = settings.model_copy(update={"database_url": SecretStr(our_mariadb_url)})
    there = {}
    for kind, base in {"embedded": settings, "shared": shared}.items():
        for use in UseDoor:
            async with gateway_on(base.model_copy(update={"door": use})) as gateway:
                url = f"{gateway.url}/everyprint/api/customer/save"
                async with gateway.session.post(url, data=KIM) as response:
                    there[kind, use.value] = response.status

    assert there == {
        ("embedded", "auto"): 200,
        ("embedded", "on"): 200,
        ("embedded", "off"): 404,
        ("shared", "auto"): 404,
        ("shared", "on"): 200,
        ("shared", "off"): 404,
    }


async def test_a_secret_is_required_by_header_or_query_and_never_logged(
    settings: Settings, log_lines: list[MutableMapping[str, Any]]
) -> None:
    settings = settings.model_copy(update={"door_secret": SecretStr(SECRET)})
    refused = wrong(
        "Send the secret as the header X-Switchboard-Secret or as the query parameter secret.", status=401
    )
    async with gateway_on(settings) as gateway:
        answers = {
            "none": await save(gateway, data=KIM),
            "another": await save(gateway, data=KIM, headers={"X-Switchboard-Secret": "hunter"}),
            "another in the query": await save(gateway, data=KIM, params={"secret": "\udcff"}),
            "in the body": await save(gateway, data=KIM | {"secret": SECRET}),
            "with a broken body": await save(gateway, data=b"{", headers=JSON),
        }
        assert answers == dict.fromkeys(answers, refused)
        assert await balance(gateway, params=KIM) == refused
        assert await everybody(gateway) == 0

        log_lines.clear()
        assert await save(gateway, data=KIM, headers={"X-Switchboard-Secret": SECRET}) == DONE
        assert await save(gateway, params=KIM | {"secret": SECRET}) == DONE
        assert await save(gateway, params=KIM | {"secret": SECRET, "gender": "x"}) == wrong(NO_GENDER)
        assert (await balance(gateway, params=KIM | {"secret": SECRET}))[1]["balance"] == "0"

    requests = [line for line in log_lines if line["event"] == "request"]
    assert [(line["method"], line["path"], line["status"], line["return_code"]) for line in requests] == [
        ("POST", "/everyprint/api/customer/save", 200, "111"),
        ("POST", "/everyprint/api/customer/save", 200, "111"),
        ("POST", "/everyprint/api/customer/save", 200, "222"),
        ("GET", "/everyprint/api/customer/balance", 200, "111"),
    ]
    for personal in ("58918EJS", "kim", "hunter2"):
        assert personal not in str(log_lines)


async def test_a_page_of_another_site_is_not_let_in(gateway: Gateway) -> None:
    own = gateway.url.removeprefix("http://")
    foreign = [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": f"http://{own}.evil.example"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": gateway.url, "Sec-Fetch-Site": "cross-site"},
    ]
    refused = wrong("Pages of other sites are not let in.", status=403)

    for headers in foreign:
        status, _ = await save(gateway, data=KIM, headers=headers)
        assert status == 403, headers
    assert await balance(gateway, params=KIM, headers={"Sec-Fetch-Site": "cross-site"}) == refused
    assert await everybody(gateway) == 0
    ours = {"Origin": f"http://{own}", "Sec-Fetch-Site": "same-origin"}
    assert await save(gateway, data=KIM, headers=ours) == DONE
