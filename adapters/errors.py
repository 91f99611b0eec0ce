"""What can go wrong with a source, told apart by what the reader can do about it.

SourceError
├── Unavailable        SOURCE_UNAVAILABLE     it did not answer, or answered 5xx: try later
│   ├── TimedOut       SOURCE_TIMEOUT         it did not answer in time: try later
│   ├── Busy           SOURCE_UNAVAILABLE     it asks us to slow down, and did nothing
│   └── Unasked        SOURCE_UNAVAILABLE     its circuit is open: we did not even ask
├── Rejected           SOURCE_REJECTED        it understood, and said no
│   └── Unacceptable   SOURCE_REJECTED        it said no to values that we wanted it to keep
├── Malformed          SOURCE_MALFORMED       it answered what its model cannot read: try later
└── Misconfigured      SOURCE_MISCONFIGURED   our credentials for it are refused or missing

Absence is None, not an error.
"""

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import ClassVar

# Linear in the text, however long a vendor makes it: a word is looked at once, from its start.
_PERSONAL = re.compile(r"(?<![^\s@])[^\s@]++(?:@[^\s@]+)+|\+?\d(?:[\W_]{0,3}\d){4,}")


class SourceError(Exception):
    code: ClassVar[str]
    in_doubt = False
    """Whether what was asked of it may have been done nevertheless."""

    def __init__(self, source: str, message: str) -> None:
        super().__init__(message)
        self.source = source

    def doubt(self) -> None:
        """Says that what was asked of it may have been done nevertheless."""
        self.in_doubt = True
        self.args = (f"{self} What was asked of it may have been done: look before you try again.",)

    @property
    def extensions(self) -> dict[str, object]:
        """What graphql-core copies beside the message: the one GraphQL word below resolvers/."""
        doubt = {"outcome": "UNKNOWN"} if self.in_doubt else {}
        return {"code": self.code, "source": self.source.upper(), **doubt}


class Unavailable(SourceError):
    code = "SOURCE_UNAVAILABLE"
    retry_after: float | None = None
    """Seconds that it asks us to wait, if it says so."""


class TimedOut(Unavailable):
    code = "SOURCE_TIMEOUT"


class Busy(Unavailable):
    pass


class Unasked(Unavailable):
    pass


class Rejected(SourceError):
    code = "SOURCE_REJECTED"

    def __init__(self, source: str, message: str, *, vendor_code: str, vendor_message: str = "") -> None:
        super().__init__(source, message)
        self.vendor_code = vendor_code
        self.vendor_message = without_personal_data(vendor_message)

    @property
    def extensions(self) -> dict[str, object]:
        said = {"vendorMessage": self.vendor_message} if self.vendor_message else {}
        return super().extensions | {"vendorCode": self.vendor_code} | said


class Fault(StrEnum):
    """What is wrong with a value in the eyes of a source."""

    INVALID = "invalid"
    MISSING = "missing"
    TAKEN = "taken"
    """Somebody else there has it, and of two it would not know which is which."""


class Unacceptable(Rejected):
    def __init__(
        self,
        source: str,
        message: str,
        *,
        faults: Mapping[str, Fault],
        vendor_code: str,
        vendor_message: str = "",
    ) -> None:
        super().__init__(source, message, vendor_code=vendor_code, vendor_message=vendor_message)
        self.faults = faults
        """By the name that the source's adapter has for the value; empty if we do not understand which."""


class Malformed(SourceError):
    code = "SOURCE_MALFORMED"


class Misconfigured(SourceError):
    code = "SOURCE_MISCONFIGURED"


def without_personal_data(text: str, longest: int = 200) -> str:
    """A vendor's sentence, short, without the e-mail addresses and long numbers it may repeat."""
    return _PERSONAL.sub("…", " ".join(text.split()))[:longest]
