"""Phones: one spelling of a number, E.164, whichever way a source writes it."""

import re
from functools import lru_cache
from unicodedata import decimal, normalize

from phonenumbers import (
    NumberParseException,
    PhoneNumber,
    PhoneNumberFormat,
    PhoneNumberType,
    country_code_for_region,
    format_number,
    is_possible_number_for_type,
    is_valid_number,
    parse,
)

LONGEST = 40
"""Characters of a number, however it is spaced; also what keeps the cache small."""

REMEMBERED = 16_384

_PLAIN = re.compile(r"\+?[0-9]+")
# With them the marks, which nobody sees, that a number brings along when it is copied out of a chat.
_SEPARATORS = re.compile(r"[\s().\-‐-―−·\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
_OLD_MEXICAN_MOBILE = re.compile(r"\+521(?=[0-9]{10}$)")


def to_e164(text: str | None, region: str = "EC") -> str | None:
    """The number, or None where there is none, or not certainly one.

    Without a plus it is read as one of the region, then as international digits. Where a source is known to
    write international digits, as Poster's `phone_number` is, put the plus in front.
    """
    if not text or len(text) > LONGEST:
        return None
    return _read(text, region)


@lru_cache(REMEMBERED)
def _read(text: str, region: str) -> str | None:
    number = text if _PLAIN.fullmatch(text) else _without_separators(text)
    # A letter, a comma, a slash, a hash: a vanity number, two numbers, or an extension, behind which sits
    # one of many people.
    if not _PLAIN.fullmatch(number):
        return None
    if number.startswith("+0"):  # no country's: Mercately puts a plus before whatever was typed
        number = number[1:]
    if number.startswith("00"):
        number = "+" + number[2:]
    found = _international(number) if number[0] == "+" else _national(number, region)
    return format_number(found, PhoneNumberFormat.E164) if found else None


def _without_separators(text: str) -> str:
    text = _SEPARATORS.sub("", normalize("NFKC", text))
    return "".join(str(decimal(character, character)) for character in text)


def _international(number: str) -> PhoneNumber | None:
    """By its length alone: a range that no operator has, or has got since our data was made, is a number too.

    The sources store such, and the vendors' own examples are of such.
    """
    found = _parse(number)
    return found if found and (_has_a_persons_length(found) or is_valid_number(found)) else None


def _national(number: str, region: str) -> PhoneNumber | None:
    """Where the number does not say its country, length is not enough: it has to be one that exists."""
    found = _parse(number, region)
    if found and is_valid_number(found):
        return found
    found = _international("+" + number)
    if found and (found.country_code == country_code_for_region(region) or is_valid_number(found)):
        return found
    return None


def _parse(number: str, region: str | None = None) -> PhoneNumber | None:
    # Mexico took the 1 away in 2019; WhatsApp, and so Mercately, still has it.
    number = _OLD_MEXICAN_MOBILE.sub("+52", number)
    try:
        found = parse(number, region)
    except NumberParseException:
        return None
    return found if found.national_number else None  # zeros, to fill a field that wants a number


def _has_a_persons_length(number: PhoneNumber) -> bool:
    return any(
        is_possible_number_for_type(number, type)
        for type in (PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE)
    )
