"""The directory mirrors, forgets, lists and finds, alike on both databases."""

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest
from msgspec.structs import replace
from sqlalchemy import event, text

from adapters.errors import Unavailable
from adapters.storage.client import Storage, open_storage
from adapters.storage.directory import (
    EVERYBODY,
    Directory,
    Entry,
    Filter,
    Pass,
    PassLost,
    People,
)
from adapters.storage.entries import words_of
from adapters.storage.identity import Key
from adapters.storage.search import folded, grams, readings

EVERYPRINT, MERCATELY, POSTER = "everyprint", "mercately", "poster"


@pytest.fixture
def directory(storage: Storage) -> Directory:
    return storage.directory


def entry(key: str, source: str = MERCATELY, **said: Any) -> Entry:
    whole: dict[str, Any] = {"source": source, "key": key, "as_of": 1}
    return Entry(**whole | said)


def keys(*ids: str, source: str = MERCATELY) -> list[Key]:
    return [Key(source, id) for id in ids]


def crowd(count: int) -> list[Entry]:
    """People whose names are numbers in letters: nobody's grams are rare."""
    letters = str.maketrans("0123456789", "abcdefghij")
    return [entry(f"x{n:05}", first_name=f"{n:05}".translate(letters)) for n in range(count)]


async def there(directory: Directory, ids: Iterable[str]) -> set[str]:
    return {key.id for key in await directory.entries(keys(*ids))}


async def begun(directory: Directory, owner: str = "me", **said: Any) -> Pass:
    current = await directory.begin(MERCATELY, owner=owner, **said)
    assert current
    return current


async def one_pass(directory: Directory, *entries: Entry) -> Pass:
    current = await begun(directory)
    await directory.mirror(current, entries, 2)
    await directory.finish(current)
    return current


async def found(directory: Directory, search: str, **filter: Any) -> list[str]:
    people = await directory.page(Filter(search=search, **filter))
    return [person.partition(":")[2] for person in people.persons]


# Entries


async def test_an_entry_comes_back_as_it_was_put_in(directory: Directory) -> None:
    ada = entry(
        "4880aBcde7",
        row_number=7,
        first_name="Ada 🎁",
        last_name="Pérez",
        email="ada@example.com",
        phone="+593990000007",
        group_key="3",
        tags=("VIP", "Niña"),
        profile='{"notes":"¿qué?\\n\'%s\' 🎁"}'.encode(),
        as_of=1_790_000_000_123,
    )
    await directory.upsert([ada])
    ada = replace(ada, person="mercately:4880aBcde7")

    assert await directory.entries(keys("4880aBcde7")) == {Key(MERCATELY, "4880aBcde7"): ada}
    assert await directory.of_rows([(MERCATELY, 7), (POSTER, 7)]) == {(MERCATELY, 7): ada}
    assert await directory.of_phones(["+593990000007", "+1"]) == {"+593990000007": [ada]}
    assert await directory.of_emails(["ada@example.com"]) == {"ada@example.com": [ada]}
    assert await directory.of_persons(["mercately:4880aBcde7"]) == {ada.person: [ada]}


async def test_keys_are_told_apart_by_case_and_source(directory: Directory) -> None:
    await directory.upsert([entry("ab", first_name="1"), entry("aB", first_name="2"), entry("ab", POSTER)])

    assert await there(directory, ["ab", "aB", "AB"]) == {"ab", "aB"}


async def test_who_comes_again_is_replaced_and_keeps_their_person(directory: Directory) -> None:
    phone = "+593990000007"
    await directory.upsert([entry("p", EVERYPRINT, phone=phone)])
    await directory.upsert([entry("a", first_name="Ana", phone=phone, tags=("old", "both"))])
    await directory.upsert([entry("a", person="x", first_name="Eva", phone=phone, tags=("both", "new"))])

    _, eva = (await directory.of_persons(["everyprint:p"]))["everyprint:p"]
    assert (eva.first_name, eva.tags) == ("Eva", ("both", "new"))
    assert [(await directory.page(Filter(tag=tag))).persons for tag in ("old", "both", "new")] == [
        [],
        ["everyprint:p"],
        ["everyprint:p"],
    ]


