"""Documents: those that are known by their hash, and those that were read before."""

import json
from collections import OrderedDict
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, Generic, TypeVar

from gateway.errors import Refused
from gateway.settings import WrongSettings, variable_name

V = TypeVar("V")

SENT = 1_000, 4 * 2**20
"""How many documents are kept that clients sent with their hash, and how many bytes of them."""
PREFIX = "sha256:"


class Cache(Generic[V]):
    """The latest that fit, in number and in bytes."""

    def __init__(self, entries: int, size: int) -> None:
        self._entries = entries
        self._room = size
        self._kept: OrderedDict[str, tuple[V, int]] = OrderedDict()

    def get(self, key: str) -> V | None:
        found = self._kept.get(key)
        if found is None:
            return None
        self._kept.move_to_end(key)
        return found[0]

    def put(self, key: str, value: V, size: int) -> None:
        _, before = self._kept.pop(key, (None, 0))
        self._kept[key] = value, size
        self._room -= size - before
        while self._kept and (self._room < 0 or len(self._kept) > self._entries):
            _, (_, freed) = self._kept.popitem(last=False)
            self._room += freed

    def charge(self, key: str, more: int) -> None:
        """What is kept there has grown."""
        if key in self._kept:
            value, size = self._kept[key]
            self.put(key, value, size + more)


class Documents:
    """With `trusted` ones no others are run; without, a client may send a hash for what it sent before.

    That is kept in this process alone: another one asks for the text again, as the protocol has it.
    """

    def __init__(self, trusted: Mapping[str, str] | None = None) -> None:
        self._trusted = trusted
        self._sent: Cache[str] = Cache(*SENT)

    def text(self, query: str | None, extensions: Mapping[str, Any] | None) -> str | None:
        """What is to be run; raises `Refused`."""
        digest = _digest(extensions) if extensions else None
        if query:
            return self._allowed(query, digest)
        if digest is None:
            return query
        known = self._sent.get(digest) if self._trusted is None else self._trusted.get(digest)
        if known is None:
            # By these very words Apollo's clients know that they have to send the text.
            raise Refused("PersistedQueryNotFound", "PERSISTED_QUERY_NOT_FOUND")
        return known

    def keep(self, text: str, extensions: Mapping[str, Any] | None) -> None:
        """For the next time, if it came with its hash."""
        if self._trusted is None and extensions and (digest := _digest(extensions)):
            self._sent.put(digest, text, len(text.encode()))

    def _allowed(self, query: str, digest: str | None) -> str:
        if digest is None and self._trusted is None:
            return query
        actual = hashed(query)
        if digest not in (None, actual):
            raise Refused(
                "The hash is not that of the document: send the SHA-256 of its text, in hexadecimal."
            )
        if self._trusted is not None and actual not in self._trusted:
            raise Refused("Only trusted documents are run here: send the hash of one.", "FORBIDDEN")
        return query


def trusted(path: Path | None) -> Mapping[str, str] | None:
    """What `switchboard documents` wrote, read back."""
    if path is None:
        return None
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict) or any(
        not isinstance(text, str) or hashed(text) != digest for digest, text in found.items()
    ):
        raise WrongSettings(
            f"{variable_name('documents')}: {path} is no manifest, make one with `switchboard documents`."
        )
    return found


def hashed(text: str) -> str:
    return sha256(text.encode(errors="replace")).hexdigest()


def _digest(extensions: Mapping[str, Any]) -> str | None:
    """As GraphQL over HTTP proposes it, or as Apollo's clients send it."""
    if isinstance(id := extensions.get("documentId"), str):
        return id.removeprefix(PREFIX).lower()
    asked = extensions.get("persistedQuery")
    if asked is None:
        return None
    if (
        not isinstance(asked, dict)
        or asked.get("version", 1) != 1
        or not isinstance(asked.get("sha256Hash"), str)
    ):
        raise Refused("Send persistedQuery with version 1 and the document's sha256Hash.")
    digest: str = asked["sha256Hash"]
    return digest.lower()
