"""Demo: the people, agents, templates and conversations an emulated Mercately starts with.

First the vendor's own example, then those whom other sources know too. The rest is drawn from seeded
generators, so it is the same in every process. All is frozen, so that sandboxes can share it; phones are of a
valid shape and nobody's, e-mails of domains reserved for examples.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache, lru_cache
from random import Random
from string import ascii_lowercase
from typing import Literal, TypeVar
from uuid import UUID

from adapters.demo import PEOPLE, InMercately, Person

Value = TypeVar("Value")
Channel = Literal["messenger", "whatsapp"]

RETAILER = 4880
FIRST_ROW = 3873
FIRST_AGENT = 2763
CUSTOMERS = 2_500
AGENTS = 40
CONVERSATIONS = 600
CALLING_CODES = {
    "EC": "593",
    "MX": "52",
    "CO": "57",
    "US": "1",
    "CI": "225",
    "SN": "221",
    "TG": "228",
}


@dataclass(frozen=True, slots=True)
class Agent:
    id: int
    first_name: str
    last_name: str
    email: str
    admin: bool


@dataclass(frozen=True, slots=True)
class Tag:
    tag: str
    web_id: str


@dataclass(frozen=True, slots=True)
class Customer:
    id: str
    row: int
    first_name: str | None = None
    last_name: str | None = None
    email: str | None = None
    phone: str | None = None
    id_type: str | None = None
    id_number: str | None = None
    address: str | None = None
    city: str | None = None
    state: str | None = None
    zip_code: str | None = None
    country_id: str | None = None
    notes: str | None = None
    whatsapp_opt_in: bool = False
    whatsapp_name: str | None = None
    tags: tuple[Tag, ...] = ()
    custom_fields: tuple[tuple[str, str], ...] = ()
    agent_id: int | None = None
    api_created: bool = False


@dataclass(frozen=True, slots=True)
class Conversation:
    customer_id: str
    message_count: int
    last_interaction: datetime


@dataclass(frozen=True, slots=True)
class Template:
    text: str
    status: str
    template_type: str
    internal_id: str


def web_id(row: int) -> str:
    """The vendor's public id: retailer, five letters, row."""
    # Any well-mixed function of the row will do: the vendor draws the letters by chance.
    mixed = row * 2_654_435_761
    return f"{RETAILER}{''.join(ascii_lowercase[mixed // 26**place % 26] for place in range(3, 8))}{row}"


@cache
def agents() -> tuple[Agent, ...]:
    random = _random("agents")
    rest = (_agent(random, FIRST_AGENT + n) for n in range(1, AGENTS))
    return (Agent(FIRST_AGENT, "Agent", "Example", "agent@example.com", True), *rest)


@cache
def tags() -> tuple[Tag, ...]:
    random = _random("tags")
    rest = (Tag(name, _tag_id(random, row)) for row, name in enumerate(TAGS, start=257))
    return (Tag("Test tag", "4880epqur256"), *rest)


@cache
def customers() -> tuple[Customer, ...]:
    random = _random("customers")
    shared = tuple(_shared(person, known) for person in PEOPLE if (known := person.mercately))
    rest = (_customer(random, n) for n in range(1 + len(shared), CUSTOMERS))
    return (PABLO, *shared, *rest)


@lru_cache(maxsize=4)
def conversations(channel: Channel, now: datetime) -> tuple[Conversation, ...]:
    """One conversation each for some of the customers, all within the 90 days before `now`."""
    known = [person.mercately for person in PEOPLE if person.mercately]
    shared = tuple(
        Conversation(one.id, chat.messages, now - timedelta(minutes=chat.minutes_ago))
        for one in known
        if (chat := one.messenger if channel == "messenger" else one.whatsapp)
    )
    random = _random(channel)
    shared_ids = {one.id for one in known}
    others = [customer for customer in customers() if customer.id not in shared_ids]
    reachable = [customer for customer in others if channel == "messenger" or customer.phone]
    return shared + tuple(
        Conversation(
            customer.id,
            random.randint(1, 60),
            now - timedelta(milliseconds=random.randrange(90 * 24 * 3600 * 1000)),
        )
        for customer in random.sample(reachable, CONVERSATIONS - len(shared))
    )


@cache
def templates() -> tuple[Template, ...]:
    random = _random("templates")
    rest = (Template(*words, str(UUID(int=random.getrandbits(128), version=4))) for words in TEMPLATES)
    return (Template(*OTP, "997dd550-c8d8-4bf7-ad98-a5ac4844a1ed"), *rest)


def _random(what: str) -> Random:
    return Random(f"mercately {what}")


def _tag_id(random: Random, row: int) -> str:
    return f"{RETAILER}{''.join(random.choices(ascii_lowercase, k=5))}{row}"


def _agent(random: Random, row: int) -> Agent:
    first_name, last_name = random.choice(FIRST_NAMES), random.choice(LAST_NAMES)
    return Agent(row, first_name, last_name, f"{_plain(first_name)}.{row}@example.com", random.random() < 0.1)


