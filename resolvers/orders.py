"""Orders: what all that is to be sent has in common, its moment and the key by which it is said only once."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, NamedTuple

import msgspec
from strawberry import UNSET

from adapters.storage.messages import KeyReused
from resolvers.checks import Checks
from schema.broadcasts import BroadcastInput
from schema.errors import Conflict
from schema.messages import SendMessageInput

FARTHEST = timedelta(days=366)
LONGEST_KEY = 255


class UseOfKey(NamedTuple):
    key: str
    hash: str
    """Of all that is said but the key; what is null is as if it were left out."""


def checked_key(checks: Checks, input: SendMessageInput | BroadcastInput) -> UseOfKey | None:
    key = UNSET if input.idempotency_key is None else input.idempotency_key
    text = checks.text("idempotencyKey", key, LONGEST_KEY, required=True, as_sent=True)
    if not text:
        return None
    said = msgspec.to_builtins(replace(input, idempotency_key=None), enc_hook=_nothing)
    hash = sha256(msgspec.json.encode(_without_nothing(said), order="sorted"))
    return UseOfKey(text, hash.hexdigest())


def checked_send_at(checks: Checks, moment: datetime | None) -> datetime | None:
    """None is now."""
    if not moment:
        return None
    if moment.tzinfo is None:
        checks.wrong("sendAt", "Say the zone too, as in 2026-12-24T18:00:00Z.")
        return None
    ahead = moment - datetime.now(UTC)
    if ahead > FARTHEST:
        checks.wrong("sendAt", "At most a year ahead.")
    elif ahead > timedelta():
        return moment.astimezone(UTC)
    return None


@contextmanager
def one_use_of_the_key(checks: Checks) -> Iterator[None]:
    try:
        yield
    except KeyReused:
        place = checks.path("idempotencyKey")
        raise Conflict({place: "This key was used for something else."}) from None


def _nothing(_: Any) -> None:
    """For UNSET."""


def _without_nothing(said: Any) -> Any:
    if isinstance(said, list):
        return [_without_nothing(each) for each in said]
    if isinstance(said, dict):
        return {name: _without_nothing(value) for name, value in said.items() if value is not None}
    return said
