"""Links say which keys are one person, whoever says it and however many at once."""

import asyncio
from itertools import chain, pairwise

import pytest

from adapters.storage.client import Storage
from adapters.storage.directory import Directory, Entry
from adapters.storage.identity import Key
from adapters.storage.links import Links, Person

ANA, BEA, EVA, ZOE = Key("everyprint", "1"), Key("mercately", "1"), Key("poster", "1"), Key("poster", "2")


@pytest.fixture
def links(storage: Storage) -> Links:
    return storage.links


async def persons(directory: Directory, *keys: Key) -> list[str | None]:
    found = await directory.entries(keys)
    return [found[key].person for key in keys]


def entry(key: Key, phone: str | None = None) -> Entry:
    return Entry(source=key.source, key=key.id, phone=phone, as_of=1)


async def test_linked_keys_are_one_person(links: Links) -> None:
    person = await links.link([BEA, ANA])

    assert person.keys == (ANA, BEA)
    assert await links.links_of([ANA, BEA, EVA]) == {ANA: person, BEA: person}
    assert await links.links_of([]) == {}


async def test_others_are_other_persons(links: Links) -> None:
    one = await links.link([ANA, BEA])
    other = await links.link([EVA, ZOE])

    assert await links.links_of([ZOE, ANA]) == {ANA: one, ZOE: other}
    assert one.id != other.id


async def test_linking_again_changes_nothing(links: Links) -> None:
    assert await links.link([ANA, BEA]) == await links.link([BEA, ANA, BEA])


async def test_a_link_between_two_persons_makes_them_one(links: Links) -> None:
    await links.link([ANA, BEA])
    await links.link([EVA, ZOE])
    person = await links.link([BEA, ZOE])

    assert person.keys == (ANA, BEA, EVA, ZOE)
    assert await links.links_of([ANA, EVA]) == {ANA: person, EVA: person}


async def test_keys_that_differ_in_case_are_different(links: Links) -> None:
    lower, upper = Key("everyprint", "abc"), Key("everyprint", "ABC")
    person = await links.link([lower, ANA])

    assert await links.links_of([lower, upper]) == {lower: person}


async def test_who_is_unlinked_is_a_person_alone(links: Links) -> None:
    await links.link([ANA, BEA, EVA])
    alone = await links.unlink(BEA)
    found = await links.links_of([ANA, BEA, EVA])

    assert alone.keys == (BEA,)
    assert found[BEA] == alone
    assert found[ANA] == found[EVA]
    assert found[ANA].keys == (ANA, EVA)


async def test_of_the_last_one_left_nothing_is_said(links: Links) -> None:
    await links.link([ANA, BEA])
    alone = await links.unlink(BEA)

    assert await links.links_of([ANA, BEA]) == {BEA: alone}


async def test_who_was_never_linked_can_be_unlinked(links: Links) -> None:
    alone = await links.unlink(ANA)

    assert await links.links_of([ANA]) == {ANA: alone}
    assert (await links.unlink(ANA)).keys == (ANA,)


async def test_who_was_unlinked_can_be_linked_again(links: Links) -> None:
    await links.unlink(ANA)
    person = await links.link([ANA, BEA])

    assert person.keys == (ANA, BEA)
    assert await links.links_of([ANA]) == {ANA: person}


async def test_of_the_last_one_left_it_is_still_said_that_it_was_unlinked(links: Links) -> None:
    for key in (ANA, BEA):
        await links.unlink(key)
    await links.link([ANA, BEA])
    await links.unlink(BEA)

    assert (await links.links_of([ANA]))[ANA].keys == (ANA,)


async def test_linked_entries_are_one_person(storage: Storage) -> None:
    await storage.directory.upsert([entry(EVA), entry(ANA), entry(BEA, "+1"), entry(ZOE, "+1")])
    await storage.links.link([EVA, ANA])
    assert await persons(storage.directory, ANA, BEA, EVA, ZOE) == [
        "everyprint:1",
        "mercately:1",
        "everyprint:1",
        "mercately:1",
    ]

    await storage.links.link([ZOE, EVA])
    assert await persons(storage.directory, ANA, BEA, EVA, ZOE) == ["everyprint:1"] * 4


async def test_who_is_unlinked_joins_nobody_but_by_a_link(storage: Storage) -> None:
    await storage.directory.upsert([entry(ANA, "+1"), entry(BEA, "+1"), entry(EVA), entry(ZOE)])
    await storage.links.unlink(BEA)
    assert await persons(storage.directory, ANA, BEA) == ["everyprint:1", "mercately:1"]

    await storage.directory.upsert([entry(BEA, "+2"), entry(EVA, "+1"), entry(ZOE, "+2")])
    await storage.directory.upsert([entry(BEA, "+1")])
    assert await persons(storage.directory, ANA, BEA, EVA) == ["everyprint:1", "mercately:1", "everyprint:1"]

    await storage.links.link([BEA, ZOE])
    assert await persons(storage.directory, ANA, BEA, ZOE) == ["everyprint:1", "mercately:1", "mercately:1"]


async def test_who_comes_later_is_linked_already(storage: Storage) -> None:
    await storage.links.link([ANA, BEA, EVA])
    await storage.directory.upsert([entry(BEA), entry(EVA)])
    assert await persons(storage.directory, BEA, EVA) == ["mercately:1", "mercately:1"]

    await storage.directory.upsert([entry(ANA)])
    assert await persons(storage.directory, BEA, EVA) == ["everyprint:1", "everyprint:1"]


async def test_what_is_nobodys_is_not_linked(links: Links) -> None:
    for keys in [], [ANA], [ANA, ANA], [ANA, Key("poster", "")], [ANA, Key("poster", "0")]:
        with pytest.raises(ValueError, match="nobody's"):
            await links.link(keys)

    assert await links.links_of([ANA]) == {}


async def test_a_chain_that_is_linked_at_once_is_one_person(links: Links) -> None:
    keys = [Key("poster", f"{n:02}") for n in range(1, 32)]
    pairs = pairwise(keys)
    await asyncio.gather(*(links.link(pair) for pair in pairs))

    found = await links.links_of(keys)
    assert {person.keys for person in found.values()} == {tuple(keys)}


async def test_persons_are_whole_whenever_they_are_read(links: Links) -> None:
    pairs = [(Key("poster", f"{n}"), Key("mercately", f"{n}")) for n in range(1, 11)]
    for pair in pairs:
        await links.link(pair)
    merges = [links.link([one[0], other[1]]) for one, other in pairwise(pairs)]
    everybody = [key for pair in pairs for key in pair]

    async def read() -> list[dict[Key, Person]]:
        return [await links.links_of(everybody) for _ in range(6)]

    readers = asyncio.gather(*(read() for _ in range(5)))
    reads, _ = await asyncio.gather(readers, asyncio.gather(*merges))

    for found in chain(*reads):
        assert all(key in person.keys and len(person.keys) % 2 == 0 for key, person in found.items())
        assert len(found) == len(everybody)
