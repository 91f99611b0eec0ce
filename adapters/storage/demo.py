"""Demo: everyprint's customers among the demo people, with their ledgers, and our own groups of all of them.

Each step may be done twice, and the last person, who has no ledger, is the last step: so a start that was
killed half way is completed by the next, and two at once do no more than one.
"""

from decimal import Decimal

from adapters.demo import PEOPLE, InEveryprint, Person
from adapters.storage.everyprint import Everyprint, Gender, Group, NameTaken
from adapters.storage.identity import Key

*_FIRST, _LAST = [(person, person.everyprint) for person in PEOPLE if person.everyprint]


async def has_room(everyprint: Everyprint) -> bool:
    """Is there nobody yet, or none but those who come before the last?"""
    there = await everyprint.all_customers(first=len(_FIRST) + 1)
    return {row.messenger_id for row in there.rows} <= {known.messenger_id for _, known in _FIRST}


async def move_in(everyprint: Everyprint) -> None:
    for person, known in _FIRST:
        await _save(everyprint, person, known)
    for name in dict.fromkeys(name for person in PEOPLE for name in person.groups):
        group = await _group(everyprint, name)
        await everyprint.add_members(
            group.id, [Key.parse(person.key) for person in PEOPLE if name in person.groups]
        )
    await _save(everyprint, *_LAST)


async def _save(everyprint: Everyprint, person: Person, known: InEveryprint) -> None:
    await everyprint.save_customer(
        known.messenger_id,
        person.last_name,
        first_name=person.first_name,
        gender=Gender[person.gender.upper()],
        phone_e164=known.phone,
        email=known.email,
    )
    for number, entry in enumerate(known.ledger, start=1):
        key = f"demo {number} of {known.messenger_id}"
        await everyprint.add_entry(known.messenger_id, Decimal(entry.amount), entry.reason, key)


async def _group(everyprint: Everyprint, name: str) -> Group:
    try:
        return await everyprint.create_group(name)
    except NameTaken:
        return next(group for group in await everyprint.groups() if group.name == name)
