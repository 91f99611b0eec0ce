"""A WhatsApp template sent through Mercately: the documented requests, and each answer told apart."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from adapters.errors import (
    Busy,
    Fault,
    Malformed,
    Misconfigured,
    Rejected,
    SourceError,
    Unacceptable,
    Unavailable,
)
from adapters.mercately.client import Mercately
from adapters.mercately.sandbox import NO_BALANCE, NOT_DELIVERED, NOT_OPTED_IN, Accepted, MercatelySandbox

SEED = json.loads((Path(__file__).parents[1] / "seeds" / "mercately.json").read_text(encoding="utf-8"))
OTP = "997dd550-c8d8-4bf7-ad98-a5ac4844a1ed"
PHONE = "+593999999999"
SENT = "/whatsapp/send_notification_by_id"
PARAMETERS = ("test 1", "test 2", "test 3")
DETAILS = {
    "first_name": "First Name",
    "last_name": "Last Name",
    "email": "email@email.com",
    "address": "Customer address",
    "city": "Customer city",
    "state": "Customer state",
    "zip_code": "12345",
    "notes": "Notes related to the customer",
}


async def refused(
    client: Mercately,
    phone: str = PHONE,
    template: str = OTP,
    parameters: Sequence[str] = PARAMETERS,
    **more: Any,
) -> SourceError:
    with pytest.raises(SourceError) as caught:
        await client.send_template(phone, template, parameters, **more)
    return caught.value


# The first of the documented seven has no template, without which we ask nothing.
DOCUMENTED: Sequence[tuple[str, Sequence[str], Mapping[str, Any]]] = (
    ("xxxxxxxxxxxxxxx", (), {}),
    (OTP, PARAMETERS[:2], {}),
    (OTP, PARAMETERS, {}),
    (OTP, PARAMETERS, {"agent_id": 2786}),
    (OTP, PARAMETERS, {"agent_id": 2788, "tags": {"repellat": True}}),
    (OTP, PARAMETERS, {"details": DETAILS}),
)


@pytest.mark.parametrize(
    ("documented", "call"), list(zip(SEED["notifications"][1:], DOCUMENTED, strict=True))
)
async def test_each_documented_request_is_sent_to_the_letter(
    mercately_sandbox: MercatelySandbox,
    mercately: Mercately,
    documented: Any,
    call: tuple[str, Sequence[str], Mapping[str, Any]],
) -> None:
    template, parameters, more = call
    mercately_sandbox.trouble("status", status=documented["status"], body=documented["answer"])
    if documented["status"] == 200:
        await mercately.send_template(PHONE, template, parameters, **more)
    else:
        assert type(await refused(mercately, PHONE, template, parameters)) is Unacceptable

    (asked,) = mercately_sandbox.asked
    assert (asked.method, asked.path) == ("POST", f"/retailers/api/v1{SENT}")
    assert asked.body == documented["request"]


async def test_the_customer_gets_the_agent_the_tags_and_the_details(
    mercately_sandbox: MercatelySandbox, mercately: Mercately
) -> None:
    (awa,) = [c for c in await mercately.customers(1) if c.id == "4880pbiig3874"]
    assert awa.phone
    await mercately.send_template(
        awa.phone,
        OTP,
        PARAMETERS,
        agent_id=2770,
        tags={"VIP": False, "Navidad": True},
        details={"city": "Thiès"},
    )

    assert mercately_sandbox.accepted == [
        Accepted(awa.phone, OTP, "Your OTP for test 1 is test 2. This is valid for test 3.")
    ]
    after = await mercately.customer(awa.id)
    (conversation, *_) = await mercately.conversations("whatsapp", 1)
    assert after
    assert (after.city, sorted(tag.name for tag in after.tags)) == ("Thiès", ["Mayorista", "Navidad"])
    assert (conversation.customer_row_id, conversation.agent_id) == (awa.row_id, 2770)


@pytest.mark.parametrize(
    ("call", "faults"),
    [
        ({"template": "xxxxxxxxxxxxxxx"}, {"template": Fault.INVALID}),
        ({"parameters": ["test 1", "test 2"]}, {"parameters": Fault.INVALID}),
        ({"parameters": []}, {"parameters": Fault.INVALID}),
        ({"phone": ""}, {"phone": Fault.MISSING, "template": Fault.MISSING}),
        ({"details": {"email": "wrong"}}, {"email": Fault.INVALID}),
    ],
    ids=str,
)
async def test_a_value_that_is_not_accepted_is_named(
    mercately_sandbox: MercatelySandbox, mercately: Mercately, call: Any, faults: dict[str, Fault]
) -> None:
    refusal = await refused(mercately, **call)

    assert isinstance(refusal, Unacceptable)
    assert (refusal.faults, refusal.in_doubt) == (faults, False)
    assert mercately_sandbox.accepted == []


async def test_no_balance_no_opt_in_and_no_delivery_are_clear_answers(
    mercately_sandbox: MercatelySandbox, mercately: Mercately
) -> None:
    not_opted_in = await refused(mercately, "+593667 357 821")
    not_delivered = await refused(mercately, "+593999999500")
    mercately_sandbox.balance = False
    no_balance = await refused(mercately)

    for refusal, code, said in (
        (not_opted_in, "500", NOT_OPTED_IN),
        (not_delivered, "500", NOT_DELIVERED),
        (no_balance, "401", NO_BALANCE),
    ):
        assert type(refusal) is Rejected
        assert (refusal.vendor_code, refusal.vendor_message) == (code, said)
        assert not refusal.in_doubt
    assert mercately_sandbox.accepted == []


def info(**info: object) -> dict[str, object]:
    return {"message": "Error", "info": info}


NEWER_CUSTOMER = {
    "message": "Error: Customer not found",
    "errors": "First name no puede estar vacío, Email invalido",
}

ANSWERS: dict[str, tuple[int, object, type[SourceError] | None, bool]] = {
    "submitted": (200, {"message": "Ok", "info": {"status": "submitted"}}, None, False),
    "queued": (200, {"message": "Ok", "info": {"status": "queued", "error": None}}, None, False),
    # It does not say that it took it.
    "another status": (200, {"message": "Ok", "info": {"status": "failed"}}, Malformed, True),
    "no status": (200, {"message": "Ok", "info": {"data": {}}}, Malformed, True),
    "no info": (200, {"message": "Ok"}, Malformed, True),
    "nothing": (200, "", Malformed, True),
    # It says no.
    "a wrong key": (401, {"message": "Unauthorized", "info": {"data": {}}}, Misconfigured, False),
    "a wrong slug": (404, {"message": "Resource not found", "info": {"data": {}}}, Misconfigured, False),
    "a bare 401": (401, "", Misconfigured, False),
    "no balance, said later": (401, {"message": "Usted no tiene saldo, por favor recargue"}, Rejected, False),
    "no phone, said later": (400, {"message": "Error: Missing phone number"}, Unacceptable, False),
    "a customer that cannot be": (404, NEWER_CUSTOMER, Unacceptable, False),
    "too often": (429, "", Busy, False),
    # It fails.
    "another 500": (500, {"message": "undefined method", "info": {"data": {}}}, Unavailable, True),
    "another reason": (500, info(message="Timeout"), Unavailable, True),
    "no reason": (500, info(message=["No fue posible entregar"]), Unavailable, True),
    "another shape": (500, {"message": "Error", "info": ["No fue posible entregar"]}, Unavailable, True),
    "an empty 500": (500, "", Unavailable, True),
    "502": (502, info(message=NOT_DELIVERED), Unavailable, True),
}


@pytest.mark.parametrize(("status", "body", "kind", "in_doubt"), ANSWERS.values(), ids=ANSWERS)
async def test_each_answer_is_told_apart(
    mercately_sandbox: MercatelySandbox,
    mercately: Mercately,
    status: int,
    body: object,
    kind: type[SourceError] | None,
    in_doubt: bool,
) -> None:
    mercately_sandbox.trouble("status", status=status, body=body)
    if kind is None:
        await mercately.send_template(PHONE, OTP, PARAMETERS)
        return
    refusal = await refused(mercately)

    assert type(refusal) is kind
    assert refusal.in_doubt is in_doubt


@pytest.mark.parametrize(
    ("body", "faults"),
    [
        (NEWER_CUSTOMER, {"first_name": Fault.MISSING, "email": Fault.INVALID}),
        ({"message": "Error: Customer not found", "errors": "Ni idea"}, {}),
        ({"message": "Error: Missing phone number"}, {"phone": Fault.MISSING}),
    ],
    ids=str,
)
async def test_newer_sentences_are_understood_as_far_as_can_be(
    mercately_sandbox: MercatelySandbox, mercately: Mercately, body: object, faults: dict[str, Fault]
) -> None:
    mercately_sandbox.trouble("status", status=404, body=body)
    refusal = await refused(mercately)

    assert isinstance(refusal, Unacceptable)
    assert refusal.faults == faults


@pytest.mark.parametrize(("kind", "accepted"), [("drop", 1), ("reset", 0)])
async def test_a_template_is_sent_once_though_the_connection_breaks(
    mercately_sandbox: MercatelySandbox, mercately: Mercately, kind: Any, accepted: int
) -> None:
    mercately_sandbox.trouble(kind)
    refusal = await refused(mercately)

    assert isinstance(refusal, Unavailable)
    assert refusal.in_doubt
    assert (mercately_sandbox.count(SENT), len(mercately_sandbox.accepted)) == (1, accepted)
