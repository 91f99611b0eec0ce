"""Placeholders: a text -> its pieces, or what is wrong with it -> what somebody reads."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.storage.audience import Use, Value
from resolvers.sending.placeholders import KNOWN, STRAY, as_it_stands, fill, pieces_of

FIRST, LAST = Value.FIRST_NAME, Value.LAST_NAME

READ: dict[str, tuple[dict[Value, str | None], str]] = {
    "Hello": ({}, "Hello"),
    "Hello {firstName}": ({FIRST: "Awa"}, "Hello Awa"),
    "{firstName} {lastName}, {phone}, {email}": (
        {FIRST: "Awa", LAST: "Diop", Value.PHONE: "+221770009101", Value.EMAIL: "a@example.com"},
        "Awa Diop, +221770009101, a@example.com",
    ),
    "{ firstName }{firstName}": ({FIRST: "Awa"}, "AwaAwa"),
    "Hello {firstName|friend}": ({FIRST: None}, "Hello friend"),
    "Hello {firstName|dear friend}!": ({FIRST: "Awa"}, "Hello Awa!"),
    "Hello{firstName|}": ({}, "Hello"),
    "Hello {firstName|a|b}": ({}, "Hello a|b"),
    "{{firstName}}": ({FIRST: "Awa"}, "{firstName}"),
    "{{{firstName}}}": ({FIRST: "Awa"}, "{Awa}"),
    "}}{{": ({}, "}{"),
    "{firstName}": ({FIRST: "{lastName}", LAST: "Diop"}, "{lastName}"),
}


@pytest.mark.parametrize("text", READ)
def test_a_text_is_read_with_the_values_of_who_gets_it(text: str) -> None:
    values, read = READ[text]

    assert pieces_of(text).wrong is None
    assert fill(text, values) == read


WRONG = {
    "{": STRAY,
    "}": STRAY,
    "Hello {firstName": STRAY,
    "Hello firstName}": STRAY,
    "{firstName|{lastName}}": STRAY,
    "{{firstName}": STRAY,
    "{}": f"There is no {{}}. {KNOWN}",
    "{first_name}": f"There is no {{first_name}}. {KNOWN}",
    "{FirstName|x} {": f"There is no {{FirstName}}. {KNOWN}",
}


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_is_said_in_one_sentence(text: str) -> None:
    assert pieces_of(text).wrong == WRONG[text]


def test_the_pieces_say_who_lacks_a_value_and_how_long_it_gets() -> None:
    pieces = pieces_of("{{Hello}} {firstName|friend}, {email}")

    assert pieces.uses == (Use(FIRST, "friend"), Use(Value.EMAIL))
    assert pieces.fixed == len("{Hello} , ")


@given(st.text())
def test_what_is_to_be_read_as_it_stands_is(text: str) -> None:
    assert pieces_of(as_it_stands(text)).uses == ()
    assert fill(as_it_stands(text), {FIRST: "Awa"}) == text
