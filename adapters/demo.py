"""Demo: the people whom all emulated sources share, and how each of them spells them.

Phones are of a valid shape and nobody's; e-mails are of domains reserved for examples.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple


class Entry(NamedTuple):
    amount: int
    """In XOF."""
    reason: str


class Chat(NamedTuple):
    minutes_ago: int
    messages: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InEveryprint:
    messenger_id: str
    phone: str | None = None
    email: str | None = None
    ledger: tuple[Entry, ...] = ()
    """Oldest first, at no point below zero."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InMercately:
    id: str
    """Also the place among the customers: the vendor's ids end with the number of their row."""
    phone: str | None = None
    email: str | None = None
    address: str | None = None
    notes: str | None = None
    whatsapp_opt_in: bool = False
    tags: tuple[str, ...] = ()
    custom_fields: tuple[tuple[str, str], ...] = ()
    agent_id: int | None = None
    messenger: Chat | None = None
    whatsapp: Chat | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InPoster:
    id: int
    """Also the place among the clients, and by it the marketing group."""
    phone: str = ""
    email: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    first_name: str
    last_name: str
    gender: Literal["male", "female"]
    city: str
    country: Literal["CI", "EC", "SN", "TG"]
    groups: tuple[str, ...] = ()
    """Of our own."""
    everyprint: InEveryprint | None = None
    mercately: InMercately | None = None
    poster: InPoster | None = None

    @property
    def key(self) -> str:
        """What the first source that knows them calls them, as the members of our groups are kept."""
        ids = {
            "everyprint": self.everyprint and self.everyprint.messenger_id,
            "mercately": self.mercately and self.mercately.id,
            "poster": self.poster and self.poster.id,
        }
        return next(f"{source}:{id}" for source, id in ids.items() if id)


_KNOWN_TO_ALL_BY_PHONE = (
    Person(
        first_name="Awa",
        last_name="Diop",
        gender="female",
        city="Dakar",
        country="SN",
        groups=("Wholesale", "Christmas cards"),
        everyprint=InEveryprint(
            messenger_id="2413659892012345",
            phone="+221770009101",
            email="awa.diop@example.com",
            ledger=(
                Entry(25_000, "Top-up in the shop, Dakar"),
                Entry(-15_000, "Order 1042: 500 business cards"),
                Entry(1_500, "Refund: 50 cards were cut askew"),
                Entry(50_000, "Top-up by mobile money"),
                Entry(-12_000, "Order 1067: banner, 2 m by 1 m"),
            ),
        ),
        mercately=InMercately(
            id="4880pbiig3874",
            phone="+221 77 000 9101",
            email="awa.diop@example.com",
            address="12, rue Félix Faure",
            notes="Prefers WhatsApp, after 14:00",
            whatsapp_opt_in=True,
            tags=("VIP", "Mayorista"),
            custom_fields=(("Papel favorito", "couché 300 g"), ("Nº de socio", "A-77")),
            agent_id=2764,
            messenger=Chat(minutes_ago=95, messages=12),
            whatsapp=Chat(minutes_ago=4, messages=31),
        ),
        poster=InPoster(id=1, phone="+221 77 000 91 01"),
    ),
    Person(
        first_name="Mariana",
        last_name="Espinoza",
        gender="female",
        city="Guayaquil",
        country="EC",
        groups=("Christmas cards",),
        everyprint=InEveryprint(
            messenger_id="2418804713350926",
            phone="+593990009102",
            ledger=(
                Entry(10_000, "Top-up by card"),
                Entry(-6_500, "Order 1051: thesis, 210 pages, bound"),
                Entry(-2_250, "Order 1058: 45 colour pages, A4"),
            ),
        ),
        mercately=InMercately(
            id="4880imxqg3875",
            phone="+593 99 000 9102",
            email="mariana.espinoza@example.com",
            address="Av. 9 de Octubre 410",
            whatsapp_opt_in=True,
            tags=("Cliente frecuente",),
            agent_id=2765,
            whatsapp=Chat(minutes_ago=11, messages=8),
        ),
        poster=InPoster(id=126, phone="+593 99 000 91 02", email="mariana.espinoza@example.com"),
    ),
    Person(
        first_name="Koffi",
        last_name="Amegan",
        gender="male",
        city="Lomé",
        country="TG",
        groups=("Wholesale",),
        everyprint=InEveryprint(
            messenger_id="2425071184469731",
            phone="+22890009103",
            email="koffi.amegan@example.net",
            ledger=(
                Entry(100_000, "Bank transfer, school year"),
                Entry(-48_000, "Order 1039: 1200 exercise books"),
                Entry(-18_500, "Order 1044: 300 school reports"),
                Entry(-9_000, "Order 1060: 60 posters, A3"),
            ),
        ),
        mercately=InMercately(
            id="4880axmzg3876",
            phone="+22890009103",
            tags=("Mayorista", "Envío gratis"),
            agent_id=2764,
            messenger=Chat(minutes_ago=26, messages=19),
        ),
        poster=InPoster(id=2, phone="+228 90 00 91 03", email="koffi.amegan@example.net"),
    ),
)

