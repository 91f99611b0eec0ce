"""Customers: one person of all sources, by any key; all of them in one list."""

from typing import Any

import pytest

from adapters.demo import PEOPLE, Person
from resolvers.ids import to_id
from tests.gateways import Gateway

PERSON = """query ($by: CustomerKey!) { customer(by: $by) {
  id sources messengerId firstName lastName gender email phone whatsappName whatsappOptIn notes birthday
  identification { type number } address { street city state zipCode countryCode }
  marketplace { customerId nickname } tags { name } customFields { name content } asOf
  balance { amount currency updatedAt entries(first: 2) {
    edges { cursor node { id amount reason createdAt } } pageInfo { hasNextPage endCursor }
  } }
  groups { source name }
  agent { id firstName email }
  conversations { totalCount edges { node { channel messageCount agent { id } customer { id } } } }
} }"""

LIST = """query ($filter: CustomerFilter, $first: Int, $after: String) {
  customers(filter: $filter, first: $first, after: $after) {
    totalCount
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
    edges { cursor node { id sources firstName lastName } }
  }
}"""

(
    AWA,
    MARIANA,
    KOFFI,
    MOUSSA,
    SALOME,
    LUCIA,
    AMINATA,
    ESTEBAN,
    ROSA,
    ROSA_MARIA,
    FATOU,
    GABRIEL,
    KOMLAN,
    YAO,
) = PEOPLE


def id_of(person: Person) -> str:
    return to_id("Customer", person.key)


async def found(gateway: Gateway, **by: str) -> Any:
    return (await gateway.data(PERSON, by=by))["customer"]


async def listed(
    gateway: Gateway, first: int = 100, after: str | None = None, **filter: Any
) -> dict[str, Any]:
    data = await gateway.data(LIST, filter=filter or None, first=first, after=after)
    page: dict[str, Any] = data["customers"]
    return page


async def every_id(gateway: Gateway, first: int = 100, **filter: Any) -> list[str]:
    """Page after page, to the last."""
    page = await listed(gateway, first, **filter)
    ids = [edge["node"]["id"] for edge in page["edges"]]
    while page["pageInfo"]["hasNextPage"]:
        page = await listed(gateway, first, page["pageInfo"]["endCursor"], **filter)
        ids += [edge["node"]["id"] for edge in page["edges"]]
    return ids


async def test_one_query_shows_a_person_with_balance_groups_agent_and_conversations(people: Gateway) -> None:
    awa = await found(people, messengerId="2413659892012345")

    assert awa["id"] == id_of(AWA)
    assert awa["sources"] == ["EVERYPRINT", "MERCATELY", "POSTER"]
    assert (awa["firstName"], awa["lastName"], awa["gender"]) == ("Awa", "Diop", "FEMALE")
    assert (awa["phone"], awa["email"]) == ("+221770009101", "awa.diop@example.com")
    assert awa["whatsappOptIn"] is True
    assert awa["notes"] == "Prefers WhatsApp, after 14:00"
    assert [tag["name"] for tag in awa["tags"]] == ["VIP", "Mayorista"]
    assert awa["customFields"][0] == {"name": "Papel favorito", "content": "couché 300 g"}
    assert awa["address"] == {
        "street": "12, rue Félix Faure",
        "city": "Dakar",
        "state": None,
        "zipCode": None,
        "countryCode": "SN",
    }
    assert (awa["balance"]["amount"], awa["balance"]["currency"]) == ("49500", "XOF")
    newest, second = (edge["node"] for edge in awa["balance"]["entries"]["edges"])
    assert (newest["amount"], newest["reason"]) == ("-12000", "Order 1067: banner, 2 m by 1 m")
    assert second["amount"] == "50000"
    assert awa["balance"]["entries"]["pageInfo"]["hasNextPage"]
    assert {(group["source"], group["name"]) for group in awa["groups"]} == {
        ("EVERYPRINT", "Wholesale"),
        ("EVERYPRINT", "Christmas cards"),
        ("POSTER", "Постоянный посетитель"),
    }
    assert awa["agent"]["id"] == to_id("Agent", 2764)
    talks = [edge["node"] for edge in awa["conversations"]["edges"]]
    assert [(talk["channel"], talk["messageCount"]) for talk in talks] == [
        ("WHATSAPP", 31),
        ("MESSENGER", 12),
    ]
    assert {talk["customer"]["id"] for talk in talks} == {awa["id"]}


