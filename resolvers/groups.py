"""Groups: the marketing groups of Poster."""

from collections.abc import Sequence

import strawberry
from strawberry.dataloader import DataLoader

from adapters.poster import client as poster
from resolvers.ids import NotOurs, key_of, to_id
from schema.context import Info
from schema.groups import Group, Loyalty, LoyaltyType
from schema.sources import Source

_LOYALTIES = {1: LoyaltyType.BONUS, 2: LoyaltyType.DISCOUNT}


def to_group(group: poster.Group) -> Group:
    loyalty = _LOYALTIES.get(group.loyalty_type)
    return Group(
        id=to_id("Group", f"{Source.POSTER.name}:{group.id}"),
        source=Source.POSTER,
        name=group.name,
        customer_count=group.customer_count,
        loyalty=loyalty and Loyalty(type=loyalty, percent=group.percent, birthday_bonus=group.birthday_bonus),
    )


async def load_all_groups(source: poster.Poster, _: Sequence[None]) -> list[dict[str, Group]]:
    """By the key of their id: a number is somebody's in its source only."""
    found = await source.groups()
    return [{f"{Source.POSTER.name}:{id}": to_group(group) for id, group in found.items()}]


async def load_groups(every: DataLoader[None, dict[str, Group]], keys: Sequence[str]) -> list[Group | None]:
    found = await every.load(None)
    return [found.get(key) for key in keys]


async def list_groups(info: Info, source: Source | None = strawberry.UNSET) -> list[Group] | None:
    if source and source is not Source.POSTER:
        return []
    return list((await info.context.loaders.groups.load(None)).values())


async def find_group(info: Info, id: strawberry.ID) -> Group | None:
    key = key_of(id, "Group")
    if not key.startswith(f"{Source.POSTER.name}:"):
        raise NotOurs("id")
    return await info.context.loaders.group.load(key)
