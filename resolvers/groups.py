"""Groups: Poster's marketing groups, and those that we keep ourselves."""

import asyncio
from collections.abc import Mapping, Sequence

import strawberry
from strawberry.dataloader import DataLoader

from adapters.poster import client as poster
from adapters.storage import everyprint
from adapters.storage.identity import Key
from resolvers.changes import shown
from resolvers.ids import NotOurs, key_of, to_id
from resolvers.people import NUMBER
from schema.context import HasLoaders, Info
from schema.errors import NotFound
from schema.groups import Group, Loyalty, LoyaltyType
from schema.sources import Source

_LOYALTIES = {1: LoyaltyType.BONUS, 2: LoyaltyType.DISCOUNT}

Groups = dict[Key, Group]
"""A number is a group's in its source only."""


def to_marketing_group(group: poster.Group) -> Group:
    loyalty = _LOYALTIES.get(group.loyalty_type)
    return Group(
        id=to_id("Group", f"poster:{group.id}"),
        source=Source.POSTER,
        name=group.name,
        customer_count=group.customer_count,
        loyalty=loyalty and Loyalty(type=loyalty, percent=group.percent, birthday_bonus=group.birthday_bonus),
    )


def to_own_group(group: everyprint.Group) -> Group:
    return Group(
        id=to_id("Group", f"everyprint:{group.id}"),
        source=Source.EVERYPRINT,
        name=group.name,
        customer_count=group.size,
        loyalty=None,
    )


async def load_marketing_groups(source: poster.Poster, _: Sequence[None]) -> list[Groups]:
    found = await source.groups()
    return [{Key("poster", str(id)): to_marketing_group(group) for id, group in found.items()}]


async def load_own_groups(source: everyprint.Everyprint, _: Sequence[None]) -> list[Groups]:
    return [{Key("everyprint", str(group.id)): to_own_group(group) for group in await source.groups()}]


async def load_groups(
    everywhere: Mapping[str, DataLoader[None, Groups]], keys: Sequence[Key]
) -> list[Group | BaseException | None]:
    found = await asyncio.gather(*(everywhere[key.source].load(None) for key in keys), return_exceptions=True)
    return [
        groups if isinstance(groups, BaseException) else groups.get(key)
        for key, groups in zip(keys, found, strict=True)
    ]


async def load_own_groups_of(source: everyprint.Everyprint, members: Sequence[str]) -> list[list[Group]]:
    found = await source.groups_of(members)
    return [[to_own_group(group) for group in found.get(member, ())] for member in members]


async def list_groups(info: Info, source: Source | None = strawberry.UNSET) -> list[Group] | None:
    return await info.context.loaders.groups(source or None)


async def find_group(info: Info, id: strawberry.ID) -> Group | None:
    return await info.context.loaders.group.load(group_key(id))


async def as_it_is_now(context: HasLoaders, key: Key, argument: str = "id") -> Group:
    """A group that was written a moment ago, as the graph answers next."""
    found = await shown(context.loaders.group.load(key))
    if found is None:
        raise NotFound({argument: "This group has been removed meanwhile."})
    return found


def group_key(id: str, argument: str = "id") -> Key:
    source, _, number = key_of(id, "Group", argument).partition(":")
    if source not in ("everyprint", "poster") or not NUMBER.fullmatch(number):
        raise NotOurs(argument)
    return Key(source, number)