async def test_what_is_too_long_is_cut_or_left_out(directory: Directory) -> None:
    long = entry("a", first_name="ﷺ" * 300, email="x" * 250 + "@x.com", phone="1" * 99, tags=("t" * 300, " "))
    await directory.upsert([long])

    (cut,) = (await directory.entries(keys("a"))).values()
    assert (cut.first_name, cut.email, cut.phone) == ("ﷺ" * 255, None, None)
    assert (await directory.page(Filter(tag="t" * 300))).persons == ["mercately:a"]


async def test_an_email_is_kept_in_lower_case(directory: Directory) -> None:
    await directory.upsert([entry("a", email=" Ada@Example.COM ")])

    assert list(await directory.of_emails(["ada@example.com"])) == ["ada@example.com"]


async def test_many_entries_are_written_and_asked_for(directory: Directory) -> None:
    await directory.upsert(entry(str(number), phone=f"+{number}") for number in range(1201))

    assert len(await directory.entries(keys(*map(str, range(2000))))) == 1201
    assert len(await directory.of_phones([f"+{number}" for number in range(2000)])) == 1201


async def test_the_same_entry_twice_at_once_is_the_last(directory: Directory) -> None:
    await directory.upsert([entry("a", first_name="1"), entry("a", first_name="2")])

    assert [found.first_name for found in (await directory.entries(keys("a"))).values()] == ["2"]


async def test_who_is_removed_is_in_no_answer(directory: Directory) -> None:
    await directory.upsert([entry("a", first_name="Ada", tags=("VIP",)), entry("b", first_name="Ada")])
    await directory.remove(keys("a", "nobody"))

    assert await there(directory, "ab") == {"b"}
    assert (await directory.page(Filter(tag="VIP"))).persons == []
    assert await found(directory, "ada") == ["b"]


async def test_a_group_of_a_source_is_removed_with_everybody_in_it(directory: Directory) -> None:
    gone = [entry(str(n), POSTER, group_key="4", phone=f"+{n}") for n in range(1, 251)]
    kept = [entry("500", POSTER, group_key="5"), entry("501", POSTER), entry("m", group_key="4", phone="+7")]
    await directory.upsert(gone + kept)
    assert (await directory.page(Filter(group=Key(POSTER, "5")))).persons == ["poster:500"]

    await directory.remove_group(Key(POSTER, "4"))

    assert (await directory.page()).persons == ["mercately:m", "poster:500", "poster:501"]
    assert await directory.count(Filter(group=Key(POSTER, "4"))) == 0
    await directory.remove_group(Key(POSTER, "4"))
    assert await directory.count() == 3


# Passes


async def test_a_pass_that_was_killed_goes_on_where_it_was(directory: Directory) -> None:
    await directory.mirror(await begun(directory), [entry("a")], 2)
    resumed = await begun(directory)

    assert (resumed.number, resumed.next, resumed.finished_at) == (1, 2, None)
    assert await directory.last_pass(MERCATELY) == resumed
    assert await directory.last_pass(POSTER) is None


async def test_a_pass_after_a_finished_one_is_new(directory: Directory) -> None:
    await one_pass(directory, entry("a"))
    last = await directory.last_pass(MERCATELY)
    new = await begun(directory, "another", first=0)

    assert last is not None
    assert (last.finished_at or 0) >= last.started_at
    assert (new.number, new.next, new.finished_at) == (2, 0, None)


async def test_a_pass_has_one_owner_at_a_time(directory: Directory) -> None:
    answers = [directory.begin(MERCATELY, owner=str(number)) for number in range(10)]
    owned = [answer for answer in await asyncio.gather(*answers) if answer]

    assert len(owned) == 1
    assert await directory.begin(POSTER, owner="another")


async def test_whose_pass_is_taken_over_writes_nothing_more(directory: Directory) -> None:
    mine = await begun(directory)
    await directory.mirror(mine, [entry("a")], 2)
    theirs = await begun(directory, "another", take_over=True)

    for question in (directory.mirror(mine, [entry("late")], 9), directory.finish(mine)):
        with pytest.raises(PassLost):
            await question
    assert (theirs.number, theirs.next) == (1, 2)
    assert await directory.last_pass(MERCATELY) == theirs
    assert await there(directory, ["a", "late"]) == {"a"}
    await directory.mirror(theirs, [entry("b")], 3)


