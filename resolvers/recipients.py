"""Recipient: to whom a message goes, and by which addresses."""

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from adapters.mercately import client as mercately
from adapters.storage.directory import Entry
from resolvers.checks import Checks
from resolvers.context import Context
from resolvers.people import By, by_id, person_of
from schema.messages import RecipientInput

PHONE, MESSENGER = ADDRESSES = "phone", "messenger"
"""Who is named by such an address is reached there and nowhere else."""


class Recipient(NamedTuple):
    phone: str | None = None
    """In E.164."""
    messenger_id: str | None = None
    whatsapp_opt_in: bool | None = None
    """None where Mercately does not know them."""


def checked_recipient(checks: Checks, input: RecipientInput, region: str) -> By:
    if isinstance(input.customer_id, str):
        return checks.id("to.customerId", input.customer_id, by_id) or By("", "")
    if isinstance(input.phone, str):
        phone = checks.phone("to.phone", input.phone, region)
        if phone is None:
            checks.wrong("to.phone", "This must not be empty.")
        return By(PHONE, phone or "")
    return By(MESSENGER, checks.messenger_id("to.messengerId", input.messenger_id or ""))


async def recipient_of(context: Context, input: RecipientInput, by: By, *, on_whatsapp: bool) -> Recipient:
    if by.kind == MESSENGER:
        return Recipient(messenger_id=by.value)
    if by.kind == PHONE:
        directory = context.adapters.storage.directory
        known = await directory.of_phones([by.value]) if on_whatsapp else {}
        return Recipient(phone=by.value, whatsapp_opt_in=_opt_in(known.get(by.value, ())))
    person = await person_of(context, input.customer_id or "", "input.to.customerId")
    accounts = person.in_("everyprint")
    return Recipient(
        phone=next((entry.phone for entry in person.entries if entry.phone), None),
        messenger_id=accounts[0].key if accounts else None,
        whatsapp_opt_in=_opt_in(person.entries),
    )


def _opt_in(entries: Iterable[Entry]) -> bool | None:
    for entry in entries:
        if entry.source == "mercately":
            return msgspec.json.decode(entry.profile, type=mercately.Customer).whatsapp_opt_in
    return None
