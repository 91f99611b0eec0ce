"""Search: a text in another form, and who has it in theirs.

It knows a text by its grams, every three characters in a row: SQLite indexes them itself (FTS5), MySQL
as words of a full-text index, written in hexadecimal so that none is a stop word, too short or an operator.
An index finds candidates; who is a hit, the entry's own words decide.
"""

import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from sqlalchemy import ColumnElement, and_, column, delete, func, or_, table
from sqlalchemy.dialects import mysql
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.storage.database import is_mysql

LONGEST_SEARCH = 200
"""Of a longer one only the beginning counts."""
SAMPLE = 500
"""So many texts, twice, tell which grams are rare."""
RAREST = 3
"""So many grams the index is asked for: it reads all that has each."""

GRAM = 3
GAP = "  "
"""Before every word: so the start of a word is a gram too, even of a word of one letter."""
PHONE = 7
"""So many digits are a phone number, however they are written."""

# Not of one kind: on SQLite a virtual table that triggers keep, on MySQL a table with a full-text index.
SEARCH = table("directory_search", column("entry_id"), column("grams"))
SEARCH_ON_SQLITE = table("directory_search", column("rowid"), column("directory_search"))

Reading = tuple[str, ...]
"""What a text has to hold, all of it, to be a hit; no part is shorter than a gram."""

_PLAIN = str.maketrans({"ø": "o", "đ": "d", "ð": "d", "ł": "l", "ı": "i", "æ": "ae", "œ": "oe", "þ": "th"})
_DIGITS_OF_A_PHONE = re.compile(r"[+()\d.\-/]*\d[+()\d.\-/]*")


def folded(text: str) -> str:
    """Without case, accents and what cannot be seen."""
    letters = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold())
    kinds = ((letter, unicodedata.category(letter)) for letter in letters.translate(_PLAIN))
    return "".join(" " if kind[0] in "CZ" else letter for letter, kind in kinds if kind != "Mn")


def words_of(*texts: str | None, phone: str | None = None) -> str:
    """All that search looks at: each word after a gap; one that begins another is found as that."""
    whole = folded(" ".join(filter(None, texts))).split()
    parts = [part for word in whole for part in re.findall(r"[^\W_]+", word)]
    digits = re.sub(r"\D", "", phone or "")
    kept: list[str] = []
    for word in sorted({*whole, *parts, digits} - {""}, reverse=True):
        if not (kept and kept[-1].startswith(word)):
            kept.append(word)
    return "".join(GAP + word for word in reversed(kept))


def readings(search: str) -> list[Reading]:
    """A search as its words and, if there may be a phone in it, with that as its digits."""
    words = folded(search[:LONGEST_SEARCH]).split()
    as_phone = [word for is_phone, run in groupby(words, _like_a_phone) for word in _joined(is_phone, run)]
    both = (tuple(dict.fromkeys(map(_needle, reading))) for reading in (words, as_phone))
    return [reading for reading in dict.fromkeys(both) if reading]


def says(words: ColumnElement[str], alternatives: Sequence[Reading]) -> ColumnElement[bool]:
    return or_(*(and_(*(func.instr(words, needle) > 0 for needle in reading)) for reading in alternatives))


def grams(texts: Iterable[str]) -> set[str]:
    return {text[at : at + GRAM] for text in texts for at in range(len(text) - GRAM + 1)}


def share(gram: str, sample: Sequence[str]) -> float:
    return sum(gram in text for text in sample) / max(len(sample), 1)


def rarest(reading: Reading, sample: Sequence[str]) -> list[str]:
    """One that is much more common than the rarest costs more to read than it spares."""
    shares = sorted((share(gram, sample), gram) for gram in grams(reading))
    enough = max(2 * shares[0][0], 1 / SAMPLE)
    return [gram for share, gram in shares[:RAREST] if share <= enough]


async def index(connection: AsyncConnection, words: Mapping[int, str]) -> None:
    """The words of each entry, by its number."""
    if is_mysql(connection) and words:
        statement = mysql.insert(SEARCH)
        tokens = [
            {"entry_id": id, "grams": " ".join(map(_token, sorted(grams([said]))))}
            for id, said in words.items()
        ]
        await connection.execute(statement.on_duplicate_key_update(grams=statement.inserted.grams), tokens)


async def forget(connection: AsyncConnection, ids: Collection[int]) -> None:
    if is_mysql(connection):
        await connection.execute(delete(SEARCH).where(SEARCH.c.entry_id.in_(ids)))


def candidates(connection: AsyncConnection, entry: Any) -> Any:
    if is_mysql(connection):
        return SEARCH.join(entry, entry.c.id == SEARCH.c.entry_id)
    return SEARCH_ON_SQLITE.join(entry, entry.c.id == SEARCH_ON_SQLITE.c.rowid)


def matches(connection: AsyncConnection, alternatives: Sequence[Sequence[str]]) -> ColumnElement[bool]:
    if is_mysql(connection):
        terms = (" ".join(f"+{_token(gram)}" for gram in some) for some in alternatives)
        return mysql.match(SEARCH.c.grams, against=" ".join(f"({term})" for term in terms)).in_boolean_mode()
    quoted = ([f'"{gram.replace(chr(34), chr(34) * 2)}"' for gram in some] for some in alternatives)
    return SEARCH_ON_SQLITE.c.directory_search.match(
        " OR ".join(f"({' AND '.join(some)})" for some in quoted)
    )


def _needle(word: str) -> str:
    """A short word is the beginning of one."""
    return word if len(word) >= GRAM else GAP + word


def _like_a_phone(word: str) -> bool:
    return _DIGITS_OF_A_PHONE.fullmatch(word) is not None


def _joined(is_phone: bool, words: Iterable[str]) -> list[str]:
    """People write phones with gaps, and with zeros in front that are not part of E.164."""
    run = list(words)
    digits = re.sub(r"\D", "", "".join(run))
    if is_phone and (len(digits) >= PHONE or run[0].startswith("+")):
        return [digits.lstrip("0") or digits]
    return run


def _token(gram: str) -> str:
    return gram.encode().hex()