async def test_a_pass_left_behind_is_taken_over_after_its_lease(storage: Storage) -> None:
    directory = storage.directory
    await begun(directory)
    assert await directory.begin(MERCATELY, owner="another") is None
    async with storage._engine.begin() as connection:
        await connection.execute(text("UPDATE directory_pass SET leased_until = leased_until - 30001"))

    assert (await begun(directory, "another")).owner == "another"


async def test_each_page_renews_the_lease(storage: Storage) -> None:
    directory = storage.directory
    mine = await begun(directory)
    async with storage._engine.begin() as connection:
        await connection.execute(text("UPDATE directory_pass SET leased_until = 0"))
    await directory.mirror(mine, [], 2)

    assert await directory.begin(MERCATELY, owner="another") is None


async def test_the_pages_of_a_pass_that_is_over_write_nothing(directory: Directory) -> None:
    old = await one_pass(directory)
    new = await begun(directory)
    with pytest.raises(PassLost):
        await directory.mirror(old, [entry("late")], 9)

    assert await directory.last_pass(MERCATELY) == new
    assert await there(directory, ["late"]) == set()


async def test_who_a_pass_has_not_seen_is_missed(directory: Directory) -> None:
    await one_pass(directory, *(entry(id) for id in "abcd"), entry("e"))
    await directory.upsert([entry("a", POSTER)])
    current = await begun(directory)
    await directory.mirror(current, [entry("b")], 2)
    await directory.upsert([entry("c")])

    assert await directory.missed(current, 10) == keys("a", "d", "e")
    assert await directory.missed(current, 2) == keys("a", "d")
    await directory.mirror(current, [entry("a")], 2)
    await directory.remove(keys("d"))
    assert await directory.missed(current, 10) == keys("e")


# The list


async def test_people_are_listed_once_and_in_order(directory: Directory) -> None:
    await directory.upsert(
        [entry("b", phone="+1"), entry("a"), entry("c", POSTER, phone="+1"), entry("0", phone="+2")]
    )

    assert await directory.page() == People(["mercately:a", "mercately:b"], has_more=False)
    assert await directory.page(count=1) == People(["mercately:a"], has_more=True)
    assert await directory.page(after="mercately:a", count=1) == People(["mercately:b"], has_more=False)
    assert await directory.count() == 2


async def test_a_cursor_stays_right_while_people_come_and_go(directory: Directory) -> None:
    await directory.upsert([entry(id) for id in "bdf"])
    first = await directory.page(count=2)
    await directory.upsert([entry(id) for id in "ae"])
    await directory.remove(keys("d"))

    rest = await directory.page(after=first.persons[-1])
    assert rest == People(["mercately:e", "mercately:f"], has_more=False)


@pytest.mark.parametrize("window", [2, 5000])
async def test_each_condition_may_hold_for_another_entry_of_a_person(
    directory: Directory, window: int
) -> None:
    directory.window = window
    people = [entry(f"{n:02}", phone=f"+{n}", first_name="Ada", tags=("VIP",)[: n % 2]) for n in range(24)]
    clients = [entry(f"{n}", POSTER, phone=f"+{n}", group_key=str(n % 3)) for n in range(18)]
    await directory.upsert([*people, *clients])
    answers = {
        Filter(source=POSTER, tag="VIP"): [1, 3, 5, 7, 9, 11, 13, 15, 17],
        Filter(group=Key(POSTER, "2")): [2, 5, 8, 11, 14, 17],
        Filter(group=Key(POSTER, "2"), tag="VIP"): [5, 11, 17],
        Filter(group=Key(POSTER, "2"), tag="VIP", source=MERCATELY, search="ada"): [5, 11, 17],
        Filter(group=Key(MERCATELY, "2")): [],
        Filter(source="nowhere", search="ada"): [],
        Filter(tag="vip"): [],
        Filter(tag=" VIP ", source=POSTER, search="nobody"): [],
        Filter(tag="\ud800"): [],
    }

    for filter, numbers in answers.items():
        assert (await directory.page(filter)).persons == [f"mercately:{n:02}" for n in numbers], filter
        assert await directory.count(filter) in (len(numbers), None)


async def test_pages_of_a_filter_make_the_whole(directory: Directory) -> None:
    directory.window = 3
    await directory.upsert(entry(f"{n:02}", tags=("VIP",)[: n % 2], first_name="Ada") for n in range(40))
    filter, seen, after, more = Filter(tag="VIP", source=MERCATELY, search="ada"), list[str](), "", True
    while more:
        page = await directory.page(filter, after, 3)
        seen, after, more = seen + page.persons, page.persons[-1], page.has_more

    assert seen == [f"mercately:{n:02}" for n in range(1, 40, 2)]


