"""Global ids: opaque to clients; to us the name of a type and the key of one thing of that type."""

import binascii
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode

from strawberry import ID

from schema.errors import BadInput

_NUMBER = re.compile("0|[1-9][0-9]{0,18}")


class NotOurs(BadInput):
    """An id, or a cursor, that this gateway cannot have given out."""

    def __init__(self, argument: str, what: str = "an id") -> None:
        super().__init__({argument: f"This is not {what} of this gateway: use one that it gave."})


def to_id(type_name: str, key: str | int) -> ID:
    return ID(urlsafe_b64encode(f"{type_name}:{key}".encode()).rstrip(b"=").decode())


def split_id(id: str, argument: str = "id") -> tuple[str, str]:
    """The type's name and the key."""
    try:
        type_name, _, key = urlsafe_b64decode(id + "=" * (-len(id) % 4)).decode().partition(":")
    except (binascii.Error, ValueError):
        raise NotOurs(argument) from None
    if not type_name or not key or to_id(type_name, key) != id:
        raise NotOurs(argument)
    return type_name, key


def key_of(id: str, type_name: str, argument: str = "id") -> str:
    """The key in an id that must name one certain type."""
    found, key = split_id(id, argument)
    if found != type_name:
        raise BadInput({argument: f"This is the id of another type of thing, not of {a(type_name)}."})
    return key


def number_of(id: str, type_name: str, argument: str = "id") -> int:
    """The same, where keys are numbers."""
    key = key_of(id, type_name, argument)
    if not _NUMBER.fullmatch(key):
        raise NotOurs(argument)
    return int(key)


def a(noun: str) -> str:
    return f"an {noun}" if noun[0] in "AEIOU" else f"a {noun}"
