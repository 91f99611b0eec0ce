"""The crowd: as many people as wanted, made up page by page, in Mercately and, a tenth of them, in Poster.

`python -m bench.crowd PORT PEOPLE`.
"""

import sys

from aiohttp import web

from adapters.mercately.client import API, CUSTOMERS_A_PAGE
from adapters.sandbox import answer
from tests.services import HOST

NOTES = "Prefers to be written to in the afternoon; buys for the shop and for the family. " * 4
LETTERS = "abcdefghijklmnopqrstuvwxyz"


class Crowd:
    def __init__(self, people: int) -> None:
        self._people = people

    async def customers(self, request: web.Request) -> web.Response:
        start = (int(request.query["page"]) - 1) * CUSTOMERS_A_PAGE
        customers = [customer(number) for number in range(self._people)[start : start + CUSTOMERS_A_PAGE]]
        return answer({"results": self._people, "customers": customers})

    async def clients(self, request: web.Request) -> web.Response:
        start, count = int(request.query["offset"]), int(request.query["num"])
        clients = [client(number) for number in range(self._people // 10)[start : start + count]]
        return answer({"response": clients})


def customer(number: int) -> dict[str, object]:
    return {
        "id": f"4880vesdc{number + 1}",
        "first_name": name(number),
        "last_name": name(number * 7_919),
        "email": f"{name(number)}{number}@example.com",
        "phone": f"+593 9{number:08}",
        "notes": NOTES,
        "tags": [{"web_id": "1", "tag": "VIP"}] if number % 20 == 0 else [],
        "custom_fields": [{"field_name": "size", "field_content:": "M"}],
    }


def client(number: int) -> dict[str, object]:
    """Every second one is also a customer."""
    return {
        "client_id": str(number + 1),
        "firstname": name(number),
        "lastname": name(number * 7_919),
        "phone_number": f"593{(9 if number % 2 else 8)}{number:08}",
        "client_groups_id": str(number % 9),
        "bonus": "1200",
        "comment": NOTES,
    }


def name(number: int) -> str:
    return "".join(LETTERS[(number // 26**place + place) % 26] for place in range(6)).title()


def main(port: int, people: int) -> None:
    crowd, app = Crowd(people), web.Application()
    app.add_routes(
        [web.get(f"{API}/customers", crowd.customers), web.get("/api/clients.getClients", crowd.clients)]
    )
    web.run_app(app, host=HOST, port=port, print=None, access_log=None)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