# Search

PEOPLE = [
    entry("perez", first_name="José María", last_name="Pérez-Ñandú", email="jm.perez+shop@Example.com"),
    entry("strasse", first_name="Straße", last_name="Łukasz", phone="+593998765432"),
    entry("percent", first_name="100% cotton_shop", last_name='O\'Hara \\ "Bob"'),
    entry("cyrillic", first_name="Юлия", last_name="Королёва", phone="+79630313844"),
    entry("kanji", first_name="日本太郎", last_name="🎁🎉🎂"),
    entry("stop", first_name="Theon", last_name="Whowas", email="www@the.com", phone="+15550100"),
]

SEARCHES = {
    "perez": ["perez"],
    "PÉREZ": ["perez"],
    "nandu": ["perez"],
    "rez-nan": ["perez"],
    "maria perez": ["perez"],
    "perez josé": ["perez"],
    "maria strasse": [],
    "josemaria": [],
    "perez+shop@example.com": ["perez"],
    "shop": ["percent", "perez"],
    "jo": ["perez"],
    "j m": ["perez"],
    "os": [],
    "na": ["perez"],
    "strasse lukasz": ["strasse"],
    "STRASSE": ["strasse"],
    "998765432": ["strasse"],
    "0998 765 432": ["strasse"],
    "+593 (99) 876-54.32": ["strasse"],
    "876": ["strasse"],
    "765 59": ["strasse"],
    "76 54 32": [],
    "%": [],
    "100%": ["percent"],
    "%cot": [],
    "n_s": ["percent"],
    "___": [],
    "o'hara": ["percent"],
    '"bob"': ["percent"],
    '"': ["percent"],
    "\\": ["percent"],
    "' OR '1'='1": [],
    "+perez -maria": [],
    "per*": [],
    "юлия": ["cyrillic"],
    "КОРОЛЕВА": ["cyrillic"],
    "8 963 031": [],
    "963 031": ["cyrillic"],
    "日本": ["kanji"],
    "本太郎": ["kanji"],
    "🎉": [],
    "🎁🎉🎂": ["kanji"],
    "www": ["stop"],
    "the": ["stop"],
    "who": ["stop"],
    "com": ["perez", "stop"],
    "was the": ["stop"],
    "\x00perez\ud800": ["perez"],
}


@pytest.mark.parametrize("window", [5, 5000])
async def test_search_finds_any_part_and_nothing_else(directory: Directory, window: int) -> None:
    directory.window = window
    await directory.upsert([*PEOPLE, *crowd(120)])
    answers = {search: await found(directory, search) for search in SEARCHES}

    assert answers == SEARCHES


async def test_an_empty_search_is_none(directory: Directory) -> None:
    await directory.upsert(PEOPLE)

    assert await directory.page(Filter(search=" \u200b ")) == await directory.page(EVERYBODY)


async def test_search_knows_what_changed(directory: Directory) -> None:
    directory.window = 5
    await directory.upsert([*crowd(60), entry("a", first_name="Before"), entry("b", first_name="Before")])
    await directory.upsert([entry("a", first_name="After")])

    assert await found(directory, "before") == ["b"]
    assert await found(directory, "after") == ["a"]


async def test_people_whom_a_search_finds_are_paged(directory: Directory) -> None:
    directory.window = 5
    sevens = [entry(f"y{n}", first_name="Seven", tags=("VIP",)[: n % 2]) for n in range(7)]
    await directory.upsert([*crowd(120), *sevens])
    search = Filter(search="seven", source=MERCATELY)

    assert await directory.page(search, count=3) == People(
        [f"mercately:y{n}" for n in (0, 1, 2)], has_more=True
    )
    assert await directory.page(search, "mercately:y3") == People(
        ["mercately:y4", "mercately:y5", "mercately:y6"], False
    )
    assert await found(directory, "seven", tag="VIP") == ["y1", "y3", "y5"]


async def test_counting_too_many_is_left_undone(directory: Directory) -> None:
    directory.window = 5
    await directory.upsert([*crowd(200), entry("a", first_name="Only")])

    assert await directory.count(Filter(search="only")) == 1
    assert await directory.count(Filter(search="aaa", source=MERCATELY)) is None
    assert await directory.count(Filter(source=MERCATELY)) == 201


