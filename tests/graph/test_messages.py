"""Messages: what is asked to be sent -> what the vendors take -> what the graph says of it then."""

import asyncio
from datetime import UTC, datetime, timedelta
from time import perf_counter
from typing import Any

import pytest
from pydantic import SecretStr

from adapters.hyber import sandbox as phones
from adapters.hyber.client import HyberSettings
from adapters.lines import Line
from adapters.rest import Mode
from gateway.settings import Settings, UseAuth
from resolvers.connections import to_cursor
from resolvers.content import NO_ALPHA_NAME, NO_TITLE
from resolvers.ids import to_id
from resolvers.outbox import NO_TEMPLATE
from resolvers.sending import cascade
from tests.gateways import Gateway, gateway_on

AWA = {
    "id": to_id("Customer", "everyprint:2413659892012345"),
    "phone": "+221770009101",
    "messengerId": "2413659892012345",
}
KOFFI, FAMILY, YAO = "mercately:4880axmzg3876", "everyprint:2452740681935517", "everyprint:2471694408825193"
"""Koffi has not opted in to WhatsApp; of one of the family there is no phone, of Yao neither."""
TEMPLATE = to_id("Template", "997dd550-c8d8-4bf7-ad98-a5ac4844a1ed")
"""It takes three parameters."""

WHOLE = """fragment whole on Message {
  id status channel channels text tag sendAt createdAt
  recipient { phone messengerId customer { id } } template { id } failure { code message vendorCode }
  history { status channel reason }
}"""
SEND = f"mutation ($input: SendMessageInput!) {{ sendMessage(input: $input) {{ ...whole }} }} {WHOLE}"
READ = f"query ($id: ID!) {{ message(id: $id) {{ ...whole }} }} {WHOLE}"
CANCEL = f"mutation ($id: ID!) {{ cancelMessage(id: $id) {{ ...whole }} }} {WHOLE}"
SUPPRESS = """mutation ($address: String!, $channel: Channel) {
  suppress(address: $address, channel: $channel, reason: "Asked us to stop") {
    address channel reason createdAt
  }
}"""
UNSUPPRESS = (
    "mutation ($address: String!, $channel: Channel) { unsuppress(address: $address, channel: $channel) }"
)


def input_of(to: dict[str, str] | str = AWA["phone"], **said: Any) -> dict[str, Any]:
    recipient = {"phone": to} if isinstance(to, str) else to
    return {"to": recipient, "content": {"sms": {"text": "Ready to be fetched"}}} | said


async def send(gateway: Gateway, *to: dict[str, str] | str, **said: Any) -> Any:
    return (await gateway.data(SEND, input=input_of(*to, **said)))["sendMessage"]


async def read(gateway: Gateway, id: str) -> Any:
    return (await gateway.data(READ, id=id))["message"]


def statuses(message: dict[str, Any]) -> list[tuple[str, str | None]]:
    return [(event["status"], event["channel"]) for event in message["history"]]


def taken(gateway: Gateway) -> tuple[int, int, int]:
    return len(gateway.hyber.accepted), len(gateway.mercately.accepted), len(gateway.chatfuel.accepted)


def asked(gateway: Gateway) -> int:
    sandboxes = (gateway.mercately, gateway.poster, gateway.hyber, gateway.chatfuel)
    return sum(len(sandbox.asked) for sandbox in sandboxes)


# What is sent


async def test_a_message_is_sent_and_reads_as_it_was_answered(town: Gateway) -> None:
    sent = await send(town, " 00221 77 000 91 01", tag="orders", divisionCode="print")

    assert (sent["status"], sent["channel"], sent["channels"]) == ("SUBMITTED", "SMS", ["SMS"])
    assert (sent["text"], sent["tag"], sent["sendAt"]) == ("Ready to be fetched", "orders", None)
    assert sent["recipient"] == {
        "phone": AWA["phone"],
        "messengerId": None,
        "customer": {"id": AWA["id"]},
    }
    assert statuses(sent) == [("QUEUED", "SMS"), ("SUBMITTED", "SMS")]
    body = town.hyber.asked[-1].body
    assert (body["phone_number"], body["tag"], body["division_code"]) == (221770009101, "orders", "print")
    assert body["channel_options"] == {
        "sms": {"text": "Ready to be fetched", "ttl": 259_200, "ctr": False, "alpha_name": "GMSU"}
    }
    assert await read(town, sent["id"]) == sent
    node = await town.data("query ($id: ID!) { node(id: $id) { __typename id } }", id=sent["id"])
    assert node == {"node": {"__typename": "Message", "id": sent["id"]}}


