"""Relations: fields that are what a loader finds for a key that the object holds."""

from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

import strawberry
from strawberry.types.field import StrawberryField

from schema.context import Info

_KEPT = "relation"


def itself(key: Any) -> Hashable:
    return key  # type: ignore[no-any-return]


class Loaded(NamedTuple):
    key: str
    """The attribute that holds it; None leads nowhere. What a property raises is the error of the field."""
    loader: str
    same: Callable[[Any], Hashable]


def relation(
    key: str,
    loader: str,
    same: Callable[[Any], Hashable] = itself,
    description: str | None = None,
    directives: Sequence[object] = (),
) -> Any:
    """`same` tells what is equal for keys that find the same, as the loader's own `cache_key_fn` does."""

    async def load(root: Any, info: Info) -> Any:
        held = getattr(root, key)
        return None if held is None else await getattr(info.context.loaders, loader).load(held)

    return strawberry.field(
        resolver=load,
        description=description,
        directives=directives,
        metadata={_KEPT: Loaded(key, loader, same)},
    )


def loaded_by(field: StrawberryField) -> Loaded | None:
    found: Loaded | None = field.metadata.get(_KEPT)
    return found
