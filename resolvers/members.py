"""Members: who is put into a group, and taken out of it."""

from collections.abc import Sequence

from msgspec.structs import replace
from strawberry import ID

from adapters.poster import client as poster
from adapters.storage import everyprint
from adapters.storage.directory import Entry
from adapters.storage.identity import Key
from resolvers.changes import all_written
from resolvers.checks import Checks
from resolvers.context import Context, Info
from resolvers.groupings import UNKNOWN
from resolvers.groups import as_it_is_now, group_key
from resolvers.mirror import now, poster_entry
from resolvers.people import Person, by_id, pass_on, people_of
from schema.errors import BadInput, NotFound
from schema.groups import Group

MOST = 100


async def add_to_group(info: Info, group_id: ID, customer_ids: list[ID]) -> Group:
    context, key = info.context, _checked(group_id, customer_ids)
    people = await people_of(context, customer_ids, "customerIds")
    if key.source == "poster":
        await _move(context, int(key.id), customer_ids, people)
    else:
        try:
            keys = {person.key for person in people}
            await context.adapters.storage.everyprint.add_members(int(key.id), keys)
        except everyprint.NotFound as error:
            raise NotFound({"groupId": UNKNOWN}) from error
    return await as_it_is_now(context, key, "groupId")


async def remove_from_group(info: Info, group_id: ID, customer_ids: list[ID]) -> Group:
    context, key = info.context, _checked(group_id, customer_ids)
    if key.source == "poster":
        sentence = "A client of Poster is always in one of its groups: add them to another one instead."
        raise BadInput({"groupId": sentence})
    people = await people_of(context, customer_ids, "customerIds")
    try:
        keys = {key for person in people for key in person.keys}
        await context.adapters.storage.everyprint.remove_members(int(key.id), keys)
    except everyprint.NotFound as error:
        raise NotFound({"groupId": UNKNOWN}) from error
    return await as_it_is_now(context, key, "groupId")


def _checked(group_id: str, customer_ids: Sequence[str]) -> Key:
    checks = Checks(at="")
    checks.id("groupId", group_id, group_key)
    if not 1 <= len(customer_ids) <= MOST:
        checks.wrong("customerIds", f"Give 1 to {MOST} ids; {len(customer_ids)} given.")
    for index, id in enumerate(customer_ids[:MOST]):
        checks.id(f"customerIds.{index}", id, by_id)
    checks.refuse()
    return group_key(group_id)


async def _move(context: Context, group_id: int, ids: Sequence[str], people: Sequence[Person]) -> None:
    """Out of the group in which Poster has them, into this one."""
    checks = Checks(at="")
    for index, person in enumerate(people):
        if not person.in_("poster"):
            checks.wrong(
                f"customerIds.{index}", "Poster does not know this customer: it groups its own only."
            )
    checks.refuse()
    group = await context.adapters.poster.group(group_id)
    if group is None:
        raise NotFound({"groupId": UNKNOWN})
    moved: list[Entry] = []

    async def move(person: Person, argument: str) -> None:
        for entry in person.in_("poster"):
            moved.append(await _moved(context, int(entry.key), group, argument))

    each = {person.key: (index, person) for index, person in reversed(list(enumerate(people)))}
    try:
        await all_written(
            {ids[index]: move(person, f"customerIds.{index}") for index, person in each.values()}
        )
    finally:
        await pass_on(context.adapters, moved)


async def _moved(context: Context, client_id: int, group: poster.Group, argument: str) -> Entry:
    """The client, who is read right before: a change of theirs says their name anew."""
    source = context.adapters.poster
    client = await source.client(client_id)
    if client is None or not await source.update_client(client, group_id=group.id):
        raise NotFound({argument: "Poster does not know this customer any more."})
    return poster_entry(replace(client, group_id=group.id, group_name=group.name), context.region, now())
