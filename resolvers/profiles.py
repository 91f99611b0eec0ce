"""Profiles: what is written of a customer, in one source or in every one that knows them."""

import re

from adapters.storage import everyprint
from resolvers.checks import Checks, given
from resolvers.context import Info
from resolvers.people import By
from schema.customers import Customer, Gender, SaveCustomerInput
from schema.errors import NotFound

LONGEST_NAME = 50
"""Of everyprint."""
_MESSENGER_ID = re.compile("[A-Za-z0-9]{1,64}")
_GENDERS = {Gender.MALE: everyprint.Gender.MALE, Gender.FEMALE: everyprint.Gender.FEMALE}


async def save_customer(info: Info, input: SaveCustomerInput) -> Customer:
    saved = await save(info.context.adapters.storage.everyprint, info.context.region, input)
    return await _as_it_is_now(info, By("everyprint", saved.messenger_id))


async def save(storage: everyprint.Everyprint, region: str, input: SaveCustomerInput) -> everyprint.Customer:
    """Who is saved again keeps what is not said this time."""
    checks = Checks()
    messenger_id = checks.text("messengerId", input.messenger_id, 64, required=True) or ""
    if messenger_id and not _MESSENGER_ID.fullmatch(messenger_id):
        checks.wrong("messengerId", "Letters and digits only.")
    last_name = checks.text("lastName", input.last_name, LONGEST_NAME, required=True) or ""
    said = {
        "first_name": checks.text("firstName", input.first_name, LONGEST_NAME),
        "phone_e164": checks.phone("phone", input.phone, region),
        "email": checks.email("email", input.email),
    }
    checks.refuse()
    return await storage.save_customer(
        messenger_id, last_name, gender=_GENDERS[input.gender], **given(**said)
    )


async def _as_it_is_now(info: Info, by: By) -> Customer:
    """What the graph answers next, asked from the sources that know the person."""
    found = await info.context.loaders.customer.load(by)
    if found is None:
        raise NotFound({"id": "This customer has been removed meanwhile."})
    return found