@pytest.mark.parametrize(
    "by",
    [
        {"id": id_of(AWA)},
        {"id": to_id("Customer", "mercately:4880pbiig3874")},
        {"id": to_id("Customer", "mercately-row:3874")},
        {"id": to_id("Customer", "poster:1")},
        {"messengerId": "2413659892012345"},
        {"mercatelyId": "4880pbiig3874"},
        {"posterId": "1"},
        {"phone": "+221 77 000 91 01"},
        {"phone": "00221770009101"},
        {"email": "Awa.Diop@example.com"},
    ],
    ids=str,
)
async def test_every_key_leads_to_the_same_person(people: Gateway, by: dict[str, str]) -> None:
    assert (await found(people, **by))["id"] == id_of(AWA)


@pytest.mark.parametrize("key", ["mercately:4880pbiig3874", "poster:1", "mercately-row:3874"])
async def test_any_id_of_a_person_keeps_resolving_to_the_one_they_have(people: Gateway, key: str) -> None:
    data = await people.data("query ($id: ID!) { node(id: $id) { id } }", id=to_id("Customer", key))

    assert data["node"]["id"] == id_of(AWA)


@pytest.mark.parametrize(
    ("person", "sources"),
    [
        (MOUSSA, ["EVERYPRINT", "MERCATELY"]),
        (SALOME, ["MERCATELY", "POSTER"]),
        (LUCIA, ["EVERYPRINT", "MERCATELY"]),
        (AMINATA, ["EVERYPRINT", "POSTER"]),
        (ESTEBAN, ["EVERYPRINT"]),
        (ROSA_MARIA, ["MERCATELY"]),
        (FATOU, ["EVERYPRINT"]),
        (GABRIEL, ["MERCATELY"]),
        (KOMLAN, ["POSTER"]),
    ],
    ids=lambda it: it.first_name if isinstance(it, Person) else "",
)
async def test_people_are_joined_by_phone_or_by_an_email_of_their_own(
    people: Gateway, person: Person, sources: list[str]
) -> None:
    customer = await found(people, id=id_of(person))

    assert (customer["id"], customer["sources"]) == (id_of(person), sources)


async def test_an_email_of_several_customers_is_no_key(people: Gateway) -> None:
    error = await people.error(PERSON, by={"email": "familia.cedeno@example.org"})

    assert error["extensions"]["code"] == "BAD_USER_INPUT"
    assert list(error["extensions"]["fields"]) == ["by.email"]
    assert "cedeno" not in str(error)


@pytest.mark.parametrize(
    "by",
    [
        {"messengerId": "404"},
        {"mercatelyId": "4880aaaaa999999"},
        {"mercatelyId": "../agents"},
        {"posterId": "999999"},
        {"posterId": "1 OR 1=1"},
        {"posterId": ""},
        {"phone": "+593 99 111 2222"},
        {"email": "nobody@example.com"},
        {"email": ""},
        {"id": to_id("Customer", "everyprint:404")},
        {"id": to_id("Customer", "mercately-row:404404")},
    ],
    ids=str,
)
async def test_a_key_that_names_nobody_is_null(people: Gateway, by: dict[str, str]) -> None:
    assert await found(people, **by) is None


@pytest.mark.parametrize(
    ("by", "field"),
    [
        ({"phone": "call me"}, "by.phone"),
        ({"phone": ""}, "by.phone"),
        ({"id": "nonsense"}, "by.id"),
        ({"id": to_id("Agent", 1)}, "by.id"),
        ({"id": to_id("Customer", "hyber:1")}, "by.id"),
        ({"id": to_id("Customer", "poster:x")}, "by.id"),
    ],
    ids=str,
)
async def test_what_cannot_be_a_key_is_bad_input(people: Gateway, by: dict[str, str], field: str) -> None:
    error = await people.error(PERSON, by=by)

    assert error["extensions"]["code"] == "BAD_USER_INPUT"
    assert list(error["extensions"]["fields"]) == [field]


