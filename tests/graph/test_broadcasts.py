"""Broadcasts: what is asked to be sent to many -> what is planned -> what the graph says of it then."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from time import time
from typing import Any

import pytest
from pydantic import SecretStr

from adapters.lines import Line
from adapters.poster.client import PosterSettings
from adapters.rest import Mode
from adapters.storage.audience import NO_MESSENGER_ID, NO_OPT_IN, NO_PHONE, SUPPRESSED, TOO_LONG
from adapters.storage.messages import Event, Failure, Id, State
from gateway.settings import Settings, UseAuth
from resolvers.audiences import MOST_CUSTOMERS
from resolvers.broadcasting import EMPTY
from resolvers.connections import to_cursor
from resolvers.ids import split_id, to_id
from resolvers.people import NOBODY, NOT_MIRRORED
from resolvers.sending.placeholders import KNOWN, STRAY
from tests.gateways import Gateway, gateway_on

AWA, KOFFI, YAO = (
    to_id("Customer", f"everyprint:{key}")
    for key in ("2413659892012345", "2425071184469731", "2471694408825193")
)
"""Koffi has not opted in to WhatsApp; of Yao there is no phone, and of him no first name was ever said."""
SALOME = to_id("Customer", "mercately:4880ksrqh3878")
TEMPLATE = to_id("Template", "997dd550-c8d8-4bf7-ad98-a5ac4844a1ed")
"""It takes three parameters."""
LATER = (datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)).isoformat()
HELLO = {"text": "Hello {firstName|friend}, your cards are ready"}

WHOLE = """fragment whole on Broadcast {
  id status reason progress channels tag ratePerSecond createdAt sendAt startedAt finishedAt
  audience { all customerCount group { id name } }
  counts { total queued submitted delivered seen failed expired cancelled skipped unknown }
}"""
START = f"mutation ($input: BroadcastInput!) {{ broadcast(input: $input) {{ ...whole }} }} {WHOLE}"
READ = f"query ($id: ID!) {{ broadcast(id: $id) {{ ...whole }} }} {WHOLE}"
PREVIEW = """query ($input: BroadcastInput!) { broadcastPreview(input: $input) {
  recipients unreachable byChannel { channel recipients } reasons { reason recipients }
  sample { id status channel channels text tag sendAt recipient { phone messengerId customer { id } }
    template { id } broadcast { id } history { status channel } }
} }"""
DELIVERIES = """query ($id: ID!, $status: [MessageStatus!], $first: Int, $after: String) {
  broadcast(id: $id) { deliveries(status: $status, first: $first, after: $after) {
    totalCount pageInfo { hasNextPage endCursor }
    edges { cursor node { id status channel channels text tag sendAt createdAt broadcast { id }
      recipient { phone messengerId customer { id } } template { id } failure { code }
      history { status channel reason at } } }
  } }
}"""
CHANGE = (
    """mutation ($id: ID!) { %sBroadcast(id: $id) { status reason finishedAt counts { total queued } } }"""
)
NOTHING = {
    name: 0
    for name in (
        *("total", "queued", "submitted", "delivered", "seen"),
        *("failed", "expired", "cancelled", "skipped", "unknown"),
    )
}


def input_of(**said: Any) -> dict[str, Any]:
    return {"audience": {"all": True}, "content": HELLO, "channels": ["SMS", "MESSENGER"]} | said


async def start(gateway: Gateway, **said: Any) -> Any:
    return (await gateway.data(START, input=input_of(**said)))["broadcast"]


async def preview(gateway: Gateway, **said: Any) -> Any:
    return (await gateway.data(PREVIEW, input=input_of(**said)))["broadcastPreview"]


async def read(gateway: Gateway, id: str) -> Any:
    return (await gateway.data(READ, id=id))["broadcast"]


async def change(gateway: Gateway, what: str, id: str) -> Any:
    return (await gateway.data(CHANGE % what, id=id))[f"{what}Broadcast"]


async def refused(gateway: Gateway, what: str, id: str) -> Any:
    return (await gateway.error(CHANGE % what, id=id))["extensions"]


async def page(gateway: Gateway, id: str, **asked: Any) -> Any:
    return (await gateway.data(DELIVERIES, id=id, **asked))["broadcast"]["deliveries"]


async def deliveries(gateway: Gateway, id: str, **asked: Any) -> list[Any]:
    return [edge["node"] for edge in (await page(gateway, id, **asked))["edges"]]


async def work(gateway: Gateway, id: str) -> None:
    """All that is to be done to its rows, as whoever has nothing else to do does it."""
    while await gateway.storage.broadcasts.step(key(id), "the test", int(time() * 1000)):
        pass


async def planned(gateway: Gateway, **said: Any) -> Any:
    id = (await start(gateway, **said))["id"]
    await work(gateway, id)
    return await read(gateway, id)


def key(id: str) -> int:
    return int(split_id(id)[1])


async def becomes(gateway: Gateway, message: Any, state: State, **more: Any) -> None:
    broadcast, seq = split_id(message["id"])[1].split(":")
    event = Event(state=state, channel="sms")
    assert await gateway.storage.messages.raise_to(Id(int(broadcast), int(seq)), event, **more)


def asked(gateway: Gateway) -> int:
    sandboxes = (gateway.mercately, gateway.poster, gateway.hyber, gateway.chatfuel)
    return sum(len(sandbox.asked) for sandbox in sandboxes)


# What is planned


async def test_a_broadcast_is_answered_before_it_is_planned_and_each_person_gets_their_own(
    town: Gateway,
) -> None:
    asked_for = await start(town, tag="ready", ratePerSecond=12.5)
    before = await read(town, asked_for["id"])
    await work(town, asked_for["id"])
    running = await read(town, asked_for["id"])
    assert asked(town) == 0
    sent = await deliveries(town, asked_for["id"])

    assert asked_for["audience"] == {"all": True, "customerCount": None, "group": None}
    assert (asked_for["tag"], asked_for["ratePerSecond"]) == ("ready", 12.5)
    assert (asked_for["status"], asked_for["progress"], asked_for["startedAt"]) == ("DRAFTING", 0, None)
    assert asked_for["channels"] == ["SMS", "MESSENGER"]
    assert asked_for["counts"] == NOTHING
    assert before == asked_for
    assert (running["status"], running["progress"]) == ("RUNNING", 0)
    assert running["startedAt"]
    assert running["counts"] == NOTHING | {"total": len(sent), "queued": len(sent)}

    (awa,) = [message for message in sent if message["recipient"]["customer"] == {"id": AWA}]
    assert awa == {
        "id": awa["id"],
        "status": "QUEUED",
        "channel": "SMS",
        "channels": ["SMS", "MESSENGER"],
        "text": "Hello Awa, your cards are ready",
        "tag": "ready",
        "sendAt": None,
        "createdAt": awa["createdAt"],
        "broadcast": {"id": asked_for["id"]},
        "recipient": {
            "phone": "+221770009101",
            "messengerId": "2413659892012345",
            "customer": {"id": AWA},
        },
        "template": None,
        "failure": None,
        "history": [{"status": "QUEUED", "channel": "SMS", "reason": None, "at": awa["createdAt"]}],
    }
    (yao,) = [message for message in sent if message["recipient"]["customer"] == {"id": YAO}]
    assert (yao["channel"], yao["text"]) == ("MESSENGER", "Hello Yao, your cards are ready")
    assert len({message["recipient"]["customer"]["id"] for message in sent}) == len(sent)


async def suppressing(gateway: Gateway) -> None:
    await gateway.storage.messages.suppress("+221770009101", "sms", "asked us to stop")
    await gateway.storage.messages.suppress("2471694408825193", "", "asked us to stop")


PLANS: dict[str, dict[str, Any]] = {
    "everybody, where one name is too long": {
        "content": {"text": "x" * 328 + "{firstName|friend}"},
        "channels": ["SMS"],
    },
    "on Messenger": {"channels": ["MESSENGER"], "content": {"text": "{firstName}, {email|nobody}"}},
    "who lack something": {"content": {"sms": {"text": "{email} {phone}"}}, "channels": None},
    "a template, or an SMS": {
        "content": {
            "template": {"id": TEMPLATE, "parameters": ["{firstName}", "{{x}}", "{lastName|-}"]},
            "sms": {"text": "Ready"},
        },
        "channels": ["WHATSAPP", "SMS"],
        "tag": "t",
    },
    "a template alone": {
        "content": {"template": {"id": TEMPLATE, "parameters": ["a", "b", "c"]}},
        "channels": None,
    },
    "a list": {"audience": {"customerIds": [AWA, YAO, SALOME]}},
    "later": {"sendAt": LATER},
}


@pytest.mark.parametrize("plan", PLANS)
async def test_a_preview_says_what_is_then_planned(town: Gateway, plan: str) -> None:
    await suppressing(town)
    seen = await preview(town, **PLANS[plan])
    broadcast = await planned(town, **PLANS[plan])
    sent = await deliveries(town, broadcast["id"])

    skipped = [message for message in sent if message["status"] == "SKIPPED"]
    reached = [message for message in sent if message["status"] == "QUEUED"]
    assert seen["recipients"] == broadcast["counts"]["total"] == len(sent)
    assert seen["unreachable"] == broadcast["counts"]["skipped"] == len(skipped)
    assert Counter(message["history"][0]["reason"] for message in skipped) == {
        each["reason"]: each["recipients"] for each in seen["reasons"]
    }
    assert Counter(message["channel"] for message in reached) == {
        each["channel"]: each["recipients"] for each in seen["byChannel"]
    }
    assert len(seen["sample"]) == min(5, len(reached))
    for sample in seen["sample"]:
        (same,) = [message for message in reached if message["recipient"] == sample["recipient"]]
        assert sample["broadcast"] is None
        for name in ("status", "channel", "channels", "text", "tag", "template", "sendAt"):
            assert sample[name] == same[name], name
        assert sample["history"] == [{"status": "QUEUED", "channel": sample["channel"]}]
    ids = [sample["id"] for sample in seen["sample"]]
    assert len(set(ids)) == len(ids)
    nothing = await town.data("query ($ids: [ID!]!) { nodes(ids: $ids) { id } }", ids=ids)
    assert nothing["nodes"] == [None] * len(ids)
    assert seen == await preview(town, **PLANS[plan]), "the same ids, too"


async def test_reasons_are_said_of_whom_nothing_goes_to(town: Gateway) -> None:
    await suppressing(town)
    reasons = {}
    for plan in PLANS:
        found = await preview(town, **PLANS[plan])
        reasons[plan] = {each["reason"] for each in found["reasons"]}

    assert reasons["everybody, where one name is too long"] == {TOO_LONG, NO_PHONE, SUPPRESSED}
    assert reasons["on Messenger"] == {NO_MESSENGER_ID, SUPPRESSED}
    assert reasons["who lack something"] >= {"There is no e-mail.", NO_PHONE}
    assert reasons["a template, or an SMS"] == {NO_PHONE}
    assert reasons["a template alone"] == {NO_PHONE, NO_OPT_IN}
    assert reasons["a list"] == {f"{NO_PHONE} {SUPPRESSED}"}


async def test_a_template_is_read_as_each_gets_it_and_its_own_braces_are_none_of_ours(town: Gateway) -> None:
    template = {
        "id": "1",
        "internal_id": "braces",
        "text": "{firstName} and * {",
        "status": "active",
        "template_type": "text",
    }
    town.mercately.trouble("status", path="/whatsapp_templates", status=200, body={"templates": [template]})
    content = {"template": {"id": to_id("Template", "braces"), "parameters": ["{firstName}"]}}
    said = {"audience": {"customerIds": [AWA]}, "content": content, "channels": None}
    found = await preview(town, **said)
    broadcast = await planned(town, **said)
    (message,) = await deliveries(town, broadcast["id"])

    assert message["text"] == found["sample"][0]["text"] == "{firstName} and Awa {"


async def test_where_nobody_is_there_it_is_over_at_once(town: Gateway) -> None:
    own = (await town.storage.everyprint.create_group("Nobody")).id
    broadcast = await planned(town, audience={"groupId": to_id("Group", f"everyprint:{own}")})

    assert (broadcast["status"], broadcast["progress"]) == ("COMPLETED", 1)
    assert broadcast["counts"] == NOTHING
    assert await deliveries(town, broadcast["id"]) == []


# For whom


async def test_a_group_is_said_by_its_id_or_its_name_here_and_at_poster(town: Gateway) -> None:
    (students,) = [group for group in await town.storage.everyprint.groups() if group.name == "Students"]
    own = to_id("Group", f"everyprint:{students.id}")
    marketing = (await town.data("{ groups(source: POSTER) { id name } }"))["groups"][0]

    for audience, group in (
        ({"groupId": own}, {"id": own, "name": "Students"}),
        ({"group": " Students"}, {"id": own, "name": "Students"}),
        ({"groupId": marketing["id"]}, marketing),
        ({"group": marketing["name"]}, marketing),
    ):
        broadcast = await planned(town, audience=audience)
        assert broadcast["audience"] == {"all": False, "customerCount": None, "group": group}
        assert broadcast["counts"]["total"] > 0
        members = await town.data(
            "query ($id: ID!) { group(id: $id) { customers { edges { node { id } } } } }", id=group["id"]
        )
        in_group = {edge["node"]["id"] for edge in members["group"]["customers"]["edges"]}
        sent = await deliveries(town, broadcast["id"])
        assert {message["recipient"]["customer"]["id"] for message in sent} == in_group


async def test_a_group_kept_here_is_found_by_its_name_where_poster_is_off(
    settings_of_a_town: Settings,
) -> None:
    lines = {"poster": Line(Mode.OFF, PosterSettings())}
    async with gateway_on(settings_of_a_town, lines=lines) as gateway:
        broadcast = await start(gateway, audience={"group": "Students"})

    assert broadcast["audience"]["group"]["name"] == "Students"


async def test_customers_are_named_by_any_of_their_ids_and_get_it_once(town: Gateway) -> None:
    also_awa = [
        to_id("Customer", each) for each in ("mercately:4880pbiig3874", "poster:1", "mercately-row:3874")
    ]
    broadcast = await planned(town, audience={"customerIds": [AWA, *also_awa, AWA, SALOME]})

    assert broadcast["audience"] == {"all": False, "customerCount": 2, "group": None}
    assert broadcast["counts"]["total"] == 2


async def test_who_is_not_there_is_named_and_nothing_is_kept(town: Gateway) -> None:
    await town.storage.everyprint.create_group("Twin")
    poster = (await town.data("{ groups(source: POSTER) { id name } }"))["groups"][0]
    await town.storage.everyprint.create_group(poster["name"])
    nobody = to_id("Customer", "everyprint:nobody")
    sentences: list[tuple[dict[str, Any], str, dict[str, str]]] = [
        (
            {"customerIds": [AWA, nobody, to_id("Customer", "poster:999999")]},
            "NOT_FOUND",
            {"customerIds.1": NOBODY, "customerIds.2": NOBODY},
        ),
        (
            {"customerIds": [AWA, *(to_id("Customer", f"everyprint:n{n}") for n in range(101))]},
            "NOT_FOUND",
            {f"customerIds.{n}": NOT_MIRRORED for n in range(1, 102)},
        ),
        ({"groupId": to_id("Group", "everyprint:999")}, "NOT_FOUND", {"groupId": "There is no such group."}),
        ({"groupId": to_id("Group", "poster:999")}, "NOT_FOUND", {"groupId": "There is no such group."}),
        ({"group": "students"}, "NOT_FOUND", {"group": "No group has this name."}),
        (
            {"group": poster["name"]},
            "BAD_USER_INPUT",
            {"group": "Several groups have this name: say by its id which of them you mean."},
        ),
    ]
    for audience, code, fields in sentences:
        at = {f"input.audience.{name}": sentence for name, sentence in fields.items()}
        for query in (START, PREVIEW):
            error = await town.error(query, input=input_of(audience=audience))
            assert error["extensions"] == {"code": code, "fields": at}, audience
    assert (await town.data("{ broadcasts { totalCount } }"))["broadcasts"]["totalCount"] == 0


# What is refused


REFUSED: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "everything at once": (
        {
            "audience": {"all": False},
            "content": {
                "sms": {"text": "Hello {name}"},
                "viber": {"text": "Hello {"},
                "messenger": {"text": "{firstName|}"},
                "whatsapp": {"text": "x" * 1000 + "{"},
            },
            "channels": None,
            "ratePerSecond": 0,
            "sendAt": "2999-01-01T00:00:00Z",
            "tag": "t" * 65,
            "idempotencyKey": "",
        },
        {
            "content.whatsapp.text": "At most 1000 characters; 1001 given.",
            "audience.all": "Say true, or else whom you mean.",
            "content.viber.text": STRAY,
            "content.sms.text": f"There is no {{name}}. {KNOWN}",
            "content.messenger.text": EMPTY,
            "ratePerSecond": "This must be more than 0.",
            "sendAt": "At most a year ahead.",
            "tag": "At most 64 characters; 65 given.",
            "idempotencyKey": "This must not be empty.",
        },
    ),
    "a text for all": (
        {"content": {"text": "{firstname}"}},
        {"content.text": f"There is no {{firstname}}. {KNOWN}"},
    ),
    "parameters": (
        {"content": {"template": {"id": TEMPLATE, "parameters": ["a", "{x}", "}"]}}, "channels": None},
        {
            "content.template.parameters.1": f"There is no {{x}}. {KNOWN}",
            "content.template.parameters.2": STRAY,
        },
    ),
    "an SMS that is short enough only without its placeholders": (
        {"content": {"sms": {"text": "x" * 336 + "{firstName}"}}, "channels": None},
        {"content.sms.text": "At most 335 characters where there are placeholders; 336 given without them."},
    ),
    "no channel": (
        {"channels": ["PUSH"]},
        {"channels.0": "A push needs a title too: say it under `content.push`."},
    ),
    "nobody": ({"audience": {"customerIds": []}}, {"audience.customerIds": "Give 1 to 5000 ids; 0 given."}),
    "too many": (
        {"audience": {"customerIds": ["x"] * (MOST_CUSTOMERS + 1)}},
        {"audience.customerIds": "Give 1 to 5000 ids; 5001 given."},
    ),
    "ids of other things": (
        {"audience": {"customerIds": [AWA, TEMPLATE, "?"]}},
        {
            "audience.customerIds.1": "This is the id of another type of thing, not of a Customer.",
            "audience.customerIds.2": "This is not an id of this gateway: use one that it gave.",
        },
    ),
    "no group": ({"audience": {"group": " "}}, {"audience.group": "This must not be empty."}),
    "no id of a group": (
        {"audience": {"groupId": AWA}},
        {"audience.groupId": "This is the id of another type of thing, not of a Group."},
    ),
}


async def test_everything_wrong_is_said_at_once_and_nobody_is_asked(town: Gateway) -> None:
    for what, (said, fields) in REFUSED.items():
        at = {f"input.{name}": sentence for name, sentence in fields.items()}
        for query in (START, PREVIEW):
            error = await town.error(query, input=input_of(**said))
            assert error["extensions"] == {"code": "BAD_USER_INPUT", "fields": at}, what
    assert asked(town) == 0


async def test_an_unknown_template_is_refused_and_without_mercately_none_is_planned(town: Gateway) -> None:
    content = {"template": {"id": TEMPLATE, "parameters": ["a"]}}
    town.mercately.trouble("reset")
    down = [
        await town.error(query, input=input_of(content=content, channels=None)) for query in (START, PREVIEW)
    ]
    town.mercately.heal()
    error = await town.error(START, input=input_of(content=content, channels=None))
    town.mercately.trouble("reset")
    town.poster.trouble("reset")
    by_name = await town.error(START, input=input_of(audience={"group": "Students"}))

    assert error["extensions"]["fields"] == {
        "input.content.template.parameters": "This template takes 3 parameters, 1 given."
    }
    assert [each["extensions"]["code"] for each in down] == ["SOURCE_UNAVAILABLE"] * 2
    assert (by_name["extensions"]["code"], by_name["extensions"]["source"]) == (
        "SOURCE_UNAVAILABLE",
        "POSTER",
    )
    assert (await town.data("{ broadcasts { edges { node { id } } } }"))["broadcasts"]["edges"] == []
    assert (await start(town))["status"] == "DRAFTING", "who needs neither asks neither"


async def test_without_the_database_it_says_so(settings: Settings) -> None:
    nowhere = SecretStr("mysql+aiomysql://nobody@127.0.0.1:1/nothing")
    id = to_id("Broadcast", 1)
    async with gateway_on(
        settings.model_copy(update={"database_url": nowhere, "auth": UseAuth.OPEN})
    ) as gateway:
        errors = [await gateway.error(query, input=input_of()) for query in (START, PREVIEW)]
        errors += [
            await gateway.error(CHANGE % what, id=id) for what in ("pause", "resume", "cancel", "retry")
        ]
        errors += [await gateway.error(READ, id=id)]

    down = {"code": "SOURCE_UNAVAILABLE", "source": "EVERYPRINT"}
    assert [error["extensions"] for error in errors] == [down] * 7


# A key


async def test_a_key_is_one_broadcast_and_a_replay_answers_it_as_it_is_now(town: Gateway) -> None:
    content = {"template": {"id": TEMPLATE, "parameters": ["a", "b", "c"]}}
    said: dict[str, Any] = {"content": content, "channels": None, "idempotencyKey": "k"}
    first = await start(town, **said)
    await work(town, first["id"])
    town.mercately.trouble("reset")
    again = await start(town, **said | {"tag": None})

    assert again == await read(town, first["id"])
    assert again["status"] == "RUNNING"
    for other in ({"tag": "x"}, {"audience": {"customerIds": [AWA]}}, {"channels": ["WHATSAPP"]}):
        error = await town.error(START, input=input_of(**said | other))
        assert error["extensions"] == {
            "code": "CONFLICT",
            "fields": {"input.idempotencyKey": "This key was used for something else."},
        }
    assert (await town.data("{ broadcasts { totalCount } }"))["broadcasts"]["totalCount"] == 1


async def test_twenty_requests_at_once_with_one_key_are_one_broadcast(town: Gateway) -> None:
    answers = await asyncio.gather(*(start(town, idempotencyKey="twin") for _ in range(20)))

    assert len({answer["id"] for answer in answers}) == 1


# What becomes of it


async def test_it_is_paused_resumed_and_cancelled_for_good(town: Gateway) -> None:
    broadcast = await planned(town)
    id, total = broadcast["id"], broadcast["counts"]["total"]
    first, *rest = await deliveries(town, id)
    await becomes(town, first, State.DELIVERED)

    assert (await change(town, "pause", id))["status"] == "PAUSED"
    assert (await read(town, id))["status"] == "PAUSED"
    assert (await change(town, "resume", id))["status"] == "RUNNING"
    assert (await read(town, id))["status"] == "RUNNING"
    cancelled = await change(town, "cancel", id)
    assert cancelled["status"] == "CANCELLED"
    assert cancelled["finishedAt"]
    await work(town, id)

    over = await read(town, id)
    assert over["counts"] == NOTHING | {"total": total, "delivered": 1, "cancelled": total - 1}
    assert over["progress"] == 1
    (one,) = await deliveries(town, id, status=["CANCELLED"], first=1)
    assert [event["status"] for event in one["history"]] == ["QUEUED", "CANCELLED"]
    assert len(rest) == total - 1
    assert await refused(town, "cancel", id) == {
        "code": "CONFLICT",
        "fields": {"id": "It is CANCELLED: it is over already."},
        "status": "CANCELLED",
    }


async def test_what_failed_or_expired_is_retried_when_the_rest_is_over(town: Gateway) -> None:
    broadcast = await planned(town, audience={"customerIds": [AWA, KOFFI, SALOME, YAO]})
    id = broadcast["id"]
    one, two, three, four = await deliveries(town, id)
    await becomes(town, one, State.FAILED, failure=Failure("SOURCE_REJECTED", "Hyber refused it.", "1"))
    await becomes(town, two, State.EXPIRED)
    await becomes(town, three, State.UNKNOWN)
    running = await refused(town, "retry", id)
    await becomes(town, four, State.SENT)
    await finish(town, id)
    finished = await read(town, id)
    failed = (await deliveries(town, id, status=["FAILED"]))[0]
    retried = await change(town, "retry", id)
    await work(town, id)
    again = await read(town, id)

    assert running["fields"] == {"id": "It is RUNNING: only one that is COMPLETED can be retried."}
    assert (finished["status"], finished["progress"]) == ("COMPLETED", 1)
    expected = {"total": 4, "submitted": 1, "failed": 1, "expired": 1, "unknown": 1}
    assert finished["counts"] == NOTHING | expected
    assert (failed["failure"], failed["history"][-1]["status"]) == ({"code": "SOURCE_REJECTED"}, "FAILED")
    assert (retried["status"], retried["finishedAt"]) == ("RUNNING", None)
    assert again["counts"] == NOTHING | {"total": 4, "queued": 2, "submitted": 1, "unknown": 1}
    assert again["progress"] == 0.5
    queued = await deliveries(town, id, status=["QUEUED"])
    assert [[event["status"] for event in message["history"]] for message in queued] == [
        ["QUEUED", "FAILED", "QUEUED"],
        ["QUEUED", "EXPIRED", "QUEUED"],
    ]


async def finish(gateway: Gateway, id: str) -> None:
    """As a worker does who finds nothing left to send."""
    for chunk in await gateway.storage.chunks.waiting(0, 10):
        assert await gateway.storage.chunks.claim(chunk.broadcast_id, chunk.n, "t", 0, 1)
        assert await gateway.storage.chunks.finish(chunk, "t")
    assert await gateway.storage.broadcasts.finish(key(id))


async def test_a_change_that_its_state_forbids_is_a_conflict_that_says_so(town: Gateway) -> None:
    drafting = (await start(town))["id"]
    scheduled = await planned(town, sendAt=LATER)
    empty = await planned(town, audience={"groupId": await empty_group(town)})
    pausing = "only one that is SCHEDULED or RUNNING can be paused"
    resuming = "only one that is PAUSED can be resumed"
    retrying = "only one that is COMPLETED can be retried"
    table = {
        ("pause", drafting): ("DRAFTING", f"It is DRAFTING: {pausing}."),
        ("resume", drafting): ("DRAFTING", f"It is DRAFTING: {resuming}."),
        ("retry", drafting): ("DRAFTING", f"It is DRAFTING: {retrying}."),
        ("resume", scheduled["id"]): ("SCHEDULED", f"It is SCHEDULED: {resuming}."),
        ("pause", empty["id"]): ("COMPLETED", f"It is COMPLETED: {pausing}."),
        ("cancel", empty["id"]): ("COMPLETED", "It is COMPLETED: it is over already."),
        ("retry", empty["id"]): ("COMPLETED", "Nothing of it failed or expired."),
    }

    assert (scheduled["status"], scheduled["sendAt"]) == ("SCHEDULED", LATER)
    answers = {each: await refused(town, *each) for each in table}
    assert answers == {
        each: {"code": "CONFLICT", "fields": {"id": sentence}, "status": status}
        for each, (status, sentence) in table.items()
    }
    assert (await change(town, "pause", scheduled["id"]))["status"] == "PAUSED"
    assert (await change(town, "resume", scheduled["id"]))["status"] == "SCHEDULED"
    assert (await change(town, "cancel", drafting))["status"] == "CANCELLED"
    for what in ("pause", "resume", "cancel", "retry"):
        assert await refused(town, what, to_id("Broadcast", 999)) == {
            "code": "NOT_FOUND",
            "fields": {"id": "There is no such broadcast."},
        }
        for wrong in (AWA, to_id("Broadcast", "x"), to_id("Broadcast", 2**63)):
            assert (await refused(town, what, wrong))["code"] == "BAD_USER_INPUT"


async def empty_group(gateway: Gateway) -> str:
    return to_id("Group", f"everyprint:{(await gateway.storage.everyprint.create_group('Nobody')).id}")


async def test_why_it_paused_itself_is_said_until_it_is_resumed(town: Gateway) -> None:
    id = (await planned(town))["id"]
    await town.storage.broadcasts.pause(key(id), "Hyber refuses our credentials.")

    assert (await read(town, id))["reason"] == "Hyber refuses our credentials."
    assert (await change(town, "resume", id))["reason"] is None


# What is listed


async def test_broadcasts_are_listed_newest_first(town: Gateway) -> None:
    ids = [(await start(town, tag=tag))["id"] for tag in "abc"]
    query = """query ($after: String) { broadcasts(first: 2, after: $after) {
      totalCount pageInfo { hasNextPage endCursor } edges { node { id tag counts { total } progress } }
    } }"""
    newest = (await town.data(query))["broadcasts"]
    rest = (await town.data(query, after=newest["pageInfo"]["endCursor"]))["broadcasts"]
    node = await town.data("query ($id: ID!) { node(id: $id) { __typename id } }", id=ids[0])

    assert [edge["node"]["id"] for edge in newest["edges"]] == [ids[2], ids[1]]
    assert (newest["totalCount"], newest["pageInfo"]["hasNextPage"]) == (3, True)
    assert [edge["node"]["id"] for edge in rest["edges"]] == [ids[0]]
    assert rest["pageInfo"]["hasNextPage"] is False
    assert node == {"node": {"__typename": "Broadcast", "id": ids[0]}}
    assert await read(town, to_id("Broadcast", 999)) is None
    for wrong in ("?", to_cursor("x"), to_cursor(str(2**63))):
        error = await town.error(query, after=wrong)
        assert error["extensions"]["fields"] == {
            "after": "This is not a cursor of this gateway: use one that it gave."
        }


async def test_deliveries_are_paged_and_those_of_a_status_found(town: Gateway) -> None:
    id = (await planned(town, channels=["SMS"]))["id"]
    everybody = await deliveries(town, id)
    await becomes(town, everybody[1], State.SEEN)
    await becomes(town, everybody[2], State.ACCEPTED)
    first = await page(town, id, first=2)
    rest = await page(town, id, first=50, after=first["pageInfo"]["endCursor"])
    found = {
        status: await page(town, id, status=status)
        for status in (("SEEN",), ("SUBMITTED", "SKIPPED"), ("QUEUED",), ("SCHEDULED",), ())
    }

    assert (first["totalCount"], first["pageInfo"]["hasNextPage"]) == (len(everybody), True)
    assert rest["pageInfo"]["hasNextPage"] is False
    assert [edge["node"]["id"] for edge in first["edges"] + rest["edges"]] == [
        each["id"] for each in everybody
    ]
    for status, some in found.items():
        assert {edge["node"]["status"] for edge in some["edges"]} == set(status) - {"SCHEDULED"}
        assert some["totalCount"] == len(some["edges"])
    assert sum(some["totalCount"] for some in found.values()) == len(everybody)
    (skipped, *_) = [each for each in everybody if each["status"] == "SKIPPED"]
    assert [(event["status"], event["reason"]) for event in skipped["history"]] == [("SKIPPED", NO_PHONE)]
    error = await town.error(DELIVERIES, id=id, first=101)
    assert error["extensions"]["code"] == "BAD_USER_INPUT"


async def test_a_delivery_is_a_message_like_any_other(town: Gateway) -> None:
    first = await planned(town, tag="one")
    send = """mutation { sendMessage(input: {to: {phone: "+221770009101"}, content: {sms: {text: "s"}}}) {
      id broadcast { id } } }"""
    alone = (await town.data(send))["sendMessage"]
    second = await planned(town, tag="two", audience={"customerIds": [AWA]})
    query = """query ($id: ID!, $after: String) { customer(by: {id: $id}) {
      messages(first: 2, after: $after) {
      totalCount pageInfo { endCursor } edges { node { id text broadcast { id tag } } } } } }"""
    newest = (await town.data(query, id=AWA))["customer"]["messages"]
    rest = (await town.data(query, id=AWA, after=newest["pageInfo"]["endCursor"]))["customer"]["messages"]
    (delivery,) = await deliveries(town, second["id"])
    node = "query ($id: ID!) { node(id: $id) { ... on Message { text broadcast { id } } } }"
    cancel = (
        "mutation ($id: ID!) { cancelMessage(id: $id) { status text broadcast { counts { cancelled } } } }"
    )

    assert alone["broadcast"] is None
    messages = [edge["node"] for edge in newest["edges"] + rest["edges"]]
    assert [message["broadcast"] and message["broadcast"]["tag"] for message in messages] == [
        "two",
        None,
        "one",
    ]
    assert newest["totalCount"] == 3
    assert messages[0]["id"] == delivery["id"]
    text = "Hello Awa, your cards are ready"
    assert [messages[0]["text"], messages[2]["text"]] == [text, text]
    assert (await town.data(node, id=delivery["id"]))["node"] == {
        "text": text,
        "broadcast": {"id": second["id"]},
    }
    assert (await town.data(cancel, id=delivery["id"]))["cancelMessage"] == {
        "status": "CANCELLED",
        "text": text,
        "broadcast": {"counts": {"cancelled": 1}},
    }
    assert first["id"] != second["id"]
