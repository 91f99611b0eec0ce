"""Phones: one number comes out one way, however it is written."""

import pytest

from adapters.mercately import demo as mercately
from adapters.poster import demo as poster
from resolvers.phones import to_e164

ONE = "+593999999999"
MEXICAN = "+525512345678"


@pytest.mark.parametrize(
    "text",
    [
        ONE,
        " +593 99 999 9999 ",
        "+593-99-999-9999",
        "+593.99.999.9999",
        "+593 (99) 999-9999",
        "(+593) 99 999 9999",
        "593999999999",  # no plus
        "593 99 999 9999",
        "0999999999",  # trunk zero
        "099 999 9999",
        "(099) 999-9999",
        "+593 (0)99 999 9999",
        "5930999999999",
        "+0999999999",  # a plus put before whatever was there
        "999999999",
        "00593999999999",
        "00 593 99 999 9999",
        "+00593999999999",
        "\uff0b593\uff0899\uff09999\uff0d9999",  # full-width, as are the next one's digits
        "０９９９９９９９９９",
        "٠٩٩٩٩٩٩٩٩٩",
        "+593 99 999 9999",  # no-break spaces
        "\u202a+593 99\u2011999\u20119999\u202c",  # as copied out of WhatsApp
    ],
)
def test_however_a_number_is_written_it_is_one(text: str) -> None:
    assert to_e164(text) == ONE


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("022 345 678", "+59322345678"),  # a landline
        ("+7 963 031-38-44", "+79630313844"),
        ("79630313844", "+79630313844"),
        ("380990000101", "+380990000101"),
        ("+380 99 000 01 01", "+380990000101"),
        ("573000000001", "+573000000001"),
        ("+1 (320) 555-0100", "+13205550100"),
        ("13205550100", "+13205550100"),
        ("+225 07 01 23 45 67", "+2250701234567"),  # their zero is of the number
        ("+39 06 1234 5678", "+390612345678"),
        ("+44 (0)20 7946 0018", "+442079460018"),
        (MEXICAN, MEXICAN),
        ("+5215512345678", MEXICAN),  # as WhatsApp has it
        ("5215512345678", MEXICAN),
        ("+52 1 55 1234 5678", MEXICAN),
        ("+80012345678", "+80012345678"),  # valid, though of no country
    ],
)
def test_a_number_of_any_country_is_read(text: str, number: str) -> None:
    assert to_e164(text) == number


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("+593667 357 821", "+593667357821"),
        ("593667357821", "+593667357821"),
        ("+593634063868", "+593634063868"),
        ("593634063868", "+593634063868"),
        ("0667357821", None),  # nothing says of which country: it would have to exist
        ("667357821", None),
        ("13445550188", None),
        ("+13445550188", "+13445550188"),
    ],
)
def test_a_number_that_says_its_country_need_not_be_in_use(text: str, number: str | None) -> None:
    assert to_e164(text) == number


@pytest.mark.parametrize(
    "text",
    [
        *(None, "", " ", "0", "+0", "+", "-", "000000000", "+593000000000", "0000000000"),
        *("call me", "null", "1-800-FLOWERS", "tel:+593999999999", "client@example.com", "½"),
        *(
            "911",
            "1234",
            "99999999",
            "+593999",
            "+59399999999999",
            "99999999999999999",
            "9" * 10_000,
            ONE + " " * 10_000,
        ),
        *("0999999999 ext. 12", "+593999999999x12", "+593999999999#12", "+593999999999;ext=12"),
        *("0999999999/0988888888", "0999999999, 0988888888", "0999999999 0988888888", "022345678/79"),
        *("+593999999999+593988888888", "++593999999999", "593+999999999", "+999123456789"),
    ],
)
def test_what_is_not_certainly_one_number_is_none(text: str | None) -> None:
    assert to_e164(text) is None


@pytest.mark.parametrize(
    ("region", "number"),
    [("EC", ONE), ("CI", None), ("RU", None), ("Ecuador", None), ("", None)],
)
def test_the_region_is_that_of_numbers_without_a_country(region: str, number: str | None) -> None:
    assert to_e164("0999999999", region) == number


@pytest.mark.parametrize("region", ["EC", "CI", "RU", "US", "Ecuador", ""])
def test_a_number_with_its_country_is_the_same_in_every_region(region: str) -> None:
    assert {to_e164(text, region) for text in ("+593999999999", "593999999999", "00593999999999")} == {ONE}


@pytest.mark.parametrize("number", [ONE, MEXICAN, "+593667357821", "+2250701234567", "+390612345678"])
def test_what_came_out_comes_out_again(number: str) -> None:
    assert to_e164(number) == number


def test_the_phones_of_all_demo_people_are_read() -> None:
    assert all(to_e164(customer.phone) for customer in mercately.customers() if customer.phone)
    for client in poster.clients():
        if not client.phone:
            continue
        digits = "".join(filter(str.isdigit, client.phone))
        assert to_e164(client.phone) == to_e164(digits) == "+" + digits