@pytest.mark.parametrize(
    ("text", "plain"), [("Ñandú", "nandu"), ("ŁÓDŹ", "lodz"), ("Ｆｕｌｌ", "full"), ("Ёж", "еж"), ("Ⅳ", "iv")]
)
def test_text_is_folded(text: str, plain: str) -> None:
    assert folded(text) == plain


def test_a_word_that_begins_another_is_in_it() -> None:
    assert words_of(entry("a", first_name="Ana", last_name="Anaya", phone="+593 9")) == "  5939  anaya"
    assert grams(["  ana"]) == {"  a", " an", "ana"}


def test_a_phone_may_be_read_in_two_ways() -> None:
    assert readings("Ana 0998 765") == [("ana", "0998", "765"), ("ana", "998765")]
    assert readings("12 345") == [("  12", "345")]
    assert readings("") == []


# Plans


async def plan(storage: Storage, filter: Filter) -> tuple[str, list[Any]]:
    """The last statement that a page took, and how the database goes about it."""
    said: list[tuple[str, Any]] = []

    def hear(_: Any, __: Any, statement: str, parameters: Any, ___: Any, ____: Any) -> None:
        said.append((statement, parameters))

    event.listen(storage._engine.sync_engine, "before_cursor_execute", hear)
    await storage.directory.page(filter)
    event.remove(storage._engine.sync_engine, "before_cursor_execute", hear)
    statement, parameters = [(statement, rest) for statement, rest in said if statement.startswith("SELECT")][
        -1
    ]
    how = "EXPLAIN QUERY PLAN " if storage.embedded else "EXPLAIN "
    async with storage._engine.connect() as connection:
        return statement, list((await connection.exec_driver_sql(how + statement, parameters)).mappings())


async def test_search_goes_through_the_index(storage: Storage) -> None:
    storage.directory.window = 50
    await storage.directory.upsert([*crowd(3000), entry("a", first_name="Only")])
    _, steps = await plan(storage, Filter(search="only"))

    if storage.embedded:
        assert any("VIRTUAL TABLE INDEX" in step["detail"] for step in steps)
        assert not any(step["detail"] == "SCAN directory_entry" for step in steps)
    else:
        assert [(step["table"], step["type"], step["key"]) for step in steps] == [
            ("directory_search", "fulltext", "ft_directory_search_grams"),
            ("directory_entry_1", "eq_ref", "PRIMARY"),
        ]


@pytest.mark.parametrize(
    "filter",
    [
        Filter(source=POSTER),
        Filter(group=Key(POSTER, "7")),
        Filter(tag="VIP"),
        Filter(tag="VIP", source=MERCATELY),
        Filter(group=Key(POSTER, "7"), search="ada"),
    ],
    ids=str,
)
async def test_no_filter_reads_a_whole_table(storage: Storage, filter: Filter) -> None:
    vips = [entry(f"v{n}", phone=f"+{n}", first_name="Ada", tags=("VIP",)) for n in range(20)]
    clients = [entry(f"{n}", POSTER, phone=f"+{n}", group_key="7") for n in range(20)]
    await storage.directory.upsert([*crowd(1000), *vips, *clients])
    _, steps = await plan(storage, filter)

    if storage.embedded:
        assert all(
            "USING" in step["detail"] for step in steps if step["detail"].startswith(("SCAN", "SEARCH"))
        )
    else:
        assert not {"ALL", "index"} & {step["type"] for step in steps}


# Trouble


async def test_a_directory_that_was_never_made_is_unavailable(empty_url: str) -> None:
    async with open_storage(empty_url) as storage:
        for question in (storage.directory.page(), storage.directory.upsert([entry("a")])):
            with pytest.raises(Unavailable):
                await question


async def test_what_was_asked_for_before_what_is_there_changes_nothing_but_that_it_was_seen(
    directory: Directory,
) -> None:
    """A page that was under way while somebody was changed arrives late, and knows nothing of the change."""
    await directory.upsert([entry("1", first_name="New", as_of=20)])
    current = await begun(directory)

    await directory.mirror(current, [entry("1", first_name="Old", as_of=15)], 2)

    (found,) = (await directory.entries(keys("1"))).values()
    assert found.first_name == "New"
    assert await directory.missed(current, 5) == []
