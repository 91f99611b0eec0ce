"""GSM-7: the alphabet of an SMS, and what a text costs in it."""

ALPHABET = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
EXTENSION = frozenset("\f^{}\\[~]|€")
"""Each is written with an escape before it, and so counts twice."""
_ALL = ALPHABET | EXTENSION


def length(text: str) -> int | None:
    """None where a character is not of it, and the SMS is written in UCS-2."""
    letters = set(text)
    if not letters <= _ALL:
        return None
    return len(text) + sum(text.count(letter) for letter in letters & EXTENSION)


def length_in_ucs2(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2
