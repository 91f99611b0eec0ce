"""Identity: whose key is whose."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from random import Random

import pytest

from adapters.storage.identity import Contact, Key, Neighbourhood, Wanted, assign_people

PHONE, OTHER_PHONE = "+593999999999", "+593988888888"
MAIL, OTHER_MAIL = "ana@example.com", "familia@example.com"


def ours(id: str, phone: str | None = None, email: str | None = None) -> Contact:
    return Contact("everyprint", id, phone, email)


def theirs(id: str, phone: str | None = None, email: str | None = None) -> Contact:
    return Contact("mercately", id, phone, email)


def client(id: str, phone: str | None = None, email: str | None = None) -> Contact:
    return Contact("poster", id, phone, email)


def keys(*contacts: Contact) -> frozenset[Key]:
    return frozenset(contact.key for contact in contacts)


A, M, P = ours("1"), theirs("4880vesdc3873"), client("7")


def people(
    contacts: Iterable[Contact], links: Iterable[Collection[Key]] = (), unlinked: Collection[Key] = ()
) -> list[list[str]]:
    """The ids of each person, the canonical one first."""
    found: dict[Key, list[str]] = {}
    for key, person in sorted(assign_people(contacts, links, unlinked).items()):
        found.setdefault(person, [person.id]).extend([key.id] if key != person else [])
    return sorted(found.values())


@pytest.mark.parametrize(
    ("contacts", "expected"),
    [
        pytest.param([], [], id="nobody is nobody"),
        pytest.param([ours("1"), theirs("2"), client("3")], [["1"], ["2"], ["3"]], id="strangers are apart"),
        pytest.param(
            [client("3", PHONE), theirs("2", PHONE), ours("1", PHONE)],
            [["1", "2", "3"]],
            id="one phone is one",
        ),
        pytest.param([ours("1", PHONE), ours("2", PHONE)], [["1", "2"]], id="one phone, one source: one too"),
        pytest.param([ours("1", PHONE), theirs("2", OTHER_PHONE)], [["1"], ["2"]], id="two phones are two"),
        pytest.param(
            [ours("1", None, MAIL), theirs("2", PHONE, MAIL)],
            [["1", "2"]],
            id="an e-mail joins without a phone",
        ),
        pytest.param(
            [ours("1", PHONE, MAIL), theirs("2", OTHER_PHONE, MAIL)],
            [["1", "2"]],
            id="an e-mail joins two phones",
        ),
        pytest.param(
            [ours("1", None, OTHER_MAIL), theirs("2", None, OTHER_MAIL), theirs("3", None, OTHER_MAIL)],
            [["1"], ["2"], ["3"]],
            id="a family's e-mail joins nobody",
        ),
        pytest.param(
            [
                ours("1", None, MAIL),
                client("2", None, MAIL),
                theirs("3", None, MAIL),
                theirs("4", None, MAIL),
            ],
            [["1"], ["2"], ["3"], ["4"]],
            id="a family's e-mail joins nobody elsewhere either",
        ),
        pytest.param(
            [ours("1", None, MAIL), theirs("2", PHONE, MAIL), theirs("3", PHONE, MAIL)],
            [["1"], ["2", "3"]],
            id="an e-mail twice in a source is shared, be it one person's",
        ),
        pytest.param(
            [ours("1", PHONE, MAIL), theirs("2", PHONE, MAIL), theirs("3", OTHER_PHONE, MAIL)],
            [["1", "2"], ["3"]],
            id="a phone joins whose e-mail is shared",
        ),
        pytest.param(
            [ours("1", PHONE), theirs("2", PHONE, MAIL), client("3", None, MAIL)],
            [["1", "2", "3"]],
            id="by a phone here, by an e-mail there",
        ),
        pytest.param(
            [ours("1", PHONE), ours("1", OTHER_PHONE), theirs("2", PHONE), client("3", OTHER_PHONE)],
            [["1", "2", "3"]],
            id="somebody may have two phones",
        ),
        pytest.param(
            [ours("1", None, None), theirs("2", None, None)],
            [["1"], ["2"]],
            id="null is nobody's phone or e-mail",
        ),
        pytest.param([ours("1", "", ""), theirs("2", "", "")], [["1"], ["2"]], id="nor is empty"),
        pytest.param([ours("1", "0", "0"), theirs("2", "0", "0")], [["1"], ["2"]], id="nor is 0"),
        pytest.param(
            [ours("1", None, "-"), theirs("2", None, "-")], [["1"], ["2"]], id="nor a dash an e-mail"
        ),
        pytest.param([ours("", PHONE), theirs("0", PHONE)], [], id="empty and 0 are nobody's key"),
        pytest.param([ours("7"), theirs("7")], [["7"], ["7"]], id="a key is of its source"),
        pytest.param([ours("10", PHONE), ours("9", PHONE)], [["9", "10"]], id="9 is before 10"),
        pytest.param(
            [theirs("4880aaaaa20", PHONE), theirs("4880zzzzz3", PHONE)],
            [["4880zzzzz3", "4880aaaaa20"]],
            id="of web ids the oldest row is first, whatever its letters",
        ),
        pytest.param([client("1", PHONE), theirs("9", PHONE)], [["9", "1"]], id="Mercately is before Poster"),
        pytest.param(
            [Contact("later", "1", PHONE), client("9", PHONE)], [["9", "1"]], id="a source to come is last"
        ),
        pytest.param(
            [ours("9" * 5_000, PHONE), ours("x", PHONE)], [["x", "9" * 5_000]], id="a key of any length"
        ),
    ],
)
def test_who_is_one_person(contacts: list[Contact], expected: list[list[str]]) -> None:
    assert people(contacts) == expected
    assert people(reversed(contacts)) == expected
    assert people(contacts * 2) == expected


def test_a_link_joins_strangers() -> None:
    assert people([A, M, P], [keys(A, P)]) == [["1", "7"], ["4880vesdc3873"]]


def test_links_that_meet_are_one() -> None:
    assert people([A, M, P], [keys(A, M), keys(M, P)]) == [["1", "4880vesdc3873", "7"]]


def test_a_link_holds_while_one_of_it_is_unknown() -> None:
    assert people([M, P], [keys(A, M, P)]) == [["4880vesdc3873", "1", "7"]]


def test_a_link_among_the_unknown_is_a_person_too() -> None:
    assert people([], [keys(A, M)]) == [["1", "4880vesdc3873"]]


def test_a_link_that_names_nobody_joins_nobody() -> None:
    assert people([A, P], [{Key("mercately", ""), A.key}, {Key("mercately", ""), P.key}, ()]) == [
        ["1"],
        ["7"],
    ]


def test_the_unlinked_stay_apart_from_phone_and_email() -> None:
    contacts = [ours("1", PHONE, MAIL), theirs("2", PHONE, MAIL), client("3", PHONE, MAIL)]

    assert people(contacts, unlinked=keys(theirs("2"))) == [["1", "3"], ["2"]]


def test_the_unlinked_can_be_linked_with_others() -> None:
    contacts = [ours("1", PHONE), ours("2"), theirs("3", PHONE)]

    assert people(contacts, [keys(ours("2"), theirs("3"))], keys(theirs("3"))) == [["1"], ["2", "3"]]


def test_an_email_stays_shared_when_one_of_its_people_is_unlinked() -> None:
    contacts = [ours("1", None, MAIL), theirs("2", None, MAIL), theirs("3", None, MAIL)]

    assert people(contacts, unlinked=keys(theirs("3"))) == [["1"], ["2"], ["3"]]


@dataclass(frozen=True)
class World:
    """All that the sources, links and unlinks say, and the look-ups that a database would answer."""

    contacts: tuple[Contact, ...]
    links: tuple[frozenset[Key], ...]
    unlinked: frozenset[Key]

    def assign(self) -> dict[Key, Key]:
        return assign_people(self.contacts, self.links, self.unlinked)

    def around(self, *changed: Contact) -> Neighbourhood:
        around = Neighbourhood(*changed)
        while any(wanted := around.wanted()):
            around.add(self._having(wanted, around.enough), self._naming(wanted.keys))
        return around

    def _having(self, wanted: Wanted, enough: int) -> list[Contact]:
        found = [
            contact
            for contact in self.contacts
            if contact.key in wanted.keys or contact.phone in wanted.phones
        ]
        for email in wanted.emails:
            found += [contact for contact in self.contacts if contact.email == email][:enough]
        return found

    def _naming(self, keys: frozenset[Key]) -> list[frozenset[Key]]:
        return [link for link in self.links if not keys.isdisjoint(link)]


def some_contact(random: Random, size: int) -> Contact:
    """Mostly somebody's own phone and e-mail, as in life, with shared, missing and empty ones among them."""
    n = random.randrange(size)
    return Contact(
        random.choice(("everyprint", "mercately", "poster")),
        str(random.randrange(size)),
        random.choice((f"+{n}", f"+{n}", f"+{random.randrange(size)}", None, "", "0")),
        random.choice((f"{n}@", f"{n}@", f"{random.randrange(size)}@", "family@", None, "")),
    )