EVERYTHING = {
    "push": {
        "text": "p",
        "title": "t",
        "image": "https://a.example/i.png",
        "caption": "c",
        "action": "https://a.example",
    },
    "viber": {"text": "v", "device": "PHONE", "alphaName": "Shop", "ttl": 60, "trackClicks": True},
    "whatsapp": {"latitude": 50.43882, "longitude": -0.1277, "trackClicks": None},
    "sms": {"text": "s", "alphaName": "Me", "ttl": 300},
}


async def test_each_channel_of_hyber_says_its_own_in_one_request(town: Gateway) -> None:
    sent = await send(town, content=EVERYTHING)

    assert sent["channels"] == ["PUSH", "VIBER", "WHATSAPP", "SMS"]
    assert (sent["status"], sent["channel"], sent["text"]) == ("SUBMITTED", "PUSH", "p")
    body = town.hyber.asked[-1].body
    assert body["channels"] == ["push", "viber", "whatsapp", "sms"]
    assert body["channel_options"] == {
        "push": {
            "text": "p",
            "title": "t",
            "img": "https://a.example/i.png",
            "caption": "c",
            "action": "https://a.example",
            "ttl": 86_400,
            "ctr": False,
        },
        "viber": {"text": "v", "device": "phone", "alpha_name": "Shop", "ttl": 60, "ctr": True},
        "whatsapp": {"latitude": "50.438820", "longitude": "-0.127700", "ttl": 604_800, "ctr": False},
        "sms": {"text": "s", "alpha_name": "Me", "ttl": 300, "ctr": False},
    }
    assert taken(town) == (1, 0, 0)


async def test_one_text_is_for_every_channel_but_push(town: Gateway) -> None:
    everywhere = await send(town, {"customerId": AWA["id"]}, content={"text": "Hola"})
    some = await send(town, channels=["SMS", "VIBER"], content={"text": "Hola", "viber": {"text": "Hi"}})

    assert everywhere["channels"] == ["VIBER", "WHATSAPP", "SMS", "MESSENGER"]
    assert everywhere["text"] == "Hola"
    assert some["channels"] == ["SMS", "VIBER"]
    options = town.hyber.asked[-1].body["channel_options"]
    assert {name: option["text"] for name, option in options.items()} == {"sms": "Hola", "viber": "Hi"}


async def test_a_template_goes_through_mercately_with_what_is_to_be_known_of_the_customer(
    town: Gateway,
) -> None:
    sent = await send(
        town,
        content={"template": {"id": TEMPLATE, "parameters": ["a", "b", "c"]}, "sms": {"text": "s"}},
        agentId=to_id("Agent", 2763),
        tags=[{"name": "VIP"}, {"name": "Mayorista", "add": False}],
        customer={
            "firstName": "Awa",
            "email": "awa@example.com",
            "address": {"city": "Dakar"},
            "notes": None,
        },
    )

    assert (sent["status"], sent["channel"], sent["channels"]) == (
        "SUBMITTED",
        "WHATSAPP",
        ["WHATSAPP", "SMS"],
    )
    assert sent["template"] == {"id": TEMPLATE}
    assert sent["text"] == town.mercately.accepted[0].text
    (body,) = (asked.body for asked in town.mercately.asked if asked.method == "POST")
    assert body["template_params"] == ["a", "b", "c"]
    assert (body["agent_id"], body["first_name"], body["city"]) == (2763, "Awa", "Dakar")
    assert "notes" not in body
    assert taken(town) == (0, 1, 0)


async def test_messenger_goes_through_the_bot(town: Gateway) -> None:
    sent = await send(town, {"messengerId": AWA["messengerId"]}, content={"messenger": {"text": "Bonjour"}})

    assert (sent["status"], sent["channel"]) == ("SUBMITTED", "MESSENGER")
    assert sent["recipient"] == {
        "phone": None,
        "messengerId": AWA["messengerId"],
        "customer": {"id": AWA["id"]},
    }
    (accepted,) = town.chatfuel.accepted
    assert (accepted.user_id, accepted.attributes) == (AWA["messengerId"], {"text": "Bonjour"})