_KNOWN_TO_TWO = (
    Person(  # by phone
        first_name="Moussa",
        last_name="Traoré",
        gender="male",
        city="Abidjan",
        country="CI",
        everyprint=InEveryprint(
            messenger_id="2431966027741180",
            phone="+2250700009104",
            ledger=(
                Entry(5_000, "Top-up in the shop, Abidjan"),
                Entry(-1_200, "Order 1063: 12 passport photos"),
            ),
        ),
        mercately=InMercately(
            id="4880shcih3877",
            phone="+225 07 00 009 104",
            whatsapp_opt_in=True,
            custom_fields=(("Papel favorito", "fotográfico"),),
            agent_id=2766,
            whatsapp=Chat(minutes_ago=38, messages=5),
        ),
    ),
    Person(  # by phone, and everyprint has never heard of her
        first_name="Salomé",
        last_name="Andrade",
        gender="female",
        city="Cuenca",
        country="EC",
        mercately=InMercately(
            id="4880ksrqh3878",
            phone="+593 990 009 105",
            email="salome.andrade@example.org",
            whatsapp_opt_in=True,
            tags=("Cumpleaños",),
            agent_id=2767,
            whatsapp=Chat(minutes_ago=52, messages=3),
        ),
        poster=InPoster(id=3, phone="+593 99 000 91 05"),
    ),
    Person(  # by e-mail: everyprint has no phone
        first_name="Lucía",
        last_name="Paredes",
        gender="female",
        city="Quito",
        country="EC",
        groups=("Students",),
        everyprint=InEveryprint(
            messenger_id="2440283518867054",
            email="lucia.paredes@example.com",
            ledger=(
                Entry(8_000, "Top-up by card"),
                Entry(-3_400, "Order 1055: 68 pages of lecture notes"),
                Entry(-900, "Order 1070: spiral binding"),
            ),
        ),
        mercately=InMercately(
            id="4880cdhzh3879",
            phone="+593990009106",
            email="Lucia.Paredes@Example.com",
            tags=("🎁 Promoción",),
            agent_id=2765,
            messenger=Chat(minutes_ago=17, messages=6),
        ),
    ),
    Person(  # by e-mail: her two phones differ
        first_name="Aminata",
        last_name="Koné",
        gender="female",
        city="Abidjan",
        country="CI",
        groups=("Students",),
        everyprint=InEveryprint(
            messenger_id="2447519930126608",
            phone="+2250500009107",
            email="aminata.kone@example.net",
            ledger=(
                Entry(12_500, "Top-up by mobile money"),
                Entry(-7_750, "Order 1049: 25 wedding invitations"),
            ),
        ),
        poster=InPoster(id=169, phone="+225 07 00 00 91 08", email="AMINATA.KONE@example.net"),
    ),
)

# An e-mail that everyprint has twice is the family's, and joins nobody.
_A_FAMILY = (
    Person(
        first_name="Esteban",
        last_name="Cedeño",
        gender="male",
        city="Manta",
        country="EC",
        everyprint=InEveryprint(
            messenger_id="2452740681935517",
            email="familia.cedeno@example.org",
            ledger=(
                Entry(4_000, "Top-up in the shop, Manta"),
                Entry(-2_500, "Order 1061: menu cards, laminated"),
            ),
        ),
    ),
    Person(
        first_name="Rosa",
        last_name="Cedeño",
        gender="female",
        city="Manta",
        country="EC",
        everyprint=InEveryprint(
            messenger_id="2459013377208846",
            email="familia.cedeno@example.org",
            ledger=(Entry(2_000, "Welcome gift"),),
        ),
    ),
    Person(
        first_name="Rosa María",
        last_name="Cedeño",
        gender="female",
        city="Manta",
        country="EC",
        mercately=InMercately(
            id="4880unwhi3880",
            phone="+593990009109",
            email="familia.cedeno@example.org",
            agent_id=2766,
            messenger=Chat(minutes_ago=74, messages=2),
        ),
    ),
)

_KNOWN_TO_ONE = (
    Person(
        first_name="Fatou",
        last_name="Sow",
        gender="female",
        city="Thiès",
        country="SN",
        groups=("Students",),
        everyprint=InEveryprint(
            messenger_id="2466380254913372",
            phone="+221770009110",
            ledger=(
                Entry(6_000, "Top-up in the shop, Thiès"),
                Entry(-6_000, "Order 1066: 1000 flyers, A6"),
            ),
        ),
    ),
    Person(
        first_name="Gabriel",
        last_name="Intriago",
        gender="male",
        city="Portoviejo",
        country="EC",
        groups=("Christmas cards",),
        mercately=InMercately(
            id="4880mylqi3881",
            phone="+593 99 000 9111",
            email="gabriel.intriago@example.com",
            notes="Asked for a quote: 200 calendars",
            whatsapp_opt_in=True,
            tags=("Navidad",),
            messenger=Chat(minutes_ago=8, messages=4),
            whatsapp=Chat(minutes_ago=61, messages=1),
        ),
    ),
    Person(
        first_name="Komlan",
        last_name="Agbeko",
        gender="male",
        city="Lomé",
        country="TG",
        groups=("Wholesale",),
        poster=InPoster(id=211, phone="+228 90 00 91 12", email="komlan.agbeko@example.org"),
    ),
    Person(
        first_name="Yao",
        last_name="Kouassi",
        gender="male",
        city="Bouaké",
        country="CI",
        everyprint=InEveryprint(messenger_id="2471694408825193"),
    ),
)

PEOPLE: Sequence[Person] = (*_KNOWN_TO_ALL_BY_PHONE, *_KNOWN_TO_TWO, *_A_FAMILY, *_KNOWN_TO_ONE)
