"""Checks: what a client sent, tidied, and all that is wrong with it at once, before anybody is asked."""

import re
from collections.abc import Callable, Iterable
from typing import TypeVar
from unicodedata import category, normalize

from strawberry import UNSET

from resolvers.phones import to_e164
from schema.errors import BadInput

T = TypeVar("T")

LONGEST_PHONE = 40
MOST_FAULTS = 100
"""So many are told at once: a list may hold thousands."""
SHRINKS = 4
"""Tidied, a text is shorter, but not by more than this; for accents without end it takes seconds."""
_MESSENGER_ID = re.compile("[A-Za-z0-9]{1,64}")
_LINES = re.compile(r"\r\n?|[\u0085\u2028\u2029]")


class Checks:
    """`refuse` raises for all that was found wrong since.

    A method answers the value as it may be written, None where it was left empty or is wrong, and UNSET where
    it was left out.
    """

    def __init__(self, at: str = "input") -> None:
        self._at = at
        self._wrong: dict[str, str] = {}

    def refuse(self) -> None:
        if self._wrong:
            raise BadInput(self._wrong)

    def wrong(self, name: str, sentence: str) -> None:
        """The first that is said of an argument counts."""
        if len(self._wrong) < MOST_FAULTS:
            self._wrong.setdefault(self.path(name), sentence)

    def text(
        self,
        name: str,
        value: str | None,
        longest: int,
        *,
        required: bool = False,
        lines: bool = False,
        as_sent: bool = False,
    ) -> str | None:
        """One line, or with `lines` several; `required` may be left out, but not left empty.

        What is taken `as_sent` is not tidied; blanks around it are refused, since not every database sees
        the last ones.
        """
        if value is UNSET:
            return UNSET
        if len(value or "") > SHRINKS * longest:  # what takes time to tidy is not even looked at
            self.wrong(name, f"At most {longest} characters; {len(value or '')} given.")
            return None
        text = (value or "") if as_sent else normalize("NFC", value or "").strip()
        if lines:
            text = _LINES.sub("\n", text)
        if not text.isprintable() and any(
            category(each) in ("Cc", "Cs") and not (lines and each in "\n\t") for each in text
        ):
            self.wrong(name, "Control characters are not accepted here.")
        elif len(text) > longest:
            self.wrong(name, f"At most {longest} characters; {len(text)} given.")
        elif not text and required:
            self.wrong(name, "This must not be empty.")
        elif text != text.strip():
            self.wrong(name, "Leave out the blanks around this.")
        else:
            return text or None
        return None

    def id(self, name: str, id: str, read: Callable[[str, str], T]) -> T | None:
        """What the id names, by the function that reads it and raises by its argument."""
        try:
            return read(id, self.path(name))
        except BadInput as error:
            self.wrong(name, str(error))
            return None

    def email(self, name: str, value: str | None) -> str | None:
        text = self.text(name, value, 254)
        if not text:
            return text
        # It costs a twentieth of a second to import, and most processes never check an address.
        from email_validator import EmailNotValidError, validate_email

        try:
            return validate_email(text, check_deliverability=False).normalized
        except EmailNotValidError:
            self.wrong(name, "This is no e-mail address.")
            return None

    def phone(self, name: str, value: str | None, region: str) -> str | None:
        text = self.text(name, value, LONGEST_PHONE)
        if not text:
            return text
        phone = to_e164(text, region)
        if phone is None:
            self.wrong(name, "This is no phone number: write it as +593999999999.")
        return phone

    def messenger_id(self, name: str, value: str) -> str:
        id = self.text(name, value, 64, required=True) or ""
        if id and not _MESSENGER_ID.fullmatch(id):
            self.wrong(name, "Letters and digits only.")
        return id

    def texts(self, name: str, values: Iterable[str] | None, longest: int, most: int) -> dict[str, str]:
        """Each once, by its place among the arguments."""
        values = list(values or ())
        if len(values) > most:
            self.wrong(name, f"At most {most} at a time; {len(values)} given.")
            return {}
        texts = {
            self.text(f"{name}.{index}", value, longest, required=True): f"{name}.{index}"
            for index, value in reversed(list(enumerate(values)))
        }
        return {place: text for text, place in reversed(texts.items()) if text}

    def path(self, name: str) -> str:
        """Where that is, as the caller sees it."""
        return ".".join(filter(None, (self._at, name)))


def given(**values: T) -> dict[str, T]:
    """Without what was left out."""
    return {name: value for name, value in values.items() if value is not UNSET}