@pytest.mark.parametrize(
    "key", ["everyprint:2413659892012345", "mercately:4880pbiig3874", "poster:1", "mercately-row:3874"]
)
async def test_a_customer_is_reached_by_any_of_their_ids(town: Gateway, key: str) -> None:
    town.mercately.trouble("reset")
    town.poster.trouble("reset")
    mutation = """mutation ($input: SendMessageInput!) {
      sendMessage(input: $input) { status recipient { phone messengerId } }
    }"""
    data = await town.data(mutation, input=input_of({"customerId": to_id("Customer", key)}))

    assert data["sendMessage"] == {
        "status": "SUBMITTED",
        "recipient": {"phone": AWA["phone"], "messengerId": AWA["messengerId"]},
    }


# Channels on which somebody cannot be reached


async def test_channels_on_which_nobody_can_be_reached_are_skipped_and_the_history_says_why(
    town: Gateway,
) -> None:
    content = {"text": "Hola"}
    by_phone = await send(town, content=content)
    by_messenger = await send(town, {"messengerId": AWA["messengerId"]}, content=content)
    without_opt_in = await send(town, {"customerId": to_id("Customer", KOFFI)}, content=content)
    same_phone = await send(town, "+22890009103", content=content, channels=["WHATSAPP", "SMS"])

    assert by_phone["history"][:2] == [
        {"status": "SKIPPED", "channel": "MESSENGER", "reason": cascade.NO_MESSENGER_ID},
        {"status": "QUEUED", "channel": "VIBER", "reason": None},
    ]
    assert [event["reason"] for event in by_messenger["history"][:3]] == [cascade.NO_PHONE] * 3
    assert (by_messenger["channel"], by_messenger["status"]) == ("MESSENGER", "SUBMITTED")
    skipped = {"status": "SKIPPED", "channel": "WHATSAPP", "reason": cascade.NO_OPT_IN}
    assert without_opt_in["history"][0] == same_phone["history"][0] == skipped
    assert [list(asked.body["channels"]) for asked in town.hyber.asked] == [
        ["viber", "whatsapp", "sms"],
        ["viber", "sms"],
        ["sms"],
    ]


async def test_who_can_be_reached_nowhere_is_skipped_at_once(town: Gateway) -> None:
    sent = await send(town, {"customerId": to_id("Customer", YAO)}, channels=["SMS"])
    later = {"sendAt": (datetime.now(UTC) + timedelta(days=1)).isoformat()}
    also_later = await send(town, {"customerId": to_id("Customer", FAMILY)}, **later)

    assert (sent["status"], also_later["status"], sent["channel"]) == ("SKIPPED", "SKIPPED", None)
    assert sent["history"] == [{"status": "SKIPPED", "channel": "SMS", "reason": cascade.NO_PHONE}]
    assert sent["recipient"]["messengerId"] == "2471694408825193"
    assert asked(town) == 0


@pytest.mark.parametrize("channel", [None, "SMS"])
async def test_who_is_suppressed_gets_nothing_until_it_is_taken_back(
    town: Gateway, channel: str | None
) -> None:
    said = {"address": "00221 77 000 9101", "channel": channel}
    (suppressed,) = (await town.data(SUPPRESS, **said)).values()
    refused = await send(town)
    both = await send(town, content={"text": "Hola"}, channels=["VIBER", "SMS"])

    assert (suppressed["address"], suppressed["channel"]) == (AWA["phone"], channel)
    assert suppressed["reason"] == "Asked us to stop"
    assert refused["status"] == "SKIPPED"
    assert both["status"] == ("SKIPPED" if channel is None else "SUBMITTED")
    assert [asked.body["channels"] for asked in town.hyber.asked] == ([] if channel is None else [["viber"]])
    assert (await town.data(UNSUPPRESS, **said))["unsuppress"] is True
    assert (await town.data(UNSUPPRESS, **said))["unsuppress"] is False
    assert (await send(town))["status"] == "SUBMITTED"


