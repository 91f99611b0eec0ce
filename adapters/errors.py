"""What can go wrong with a source, told apart by what the reader can do about it.

SourceError
├── Unavailable        SOURCE_UNAVAILABLE     it did not answer, or answered 5xx: try later
│   └── TimedOut       SOURCE_TIMEOUT         it did not answer in time: try later
├── Rejected           SOURCE_REJECTED        it understood, and said no
├── Malformed          SOURCE_MALFORMED       it answered what its model cannot read: try later
└── Misconfigured      SOURCE_MISCONFIGURED   our credentials for it are refused or missing

Absence is None, not an error.
"""

import re
from typing import ClassVar

# Linear in the text, however long a vendor makes it: a word is looked at once, from its start.
_PERSONAL = re.compile(r"(?<![^\s@])[^\s@]++(?:@[^\s@]+)+|\+?\d(?:[\W_]{0,3}\d){4,}")


class SourceError(Exception):
    code: ClassVar[str]

    def __init__(self, source: str, message: str) -> None:
        super().__init__(message)
        self.source = source

    @property
    def extensions(self) -> dict[str, object]:
        """What graphql-core copies beside the message: the one GraphQL word below resolvers/."""
        return {"code": self.code, "source": self.source.upper()}


class Unavailable(SourceError):
    code = "SOURCE_UNAVAILABLE"


class TimedOut(Unavailable):
    code = "SOURCE_TIMEOUT"


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


class Malformed(SourceError):
    code = "SOURCE_MALFORMED"


class Misconfigured(SourceError):
    code = "SOURCE_MISCONFIGURED"


def without_personal_data(text: str, longest: int = 200) -> str:
    """A vendor's sentence, short, without the e-mail addresses and long numbers it may repeat."""
    return _PERSONAL.sub("…", " ".join(text.split()))[:longest]