def _customer(random: Random, n: int) -> Customer:
    first_name, last_name = random.choice(FIRST_NAMES), random.choice(LAST_NAMES)
    country = random.choices(("EC", "MX", "CO", "US"), (60, 18, 17, 5))[0]
    city, state, zip_code = random.choice(CITIES[country])
    phone = _phone(random, country, n)
    opted_in = phone is not None and random.random() < 0.6
    id_type = _maybe(random, 0.5, random.choice(("cedula", "pasaporte", "ruc", "rut", "otro")))
    return Customer(
        id=web_id(FIRST_ROW + n),
        row=FIRST_ROW + n,
        first_name=_maybe(random, 0.97, first_name),
        last_name=_maybe(random, 0.9, last_name),
        email=_email(random, first_name, last_name, n),
        phone=phone,
        id_type=id_type,
        id_number=id_type and f"{random.randrange(10**10):010d}",
        address=_maybe(random, 0.6, f"{random.choice(STREETS)} {random.randint(1, 999)}"),
        city=city,
        state=state,
        zip_code=_maybe(random, 0.8, zip_code),
        country_id=_maybe(random, 0.85, country),
        notes=_maybe(random, 0.2, random.choice(NOTES)),
        whatsapp_opt_in=opted_in,
        whatsapp_name=_maybe(random, 0.7, first_name.split()[0]) if opted_in else None,
        tags=tuple(random.sample(tags(), random.choice((0, 0, 0, 1, 1, 2, 3)))),
        custom_fields=_custom_fields(random),
        agent_id=_maybe(random, 0.6, random.choice(agents()).id),
    )


def _shared(person: Person, known: InMercately) -> Customer:
    tags_by_name = {tag.tag: tag for tag in tags()}
    return Customer(
        id=known.id,
        row=int(known.id[-len(str(FIRST_ROW)) :]),
        first_name=person.first_name,
        last_name=person.last_name,
        email=known.email,
        phone=known.phone,
        address=known.address,
        city=person.city,
        country_id=person.country,
        notes=known.notes,
        whatsapp_opt_in=known.whatsapp_opt_in,
        whatsapp_name=person.first_name if known.whatsapp_opt_in else None,
        tags=tuple(tags_by_name[name] for name in known.tags),
        custom_fields=known.custom_fields,
        agent_id=known.agent_id,
    )


def _maybe(random: Random, probability: float, value: Value) -> Value | None:
    return value if random.random() < probability else None


def _email(random: Random, first_name: str, last_name: str, n: int) -> str | None:
    """Mostly one's own, sometimes none, sometimes the family's, which others have too."""
    kind = random.random()
    if kind < 0.12:
        return None
    if kind < 0.17:
        return f"familia.{_plain(last_name)}@example.org"
    return f"{_plain(first_name)}.{_plain(last_name)}{n}@example.com"


def _phone(random: Random, country: str, n: int) -> str | None:
    kind = random.random()
    if kind < 0.08:
        return None
    phone = _E164[country](n)
    if kind < 0.13:
        return f"{phone[:-6]} {phone[-6:-3]} {phone[-3:]}"
    # WhatsApp used to want a 1 after the Mexican +52, and Mercately still keeps numbers with it.
    return phone.replace("+52", "+521") if country == "MX" and kind < 0.6 else phone


def _custom_fields(random: Random) -> tuple[tuple[str, str], ...]:
    names = random.sample(tuple(CUSTOM_FIELDS), random.choice((0, 0, 1, 2)))
    return tuple((name, random.choice(CUSTOM_FIELDS[name])) for name in names)


def _plain(name: str) -> str:
    letters = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return letters.lower().replace(" ", "")


_E164 = {
    "EC": lambda n: f"+59399{n:07d}",
    "MX": lambda n: f"+5255{n:08d}",
    "CO": lambda n: f"+57300{n:07d}",
    "US": lambda n: f"+1{320 + n // 100}555{100 + n % 100:04d}",
}

# The customer of the vendor's own documentation.
PABLO = Customer(
    id="4880vesdc3873",
    row=FIRST_ROW,
    first_name="Pablo",
    last_name="Domínguez",
    email="slyvia@thompson.net",
    phone="+593667 357 821",
    id_type="ruc",
    id_number="293-07-3863",
    address="Muelle Cristobal s/n.",
    city="Quito",
    state="Pichincha",
    zip_code="170207",
    country_id="EC",
    tags=(Tag("Test tag", "4880epqur256"),),
    custom_fields=(("ullam", "Test Field"),),
)

TAGS: Sequence[str] = (
    "Test Tag 2",
    "VIP",
    "Mayorista",
    "Cliente frecuente",
    "Moroso",
    "Navidad",
    "Cumpleaños",
    "Envío gratis",
    "Reclamo",
    "🎁 Promoción",
    "Ñuñoa",
)

CUSTOM_FIELDS = {
    "Talla": ("S", "M", "L", "XL"),
    "Cumpleaños": ("1990-05-17", "1984-02-29", "2001-12-31", ""),
    "Color favorito": ("rojo", "azul", "verde limón", "café"),
    "Nº de socio": ("000123", "A-77", "9001"),
}