@pytest.mark.parametrize(
    "by", [{}, {"phone": "+593990009102", "email": "a@example.com"}, {"phone": None}], ids=str
)
async def test_exactly_one_key_is_asked_for(gateway: Gateway, by: dict[str, str]) -> None:
    error = await gateway.error(PERSON, by=by)

    assert error["extensions"]["code"] == "BAD_USER_INPUT"


async def test_the_list_has_everybody_once_in_a_stable_order(people: Gateway) -> None:
    ids = await every_id(people)

    assert len(ids) == len(set(ids)) == (await listed(people))["totalCount"]
    assert ids == await every_id(people, first=37)
    assert {id_of(person) for person in PEOPLE} <= set(ids)
    assert to_id("Customer", "mercately:4880pbiig3874") not in ids


async def test_a_cursor_stays_right_while_people_are_added(peopled: Gateway) -> None:
    before = await listed(peopled, first=5, source="EVERYPRINT")
    shown = [edge["node"]["id"] for edge in before["edges"]]
    for messenger_id in ("0000000000000001", "2447519930126609", "9999999999999999"):
        await peopled.storage.everyprint.save_customer(messenger_id, "New")

    rest = await every_id_after(peopled, before["pageInfo"]["endCursor"], source="EVERYPRINT")

    everyone = await every_id(peopled, source="EVERYPRINT")
    assert to_id("Customer", "everyprint:9999999999999999") in rest
    assert sorted([*shown, *rest, to_id("Customer", "everyprint:0000000000000001")]) == sorted(everyone)
    assert not set(shown) & set(rest)


async def every_id_after(gateway: Gateway, after: str, **filter: Any) -> list[str]:
    page = await listed(gateway, 100, after, **filter)
    return [edge["node"]["id"] for edge in page["edges"]]


@pytest.mark.parametrize(
    ("filter", "people"),
    [
        ({"search": "awa"}, [AWA]),
        ({"search": "DIOP awa"}, [AWA]),
        ({"search": "koffi.amegan@"}, [KOFFI]),
        ({"search": "77 000 91"}, [AWA, FATOU]),
        ({"search": "lucia paredes"}, [LUCIA]),
        ({"tag": "Mayorista", "source": "EVERYPRINT"}, [AWA, KOFFI]),
        ({"groupId": to_id("Group", "poster:4"), "search": "espinoza"}, [MARIANA]),
        ({"source": "POSTER", "search": "example.org"}, [SALOME, KOMLAN]),
        ({"source": "HYBER"}, []),
        ({"tag": "no such tag"}, []),
    ],
    ids=lambda it: str(it) if isinstance(it, dict) else "",
)
async def test_a_filter_holds_for_all_that_it_says(
    peopled: Gateway, filter: dict[str, Any], people: list[Person]
) -> None:
    page = await listed(peopled, **filter)

    wanted = {id_of(person) for person in people}
    among = {edge["node"]["id"] for edge in page["edges"]} & {id_of(person) for person in PEOPLE}
    assert among == wanted
    assert page["totalCount"] == len(page["edges"])


async def test_members_of_an_own_group_are_listed_whatever_source_knows_them(people: Gateway) -> None:
    groups = (await people.data("{ groups(source: EVERYPRINT) { id name customerCount } }"))["groups"]

    for group in groups:
        members = {id_of(person) for person in PEOPLE if group["name"] in person.groups}
        data = await people.data(
            "query ($id: ID!) { group(id: $id) { customers { totalCount edges { node { id } } } } }",
            id=group["id"],
        )
        page = data["group"]["customers"]
        assert {edge["node"]["id"] for edge in page["edges"]} == members
        assert page["totalCount"] == group["customerCount"] == len(members)
        assert set(await every_id(people, groupId=group["id"])) == members


async def test_a_marketing_group_lists_its_customers_page_by_page(people: Gateway) -> None:
    query = """query ($id: ID!, $after: String) { group(id: $id) { customerCount
      customers(first: 20, after: $after) {
        totalCount pageInfo { hasNextPage endCursor } edges { node { id groups { id } } }
      }
    } }"""
    id, after, ids = to_id("Group", "poster:4"), None, []
    while True:
        group = (await people.data(query, id=id, after=after))["group"]
        page = group["customers"]
        ids += [edge["node"]["id"] for edge in page["edges"]]
        assert all({"id": id} in edge["node"]["groups"] for edge in page["edges"])
        if not page["pageInfo"]["hasNextPage"]:
            break
        after = page["pageInfo"]["endCursor"]

    assert len(ids) == len(set(ids)) == group["customerCount"] == page["totalCount"] == 43


