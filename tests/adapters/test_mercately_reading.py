"""Reading Mercately's customers and conversations: the documented answers, each quirk, all of the sandbox."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, MutableMapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from adapters.errors import Malformed, Misconfigured, Rejected, SourceError, Unacceptable, Unavailable
from adapters.mercately.client import (
    API,
    REPEATED_PAGES,
    Channel,
    Conversation,
    Customer,
    CustomField,
    Mercately,
    MercatelySettings,
    Tag,
)
from adapters.mercately.sandbox import MercatelySandbox
from adapters.rest import Mode

SEED = json.loads((Path(__file__).parents[1] / "seeds" / "mercately.json").read_text())
CHANNELS: tuple[Channel, ...] = ("messenger", "whatsapp")
ID = "4880vesdc3873"
SAID = {"message_count": 1, "last_interaction": "2021-03-30T23:17:42.014Z"}

PABLO = Customer(
    id="4880vesdc3873",
    first_name="Pablo",
    last_name="Domínguez",
    email="slyvia@thompson.net",
    phone="+593667 357 821",
    meli_customer_id=None,
    meli_nickname=None,
    id_type="ruc",
    id_number="293-07-3863",
    address="Muelle Cristobal s/n.",
    city="Quito",
    state="Pichincha",
    zip_code="170207",
    country="EC",
    notes=None,
    whatsapp_opt_in=False,
    whatsapp_name=None,
    tags=(Tag(id="4880epqur256", name="Test tag"),),
    custom_fields=(CustomField(name="ullam", content="Test Field"),),
)

VICTOR = Customer(
    id="4881ljusi3874",
    first_name="Víctor",
    last_name="Alcántar",
    email="hattiegreenfelder@welchebert.biz",
    phone="+593634063868",
    id_type="ruc",
    id_number="329-82-3866",
    address="Polígono José María Rojo s/n.",
    city="Quito",
    state="Pichincha",
    zip_code="170207",
    country="EC",
)

TEXTS = (
    *("first_name", "last_name", "email", "phone", "meli_customer_id", "meli_nickname", "id_type"),
    *("id_number", "address", "city", "state", "zip_code", "country_id", "notes", "whatsapp_name"),
)


class Vendor:
    """The sandbox, saying what it is told to, and the client that hears it."""

    def __init__(self, sandbox: MercatelySandbox, client: Mercately) -> None:
        self.sandbox = sandbox
        self.client = client

    def says(self, body: object, *, times: int | None = None) -> None:
        self.sandbox.trouble("wrong_shape", body=body, times=times)

    def lists(self, *customers: object, times: int | None = None, **totals: object) -> None:
        self.says({"customers": customers, **totals}, times=times)

    async def customer(self, **fields: object) -> Customer:
        self.lists({"id": ID, **fields})
        (customer,) = await self.client.customers(1)
        return customer

    async def conversation(self, channel: Channel = "whatsapp", **fields: object) -> Conversation:
        self.says({f"{channel}_conversations": [{**SAID, **fields}]})
        (conversation,) = await self.client.conversations(channel, 1)
        return conversation

    @property
    def pages(self) -> list[str]:
        return [asked.query["page"] for asked in self.sandbox.asked]


@asynccontextmanager
async def opened(sandbox: MercatelySandbox) -> AsyncIterator[Vendor]:
    async with sandbox:
        settings = MercatelySettings(timeout=2).pointed_at(sandbox)
        async with Mercately.open(settings, Mode.REAL) as client:
            yield Vendor(sandbox, client)


@pytest.fixture
def vendor(mercately_sandbox: MercatelySandbox, mercately: Mercately) -> Vendor:
    return Vendor(mercately_sandbox, mercately)


def numbered(*rows: int) -> list[dict[str, object]]:
    return [{"id": f"4880vesdc{row}"} for row in rows]


def ids(customers: list[Customer]) -> list[str]:
    return [customer.id for customer in customers]


async def passed(pages: AsyncIterator[list[Customer]]) -> list[list[str]]:
    return [ids(page) async for page in pages]


# What a customer is


async def test_the_documented_customers_are_read_whole(vendor: Vendor) -> None:
    vendor.says(SEED["customers"])

    assert await vendor.client.customers(1) == [PABLO]


async def test_the_documented_customer_is_read_whole(vendor: Vendor) -> None:
    vendor.says(SEED["customer"])

    assert await vendor.client.customer("4881ljusi3874") == VICTOR


async def test_what_the_documents_leave_null_is_read_too(vendor: Vendor) -> None:
    customer = await vendor.customer(
        meli_customer_id=421,
        meli_nickname="PABLO421",
        notes="Llamar",
        whatsapp_opt_in=True,
        whatsapp_name="P",
    )

    assert customer == Customer(
        id=ID,
        meli_customer_id=421,
        meli_nickname="PABLO421",
        notes="Llamar",
        whatsapp_opt_in=True,
        whatsapp_name="P",
    )


@pytest.mark.parametrize("nothing", [None, ""])
async def test_null_and_empty_texts_are_none(vendor: Vendor, nothing: str | None) -> None:
    assert await vendor.customer(**dict.fromkeys(TEXTS, nothing)) == Customer(id=ID)


async def test_a_customer_may_lack_all_but_its_id(vendor: Vendor) -> None:
    assert await vendor.customer() == Customer(id=ID)


async def test_null_lists_are_empty_and_a_null_opt_in_is_none_given(vendor: Vendor) -> None:
    customer = await vendor.customer(tags=None, custom_fields=None, whatsapp_opt_in=None)

    assert (customer.tags, customer.custom_fields, customer.whatsapp_opt_in) == ((), (), False)


async def test_what_the_vendor_adds_to_a_customer_is_ignored(vendor: Vendor) -> None:
    customer = await vendor.customer(
        agent_id=2763,
        customer_addresses=[{"city": "Quito"}],
        country="Ecuador",
        row_id=1,
        tags=[{"tag": "VIP", "web_id": "4880abcde1", "color": "red"}],
    )

    assert customer == Customer(id=ID, tags=(Tag(id="4880abcde1", name="VIP"),))


@pytest.mark.parametrize(
    ("sent", "phone"),
    [
        ("+593667 357 821", "+593667 357 821"),
        (" +593667 357 821\t\n", "+593667 357 821"),
        ("0991234567", "0991234567"),
        ("  ", None),
    ],
)
async def test_a_phone_is_as_it_is_stored_but_for_its_ends(
    vendor: Vendor, sent: str, phone: str | None
) -> None:
    assert (await vendor.customer(phone=sent)).phone == phone
    vendor.sandbox.heal()
    assert (await vendor.conversation(phone=sent)).phone == phone


@pytest.mark.parametrize(
    ("sent", "content"),
    [
        ({"field_content:": "Test"}, "Test"),
        ({"field_content": "Test"}, "Test"),
        ({"field_content:": "", "field_content": "Test"}, "Test"),
        ({"field_content:": "Test", "field_content": None}, "Test"),
        ({"field_content:": None}, None),
        ({"field_content": ""}, None),
        ({}, None),
    ],
    ids=str,
)
async def test_a_custom_field_is_read_under_either_key(
    vendor: Vendor, sent: Mapping[str, Any], content: str | None
) -> None:
    customer = await vendor.customer(custom_fields=[{"field_name": "ullam", **sent}])

    assert customer.custom_fields == (CustomField("ullam", content),)


@pytest.mark.parametrize(
    ("id", "row_id"),
    [
        ("4880vesdc3873", 3873),
        ("1aaaaa1", 1),
        ("4880vesdc0", None),
        ("4880vesd3873", None),
        ("4880VESDC3873", None),
        ("4880vesdc3873x", None),
        ("4880vesdc" + "9" * 5000, None),
        ("3873", None),
    ],
)
async def test_the_row_id_is_the_number_at_the_end_of_the_id(
    vendor: Vendor, id: str, row_id: int | None
) -> None:
    assert (await vendor.customer(id=id)).row_id == row_id


# One customer


async def test_a_customer_of_the_sandbox_is_found(vendor: Vendor) -> None:
    assert await vendor.client.customer(ID) == PABLO


async def test_an_unknown_customer_is_none(vendor: Vendor) -> None:
    assert await vendor.client.customer("4880aaaaa1") is None
    assert [asked.path for asked in vendor.sandbox.asked] == [f"{API}/customers/4880aaaaa1"]


@pytest.mark.parametrize(
    "id",
    [
        *(
            "",
            " ",
            "..",
            "../agents",
            "4880vesdc3873/../../agents",
            "4880vesdc3873/..",
            "4880vesdc3873?page=2",
        ),
        *("4880vesdc3873#", "4880vesdc3873\n", "\n4880vesdc3873", "4880vesdc3873\0", "4880vesdc3873%00"),
        *("%2e%2e", "4880%76esdc3873", "4880vesdc", "vesdc3873", "4880vesd3873", "4880vesdcx3873"),
        *("4880VESDC3873", "٤٨٨٠vesdc٣٨٧٣", "4880vésdc3873", "3873", "+593667357821", "slyvia@thompson.net"),
        *("0", "null", "4880vesdc" + "9" * 5000, "9" * 5000 + "vesdc1"),
    ],
)
async def test_what_is_no_id_of_theirs_is_none_without_a_call(vendor: Vendor, id: str) -> None:
    assert await vendor.client.customer(id) is None
    assert not vendor.sandbox.asked


async def test_an_unknown_slug_is_no_unknown_customer(vendor: Vendor) -> None:
    vendor.sandbox.trouble("status", status=404, body={"message": "Resource not found"})

    with pytest.raises(Misconfigured):
        await vendor.client.customer(ID)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, {"message": "Not found"}),
        (404, {"status": 404, "error": "Not Found"}),
        (404, ""),
        (400, {"message": "Customer not found"}),
        (302, {"errors": ["Customer not found"]}),
    ],
)
async def test_no_other_refusal_is_an_unknown_customer(vendor: Vendor, status: int, body: object) -> None:
    vendor.sandbox.trouble("status", status=status, body=body)

    with pytest.raises(Rejected):
        await vendor.client.customer(ID)


# All customers


async def test_a_page_is_of_100_customers_and_the_one_past_the_last_is_empty(vendor: Vendor) -> None:
    assert len(await vendor.client.customers(1)) == 100
    assert len(await vendor.client.customers(25)) == 100
    assert await vendor.client.customers(26) == []
    assert vendor.pages == ["1", "25", "26"]


async def test_all_2500_customers_are_read_exactly_once(vendor: Vendor) -> None:
    pages = await passed(vendor.client.every_customer())
    everybody = {id for page in pages for id in page}

    assert [len(page) for page in pages] == [100] * 25
    assert len(everybody) == 2500
    assert vendor.pages == [str(page) for page in range(1, 27)]


async def test_no_customer_comes_twice_from_pages_without_order() -> None:
    async with opened(MercatelySandbox(shuffled_pages=True)) as vendor:
        everybody = [id for page in await passed(vendor.client.every_customer()) for id in page]

    assert len(everybody) == len(set(everybody))
    assert 2300 < len(everybody) < 2500


async def test_reading_can_begin_at_any_page(vendor: Vendor) -> None:
    last = ids(await vendor.client.customers(25))

    assert await passed(vendor.client.every_customer(first_page=25)) == [last]
    assert await passed(vendor.client.every_customer(first_page=26)) == []
    assert vendor.pages == ["25", "25", "26", "26"]


async def test_each_page_says_how_many_customers_there_are(vendor: Vendor) -> None:
    assert {page.total async for page in vendor.client.every_customer(first_page=24)} == {2500}


@pytest.mark.parametrize("first_page", [0, -7])
async def test_there_is_no_page_before_the_first(vendor: Vendor, first_page: int) -> None:
    vendor.lists(*numbered(1), times=1)
    vendor.lists()

    assert await passed(vendor.client.every_customer(first_page)) == [["4880vesdc1"]]
    assert vendor.pages == ["1", "2"]


async def test_a_pass_that_was_interrupted_goes_on_where_it_was(vendor: Vendor) -> None:
    read: list[list[str]] = []
    pages = vendor.client.every_customer()
    read += [ids(await anext(pages)), ids(await anext(pages))]
    vendor.sandbox.trouble("status", status=503, times=1)
    with pytest.raises(Unavailable):
        await anext(pages)

    read += await passed(vendor.client.every_customer(first_page=3))

    assert len({id for page in read for id in page}) == sum(map(len, read)) == 2500


async def test_a_page_is_asked_for_when_it_is_wanted(vendor: Vendor) -> None:
    pages = vendor.client.every_customer()
    await anext(pages)

    assert vendor.pages == ["1"]


async def test_exactly_100_customers_are_one_page_though_two_are_promised(vendor: Vendor) -> None:
    vendor.lists(*numbered(*range(1, 101)), times=1, results=100, total_pages=2)
    vendor.lists(results=100, total_pages=2)

    assert [len(page) for page in await passed(vendor.client.every_customer())] == [100]
    assert vendor.pages == ["1", "2"]


async def test_no_customers_are_no_page_though_one_is_promised(vendor: Vendor) -> None:
    vendor.lists(results=0, total_pages=1)

    assert await passed(vendor.client.every_customer()) == []
    assert vendor.pages == ["1"]


async def test_pages_beyond_the_promised_ones_are_read(vendor: Vendor) -> None:
    vendor.lists(*numbered(1), times=1, results=1, total_pages=1)
    vendor.lists(*numbered(2), times=1, results=1, total_pages=0)
    vendor.lists(total_pages=9)

    assert await passed(vendor.client.every_customer()) == [["4880vesdc1"], ["4880vesdc2"]]


async def test_a_page_that_only_repeats_is_empty_and_not_the_end(vendor: Vendor) -> None:
    vendor.lists(*numbered(1, 2, 1), times=1)
    vendor.lists(*numbered(2, 1), times=1)
    vendor.lists(*numbered(2, 3), times=1)
    vendor.lists()

    assert await passed(vendor.client.every_customer()) == [["4880vesdc1", "4880vesdc2"], [], ["4880vesdc3"]]


async def test_a_list_without_end_is_given_up(vendor: Vendor) -> None:
    vendor.lists(*numbered(1))

    with pytest.raises(Malformed, match="repeats its customers without end"):
        await passed(vendor.client.every_customer())
    assert len(vendor.pages) == 1 + REPEATED_PAGES


# Conversations


@pytest.mark.parametrize("unassigned", [False, True])
@pytest.mark.parametrize(
    ("channel", "key"), [("messenger", "messenger_conversations"), ("whatsapp", "whatsapp_conversations")]
)
async def test_the_documented_conversations_are_read_whole(
    vendor: Vendor, channel: Channel, key: str, unassigned: bool
) -> None:
    answer = SEED[f"unassigned_{key}" if unassigned else key]
    vendor.says(answer)

    assert await vendor.client.conversations(channel, 1, unassigned=unassigned) == [
        Conversation(
            channel=channel,
            customer_row_id=row["customer_id"],
            message_count=row["message_count"],
            last_interaction=datetime.fromisoformat(row["last_interaction"]),
            first_name=row["first_name"],
            last_name=row["last_name"],
            email=row["email"],
            phone=row.get("phone"),
            agent_id=row["agent_id"],
        )
        for row in answer[key]
    ]


async def test_a_documented_conversation_reads_so(vendor: Vendor) -> None:
    vendor.says(SEED["whatsapp_conversations"])

    assert (await vendor.client.conversations("whatsapp", 1))[0] == Conversation(
        channel="whatsapp",
        customer_row_id=3887,
        message_count=1,
        last_interaction=datetime(2021, 3, 30, 23, 17, 42, 560_000, UTC),
        first_name="Raquel",
        last_name="Pérez",
        email="benedictstreich@von.name",
        phone="+593789584759",
        agent_id=2764,
    )


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize(
    ("options", "asked"),
    [
        ({}, {"page": "2", "results_per_page": "100"}),
        ({"count": 7}, {"page": "2", "results_per_page": "7"}),
        ({"unassigned": True}, {"page": "2", "results_per_page": "100", "unassigned": "true"}),
    ],
    ids=str,
)
async def test_conversations_are_asked_for_as_documented(
    vendor: Vendor, channel: Channel, options: dict[str, Any], asked: dict[str, str]
) -> None:
    await vendor.client.conversations(channel, 2, **options)

    (request,) = vendor.sandbox.asked
    assert (request.path, request.query) == (f"{API}/{channel}_conversations", asked)


@pytest.mark.parametrize("channel", CHANNELS)
async def test_conversations_come_newest_first_down_to_the_last_page(
    vendor: Vendor, channel: Channel
) -> None:
    pages = [await vendor.client.conversations(channel, page) for page in range(1, 8)]
    times = [conversation.last_interaction for page in pages for conversation in page]

    assert [len(page) for page in pages] == [100] * 6 + [0]
    assert times == sorted(times, reverse=True)
    assert {conversation.channel for page in pages for conversation in page} == {channel}


async def test_pages_of_conversations_are_as_long_as_asked(vendor: Vendor) -> None:
    assert len(await vendor.client.conversations("whatsapp", 9, count=70)) == 40
    assert len(await vendor.client.conversations("whatsapp", 1, count=600)) == 600
    assert await vendor.client.conversations("whatsapp", 1_000_000) == []


@pytest.mark.parametrize("count", [0, -1])
async def test_no_conversations_are_never_asked_for(vendor: Vendor, count: int) -> None:
    assert await vendor.client.conversations("whatsapp", 1, count=count) == []
    assert not vendor.sandbox.asked


@pytest.mark.parametrize("channel", CHANNELS)
async def test_unassigned_conversations_are_those_without_an_agent(vendor: Vendor, channel: Channel) -> None:
    everything = await vendor.client.conversations(channel, 1, count=600)
    unassigned = await vendor.client.conversations(channel, 1, count=600, unassigned=True)

    assert 0 < len(unassigned) < 600
    assert unassigned == [conversation for conversation in everything if conversation.agent_id is None]


async def test_a_conversation_leads_to_its_customer(vendor: Vendor) -> None:
    pages = [page async for page in vendor.client.every_customer()]
    phones = {customer.row_id: customer.phone for page in pages for customer in page}
    conversations = await vendor.client.conversations("whatsapp", 1, count=600)

    assert [phones[c.customer_row_id] for c in conversations] == [c.phone for c in conversations]


async def test_without_a_facebook_page_there_are_no_messenger_conversations() -> None:
    async with opened(MercatelySandbox(facebook_connected=False)) as vendor:
        assert await vendor.client.conversations("messenger", 1) == []
        assert len(await vendor.client.conversations("whatsapp", 1)) == 100


@pytest.mark.parametrize("channel", CHANNELS)
async def test_no_conversations_are_none(vendor: Vendor, channel: Channel) -> None:
    vendor.says({"results": 0, "total_pages": 1, f"{channel}_conversations": []})

    assert await vendor.client.conversations(channel, 1) == []


@pytest.mark.parametrize(
    "nobody", [{}, {"customer_id": None, "agent_id": None}, {"customer_id": 0, "agent_id": 0}]
)
async def test_a_conversation_may_be_nobodys(vendor: Vendor, nobody: dict[str, Any]) -> None:
    conversation = await vendor.conversation(**nobody)

    assert (conversation.customer_row_id, conversation.agent_id) == (None, None)


@pytest.mark.parametrize("nothing", [None, ""])
async def test_null_and_empty_texts_of_a_conversation_are_none(vendor: Vendor, nothing: str | None) -> None:
    texts = dict.fromkeys(("first_name", "last_name", "email", "phone"), nothing)

    assert await vendor.conversation(**texts) == await vendor.conversation()


@pytest.mark.parametrize("channel", CHANNELS)
async def test_what_else_a_conversation_carries_is_ignored(vendor: Vendor, channel: Channel) -> None:
    more = {**SAID, "id": None, "channel": "instagram", "unread": [1]}
    vendor.says({f"{channel}_conversations": [more]})
    (conversation,) = await vendor.client.conversations(channel, 1)

    assert conversation.channel == channel


@pytest.mark.parametrize(
    "sent", ["2021-03-30T23:17:42.014Z", "2021-03-30T23:17:42.014+00:00", "2021-03-30T19:17:42.014-04:00"]
)
async def test_the_last_interaction_is_in_utc(vendor: Vendor, sent: str) -> None:
    moment = (await vendor.conversation(last_interaction=sent)).last_interaction

    assert moment == datetime(2021, 3, 30, 23, 17, 42, 14_000, UTC)
    assert moment.tzinfo is UTC


# What cannot be read


ROWS: list[dict[str, Any]] = [
    {"first_name": "Ana"},
    *({"id": None}, {"id": ""}, {"id": 3874}),
    {"id": ID, "first_name": 1},
    {"id": ID, "whatsapp_opt_in": "yes"},
    *({"id": ID, "tags": "VIP"}, {"id": ID, "tags": ["VIP"]}, {"id": ID, "tags": [{"tag": "VIP"}]}),
    *({"id": ID, "custom_fields": {}}, {"id": ID, "custom_fields": [{"field_content": "Test"}]}),
]


@pytest.mark.parametrize("customers", [None, 0, {}, [None], *([row] for row in ROWS)], ids=str)
async def test_customers_of_another_shape_are_malformed(vendor: Vendor, customers: object) -> None:
    vendor.says({"customers": customers})

    with pytest.raises(Malformed):
        await vendor.client.customers(1)


@pytest.mark.parametrize("customer", [None, [], {}, *ROWS], ids=str)
async def test_a_customer_of_another_shape_is_malformed(vendor: Vendor, customer: object) -> None:
    vendor.says({"customer": customer})

    with pytest.raises(Malformed):
        await vendor.client.customer(ID)


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("rows", [None, 7, "0", {}, [None], [[]], [{}]], ids=str)
async def test_conversations_of_another_shape_are_malformed(
    vendor: Vendor, channel: Channel, rows: object
) -> None:
    vendor.says({f"{channel}_conversations": rows})

    with pytest.raises(Malformed):
        await vendor.client.conversations(channel, 1)


@pytest.mark.parametrize(
    "wrong",
    [
        *({"message_count": None}, {"message_count": "1"}, {"message_count": 1.5}),
        *({"last_interaction": None}, {"last_interaction": ""}, {"last_interaction": 1_617_146_262}),
        *({"last_interaction": "2021-03-30T23:17:42"}, {"last_interaction": "2021-02-30T00:00:00Z"}),
        {"last_interaction": "9999-12-31T23:59:59-04:00"},
        *({"customer_id": "3881"}, {"customer_id": True}, {"agent_id": "2763"}, {"agent_id": {}}),
        {"phone": 593789584759},
    ],
    ids=str,
)
async def test_a_conversation_of_another_shape_is_malformed(vendor: Vendor, wrong: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        await vendor.conversation(**wrong)


async def test_the_answer_to_another_question_is_malformed(vendor: Vendor) -> None:
    vendor.says(SEED["whatsapp_conversations"])
    client = vendor.client

    for question in (client.customers(1), client.customer(ID), client.conversations("messenger", 1)):
        with pytest.raises(Malformed):
            await question


async def test_one_malformed_row_spoils_its_page_only(vendor: Vendor) -> None:
    vendor.lists({"id": None}, times=1)

    with pytest.raises(Malformed):
        await vendor.client.customers(1)
    assert len(await vendor.client.customers(2)) == 100


# How it is asked


async def ask_everything(client: Mercately) -> None:
    await client.customers(1)
    await client.customer(ID)
    await client.conversations("messenger", 1)
    await client.conversations("whatsapp", 1, unassigned=True)


async def test_each_question_is_counted_under_its_name(vendor: Vendor) -> None:
    await ask_everything(vendor.client)

    assert vendor.client.record.calls == {
        ("customers", "ok"): 1,
        ("customer", "ok"): 1,
        ("conversations", "ok"): 2,
    }


async def test_no_log_line_says_who_was_asked_for(
    vendor: Vendor, log_lines: list[MutableMapping[str, Any]]
) -> None:
    await ask_everything(vendor.client)

    assert [line["call"] for line in log_lines] == ["customers", "customer", "conversations", "conversations"]
    assert ID not in str(log_lines)


@pytest.mark.parametrize("question", ["customers", "customer", "messenger", "whatsapp"])
async def test_identical_reads_in_flight_are_one_call(vendor: Vendor, question: str) -> None:
    async def ask() -> object:
        if question == "customers":
            return await vendor.client.customers(3)
        if question == "customer":
            return await vendor.client.customer(ID)
        return await vendor.client.conversations("messenger" if question == "messenger" else "whatsapp", 3)

    first, second = await asyncio.gather(ask(), ask())

    assert first == second
    assert len(vendor.sandbox.asked) == 1


async def test_those_who_share_an_answer_do_not_share_the_list(vendor: Vendor) -> None:
    client = vendor.client
    mine, yours = await asyncio.gather(client.customers(1), client.customers(1))
    mine.clear()

    assert len(yours) == 100


async def test_different_reads_in_flight_are_different_calls(vendor: Vendor) -> None:
    client = vendor.client
    await asyncio.gather(
        client.customers(1),
        client.customers(2),
        client.conversations("whatsapp", 1),
        client.conversations("messenger", 1),
        client.conversations("whatsapp", 1, unassigned=True),
        client.conversations("whatsapp", 1, count=10),
    )

    assert len(vendor.sandbox.asked) == 6


@pytest.mark.parametrize(
    ("trouble", "expected"),
    [
        ({"kind": "redirect_errors", "errors": ["No se puede"]}, Unacceptable),
        ({"kind": "status", "status": 404, "body": {"message": "Resource not found"}}, Misconfigured),
        ({"kind": "status", "status": 401, "body": {"message": "Unauthorized"}}, Misconfigured),
        ({"kind": "status", "status": 500, "body": {"message": "divided by 0"}}, Unavailable),
        ({"kind": "html"}, Malformed),
        ({"kind": "truncated"}, Malformed),
        ({"kind": "redirect", "url": "/retailers/api/v1/agents"}, Malformed),
    ],
    ids=str,
)
async def test_trouble_is_told_apart(
    vendor: Vendor, trouble: dict[str, Any], expected: type[SourceError]
) -> None:
    client = vendor.client
    vendor.sandbox.trouble(**trouble)
    questions = (client.customers(1), client.customer(ID), client.conversations("whatsapp", 1))
    answers = await asyncio.gather(*questions, return_exceptions=True)

    assert [type(answer) for answer in answers] == [expected] * 3


async def test_a_302_is_read_as_the_refusal_it_is(vendor: Vendor) -> None:
    vendor.sandbox.trouble("redirect_errors", errors=["Pagina invalida"])

    with pytest.raises(Rejected) as caught:
        await vendor.client.customers(1)
    assert (caught.value.vendor_code, caught.value.vendor_message) == ("302", "Pagina invalida")