FIRST_NAMES = (
    *("José", "María José", "Ángela", "Sebastián", "Lucía", "Andrés", "Sofía", "Nicolás", "Inés", "Raúl"),
    *("Víctor", "Begoña", "Martín", "Verónica", "Jesús", "Mónica", "Óscar", "Zoë", "Iñaki", "Belén"),
    *("Juan Carlos", "Ana Lucía", "Tomás", "Rocío", "Hernán", "Noemí", "Álvaro", "Itzel", "Joaquín", "Pía"),
    *(
        "Gabriela",
        "Diego",
        "Camila",
        "Mateo",
        "Valentina",
        "Santiago",
        "Isabela",
        "Homero",
        "Xóchitl",
        "Simón",
    ),
)

LAST_NAMES = (
    *("Pérez", "Núñez", "Domínguez", "Muñoz", "Ibáñez", "Peña", "Güiza", "Hernández", "Zúñiga", "Quispe"),
    *("Rodríguez", "Gómez", "Alcántar", "Olivo", "Jasso", "Cañar", "Yépez", "Vélez", "Bolaños", "de la Cruz"),
    *(
        "Echeverría",
        "Toapanta",
        "Guamán",
        "Chávez",
        "Cárdenas",
        "Córdova",
        "Iñiguez",
        "León",
        "Marín",
        "Ávila",
    ),
    *(
        "Sánchez Ríos",
        "Ordóñez",
        "Lozano",
        "Villavicencio",
        "Mejía",
        "Arévalo",
        "Suárez",
        "Tapia",
        "Vera",
        "Rojas",
    ),
)

CITIES = {
    "EC": (
        ("Quito", "Pichincha", "170207"),
        ("Guayaquil", "Guayas", "090101"),
        ("Cuenca", "Azuay", "010101"),
        ("Baños", "Tungurahua", "180201"),
    ),
    "MX": (
        ("Ciudad de México", "CDMX", "06000"),
        ("Mérida", "Yucatán", "97000"),
        ("Querétaro", "Querétaro", "76000"),
    ),
    "CO": (
        ("Bogotá", "Cundinamarca", "110111"),
        ("Medellín", "Antioquia", "050001"),
        ("Ibagué", "Tolima", "730001"),
    ),
    "US": (("Miami", "FL", "33101"), ("Fort Worth", "TX", "76106"), ("San José", "CA", "95110")),
}

STREETS = (
    "Calle 5 #",
    "Av. 10 de Agosto",
    "Av. Simón Bolívar",
    "Cra. 7 N°",
    "Polígono José María Rojo",
    "Calle Ñandú",
    "Av. Insurgentes Sur",
)

NOTES = (
    "Prefiere WhatsApp por la tarde",
    "Llamar antes de las 9:00",
    "Pidió factura con RUC",
    "Dos líneas:\nla casa y el taller",
    "Le gusta el café ☕",
)

OTP = ("Your OTP for * is *. This is valid for *.", "active", "text")

TEMPLATES = (
    ("Hi *. Welcome to our WhatsApp. We will be here for any question.", "active", "text"),
    ("Hola *, su pedido * salió hoy y llega el * entre las *.", "active", "text"),
    ("*, su saldo es de \\*$*\\*.", "active", "text"),
    ("\\*¡Gracias por su compra!\\* 🎉", "active", "text"),
    ("¡Feliz cumpleaños, *! 🎂🎁\nHoy tiene un descuento para usted.", "active", "text"),
    ("Hola *, ¿cómo le fue con su última compra? Responda del 1 al 5.", "active", "text"),
    ("Recordatorio: su cita con * es el * a las *.", "active", "text"),
    ("Estimado/a *:\n\nSu factura *\\** vence el *.\n\nGracias.", "active", "text"),
    ("Catálogo de otoño 🍂", "active", "image"),
    ("*, mire lo que llegó: *", "active", "image"),
    ("Adjuntamos la factura * de *.", "active", "document"),
    ("Su cotización, *", "active", "document"),
    ("Cómo armar su mueble, paso a paso", "active", "video"),
    ("*, le presentamos a *", "active", "video"),
    ("Nuestra tienda en *", "active", "location"),
    ("Lo esperamos aquí, *. Abrimos a las *.", "active", "location"),
    ("Su código es *", "active", "text"),
    ("* * * *", "active", "text"),
    ("Ñandú Café ☕: mañana 2×1 en \\*todos\\* los cafés.", "active", "text"),
    ("Hola *, dejó * en su carrito 🛒. Código: \\**\\*", "active", "text"),
    ("Señor/a *, su pago de * se recibió el *.", "active", "text"),
    ("Promoción de Navidad: * % en *.", "inactive", "text"),
    ("Black Friday 🖤", "inactive", "image"),
    ("Encuesta *", "inactive", "text"),
    ("Lista de precios *", "inactive", "document"),
    ("Saludo de año nuevo", "inactive", "video"),
    ("Sucursal cerrada", "inactive", "location"),
    ("Hola * *, su cuenta * sigue pendiente de *.", "inactive", "text"),
    ("¿Sigue ahí, *?", "inactive", "text"),
)
