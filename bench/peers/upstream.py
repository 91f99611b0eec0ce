"""Upstream: what the stub answers the peers, what they are asked, and what each of them has to say."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Row = Mapping[str, Any]

ROWS, USERS, PEOPLE, AGENTS = 100, 10, 50, 8
NUMBERS = range(1, ROWS + 1)
CITIES = "Quito", "Guayaquil", "Cuenca"
TAGS = [{"id": id, "tag": tag} for id, tag in enumerate(("vip", "lead", "retail", "support"), 1)]

ROW = "id firstName lastName email phone city state agentId createdAt notes"
"""The ten fields of the flat list."""


@dataclass(frozen=True)
class Question:
    title: str
    query: str
    answer: Row
    calls: int
    """Upstream, of a server that asks for nothing twice and keeps nothing."""


def customer(number: int) -> Row:
    return {
        "id": number,
        "firstName": f"Mariana {number}",
        "lastName": "Quishpe Rodríguez",
        "email": f"mariana.{number}@example.com",
        "phone": f"+593990{number:06}",
        "idType": "cedula",
        "idNumber": f"17{number:08}",
        "address": f"Av. Amazonas {number} y Calle {number % 30}",
        "city": CITIES[number % len(CITIES)],
        "state": "Pichincha",
        "zipCode": "170150",
        "notes": "Prefers to be written to in the afternoon.",
        "agentId": 1 + number % AGENTS,
        "whatsappOptIn": number % 2 == 0,
        "createdAt": f"2026-01-{1 + number % 28:02}T10:00:00.000Z",
        "tags": TAGS[: number % 4],
    }


def agent(number: int) -> Row:
    return {
        "id": number,
        "firstName": "Andrés",
        "lastName": f"Flores {number}",
        "email": f"agent{number}@example.com",
        "role": "agent",
    }


def conversation(number: int) -> Row:
    return {
        "id": 9000 + number,
        "status": ("open", "inProcess", "resolved")[number % 3],
        "channel": "whatsapp",
        "agentId": 1 + number % AGENTS,
        "customerId": 1 + number % PEOPLE,
        "unread": number % 5,
        "lastMessage": "Hola, quisiera saber el precio del producto",
        "lastInteraction": f"2026-01-{1 + number % 28:02}T12:00:00.000Z",
    }


def post(number: int) -> Row:
    return {
        "id": number,
        "userId": 1 + number % USERS,
        "title": f"sunt aut facere repellat provident occaecati {number}",
        "body": "quia et suscipit suscipit recusandae consequuntur expedita et cum reprehenderit " * 2,
    }


def user(number: int) -> Row:
    return {
        "id": number,
        "name": f"Leanne Graham {number}",
        "username": f"Bret{number}",
        "email": f"sincere{number}@example.com",
        "phone": "1-770-736-8031 x56442",
        "website": "hildegard.example",
        "address": {"street": "Kulas Light", "suite": "Apt. 556", "city": "Gwenborough", "zipcode": "92998"},
        "company": {"name": "Romaguera-Crona", "catchPhrase": "Multi-layered client-server neural-net"},
    }


def answers() -> Iterator[tuple[str, object]]:
    """By path."""
    customers = [customer(number) for number in NUMBERS]
    yield "/customers", {"results": ROWS, "totalPages": 1, "customers": customers}
    for each in customers:
        yield f"/customers/{each['id']}", {"customer": each}
    conversations = [conversation(number) for number in NUMBERS]
    yield "/conversations", {"results": ROWS, "totalPages": 1, "conversations": conversations}
    yield "/agents", {"agents": [agent(number) for number in range(1, AGENTS + 1)]}
    yield "/posts", [post(number) for number in NUMBERS]
    for number in range(1, USERS + 1):
        yield f"/users/{number}", user(number)


def pick(row: Row, names: str, **others: object) -> dict[str, Any]:
    return {name: row[name] for name in names.split()} | others


def _rows() -> Row:
    rows = [pick(customer(number), ROW) for number in NUMBERS]
    return {"customers": {"totalPages": 1, "customers": rows}}


def _parents() -> Row:
    def row(post: Row) -> Row:
        return pick(post, "id userId title", user=pick(user(post["userId"]), "id name email"))

    return {"posts": [row(post(number)) for number in NUMBERS]}


def _relations() -> Row:
    def row(said: Row) -> Row:
        return pick(
            said,
            "id status",
            customer=pick(customer(said["customerId"]), "id firstName phone tags"),
            agent=pick(agent(said["agentId"]), "id firstName email"),
        )

    rows = [row(conversation(number)) for number in NUMBERS]
    return {"conversations": {"totalPages": 1, "conversations": rows}}


QUESTIONS = {
    "Q2": Question(
        "Q2 flat list",
        f"{{ customers(page: 1) {{ totalPages customers {{ {ROW} }} }} }}",
        _rows(),
        1,
    ),
    "Q3": Question(
        "Q3 N+1",
        "{ posts { id userId title user { id name email } } }",
        _parents(),
        1 + USERS,
    ),
    "Q4": Question(
        "Q4 two relations",
        """{ conversations(page: 1) { totalPages conversations {
            id status customer { id firstName phone tags { id tag } } agent { id firstName email }
        } } }""",
        _relations(),
        1 + PEOPLE + 1,
    ),
}