async def test_a_messenger_id_is_suppressed_as_what_it_is(town: Gateway) -> None:
    (suppressed,) = (await town.data(SUPPRESS, address=AWA["messengerId"], channel=None)).values()
    sent = await send(town, {"messengerId": AWA["messengerId"]}, content={"messenger": {"text": "Bonjour"}})

    assert suppressed["address"] == AWA["messengerId"]
    assert sent["status"] == "SKIPPED"
    assert taken(town) == (0, 0, 0)


# A key


async def test_a_key_is_one_message_and_a_replay_answers_it_as_it_is_now(town: Gateway) -> None:
    content = {"template": {"id": TEMPLATE, "parameters": ["a", "b", "c"]}}
    said: dict[str, Any] = {
        "content": content,
        "idempotencyKey": "k",
        "to": {"customerId": AWA["id"]},
        "tag": None,
    }
    first = await send(town, **said)
    town.mercately.trouble("reset")
    short = "mutation ($input: SendMessageInput!) { sendMessage(input: $input) { id status text } }"
    again = await town.data(short, input=input_of(**said | {"channels": None}))

    assert first["status"] == "SUBMITTED"
    assert again["sendMessage"] == {name: first[name] for name in ("id", "status", "text")}
    town.mercately.heal()
    for other in ({"tag": "x"}, {"to": {"phone": AWA["phone"]}}, {"channels": ["WHATSAPP"]}):
        error = await town.error(SEND, input=input_of(**said | other))
        assert error["extensions"] == {
            "code": "CONFLICT",
            "fields": {"input.idempotencyKey": "This key was used for something else."},
        }
    assert taken(town) == (0, 1, 0)
    assert (await send(town, idempotencyKey="K"))["id"] != first["id"], "another key"


async def test_fifty_requests_at_once_with_one_key_are_one_message(town: Gateway) -> None:
    answers = await asyncio.gather(*(send(town, idempotencyKey="twin") for _ in range(50)))

    assert len({answer["id"] for answer in answers}) == 1
    assert {answer["status"] for answer in answers} <= {"QUEUED", "SUBMITTED"}
    assert taken(town) == (1, 0, 0)


# What is refused


