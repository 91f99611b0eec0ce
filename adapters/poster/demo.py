"""Demo: the groups and clients an emulated Poster starts with.

All is drawn from a seeded generator, so it is the same in every process, but for those whom other sources
know too. It is frozen, so that sandboxes can share it; phones are of a valid shape and nobody's, e-mails of
domains reserved for examples.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from functools import cache
from random import Random

from adapters.demo import PEOPLE, InPoster, Person

CLIENTS = 1_200


@dataclass(frozen=True, slots=True)
class Group:
    id: int
    name: str
    loyalty_type: int
    discount: Decimal
    birthday_bonus: int
    """In kopecks, as all amounts here."""


@dataclass(frozen=True, slots=True)
class Client:
    id: int
    group_id: int = 0
    first_name: str = ""
    last_name: str = ""
    patronymic: str = ""
    phone: str = ""
    email: str = ""
    birthday: str = "0000-00-00"
    card_number: str = ""
    sex: int = 0
    country: str = ""
    city: str = ""
    address: str = ""
    comment: str = ""
    discount: int = 0
    bonus: int = 0
    total_spent: int = 0
    ewallet: int = 0
    since: str = "0000-00-00 00:00:00"
    deleted: bool = False


# The groups of the vendor's own documentation, and how many clients it says they have.
GROUPS = (
    Group(1, "Постоянный посетитель", 1, Decimal(10), 5000),
    Group(4, "Скидочная система 10%", 2, Decimal(10), 0),
    Group(5, "Скидочная система 20%", 2, Decimal(20), 0),
)
SIZES = (125, 43, 42)
IN_A_GROUP = sum(SIZES)


@cache
def clients() -> tuple[Client, ...]:
    """All of them, in the order of their ids."""
    random = Random("poster clients")
    group_ids = [group.id for group, size in zip(GROUPS, SIZES, strict=True) for _ in range(size)]
    rows = [_client(random, n, group_ids[n] if n < IN_A_GROUP else 0) for n in range(CLIENTS)]
    for person in PEOPLE:
        if known := person.poster:
            rows[known.id - 1] = _as(rows[known.id - 1], person, known)
    return tuple(rows)


def _client(random: Random, n: int, group_id: int) -> Client:
    sex = random.choice((0, 1, 2))
    first_name, patronymic = random.choice(WOMEN if sex == 2 else MEN)
    last_name = random.choice(LAST_NAMES)
    country, city = random.choice(CITIES)
    spent = random.choice((0, random.randrange(1_000_000)))
    return Client(
        id=n + 1,
        group_id=group_id,
        # The vendor's own example has a single word as the last name.
        first_name=first_name if random.random() < 0.9 else "",
        last_name=last_name,
        patronymic=patronymic if random.random() < 0.6 else "",
        phone=_phone(country, n) if random.random() < 0.92 else "",
        email=f"client{n + 1}@example.com" if random.random() < 0.5 else "",
        birthday=_day(random, 1950, 50) if random.random() < 0.6 else "0000-00-00",
        card_number=f"{20_000 + n}" if random.random() < 0.4 else "",
        sex=sex,
        country=random.choice((country, country, "", "0")),
        city=random.choice((city, city, "", "0")),
        address=f"{random.choice(STREETS)}, {random.randint(1, 120)}" if random.random() < 0.4 else "",
        comment=random.choice(COMMENTS) if random.random() < 0.2 else "",
        discount=random.choice((0, 0, 0, 0, 5, 15)),
        bonus=spent // 10 if group_id == 1 else 0,
        total_spent=spent,
        ewallet=random.choice((0, 0, 0, 25_050)),
        since=f"{_day(random, 2015, 11)} {random.randint(9, 21):02d}:{random.randrange(60):02d}:00",
        deleted=not group_id and n % 50 == 0,
    )


def _as(client: Client, person: Person, known: InPoster) -> Client:
    return replace(
        client,
        first_name=person.first_name,
        last_name=person.last_name,
        patronymic="",
        phone=known.phone,
        email=known.email,
        sex=1 if person.gender == "male" else 2,
        country="",
        city=person.city,
        address="",
        comment="",
        deleted=False,
    )


def _phone(country: str, n: int) -> str:
    if country == "Россия":
        return f"+7 963 000-{n // 100:02d}-{n % 100:02d}"
    return f"+380 99 000 {n // 100:02d} {n % 100:02d}"


def _day(random: Random, first_year: int, years: int) -> str:
    return (date(first_year, 1, 1) + timedelta(days=random.randrange(365 * years))).isoformat()


MEN: Sequence[tuple[str, str]] = (
    ("Андрей", "Сергеевич"),
    ("Пётр", "Ильич"),
    ("Олег", "Игоревич"),
    ("Тарас", "Григорович"),
    ("Максим", "Андреевич"),
    ("Ярослав", "Богданович"),
    ("Илья", "Юрьевич"),
)

WOMEN: Sequence[tuple[str, str]] = (
    ("Елена", "Андреевна"),
    ("Оксана", "Петрівна"),
    ("Анна-Мария", "Олеговна"),
    ("Наталья", "Фёдоровна"),
    ("Ірина", "Василівна"),
    ("Юлия", "Дмитриевна"),
    ("Соломія", "Ярославівна"),
)

# The same for women and men.
LAST_NAMES: Sequence[str] = (
    *("Шевченко", "Коваленко", "Бондаренко", "Черных", "Седых", "Дурново", "Живаго", "Франко"),
    *("Ткаченко", "Мазепа", "Гоголь-Яновский", "Лысенко", "Стус", "Ґалаґан", "Нечуй", "О'Коннор"),
)

CITIES: Sequence[tuple[str, str]] = (
    ("Россия", "Москва"),
    ("Россия", "Санкт-Петербург"),
    ("Россия", "Орёл"),
    ("Украина", "Киев"),
    ("Украина", "Львів"),
    ("Украина", "Днепр"),
)

STREETS: Sequence[str] = ("ул. Ленина", "вул. Хрещатик", "просп. Мира", "пл. Ринок", "ул. 8 Марта")

COMMENTS: Sequence[str] = (
    "Любит кофе ☕",
    "Без сахара",
    "Столик у окна",
    "Две строки:\nи аллергия на орехи",
    "«Свой» человек",
)