def some_world(random: Random) -> World:
    size = random.choice((6, 20, 60))
    contacts = {(contact := some_contact(random, size)).key: contact for _ in range(size)}
    return World(
        tuple(contacts.values()),
        tuple(some_keys(random, size, random.choice((2, 3))) for _ in range(size // 10)),
        some_keys(random, size, size // 10),
    )


def some_keys(random: Random, size: int, count: int) -> frozenset[Key]:
    return keys(*(some_contact(random, size) for _ in range(count)))


def some_change(random: Random, world: World) -> tuple[World, list[Contact]]:
    """The world afterwards, and what has changed."""
    was = random.choice(world.contacts)
    others = tuple(contact for contact in world.contacts if contact != was)
    now = some_contact(random, 20)._replace(source=was.source, id=was.id)
    kind = random.choice(("alter", "alter", "add", "remove", "link", "unlink", "cut"))
    if kind == "alter":
        return replace(world, contacts=(*others, now)), [was, now]
    if kind == "add":
        new = now._replace(id="new")
        return replace(world, contacts=(*world.contacts, new)), [new]
    if kind == "remove":
        return replace(world, contacts=others), [was]
    if kind == "unlink":
        return replace(world, unlinked=world.unlinked | {was.key}), [was]
    if kind == "link":
        link = keys(was, *random.sample(world.contacts, 2))
        return replace(world, links=(*world.links, link)), [Contact(*key) for key in link]
    cut = world.links[:1]
    return replace(world, links=world.links[1:]), [Contact(*key) for link in cut for key in link]


@pytest.mark.parametrize("seed", range(20))
def test_neither_order_nor_repetition_nor_its_own_answer_changes_an_assignment(seed: int) -> None:
    random = Random(seed)  # noqa: S311 - made-up people, not secrets
    for _ in range(20):
        world = some_world(random)
        found = world.assign()
        shuffled = random.sample(world.contacts * 2, len(world.contacts) * 2)
        together = [{key, person} for key, person in found.items()]

        assert assign_people(shuffled, world.links[::-1], world.unlinked) == found
        assert assign_people(shuffled, together, world.unlinked) == found
        assert {key: found[person] for key, person in found.items()} == found


@pytest.mark.parametrize("seed", range(40))
def test_the_neighbourhood_of_a_change_tells_as_much_as_the_whole(seed: int) -> None:
    random = Random(seed)  # noqa: S311 - made-up people, not secrets
    for _ in range(50):
        before = some_world(random)
        after, changed = some_change(random, before)
        around = after.around(*changed)
        was, now = before.assign(), after.assign()

        assert around.people(after.unlinked) == {key: now[key] for key in around.keys & now.keys()}
        assert {key for key in was.keys() | now.keys() if was.get(key) != now.get(key)} <= around.keys


@pytest.mark.parametrize("seed", range(10))
def test_more_than_was_wanted_does_no_harm(seed: int) -> None:
    random = Random(seed)  # noqa: S311 - made-up people, not secrets
    for _ in range(20):
        world, changed = some_change(random, some_world(random))
        around = Neighbourhood(*changed)
        while any(around.wanted()):
            around.add(world.contacts, world.links)

        assert around.people(world.unlinked) == world.around(*changed).people(world.unlinked)


def test_an_email_that_thousands_have_is_no_neighbourhood() -> None:
    crowd = (theirs(str(n), f"+{n}", "none@example.com") for n in range(1, 5_000))
    world = World((ours("1", PHONE, "none@example.com"), client("2", PHONE), *crowd), (), frozenset())

    around = world.around(ours("1", PHONE, "none@example.com"))

    assert around.keys == keys(ours("1"), client("2"))
    assert around.people() == {ours("1").key: ours("1").key, client("2").key: ours("1").key}