REFUSED: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "everything at once": (
        {
            "to": {"phone": "12"},
            "content": {
                "viber": {"text": "v", "ttl": 5, "image": "nowhere"},
                "sms": {"text": "я" * 336, "alphaName": "far too long a name"},
                "messenger": {"text": " "},
            },
            "sendAt": "2999-01-01T00:00:00Z",
            "tag": "t" * 65,
            "divisionCode": "d" * 101,
            "agentId": to_id("Agent", 2763),
            "tags": [{"name": "VIP"}],
            "customer": {"firstName": "Awa"},
            "idempotencyKey": "",
        },
        {
            "input.to.phone": "This is no phone number: write it as +593999999999.",
            "input.content.viber.ttl": "Between 40 and 86400 seconds; 5 given.",
            "input.content.viber.image": "This is no address: write it as https://example.com/page.",
            "input.content.sms.text": "At most 335 characters where one of them is not in the GSM alphabet; "
            "336 given.",
            "input.content.sms.alphaName": "At most 11 characters; 19 given.",
            "input.content.messenger.text": "This must not be empty.",
            "input.sendAt": "At most a year ahead.",
            "input.tag": "At most 64 characters; 65 given.",
            "input.divisionCode": "At most 100 characters; 101 given.",
            "input.agentId": NO_TEMPLATE,
            "input.tags": NO_TEMPLATE,
            "input.customer": NO_TEMPLATE,
            "input.idempotencyKey": "This must not be empty.",
        },
    ),
    "nothing to say": (
        {"content": {}},
        {"input.content": "Say something: a text, a template, or what each channel is to say."},
    ),
    "channels without content": (
        {"channels": ["SMS", "PUSH", "VIBER", "SMS"], "content": {"sms": {"text": "s"}}},
        {
            "input.channels.1": NO_TITLE,
            "input.channels.2": "There is nothing to say there.",
            "input.channels.3": "Each channel once.",
        },
    ),
    "no channel": ({"channels": []}, {"input.channels": "Name one at least, or leave this out."}),
    "a text too long": (
        {"content": {"text": "x" * 2001}, "channels": ["MESSENGER", "SMS"]},
        {"input.content.text": "At most 765 characters; 2001 given."},
    ),
    "a push without its words": (
        {"content": {"push": {"text": "", "title": " "}}},
        {
            "input.content.push.text": "This must not be empty.",
            "input.content.push.title": "This must not be empty.",
        },
    ),
    "a file with a text": (
        {"content": {"viber": {"text": "v", "fileName": "order"}}},
        {
            "input.content.viber.fileName": "A file's name ends with what it is, such as .pdf, .docx "
            "or .xlsx.",
            "input.content.viber.action": "Say where the file is.",
            "input.content.viber.text": "Leave this out: a file goes alone.",
        },
    ),
    "half a place": (
        {"content": {"whatsapp": {"latitude": 91.5, "ttl": 60}}},
        {
            "input.content.whatsapp.ttl": "WhatsApp takes 604800 seconds and nothing else.",
            "input.content.whatsapp.latitude": "A number between -90 and 90.",
            "input.content.whatsapp.longitude": "A place needs both its latitude and its longitude.",
        },
    ),
    "a template and a session": (
        {"content": {"whatsapp": {"text": "w"}, "template": {"id": "?", "parameters": ["a", ""]}}},
        {
            "input.content.whatsapp": "Either this or a template, not both.",
            "input.content.template.id": "This is not an id of this gateway: use one that it gave.",
            "input.content.template.parameters.1": "This must not be empty.",
        },
    ),
    "wrong about the customer": (
        {
            "content": {"template": {"id": TEMPLATE, "parameters": []}},
            "agentId": TEMPLATE,
            "tags": [{"name": "VIP"}, {"name": "VIP", "add": False}, {"name": ""}],
            "customer": {"email": "nobody", "address": {"city": "\0"}},
        },
        {
            "input.agentId": "This is the id of another type of thing, not of an Agent.",
            "input.tags.1.name": "Each tag once.",
            "input.tags.2.name": "This must not be empty.",
            "input.customer.email": "This is no e-mail address.",
            "input.customer.address.city": "Control characters are not accepted here.",
        },
    ),
    "a template that is not asked for": (
        {
            "content": {"template": {"id": TEMPLATE, "parameters": []}, "sms": {"text": "s"}},
            "channels": ["SMS"],
            "agentId": to_id("Agent", 2763),
        },
        {"input.agentId": NO_TEMPLATE},
    ),
    "no zone": (
        {"sendAt": "2026-12-24T18:00:00"},
        {"input.sendAt": "Say the zone too, as in 2026-12-24T18:00:00Z."},
    ),
    "a phone left empty": ({"to": {"phone": " "}}, {"input.to.phone": "This must not be empty."}),
    "no messenger id": ({"to": {"messengerId": "a-b"}}, {"input.to.messengerId": "Letters and digits only."}),
    "no id of a customer": (
        {"to": {"customerId": TEMPLATE}},
        {"input.to.customerId": "This is the id of another type of thing, not of a Customer."},
    ),
    "blanks around a key": (
        {"idempotencyKey": "k "},
        {"input.idempotencyKey": "Leave out the blanks around this."},
    ),
}


async def test_everything_wrong_is_said_at_once_and_nobody_is_asked(town: Gateway) -> None:
    for what, (said, fields) in REFUSED.items():
        error = await town.error(SEND, input=input_of(**said))
        assert error["extensions"] == {"code": "BAD_USER_INPUT", "fields": fields}, what
    for said in ({"address": " ", "channel": None}, {"address": "a-b", "channel": "MESSENGER"}):
        error = await town.error(SUPPRESS, **said)
        assert error["extensions"]["code"] == "BAD_USER_INPUT"
        assert list(error["extensions"]["fields"]) == ["address"]
    assert asked(town) == 0


