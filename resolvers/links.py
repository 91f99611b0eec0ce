"""Links: who is said to be one person, and who not."""

import strawberry

from adapters.storage.identity import Key
from resolvers.context import Info
from resolvers.customers import as_it_is_now
from resolvers.merge import ROW
from resolvers.people import By, Person, by_id, people_of, person_of
from schema.customers import Customer
from schema.errors import BadInput
from schema.sources import Source

MOST = 20


async def link_customers(info: Info, ids: list[strawberry.ID]) -> Customer:
    if not 1 < len(set(ids)) <= MOST:
        raise BadInput({"ids": f"Give 2 to {MOST} different ids; {len(set(ids))} given."})
    people = await people_of(info.context, ids, "ids")
    wanted = [by_id(id, "ids") for id in ids]
    keys = {_key(by, person) for by, person in zip(wanted, people, strict=True)}
    if len(keys) < 2:
        raise BadInput({"ids": "These ids are all of one entry: there is nothing to link."})
    await info.context.adapters.storage.links.link(keys)
    return await as_it_is_now(info.context, wanted[0])


async def unlink_customer(info: Info, id: strawberry.ID, source: Source) -> Customer:
    """What the source knows becomes somebody else; answered is whom the id names then."""
    person = await person_of(info.context, id, "id")
    there = [Key(entry.source, entry.key) for entry in person.in_(source.value)]
    if not there:
        raise BadInput({"source": "This customer is not known there."})
    if len(person.entries) == 1:
        raise BadInput({"source": "This customer is known nowhere else: there is nothing to unlink."})
    for key in there:
        await info.context.adapters.storage.links.unlink(key)
    return await as_it_is_now(info.context, by_id(id, "id"))


def _key(by: By, person: Person) -> Key:
    """The id's own, however many the person has."""
    if by.kind != ROW:
        return Key(*by)
    return next(
        Key(entry.source, entry.key) for entry in person.in_("mercately") if entry.row_number == int(by.value)
    )
