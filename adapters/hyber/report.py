"""Report: what Hyber says became of a message, asked for or pushed to our callback."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

import msgspec

from adapters.errors import Malformed
from adapters.rest import UNREADABLE

PLATFORM = "hyber"
"""Named instead of a channel while there is none, or when the platform itself refused the message."""

END_OF_CALENDAR = 253_402_300_799_999

Code = Annotated[int, msgspec.Meta(ge=-(2**31), lt=2**31)]


class State(StrEnum):
    ACCEPTED = "accepted"
    SENT = "sent"
    DELIVERED = "delivered"
    SEEN = "seen"
    EXPIRED = "expired"
    FAILED = "failed"


# Their table of statuses is not public. A detailed status is a substatus and three digits more: 23011 is an
# SMS delivered, 35015 one expired. That messages are seen they say, but not by which number: 24 is inferred.
SUBSTATUSES: Mapping[int, State] = {
    11: State.SENT,
    12: State.SENT,
    23: State.DELIVERED,
    24: State.SEEN,
    26: State.EXPIRED,
    35: State.EXPIRED,
    36: State.FAILED,
}
STATUSES: Mapping[int, State] = {
    -1: State.ACCEPTED,
    1: State.SENT,
    2: State.DELIVERED,
    3: State.FAILED,
}


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Of the message as a whole: an expired channel is none as long as another one's turn is to come."""

    state: State
    message_id: str | None = None
    extra_id: str | None = None
    phone: str | None = None
    """In E.164."""
    channel: str | None = None
    """The one that was tried last, if one was."""
    at: datetime | None = None
    vendor_code: str | None = None
    """The most detailed of their numbers."""


class Wire(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Every name under which they say it, in answers and in what they push."""

    message_id: str | int | None = None
    extra_id: str | int | None = None
    phone_number: str | int | None = None
    number: str | int | None = None
    last_partner: str | None = None
    sent_via: str | None = None
    delivered_via: str | None = None
    time: Annotated[float, msgspec.Meta(ge=0, le=END_OF_CALENDAR)] | None = None
    """In milliseconds."""
    status: Code | None = None
    substatus: Code | None = None
    hyber_status: Code | None = None
    error_code: Code | None = None

    def __post_init__(self) -> None:
        if not (self.message_id or self.extra_id):
            raise ValueError("Expected the id of a message")

    @property
    def report(self) -> Report:
        channel = self.sent_via or self.last_partner or self.delivered_via
        code = next((code for code in self._codes if code is not None), None)
        return Report(
            state=self._state,
            message_id=_text(self.message_id),
            extra_id=_text(self.extra_id),
            phone=_e164(self.number or self.phone_number),
            channel=None if channel == PLATFORM else channel or None,
            at=None if self.time is None else datetime.fromtimestamp(self.time / 1000, UTC),
            vendor_code=_text(code),
        )

    @property
    def _codes(self) -> tuple[int | None, ...]:
        """The most detailed first."""
        return self.hyber_status, self.error_code, self.substatus, self.status

    @property
    def _state(self) -> State:
        details = [code // 1000 for code in (self.hyber_status, self.error_code) if code is not None]
        if self.substatus is not None:
            details.append(self.substatus)
        known = [SUBSTATUSES[detail] for detail in details if detail in SUBSTATUSES]
        if not known and self.status is not None and self.status in STATUSES:
            return STATUSES[self.status]
        return known[0] if known else State.ACCEPTED if self.error_code is None else State.FAILED


_read_pushed = msgspec.json.Decoder(list[Wire] | Wire, strict=False).decode


def read_reports(body: bytes) -> list[Report]:
    return [wire.report for wire in read_pushed(body)]


def read_pushed(body: bytes) -> list[Wire]:
    """What they push to our callback: one report, or several at once."""
    try:
        pushed = _read_pushed(body)
    except UNREADABLE as error:
        raise Malformed("hyber", "Hyber pushed a report that we cannot read.") from error
    return pushed if isinstance(pushed, list) else [pushed]


write_pushed = msgspec.json.Encoder().encode
"""So that it can be read again."""


def without_phones(body: bytes) -> bytes:
    """The same without whose message it was; of what cannot be read, nothing."""
    try:
        wires = read_pushed(body)
    except Malformed:
        wires = []
    for wire in wires:
        wire.phone_number = wire.number = None
    return write_pushed(wires[0] if len(wires) == 1 else wires)


def _text(value: str | int | None) -> str | None:
    return str(value) if value else None


def _e164(phone: str | int | None) -> str | None:
    digits = re.sub(r"\D", "", str(phone or ""), flags=re.ASCII)
    return f"+{digits}" if digits else None