async def test_what_only_mercately_can_tell_is_refused_before_anything_is_sent(town: Gateway) -> None:
    error = await town.error(
        SEND,
        input=input_of(
            content={"template": {"id": TEMPLATE, "parameters": ["a"]}},
            agentId=to_id("Agent", 1),
            tags=[{"name": "VIP"}, {"name": "Nobody's"}],
        ),
    )
    other = {"template": {"id": to_id("Template", "other"), "parameters": []}}
    unknown = await town.error(SEND, input=input_of(content=other))
    nobody = await town.error(SEND, input=input_of({"customerId": to_id("Customer", "everyprint:nobody")}))

    assert error["extensions"]["fields"] == {
        "input.content.template.parameters": "This template takes 3 parameters, 1 given.",
        "input.agentId": "There is no such agent.",
        "input.tags.1.name": "Nobody at Mercately has this tag, as far as the directory knows: "
        "see how it is spelled.",
    }
    assert unknown["extensions"]["fields"] == {"input.content.template.id": "There is no such template."}
    assert (nobody["extensions"]["code"], list(nobody["extensions"]["fields"])) == (
        "NOT_FOUND",
        ["input.to.customerId"],
    )
    assert taken(town) == (0, 0, 0)


# Vendors in trouble


async def test_the_answer_comes_within_a_second_though_the_vendor_takes_ten(town: Gateway) -> None:
    await send(town)  # what is done once is done
    town.hyber.trouble("delay", seconds=10)
    started = perf_counter()
    sent = await send(town)

    assert perf_counter() - started < 1
    assert (sent["status"], statuses(sent)) == ("QUEUED", [("QUEUED", "SMS")])
    error = await town.error(CANCEL, id=sent["id"])
    assert error["extensions"] == {
        "code": "CONFLICT",
        "fields": {"id": "It is going out at this moment."},
        "status": "QUEUED",
    }


async def test_nor_does_a_template_wait_for_mercately(town: Gateway) -> None:
    content = {"template": {"id": TEMPLATE, "parameters": ["a", "b", "c"]}}
    await send(town, content=content)
    town.mercately.trouble("delay", seconds=10)
    started = perf_counter()
    bare = "mutation ($input: SendMessageInput!) { sendMessage(input: $input) { status text } }"
    sent = await town.data(bare, input=input_of(content=content))

    assert perf_counter() - started < 1
    assert sent["sendMessage"] == {"status": "QUEUED", "text": None}


async def test_a_vendor_that_is_down_leaves_the_message_waiting_and_one_that_says_no_fails_it(
    town: Gateway,
) -> None:
    refused = await send(town, f"+59399000{phones.REFUSED}")
    town.hyber.trouble("status", status=429, times=1)
    waiting = [await send(town), await send(town)]  # one was told to slow down, and so does the next
    doubtful = await send(
        town, {"messengerId": AWA["messengerId"]}, content={"messenger": {"text": "Bonjour"}}
    )
    town.chatfuel.trouble("drop")
    unknown = await send(
        town, {"messengerId": AWA["messengerId"]}, content={"messenger": {"text": "Bonjour"}}
    )

    assert [each["status"] for each in waiting] == ["QUEUED", "QUEUED"]
    assert (refused["status"], refused["failure"]) == (
        "FAILED",
        {
            "code": "SOURCE_REJECTED",
            "message": "Hyber refused the phone number.",
            "vendorCode": "36024",
        },
    )
    assert (doubtful["status"], unknown["status"], unknown["failure"]) == ("SUBMITTED", "UNKNOWN", None)


async def test_without_mercately_no_template_is_sent_or_kept(town: Gateway) -> None:
    town.mercately.trouble("reset")
    content = {"template": {"id": TEMPLATE, "parameters": ["a", "b", "c"]}}
    error = await town.error(SEND, input=input_of(content=content, idempotencyKey="k"))
    town.mercately.heal()

    assert error["extensions"]["code"] == "SOURCE_UNAVAILABLE"
    assert (await send(town, content=content, idempotencyKey="k"))["status"] == "SUBMITTED"


async def test_without_hyber_an_sms_has_to_say_whom_it_comes_from_and_fails(settings: Settings) -> None:
    lines = {"hyber": Line(Mode.OFF, HyberSettings())}
    async with gateway_on(settings, lines=lines) as gateway:
        error = await gateway.error(SEND, input=input_of())
        sent = await send(gateway, content={"sms": {"text": "s", "alphaName": "Me"}})

    assert error["extensions"]["fields"] == {"input.content.sms.alphaName": NO_ALPHA_NAME}
    assert (sent["status"], sent["failure"]["code"]) == ("FAILED", "SOURCE_MISCONFIGURED")


