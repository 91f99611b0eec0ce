"""The directory mirrors, forgets, lists and finds, alike on both databases."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterable
from typing import Any

import pytest
from sqlalchemy import event

from adapters.errors import Unavailable
from adapters.storage.client import Storage, open_storage
from adapters.storage.directory import (
    EVERYBODY,
    Directory,
    Entry,
    Filter,
    People,
    folded,
    grams,
    readings,
    words_of,
)
from adapters.storage.links import Key

MERCATELY, POSTER = "MERCATELY", "POSTER"


@pytest.fixture
async def storage(database_url: str) -> AsyncIterator[Storage]:
    async with open_storage(database_url) as opened:
        await opened.migrate()
        yield opened


@pytest.fixture
def directory(storage: Storage) -> Directory:
    return storage.directory


def entry(key: str, source: str = MERCATELY, **said: Any) -> Entry:
    whole: dict[str, Any] = {"source": source, "key": key, "person": f"{source}:{key}", "as_of": 1}
    return Entry(**whole | said)


def keys(*ids: str, source: str = MERCATELY) -> list[Key]:
    return [Key(source, id) for id in ids]


def crowd(count: int) -> list[Entry]:
    """People whose names are numbers in letters: nobody's grams are rare."""
    letters = str.maketrans("0123456789", "abcdefghij")
    return [entry(f"x{n:05}", first_name=f"{n:05}".translate(letters)) for n in range(count)]


async def there(directory: Directory, ids: Iterable[str]) -> set[str]:
    return {key.id for key in await directory.entries(keys(*ids))}


async def one_pass(directory: Directory, *entries: Entry, misses: int = 2) -> int:
    current = await directory.begin(MERCATELY)
    await directory.mirror(current, entries, 2)
    return await directory.finish(current, misses)


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

    assert await directory.entries(keys("4880aBcde7")) == {Key(MERCATELY, "4880aBcde7"): ada}
    assert await directory.of_rows([(MERCATELY, 7), (POSTER, 7)]) == {(MERCATELY, 7): ada}
    assert await directory.of_phones(["+593990000007", "+1"]) == {"+593990000007": [ada]}
    assert await directory.of_emails(["ada@example.com"]) == {"ada@example.com": [ada]}
    assert await directory.of_persons(["MERCATELY:4880aBcde7"]) == {"MERCATELY:4880aBcde7": [ada]}


async def test_keys_are_told_apart_by_case_and_source(directory: Directory) -> None:
    await directory.upsert([entry("ab", first_name="1"), entry("aB", first_name="2"), entry("ab", POSTER)])

    assert await there(directory, ["ab", "aB", "AB"]) == {"ab", "aB"}


async def test_who_comes_again_is_replaced_and_keeps_their_person(directory: Directory) -> None:
    await directory.upsert([entry("a", person=None, first_name="Ana", tags=("old", "both"))])
    await directory.assign_person({Key(MERCATELY, "a"): "p", Key(MERCATELY, "nobody"): "q"})
    await directory.upsert([entry("a", person=None, first_name="Eva", tags=("both", "new"))])

    (eva,) = (await directory.of_persons(["p"]))["p"]
    assert (eva.first_name, eva.tags) == ("Eva", ("both", "new"))
    assert [(await directory.page(Filter(tag=tag))).persons for tag in ("old", "both", "new")] == [
        [],
        ["p"],
        ["p"],
    ]


async def test_what_is_too_long_is_cut_or_left_out(directory: Directory) -> None:
    long = entry("a", first_name="ﷺ" * 300, email="x" * 250 + "@x.com", phone="1" * 99, tags=("t" * 300, " "))
    await directory.upsert([long])

    (cut,) = (await directory.entries(keys("a"))).values()
    assert (cut.first_name, cut.email, cut.phone) == ("ﷺ" * 255, None, None)
    assert (await directory.page(Filter(tag="t" * 300))).persons == ["MERCATELY:a"]


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


async def test_writers_at_the_same_time_do_not_lock_each_other_out(directory: Directory) -> None:
    everybody = [entry(str(number), tags=("VIP",), person=None) for number in range(60)]
    persons = {Key(MERCATELY, str(number)): "p" for number in range(60)}
    draw = random.Random(1)  # noqa: S311

    await asyncio.gather(
        *(directory.upsert(draw.sample(everybody, 40)) for _ in range(8)),
        *(directory.assign_person(persons) for _ in range(4)),
        directory.upsert(everybody),
    )
    await directory.assign_person(persons)

    assert len((await directory.of_persons(["p"]))["p"]) == 60
    assert (await directory.page(Filter(tag="VIP"))).persons == ["p"]


async def test_who_is_removed_is_in_no_answer(directory: Directory) -> None:
    await directory.upsert([entry("a", first_name="Ada", tags=("VIP",)), entry("b", first_name="Ada")])
    await directory.remove(keys("a", "nobody"))

    assert await there(directory, "ab") == {"b"}
    assert (await directory.page(Filter(tag="VIP"))).persons == []
    assert await found(directory, "ada") == ["b"]


# Passes


async def test_a_pass_that_was_killed_goes_on_where_it_was(directory: Directory) -> None:
    await directory.mirror(await directory.begin(MERCATELY), [entry("a")], 2)
    resumed = await directory.begin(MERCATELY)

    assert (resumed.number, resumed.next, resumed.finished_at) == (1, 2, None)
    assert await directory.last_pass(MERCATELY) == resumed
    assert await directory.last_pass(POSTER) is None


