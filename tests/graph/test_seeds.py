"""The vendors' own examples, answered by the source to the letter and read through the graph."""

import json
from pathlib import Path
from typing import Any

from resolvers.ids import to_id
from tests.gateways import Gateway

SEEDS = Path(__file__).parent.parent / "seeds"
MERCATELY: dict[str, Any] = json.loads((SEEDS / "mercately.json").read_text(encoding="utf-8"))
POSTER: dict[str, Any] = json.loads((SEEDS / "poster.json").read_text(encoding="utf-8"))

CUSTOMER = """firstName lastName email phone whatsappName whatsappOptIn notes birthday gender messengerId
  identification { type number } address { street city state zipCode countryCode }
  marketplace { customerId nickname } tags { id name } customFields { name content } sources"""


def answers(gateway: Gateway, path: str, seed: Any) -> None:
    """From now on the sandbox answers there what the document shows."""
    sandbox = gateway.poster if path.startswith("clients.") else gateway.mercately
    sandbox.trouble("status", path=path, status=200, body=seed)


def shown(row: dict[str, Any], phone: str) -> dict[str, Any]:
    """A customer of Mercately's document as the contract has it."""
    return {
        "firstName": row["first_name"],
        "lastName": row["last_name"],
        "email": row["email"],
        "phone": phone,
        "whatsappName": row["whatsapp_name"],
        "whatsappOptIn": row["whatsapp_opt_in"],
        "notes": row["notes"],
        "birthday": None,
        "gender": None,
        "messengerId": None,
        "identification": {"type": row["id_type"].upper(), "number": row["id_number"]},
        "address": {
            "street": row["address"],
            "city": row["city"],
            "state": row["state"],
            "zipCode": row["zip_code"],
            "countryCode": row["country_id"],
        },
        "marketplace": None,
        "tags": [{"id": to_id("Tag", tag["web_id"]), "name": tag["tag"]} for tag in row["tags"]],
        "customFields": [
            {"name": field["field_name"], "content": field["field_content:"] or None}
            for field in row["custom_fields"]
        ],
        "sources": ["MERCATELY"],
    }


async def test_the_customer_of_mercatelys_document_has_every_field(gateway: Gateway) -> None:
    row = MERCATELY["customer"]["customer"]
    answers(gateway, f"/customers/{row['id']}", MERCATELY["customer"])

    data = await gateway.data(
        f"query ($id: String!) {{ customer(by: {{mercatelyId: $id}}) {{ {CUSTOMER} }} }}", id=row["id"]
    )

    assert data["customer"] == shown(row, phone="+593634063868")


async def test_the_customers_of_mercatelys_document_are_listed_with_every_field(peopled: Gateway) -> None:
    data = await peopled.data(
        f'{{ customers(filter: {{search: "Pablo Domínguez"}}) {{ edges {{ node {{ {CUSTOMER} }} }} }} }}'
    )

    (edge,) = data["customers"]["edges"]
    assert edge["node"] == shown(MERCATELY["customers"]["customers"][0], phone="+593667357821")


async def test_conversations_of_mercatelys_document_have_every_field(gateway: Gateway) -> None:
    for channel in ("messenger", "whatsapp"):
        answers(gateway, f"/{channel}_conversations", MERCATELY[f"{channel}_conversations"])
    answers(gateway, "/agents", MERCATELY["agents"])

    data = await gateway.data(
        """{ conversations { edges { node {
          id channel messageCount lastInteraction agent { id firstName lastName email admin }
          customer { id firstName lastName email phone sources }
        } } } }"""
    )

    nodes = [edge["node"] for edge in data["conversations"]["edges"]]
    rows = [
        (channel, row)
        for channel in ("messenger", "whatsapp")
        for row in MERCATELY[f"{channel}_conversations"][f"{channel}_conversations"]
    ]
    assert len(nodes) == len(rows)
    agent = MERCATELY["agents"]["agents"][0]
    for channel, row in rows:
        id = to_id("Conversation", f"{channel}:{row['customer_id']}")
        (node,) = [node for node in nodes if node["id"] == id]
        assert node["channel"] == channel.upper()
        assert node["messageCount"] == row["message_count"]
        assert node["lastInteraction"].startswith(row["last_interaction"][:19])
        assert node["agent"] == (
            {
                "id": to_id("Agent", agent["id"]),
                "firstName": agent["first_name"],
                "lastName": agent["last_name"],
                "email": agent["email"],
                "admin": agent["admin"],
            }
            if row["agent_id"] == agent["id"]
            else None
        )
        assert (node["customer"]["firstName"], node["customer"]["lastName"]) == (
            row["first_name"],
            row["last_name"],
        )
        assert node["customer"]["email"] == row["email"]
        assert node["customer"]["id"] == to_id("Customer", f"mercately-row:{row['customer_id']}")


async def test_unassigned_conversations_of_the_document_are_listed(gateway: Gateway) -> None:
    for channel in ("messenger", "whatsapp"):
        answers(gateway, f"/{channel}_conversations", MERCATELY[f"unassigned_{channel}_conversations"])

    data = await gateway.data(
        "{ conversations(unassigned: true) { edges { node { channel agent { id } } } } }"
    )

    assert [edge["node"]["agent"] for edge in data["conversations"]["edges"]] == [None, None]


async def test_templates_of_the_document_have_every_field(gateway: Gateway) -> None:
    answers(gateway, "/whatsapp_templates", MERCATELY["templates"])

    data = await gateway.data("{ templates { id text status type parameterCount } }")

    assert [(each["id"], each["text"], each["status"], each["type"]) for each in data["templates"]] == [
        (
            to_id("Template", row["internal_id"]),
            row["text"],
            row["status"].upper(),
            row["template_type"].upper(),
        )
        for row in MERCATELY["templates"]["templates"]
    ]


async def test_groups_of_posters_document_have_every_field(gateway: Gateway) -> None:
    answers(gateway, "clients.getGroups", POSTER["groups"])

    data = await gateway.data(
        """{ groups(source: POSTER) { id name source customerCount
        loyalty { type percent birthdayBonus } } }"""
    )

    kinds = {"1": "BONUS", "2": "DISCOUNT"}
    assert data["groups"] == [
        {
            "id": to_id("Group", f"poster:{row['client_groups_id']}"),
            "name": row["client_groups_name"],
            "source": "POSTER",
            "customerCount": int(row["count_groups_clients"]),
            "loyalty": {
                "type": kinds[row["loyalty_type"]],
                "percent": row["client_groups_discount"],
                "birthdayBonus": str(int(row["birthday_bonus"]) // 100),
            },
        }
        for row in POSTER["groups"]["response"]
    ]