async def test_without_the_database_nothing_is_sent(settings: Settings) -> None:
    nowhere = SecretStr("mysql+aiomysql://nobody@127.0.0.1:1/nothing")
    async with gateway_on(
        settings.model_copy(update={"database_url": nowhere, "auth": UseAuth.OPEN})
    ) as gateway:
        errors = [
            await gateway.error(SEND, input=input_of()),
            await gateway.error(CANCEL, id=to_id("Message", "0:1")),
            await gateway.error(SUPPRESS, address=AWA["phone"]),
        ]

        assert asked(gateway) == 0
    down = {"code": "SOURCE_UNAVAILABLE", "source": "EVERYPRINT"}
    assert [error["extensions"] for error in errors] == [down] * 3


# Later


async def test_what_is_to_be_sent_later_waits_and_can_be_cancelled(town: Gateway) -> None:
    moment = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    sent = await send(town, sendAt=moment.isoformat())
    past = await send(town, sendAt="2020-01-01T00:00:00Z")
    cancelled = (await town.data(CANCEL, id=sent["id"]))["cancelMessage"]

    assert (sent["status"], datetime.fromisoformat(sent["sendAt"])) == ("SCHEDULED", moment)
    assert statuses(sent) == [("SCHEDULED", "SMS")]
    assert (past["status"], past["sendAt"]) == ("SUBMITTED", None)
    assert cancelled["status"] == "CANCELLED"
    assert statuses(cancelled) == [("SCHEDULED", "SMS"), ("CANCELLED", None)]
    assert await read(town, sent["id"]) == cancelled
    assert taken(town) == (1, 0, 0)
    for id, sentence, status in (
        (sent["id"], "It is over: CANCELLED.", "CANCELLED"),
        (past["id"], "It has gone out already.", "SUBMITTED"),
    ):
        error = await town.error(CANCEL, id=id)
        assert error["extensions"] == {"code": "CONFLICT", "fields": {"id": sentence}, "status": status}


async def test_what_is_not_there_is_null_or_not_found(town: Gateway) -> None:
    nobodys = to_id("Message", "0:1")

    assert await read(town, nobodys) is None
    assert (await town.error(CANCEL, id=nobodys))["extensions"] == {
        "code": "NOT_FOUND",
        "fields": {"id": "There is no such message."},
    }
    for wrong in (TEMPLATE, to_id("Message", "1"), to_id("Message", f"0:{2**63}")):
        assert (await town.error(READ, id=wrong))["extensions"]["code"] == "BAD_USER_INPUT"
        assert (await town.error(CANCEL, id=wrong))["extensions"]["code"] == "BAD_USER_INPUT"


# Of a person


async def test_a_customer_has_what_was_sent_to_any_of_their_addresses_newest_first(town: Gateway) -> None:
    one = await send(town)
    two = await send(town, {"messengerId": AWA["messengerId"]}, content={"messenger": {"text": "Bonjour"}})
    three = await send(town, {"customerId": AWA["id"]})
    await send(town, "+22890009103")
    query = """query ($id: ID!, $after: String) { customer(by: {id: $id}) {
      messages(first: 2, after: $after) {
        totalCount edges { cursor node { id history { status } } } pageInfo { hasNextPage endCursor }
      }
    } }"""
    first = (await town.data(query, id=AWA["id"]))["customer"]["messages"]
    rest = (await town.data(query, id=AWA["id"], after=first["pageInfo"]["endCursor"]))["customer"][
        "messages"
    ]

    assert [edge["node"]["id"] for edge in first["edges"]] == [three["id"], two["id"]]
    assert (first["totalCount"], first["pageInfo"]["hasNextPage"]) == (3, True)
    assert [event["status"] for event in first["edges"][0]["node"]["history"]] == ["QUEUED", "SUBMITTED"]
    assert [edge["node"]["id"] for edge in rest["edges"]] == [one["id"]]
    assert rest["pageInfo"]["hasNextPage"] is False
    for wrong in ("?", to_cursor("0"), to_cursor("0:x")):
        error = await town.error(query, id=AWA["id"], after=wrong)
        assert error["extensions"]["fields"] == {
            "after": "This is not a cursor of this gateway: use one that it gave."
        }


async def test_an_address_of_nobody_has_no_customer(town: Gateway) -> None:
    sent = await send(town, "+593990009999")

    assert (sent["status"], sent["recipient"]["customer"]) == ("SUBMITTED", None)