async def test_a_pass_after_a_finished_one_is_new(directory: Directory) -> None:
    await one_pass(directory, entry("a"))
    last = await directory.last_pass(MERCATELY)
    new = await directory.begin(MERCATELY, first=0)

    assert last is not None
    assert (last.finished_at or 0) >= last.started_at
    assert (new.number, new.next, new.finished_at) == (2, 0, None)


async def test_the_pages_of_a_pass_that_is_over_move_nothing(directory: Directory) -> None:
    old = await directory.begin(MERCATELY)
    await directory.finish(old)
    new = await directory.begin(MERCATELY)
    await directory.mirror(old, [entry("late")], 9)
    await directory.finish(old)

    assert await directory.last_pass(MERCATELY) == new
    assert await there(directory, ["late"]) == {"late"}


async def test_who_two_full_passes_miss_is_gone(directory: Directory) -> None:
    a, b = entry("a", first_name="Gone"), entry("b")
    await one_pass(directory, a, b)

    assert await one_pass(directory, b) == 0
    assert await there(directory, "ab") == {"a", "b"}
    assert await one_pass(directory, b) == 1
    assert await there(directory, "ab") == {"b"}
    assert await found(directory, "gone") == []


async def test_who_comes_back_in_between_starts_anew(directory: Directory) -> None:
    a = entry("a")
    for entries in ([a], [], [a], []):
        assert await one_pass(directory, *entries) == 0

    assert await one_pass(directory) == 1


async def test_how_many_misses_it_takes_is_up_to_the_caller(directory: Directory) -> None:
    await one_pass(directory, entry("a"))

    assert await one_pass(directory, misses=1) == 1


async def test_who_passed_through_during_a_pass_was_seen_in_it(directory: Directory) -> None:
    await one_pass(directory, entry("a"))
    current = await directory.begin(MERCATELY)
    await directory.upsert([entry("a")])

    assert await directory.finish(current, misses=1) == 0


async def test_another_sources_entries_are_none_of_a_pass(directory: Directory) -> None:
    await directory.upsert([entry("a", POSTER)])
    await one_pass(directory)
    await one_pass(directory)

    assert await directory.entries(keys("a", source=POSTER))


async def test_more_than_a_statement_holds_may_be_gone_at_once(directory: Directory) -> None:
    await one_pass(directory, *(entry(str(number)) for number in range(1100)))

    assert await one_pass(directory, misses=1) == 1100


# The list


async def test_people_are_listed_once_and_in_order(directory: Directory) -> None:
    await directory.upsert(
        [
            entry("a", person="2"),
            entry("b", person="1"),
            entry("c", POSTER, person="2"),
            entry("d", person=None),
        ]
    )

    assert await directory.page() == People(["1", "2"], has_more=False)
    assert await directory.page(count=1) == People(["1"], has_more=True)
    assert await directory.page(after="1", count=1) == People(["2"], has_more=False)
    assert await directory.count() == 2


async def test_a_cursor_stays_right_while_people_come_and_go(directory: Directory) -> None:
    await directory.upsert([entry(id, person=id) for id in "bdf"])
    first = await directory.page(count=2)
    await directory.upsert([entry(id, person=id) for id in "ae"])
    await directory.remove(keys("d"))

    assert await directory.page(after=first.persons[-1]) == People(["e", "f"], has_more=False)


@pytest.mark.parametrize("window", [2, 5000])
async def test_each_condition_may_hold_for_another_entry_of_a_person(
    directory: Directory, window: int
) -> None:
    directory.window = window
    people = [
        entry(f"m{n:02}", person=f"{n:02}", first_name="Ada", tags=("VIP",)[: n % 2]) for n in range(24)
    ]
    clients = [entry(f"{n}", POSTER, person=f"{n:02}", group_key=str(n % 3)) for n in range(18)]
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
        assert (await directory.page(filter)).persons == [f"{number:02}" for number in numbers], filter
        assert await directory.count(filter) in (len(numbers), None)


async def test_pages_of_a_filter_make_the_whole(directory: Directory) -> None:
    directory.window = 3
    await directory.upsert(entry(f"{n:02}", tags=("VIP",)[: n % 2], first_name="Ada") for n in range(40))
    filter, seen, after, more = Filter(tag="VIP", source=MERCATELY, search="ada"), list[str](), "", True
    while more:
        page = await directory.page(filter, after, 3)
        seen, after, more = seen + page.persons, page.persons[-1], page.has_more

    assert seen == [f"MERCATELY:{n:02}" for n in range(1, 40, 2)]


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
        [f"MERCATELY:y{n}" for n in (0, 1, 2)], has_more=True
    )
    assert await directory.page(search, "MERCATELY:y3") == People(
        ["MERCATELY:y4", "MERCATELY:y5", "MERCATELY:y6"], False
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
    vips = [entry(f"v{n}", first_name="Ada", tags=("VIP",)) for n in range(20)]
    clients = [entry(f"{n}", POSTER, person=f"MERCATELY:v{n}", group_key="7") for n in range(20)]
    await storage.directory.upsert([*crowd(1000), *vips, *clients])
    _, steps = await plan(storage, filter)

    if storage.embedded:
        assert all(
            "USING" in step["detail"] for step in steps if step["detail"].startswith(("SCAN", "SEARCH"))
        )
    else:
        assert not {"ALL", "index"} & {step["type"] for step in steps}


# Trouble


async def test_a_directory_that_was_never_made_is_unavailable(database_url: str) -> None:
    async with open_storage(database_url) as storage:
        for question in (storage.directory.page(), storage.directory.upsert([entry("a")])):
            with pytest.raises(Unavailable):
                await question
