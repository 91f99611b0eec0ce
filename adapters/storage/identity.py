"""Identity: which keys, of all that the sources have, are one person.

An explicit link makes two keys one person; else the same phone; else the same e-mail, if each source has it
only once. What is nobody's (null, empty, 0) joins nobody.
"""

import re
from collections.abc import Collection, Iterable
from typing import NamedTuple

SOURCES = ("everyprint", "mercately", "poster")
"""A person's id is the key in the first of these that knows them."""

_NUMBER_AT_THE_END = re.compile("[0-9]{1,18}$")


class Key(NamedTuple):
    """What one source calls a person; as text, also the name of the person whose first key it is."""

    source: str
    id: str

    def __str__(self) -> str:
        return f"{self.source}:{self.id}"

    @classmethod
    def parse(cls, text: str) -> "Key":
        source, _, id = text.partition(":")
        return cls(source, id)


class Contact(NamedTuple):
    """How one source reaches a person; of one with two phones there are two."""

    source: str
    id: str
    phone: str | None = None
    """In E.164."""
    email: str | None = None
    """In lower case."""

    @property
    def key(self) -> Key:
        return Key(self.source, self.id)


Links = Iterable[Collection[Key]]


def assign_people(
    contacts: Iterable[Contact], links: Links = (), unlinked: Collection[Key] = frozenset()
) -> dict[Key, Key]:
    """The person of each key: the key among theirs that is the first.

    Two keys of one source with one phone are one person too: the sources keep phones unique, so that there
    are two only where they are written differently. What is unlinked joins by an explicit link only; its
    e-mail still counts as one that somebody has. A key that only a link names has a person, but is the first
    only among others of its kind.
    """
    contacts = [contact for contact in contacts if _names_somebody(contact)]
    links = [[key for key in link if _names_somebody(key)] for link in links]
    people = _People({contact.key for contact in contacts}, {key for link in links for key in link})
    by_phone: dict[str, Key] = {}
    by_email: dict[str, Key] = {}
    shared: dict[str, set[Key]] = {}
    for contact in contacts:
        key, phone, email = contact.key, _phone(contact), _email(contact)
        if phone and key not in unlinked and (first := by_phone.setdefault(phone, key)) != key:
            people.join(first, key)
        if email and (first := by_email.setdefault(email, key)) != key:
            shared.setdefault(email, {first}).add(key)
    for keys in shared.values():
        if _once_in_each_source(keys):
            people.join(*(key for key in keys if key not in unlinked))
    for link in links:
        people.join(*link)
    return people.of_keys()


class Wanted(NamedTuple):
    """What to look up next: the contacts with any of these, and the links that name any of the keys."""

    keys: frozenset[Key] = frozenset()
    phones: frozenset[str] = frozenset()
    emails: frozenset[str] = frozenset()


class Neighbourhood:
    """Everybody whose person a change can have altered, found in rounds of look-ups after it was written.

        around = Neighbourhood(as_it_was, as_it_is)
        while any(wanted := around.wanted()):
            around.add(contacts_with_any(wanted), links_with_any(wanted.keys))
        people = around.people(unlinked)

    A changed link or unlink is a change of each key that it names, or named. `people` answers for `keys`,
    beyond which nothing has changed; which of these it does not have is gone.
    """

    def __init__(self, *changed: Contact) -> None:
        self._changed = {contact.key for contact in changed}
        self._contacts: set[Contact] = set()
        self._links: set[frozenset[Key]] = set()
        self._asked = Wanted()
        self._reached = Wanted(
            frozenset(filter(_names_somebody, self._changed)),
            frozenset(filter(None, map(_phone, changed))),
            frozenset(filter(None, map(_email, changed))),
        )

    @property
    def keys(self) -> frozenset[Key]:
        return self._reached.keys

    @property
    def enough(self) -> int:
        """So many contacts with one e-mail tell as much as all: two that did not change are of one source."""
        return len(self._changed) + len(SOURCES) + 1

    def wanted(self) -> Wanted:
        asked, self._asked = self._asked, self._reached
        keys, phones, emails = self._reached
        return Wanted(keys - asked.keys, phones - asked.phones, emails - asked.emails)

    def add(self, contacts: Iterable[Contact], links: Links = ()) -> None:
        """All that was wanted, at once; more does no harm."""
        self._contacts.update(filter(_names_somebody, contacts))
        self._links.update(frozenset(key for key in link if _names_somebody(key)) for link in links)
        joining = self._asked.emails - self._shared_anyway()
        keys, phones, emails = (
            set(self._reached.keys),
            set(self._reached.phones),
            set(self._reached.emails),
        )
        size = 0
        while size != (size := len(keys) + len(phones) + len(emails)):
            for link in self._links:
                if not keys.isdisjoint(link):
                    keys.update(link)
            touched = [
                contact
                for contact in self._contacts
                if contact.key in keys or _phone(contact) in phones or _email(contact) in joining
            ]
            keys.update(contact.key for contact in touched)
            phones.update(filter(None, map(_phone, touched)))
            emails.update(filter(None, map(_email, touched)))
        self._reached = Wanted(frozenset(keys), frozenset(phones), frozenset(emails))

    def people(self, unlinked: Collection[Key] = frozenset()) -> dict[Key, Key]:
        people = assign_people(self._contacts, self._links, unlinked)
        return {key: people[key] for key in self.keys if key in people}

    def _shared_anyway(self) -> set[str]:
        """The e-mails that two keys of one source have and had, whatever has changed."""
        keys: dict[tuple[str, str], set[Key]] = {}
        for contact in self._contacts:
            if (email := _email(contact)) and contact.key not in self._changed:
                keys.setdefault((contact.source, email), set()).add(contact.key)
        return {email for (_, email), sharers in keys.items() if len(sharers) > 1}


class _People:
    """Sets of keys that only ever grow together, each under the first of its keys."""

    def __init__(self, known: set[Key], named: set[Key]) -> None:
        self._keys = sorted(known, key=order) + sorted(named - known, key=order)
        self._places = {key: place for place, key in enumerate(self._keys)}
        self._above = list(range(len(self._keys)))

    def join(self, *keys: Key) -> None:
        tops = {self._top(self._places[key]) for key in keys}
        first = min(tops, default=0)
        for top in tops:
            self._above[top] = first

    def of_keys(self) -> dict[Key, Key]:
        return {key: self._keys[self._top(place)] for place, key in enumerate(self._keys)}

    def _top(self, place: int) -> int:
        above = self._above
        while (higher := above[place]) != place:
            above[place] = place = above[higher]
        return place


def order(key: Key) -> tuple[int, str, int, str]:
    """By source, then by the number that a key is or, as web ids do, ends with: the oldest stays first."""
    rank = SOURCES.index(key.source) if key.source in SOURCES else len(SOURCES)
    number = _NUMBER_AT_THE_END.search(key.id)
    return rank, key.source, int(number[0]) if number else 0, key.id


def _names_somebody(who: Key | Contact) -> bool:
    return bool(who.id) and who.id != "0"


def _phone(contact: Contact) -> str | None:
    return contact.phone if contact.phone and contact.phone.startswith("+") else None


def _email(contact: Contact) -> str | None:
    return contact.email if contact.email and "@" in contact.email else None


def _once_in_each_source(keys: Collection[Key]) -> bool:
    return len({key.source for key in keys}) == len(keys)
