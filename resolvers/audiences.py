"""Audiences: who is to get a broadcast, and that there is such a group, and that there are such customers."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from adapters.poster import client as poster
from adapters.rest import Mode
from adapters.storage import everyprint
from adapters.storage.identity import Key
from resolvers.checks import Checks
from resolvers.context import Context
from resolvers.groupings import LONGEST_NAMES, UNKNOWN
from resolvers.groups import group_key
from resolvers.people import by_id, people_of
from schema.broadcasts import AudienceInput
from schema.errors import BadInput, NotFound

MOST_CUSTOMERS = 5_000
"""So many ids still fit into a request as large as one may be where nothing else is said."""

ID, NAME, CUSTOMERS = "audience.groupId", "audience.group", "audience.customerIds"


class Audience(NamedTuple):
    """Everybody, unless it is a group or a list."""

    group: Key | None = None
    listed: tuple[str, ...] | None = None
    """A key of each."""


class Wanted(NamedTuple):
    """What was asked for, and nothing wrong with it as far as we know ourselves."""

    group: Key | None = None
    name: str | None = None
    customer_ids: tuple[str, ...] | None = None


def checked_audience(checks: Checks, input: AudienceInput) -> Wanted:
    if isinstance(input.group_id, str):
        return Wanted(group=checks.id(ID, input.group_id, group_key))
    if isinstance(input.group, str):
        return Wanted(name=checks.text(NAME, input.group, max(LONGEST_NAMES.values()), required=True))
    if isinstance(input.customer_ids, list):
        return Wanted(customer_ids=_customers(checks, input.customer_ids))
    if not input.all:
        checks.wrong("audience.all", "Say true, or else whom you mean.")
    return Wanted()


async def audience_of(context: Context, checks: Checks, wanted: Wanted) -> Audience:
    if wanted.group:
        if not await _is_there(context, wanted.group):
            raise NotFound({checks.path(ID): UNKNOWN})
        return Audience(group=wanted.group)
    if wanted.name:
        return Audience(group=await _named(context, wanted.name, checks.path(NAME)))
    if wanted.customer_ids is not None:
        people = await people_of(context, wanted.customer_ids, checks.path(CUSTOMERS))
        return Audience(listed=tuple(dict.fromkeys(str(person.key) for person in people)))
    return Audience()


def _customers(checks: Checks, ids: Sequence[str]) -> tuple[str, ...]:
    if not 1 <= len(ids) <= MOST_CUSTOMERS:
        checks.wrong(CUSTOMERS, f"Give 1 to {MOST_CUSTOMERS} ids; {len(ids)} given.")
        return ()
    for index, id in enumerate(ids):
        checks.id(f"{CUSTOMERS}.{index}", id, by_id)
    return tuple(ids)


async def _is_there(context: Context, group: Key) -> bool:
    adapters, number = context.adapters, int(group.id)
    if group.source == "poster":
        return await adapters.poster.group(number) is not None
    return await adapters.storage.everyprint.group(number) is not None


async def _named(context: Context, name: str, place: str) -> Key:
    adapters = context.adapters
    groups = list(_with_name(name, "everyprint", await adapters.storage.everyprint.groups()))
    if adapters.poster.mode is not Mode.OFF:
        groups += _with_name(name, "poster", (await adapters.poster.groups()).values())
    if not groups:
        raise NotFound({place: "No group has this name."})
    if len(groups) > 1:
        raise BadInput({place: "Several groups have this name: say by its id which of them you mean."})
    return groups[0]


def _with_name(name: str, source: str, groups: Iterable[everyprint.Group | poster.Group]) -> Iterator[Key]:
    return (Key(source, str(group.id)) for group in groups if group.name == name)
