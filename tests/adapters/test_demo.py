"""The demo people: fit to be shown, and who is one person and who is not."""

import re
from collections import Counter
from itertools import accumulate

import pytest

from adapters.demo import PEOPLE, Person
from adapters.mercately import demo as mercately
from adapters.mercately.sandbox import NOW
from adapters.poster import demo as poster
from adapters.storage.identity import Contact, Key, assign_people
from resolvers.phones import to_e164

EVERYPRINT = [person.everyprint for person in PEOPLE if person.everyprint]
MERCATELY = [person.mercately for person in PEOPLE if person.mercately]
POSTER = [person.poster for person in PEOPLE if person.poster]
EXAMPLE = re.compile(r"[a-z.]+@example\.(com|net|org)")


def names(person: Person) -> str:
    return f"{person.first_name} {person.last_name}"


def keys(person: Person) -> set[Key]:
    keys = {Key("everyprint", person.everyprint.messenger_id)} if person.everyprint else set()
    keys |= {Key("mercately", person.mercately.id)} if person.mercately else set()
    return keys | ({Key("poster", str(person.poster.id))} if person.poster else set())


OURS = {key for person in PEOPLE for key in keys(person)}


def entries() -> list[Contact]:
    """What the directory will know of everybody in all three sources."""

    def entry(source: str, id: object, phone: str | None, email: str | None) -> Contact:
        return Contact(source, str(id), to_e164(phone), email.lower() if email else None)

    return [
        *(entry("everyprint", one.messenger_id, one.phone, one.email) for one in EVERYPRINT),
        *(entry("mercately", one.id, one.phone, one.email) for one in mercately.customers()),
        *(entry("poster", one.id, one.phone, one.email) for one in poster.clients()),
    ]


@pytest.mark.parametrize("person", PEOPLE, ids=names)
def test_a_person_is_one_in_all_sources_and_nobody_else_is_they(person: Person) -> None:
    people = assign_people(entries())
    of_this = {people[key] for key in keys(person)}

    assert len(of_this) == 1
    assert {key for key, first in people.items() if first in of_this} == keys(person)
    assert person.key == ":".join(*of_this)


def test_there_are_some_of_every_kind() -> None:
    kinds = Counter(tuple(sorted(key.source for key in keys(person))) for person in PEOPLE)

    assert kinds[("everyprint", "mercately", "poster")] >= 3
    for kind in (
        *(("everyprint", "mercately"), ("everyprint", "poster"), ("mercately", "poster")),
        *(("everyprint",), ("mercately",), ("poster",)),
    ):
        assert kinds[kind], kind


def test_some_are_joined_by_their_email_alone() -> None:
    without_emails = assign_people(entry._replace(email=None) for entry in entries())
    apart = {names(person) for person in PEOPLE if len({without_emails[key] for key in keys(person)}) > 1}

    assert apart == {"Lucía Paredes", "Aminata Koné"}


def test_phones_are_of_a_valid_shape_and_everyprints_are_in_e164() -> None:
    ours = [one.phone for one in EVERYPRINT if one.phone]
    theirs = [one.phone for one in MERCATELY if one.phone] + [one.phone for one in POSTER if one.phone]

    assert [to_e164(phone) for phone in ours] == ours
    assert all(map(to_e164, theirs))
    assert {" " in phone for phone in theirs} == {True, False}


def test_emails_are_of_example_domains() -> None:
    emails = [entry.email for entry in entries() if entry.key in OURS and entry.email]

    assert len(emails) > len(PEOPLE) // 2
    assert [email for email in emails if not EXAMPLE.fullmatch(email)] == []


def test_messenger_ids_are_digits_in_the_order_of_the_people() -> None:
    ids = [one.messenger_id for one in EVERYPRINT]

    assert all(re.fullmatch("[0-9]{16}", id) for id in ids)
    assert ids == sorted(set(ids))


def test_no_balance_was_ever_below_zero_and_the_last_has_none() -> None:
    assert all(
        balance >= 0 for one in EVERYPRINT for balance in accumulate(entry.amount for entry in one.ledger)
    )
    assert EVERYPRINT[-1].ledger == ()


def test_every_own_group_has_several_and_one_has_somebody_of_each_source() -> None:
    members: dict[str, list[str]] = {}
    for person in PEOPLE:
        for group in person.groups:
            members.setdefault(group, []).append(person.key.partition(":")[0])

    assert all(len(sources) >= 3 for sources in members.values())
    assert {"everyprint", "mercately", "poster"} == {source for group in members.values() for source in group}


# In the sandboxes


def test_mercately_knows_them_right_behind_the_vendors_own_example() -> None:
    pablo, *others = mercately.customers()[: len(MERCATELY) + 1]

    assert pablo.first_name == "Pablo"
    assert [customer.id for customer in others] == [known.id for known in MERCATELY]
    assert [customer.row for customer in mercately.customers()] == [
        *range(mercately.FIRST_ROW, mercately.FIRST_ROW + mercately.CUSTOMERS)
    ]


def test_their_conversations_are_the_newest_and_one_is_nobodys() -> None:
    ours = {known.id: known for known in MERCATELY}
    newest = {
        channel: sorted(
            mercately.conversations(channel, NOW), key=lambda one: one.last_interaction, reverse=True
        )
        for channel in ("messenger", "whatsapp")
    }

    assert [one.customer_id in ours for one in newest["messenger"][:4]] == [True] * 4
    assert [one.customer_id in ours for one in newest["whatsapp"][:4]] == [True] * 4
    assert sum(known.agent_id is None for known in MERCATELY) == 1
    assert {known.agent_id for known in MERCATELY if known.agent_id} <= {one.id for one in mercately.agents()}
    assert all(len(rows) == len({row.customer_id for row in rows}) == 600 for rows in newest.values())


def test_poster_has_them_in_several_groups_and_in_none() -> None:
    groups = Counter(poster.clients()[known.id - 1].group_id for known in POSTER)

    assert set(groups) == {0, 1, 4, 5}
