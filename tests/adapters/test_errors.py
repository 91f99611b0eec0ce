"""One small tree of errors, told apart by code, that repeats nobody's phone or e-mail."""

import inspect
import re
import time
from collections.abc import Iterator

import pytest

from adapters import errors
from adapters.errors import (
    Malformed,
    Misconfigured,
    Rejected,
    SourceError,
    TimedOut,
    Unavailable,
    without_personal_data,
)


def every_kind(root: type[SourceError] = SourceError) -> Iterator[type[SourceError]]:
    for kind in root.__subclasses__():
        yield kind
        yield from every_kind(kind)


def test_the_tree_documents_every_error_and_its_code() -> None:
    drawn = re.findall(r"─ (\w+) +(SOURCE_\w+)", inspect.getdoc(errors) or "")

    public = (kind for kind in every_kind() if not kind.__name__.startswith("_"))
    assert dict(drawn) == {kind.__name__: kind.code for kind in public}
    assert len({code for _, code in drawn}) == 5


def test_what_may_have_been_done_all_the_same_says_so() -> None:
    error = TimedOut("crm", "Down.")
    error.doubt()

    assert str(error) == "Down. What was asked of it may have been done: look before you try again."
    assert error.extensions == {"code": "SOURCE_TIMEOUT", "source": "CRM", "outcome": "UNKNOWN"}


def test_who_tries_again_later_after_an_outage_does_so_after_a_time_out() -> None:
    assert issubclass(TimedOut, Unavailable)


@pytest.mark.parametrize("kind", [Unavailable, TimedOut, Malformed, Misconfigured])
def test_an_error_tells_clients_its_code_and_its_source(kind: type[SourceError]) -> None:
    error = kind("crm", "Down.")

    assert str(error) == "Down."
    assert error.extensions == {"code": kind.code, "source": "CRM"}


def test_a_refusal_also_tells_what_the_vendor_said() -> None:
    error = Rejected("crm", "No.", vendor_code="302", vendor_message="Email invalido: ana@example.com")

    assert error.extensions == {
        "code": "SOURCE_REJECTED",
        "source": "CRM",
        "vendorCode": "302",
        "vendorMessage": "Email invalido: …",
    }


def test_a_refusal_without_words_tells_none() -> None:
    assert "vendorMessage" not in Rejected("crm", "No.", vendor_code="302").extensions


@pytest.mark.parametrize(
    ("said", "told"),
    [
        # What may stay
        ("", ""),
        ("Email invalido", "Email invalido"),
        ("Error: Parameters mismatch. Required 3, but 2 sent.",) * 2,
        ("Error 1234 @ checkout",) * 2,
        ("No fue posible verificar el número de destino",) * 2,
        # E-mail addresses
        ("ana@example.com ya existe", "… ya existe"),
        ("Email <ana.paz+shop@mail.example.com> taken", "Email … taken"),
        ("mailto:ana@example.com,luz@example.org", "…"),
        ("José@correo.example no", "… no"),
        ("a@b@c.example", "…"),
        # Phones, however they are written
        ("El número +593999999999 no existe", "El número … no existe"),
        ("to 0999999999", "to …"),
        ("to +593 99 999 9999.", "to …."),
        ("to (02) 234-5678", "to (…"),
        ("to +1.203.653.4789", "to …"),
        ("to +593 (0)99-999 9999", "to …"),
        ("to 099/999/9999 or 099–999–9999", "to … or …"),
        ("to 099_999_9999", "to …"),
        ("to\t593\n999 999", "to …"),
        ("to ٠٩٩٩٩٩٩٩", "to …"),
        # Numbers of other kinds, as long as a phone's
        ("card 4111 1111 1111 1111", "card …"),
        ("cédula 1712345678", "cédula …"),
        # One line
        ("  First name\n\n no puede \t estar vacío ", "First name no puede estar vacío"),
    ],
)
def test_a_vendors_sentence_loses_what_is_personal(said: str, told: str) -> None:
    assert without_personal_data(said) == told


def test_a_vendors_sentence_is_short() -> None:
    assert without_personal_data("no " * 1_000) == ("no " * 67)[:200]


@pytest.mark.parametrize("where", range(180, 210))
def test_what_is_personal_is_not_cut_in_two(where: int) -> None:
    text = "x" * where + " +593999999999 ana@example.com"

    assert not re.search(r"\d|ana|@", without_personal_data(text))


@pytest.mark.parametrize(
    "text", ["a" * 10**6, "1(((((" * 10**5, "1111" + "(" * 10**6, "a@" * 10**6, "@" * 10**6]
)
def test_a_long_text_holds_nobody_up(text: str) -> None:
    started = time.perf_counter()

    assert len(without_personal_data(text)) <= 200
    assert time.perf_counter() - started < 1