async def test_what_a_source_says_now_is_answered_and_kept(peopled: Gateway) -> None:
    await change_at_mercately(peopled, GABRIEL, first_name="Gabo", notes="Moved")

    customer = await found(peopled, id=id_of(GABRIEL))
    page = await listed(peopled, search="gabo intriago")

    assert (customer["firstName"], customer["notes"]) == ("Gabo", "Moved")
    assert [edge["node"]["id"] for edge in page["edges"]] == [id_of(GABRIEL)]


async def change_at_mercately(gateway: Gateway, person: Person, **fields: str) -> None:
    assert person.mercately
    url = f"{gateway.mercately.url}/retailers/api/v1/customers/{person.mercately.id}"
    credentials = gateway.mercately.credentials
    headers = {"Slug": credentials["slug"], "Api-Key": credentials["api_key"]}
    async with gateway.session.put(url, json={"customer": fields}, headers=headers) as response:
        assert response.status == 200


async def test_a_phone_learnt_from_a_source_joins_two_at_once(peopled: Gateway) -> None:
    await peopled.storage.everyprint.save_customer("24", "Intriago", phone_e164="+593990001234")
    await change_at_mercately(peopled, GABRIEL, phone="+593 99 000 1234")

    customer = await found(peopled, id=id_of(GABRIEL))

    assert customer["sources"] == ["EVERYPRINT", "MERCATELY"]
    assert (
        customer["id"] == to_id("Customer", "everyprint:24") == (await found(peopled, messengerId="24"))["id"]
    )


async def test_who_is_gone_at_the_source_is_null_and_off_the_list(peopled: Gateway) -> None:
    assert GABRIEL.mercately
    peopled.mercately.trouble(
        "status",
        path=f"/customers/{GABRIEL.mercately.id}",
        status=404,
        body={"message": "Customer not found"},
    )

    assert await found(peopled, id=id_of(GABRIEL)) is None
    assert (await listed(peopled, search="gabriel intriago"))["edges"] == []


async def test_somebody_not_mirrored_yet_is_found_and_joined(gateway: Gateway) -> None:
    """The directory is empty: the sources themselves are asked."""
    await gateway.storage.everyprint.save_customer("24", "Diop", phone_e164="+221770009101")

    by_mercately = await found(gateway, mercatelyId="4880pbiig3874")
    by_phone = await found(gateway, phone="+221770009101")
    by_poster = await found(gateway, posterId="1")

    assert by_mercately["sources"] == ["EVERYPRINT", "MERCATELY"]
    assert by_poster["sources"] == ["EVERYPRINT", "MERCATELY", "POSTER"]
    assert {customer["id"] for customer in (by_mercately, by_phone, by_poster)} == {
        to_id("Customer", "everyprint:24")
    }


async def test_a_customer_known_to_poster_alone_has_no_balance_and_no_conversations(people: Gateway) -> None:
    komlan = await found(people, posterId="211")

    assert komlan["balance"] is None
    assert komlan["agent"] is None
    assert komlan["conversations"] == {"totalCount": 0, "edges": []}
    assert {group["name"] for group in komlan["groups"]} == {"Wholesale"}


async def test_the_ledger_is_paged_to_its_first_line(people: Gateway) -> None:
    query = """query ($after: String) { customer(by: {messengerId: "2413659892012345"}) { balance {
      amount entries(first: 2, after: $after) {
        edges { node { amount } } pageInfo { hasNextPage hasPreviousPage endCursor } } } } }"""
    amounts, after = [], None
    while True:
        balance = (await people.data(query, after=after))["customer"]["balance"]
        amounts += [int(edge["node"]["amount"]) for edge in balance["entries"]["edges"]]
        page = balance["entries"]["pageInfo"]
        assert page["hasPreviousPage"] is (after is not None)
        if not page["hasNextPage"]:
            break
        after = page["endCursor"]

    assert amounts == [-12_000, 50_000, 1_500, -15_000, 25_000]
    assert sum(amounts) == int(balance["amount"])
