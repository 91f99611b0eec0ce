"""The emulated Mercately: the documented shapes, each quirk and each trouble, seen by a plain HTTP client."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import ClientSession, ClientTimeout

from adapters.mercately.sandbox import NOW, Accepted, MercatelySandbox
from adapters.sandbox import Kind

API = "/retailers/api/v1"
SEED = json.loads((Path(__file__).parents[1] / "seeds" / "mercately.json").read_text())
MISSING, NO_TEMPLATE, MISMATCH, SENT, *_ = (one["answer"] for one in SEED["notifications"])
OTP = "997dd550-c8d8-4bf7-ad98-a5ac4844a1ed"
PABLO = "4880vesdc3873"
JUAN = {"first_name": "Juan", "last_name": "Campos", "email": "juan@email.com", "phone": "+12036534789"}
ANA = {"first_name": "Ana", "last_name": "Paz", "email": "ana@example.com"}


class Api:
    """A plain client that knows the credentials, follows no redirect and gives (status, JSON)."""

    def __init__(self, sandbox: MercatelySandbox, session: ClientSession) -> None:
        self.sandbox = sandbox
        self.session = session

    async def ask(self, method: str, path: str, **options: Any) -> tuple[int, Any]:
        async with self.session.request(method, API + path, allow_redirects=False, **options) as response:
            return response.status, await response.json()

    async def get(self, path: str, **query: str | int) -> Any:
        status, body = await self.ask("GET", path, params=query)
        assert status == 200
        return body

    async def post(self, path: str, body: object) -> tuple[int, Any]:
        return await self.ask("POST", path, json=body)

    async def put(self, path: str, body: object) -> tuple[int, Any]:
        return await self.ask("PUT", path, json=body)

    async def create(self, **customer: object) -> Any:
        status, body = await self.post("/customers", {"customer": customer})
        assert status == 200
        return body["customer"]

    async def send(self, phone: str, *params: str, template: str = OTP, **more: object) -> tuple[int, Any]:
        body = {"phone_number": phone, "internal_id": template, "template_params": params, **more}
        return await self.post("/whatsapp/send_notification_by_id", body)

    async def everybody(self) -> list[Any]:
        pages = [await self.get("/customers", page=page) for page in range(1, 27)]
        return [customer for page in pages for customer in page["customers"]]


@asynccontextmanager
async def opened(sandbox: MercatelySandbox) -> AsyncIterator[Api]:
    headers = {"Slug": sandbox.credentials["slug"], "Api-Key": sandbox.credentials["api_key"]}
    async with sandbox, ClientSession(sandbox.url, headers=headers) as session:
        yield Api(sandbox, session)


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with opened(MercatelySandbox()) as opened_api:
        yield opened_api


def assert_like(ours: Any, seed: Any, where: str = "answer") -> None:
    """The same keys in the same order, and the same types, null being a value of any of them."""
    if ours is None or seed is None:
        return
    assert type(ours) is type(seed), where
    if isinstance(seed, dict):
        assert list(ours) == list(seed), where
        for key in seed:
            assert_like(ours[key], seed[key], f"{where}.{key}")
    if isinstance(seed, list):
        for item in ours if seed else []:
            assert_like(item, seed[0], f"{where}[]")


# What the vendor documents


@pytest.mark.parametrize(
    ("path", "seed"),
    [
        ("/agents", "agents"),
        ("/customers", "customers"),
        (f"/customers/{PABLO}", "customer"),
        ("/messenger_conversations", "messenger_conversations"),
        ("/whatsapp_conversations", "whatsapp_conversations"),
        ("/whatsapp_templates", "templates"),
    ],
)
async def test_what_is_read_has_the_documented_shape(api: Api, path: str, seed: str) -> None:
    assert_like(await api.get(path), SEED[seed])


async def test_the_documented_agent_and_customer_are_known(api: Api) -> None:
    agents = await api.get("/agents")
    customers = await api.get("/customers")

    assert agents["agents"][0] == SEED["agents"]["agents"][0]
    assert customers["customers"][0] == SEED["customers"]["customers"][0]


async def test_the_documented_welcome_template_is_known(api: Api) -> None:
    templates = (await api.get("/whatsapp_templates"))["templates"]

    assert SEED["templates"]["templates"][0]["text"] in [template["text"] for template in templates]


async def test_creating_answers_200_with_the_documented_shape(api: Api) -> None:
    customer = {**JUAN, "city": "Fort Worth", "tags": [{"name": "Test tag", "value": True}]}
    status, body = await api.post("/customers", {"customer": customer})

    assert status == 200
    assert_like(body, SEED["customer_created"])
    assert body["customer"]["tags"] == [{"tag": "Test tag", "web_id": "4880epqur256"}]


async def test_updating_echoes_no_customer(api: Api) -> None:
    answer = await api.put(f"/customers/{PABLO}", {"customer": {"city": "Cuenca"}})

    assert answer == (200, SEED["customer_updated"])
    assert (await api.get(f"/customers/{PABLO}"))["customer"]["city"] == "Cuenca"


@pytest.mark.parametrize("documented", SEED["notifications"])
async def test_each_documented_notification_is_answered_to_the_letter(documented: Any) -> None:
    sent = documented["answer"]["info"].get("created_time")
    # A notification takes the sandbox a second.
    now = datetime.fromisoformat(sent) - timedelta(seconds=1) if sent else NOW
    async with opened(MercatelySandbox(now=now)) as api:
        answer = await api.post("/whatsapp/send_notification_by_id", documented["request"])

    assert answer == (documented["status"], documented["answer"])
    assert list(answer[1].get("info")) == list(documented["answer"]["info"])
    text = "Your OTP for test 1 is test 2. This is valid for test 3."
    assert api.sandbox.accepted == ([Accepted("+593999999999", OTP, text)] if sent else [])


async def test_ping_answers_ok(api: Api) -> None:
    assert await api.get("/ping") == {"message": "Ok", "info": {"data": {}}}


@pytest.mark.parametrize("path", ["/nothing", "/customers/1/2", "/whatsapp/send_notification_by_id"])
async def test_a_path_that_is_no_endpoint_answers_404(api: Api, path: str) -> None:
    assert await api.ask("GET", path) == (404, {"status": 404, "error": "Not Found"})


# Credentials


@pytest.mark.parametrize("slug", ["", "somebody-else"])
async def test_an_unknown_slug_is_not_found_whatever_the_key(api: Api, slug: str) -> None:
    answer = await api.ask("GET", "/agents", headers={"Slug": slug, "Api-Key": "wrong"})

    assert answer == (404, {"message": "Resource not found", "info": {"data": {}}})


async def test_a_wrong_key_is_unauthorized(api: Api) -> None:
    answer = await api.ask("GET", "/agents", headers={"Api-Key": "wrong"})

    assert answer == (401, {"message": "Unauthorized", "info": {"data": {}}})


# Customers, read


async def test_the_page_count_promises_an_empty_last_page(api: Api) -> None:
    first = await api.get("/customers")
    last = await api.get("/customers", page=first["total_pages"])

    assert (first["results"], first["total_pages"], len(first["customers"])) == (2500, 26, 100)
    assert last["customers"] == []


@pytest.mark.parametrize("page", ["0", "-3", "abc", ""])
async def test_a_page_that_is_no_page_is_the_first(api: Api, page: str) -> None:
    assert await api.get("/customers", page=page) == await api.get("/customers", page=1)


async def test_pages_are_of_100_customers_whatever_is_asked(api: Api) -> None:
    assert len((await api.get("/customers", results_per_page=7))["customers"]) == 100


async def test_shuffled_pages_repeat_and_miss_customers() -> None:
    async with opened(MercatelySandbox(shuffled_pages=True)) as api:
        ids = [customer["id"] for customer in await api.everybody()]

    assert len(ids) == 2500
    assert 2300 < len(set(ids)) < 2500


async def test_an_unknown_customer_is_not_found(api: Api) -> None:
    not_found = (404, {"message": "Customer not found"})

    assert await api.ask("GET", "/customers/4880aaaaa1") == not_found
    assert await api.put("/customers/4880aaaaa1", {"customer": {"city": "Quito"}}) == not_found


async def test_the_customers_are_as_uneven_as_real_ones(api: Api) -> None:
    customers = await api.everybody()
    phones = [customer["phone"] for customer in customers if customer["phone"]]
    emails = [customer["email"] for customer in customers if customer["email"]]

    assert len(phones) == len(set(phones)) < 2500
    assert len(set(emails)) < len(emails) < 2500
    assert any(" " in phone for phone in phones)
    assert {phone[:3] for phone in phones} == {"+59", "+52", "+57", "+13", "+22"}


# Customers, written


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"first_name": ""}, "First name no puede estar vacío"),
        ({"last_name": None}, "Last name no puede estar vacío"),
        ({"email": None, "phone": " "}, "Numero o email deben estar presentes."),
        ({"email": "juan at home"}, "Email invalido"),
        ({"email": "slyvia@thompson.net"}, "Email ya está en uso"),
        ({"phone": "+593667 357 821"}, "Ya tienes un cliente registrado con este número de teléfono."),
    ],
)
async def test_a_refused_creation_is_a_302_in_spanish(
    api: Api, change: dict[str, object], sentence: str
) -> None:
    answer = await api.post("/customers", {"customer": {**JUAN, **change}})

    assert answer == (302, {"errors": [sentence]})
    assert (await api.get("/customers"))["results"] == 2500


async def test_a_refusal_has_no_location(api: Api) -> None:
    async with api.session.post(f"{API}/customers", json={"customer": {"city": "Quito"}}) as response:
        assert response.status == 302
        assert "Location" not in response.headers
        assert len((await response.json())["errors"]) == 3


async def test_the_rules_for_created_customers_stick_to_their_updates(api: Api) -> None:
    customer = await api.create(**JUAN)
    nameless = {"customer": {"last_name": ""}}

    assert (await api.put(f"/customers/{customer['id']}", nameless))[0] == 302
    assert (await api.put(f"/customers/{PABLO}", nameless))[0] == 200


@pytest.mark.parametrize("body", [{}, {"customer": {}}, {"customer": "Juan"}, {"first_name": "Juan"}])
async def test_a_missing_root_is_a_500(api: Api, body: object) -> None:
    status, answer = await api.post("/customers", body)

    assert status == 500
    assert answer == {
        "message": "param is missing or the value is empty: customer",
        "info": {"data": {}},
    }


@pytest.mark.parametrize("body", ["{", "[1]", "7"])
async def test_a_body_that_cannot_be_read_is_a_400(api: Api, body: str) -> None:
    headers = {"Content-Type": "application/json"}

    assert (await api.ask("POST", "/customers", data=body, headers=headers))[0] == 400


async def test_fields_that_are_not_writable_are_dropped(api: Api) -> None:
    dropped = {"id_type": "ruc", "country_id": "EC", "whatsapp_opt_in": True, "custom_fields": [{}]}
    customer = await api.create(**JUAN, **dropped, address=["not", "a", "text"])

    assert [customer[name] for name in ("id_type", "country_id", "whatsapp_opt_in")] == [None, None, False]
    assert (customer["custom_fields"], customer["address"]) == ([], None)


async def test_a_form_does_as_well_as_json(api: Api) -> None:
    form = {f"customer[{name}]": value for name, value in JUAN.items()}
    tag = {"customer[tags][][name]": "VIP", "customer[tags][][value]": "true"}
    status, body = await api.ask("POST", "/customers", data={**form, **tag})

    assert status == 200
    assert {name: body["customer"][name] for name in JUAN} == JUAN
    assert [entry["tag"] for entry in body["customer"]["tags"]] == ["VIP"]


async def test_a_repeated_name_in_a_form_starts_the_next_tag(api: Api) -> None:
    tags = [("name", "VIP"), ("value", "true"), ("name", "Navidad"), ("value", "true")]
    form = [("customer[city]", "Quito"), *((f"customer[tags][][{key}]", value) for key, value in tags)]
    await api.ask("PUT", f"/customers/{PABLO}", data=form)

    customer = (await api.get(f"/customers/{PABLO}"))["customer"]
    assert [entry["tag"] for entry in customer["tags"]] == ["Test tag", "VIP", "Navidad"]


async def test_a_tag_with_another_value_is_left_as_it_was(api: Api) -> None:
    tags = [{"name": "VIP", "value": "yes"}, {"name": "Test tag"}, "VIP"]
    await api.put(f"/customers/{PABLO}", {"customer": {"tags": tags}})

    assert (await api.get(f"/customers/{PABLO}"))["customer"] == SEED["customers"]["customers"][0]


async def test_an_email_is_enough_to_be_a_customer(api: Api) -> None:
    customer = await api.create(**ANA)

    assert (customer["email"], customer["phone"]) == ("ana@example.com", None)
    assert (await api.get(f"/customers/{customer['id']}"))["customer"] == customer


async def test_a_tag_is_added_once_and_removed(api: Api) -> None:
    for value in (True, "true", False, "false"):
        body = {"customer": {"tags": [{"name": "VIP", "value": value}, {"name": "Nobody's", "value": True}]}}
        assert (await api.put(f"/customers/{PABLO}", body))[0] == 200
        tags = [entry["tag"] for entry in (await api.get(f"/customers/{PABLO}"))["customer"]["tags"]]
        assert tags == (["Test tag", "VIP"] if value in (True, "true") else ["Test tag"])


async def test_a_refused_update_has_already_changed_the_tags(api: Api) -> None:
    body = {"customer": {"email": "wrong", "tags": [{"name": "VIP", "value": True}]}}
    status, _ = await api.put(f"/customers/{PABLO}", body)
    customer = (await api.get(f"/customers/{PABLO}"))["customer"]

    assert status == 302
    assert customer["email"] == "slyvia@thompson.net"
    assert [entry["tag"] for entry in customer["tags"]] == ["Test tag", "VIP"]


async def test_the_calling_code_of_a_known_country_is_forced(api: Api) -> None:
    await api.put(f"/customers/{PABLO}", {"customer": {"phone": " 0991234567 "}})

    assert (await api.get(f"/customers/{PABLO}"))["customer"]["phone"] == "+5930991234567"


async def test_a_phone_given_up_is_free_again(api: Api) -> None:
    await api.put(f"/customers/{PABLO}", {"customer": {"phone": "+593990009999"}})
    customer = await api.create(**ANA, phone="+593667 357 821")

    assert customer["phone"] == "+593667 357 821"


# Conversations


@pytest.mark.parametrize("channel", ["messenger", "whatsapp"])
async def test_conversations_come_newest_first(api: Api, channel: str) -> None:
    page = await api.get(f"/{channel}_conversations", results_per_page=600)
    times = [row["last_interaction"] for row in page[f"{channel}_conversations"]]

    assert (page["results"], page["total_pages"], len(times)) == (600, 2, 600)
    assert times == sorted(times, reverse=True)
    assert times[0].endswith("Z")
    assert len(times[0]) == len("2021-03-30T23:17:42.014Z")


async def test_conversations_are_paged_as_asked(api: Api) -> None:
    first = await api.get("/whatsapp_conversations", results_per_page=70)
    last = await api.get("/whatsapp_conversations", results_per_page=70, page=9)

    assert first["total_pages"] == 9
    assert (len(first["whatsapp_conversations"]), len(last["whatsapp_conversations"])) == (70, 40)


@pytest.mark.parametrize("size", ["0", "many", ""])
async def test_a_page_size_of_nothing_divides_by_zero(api: Api, size: str) -> None:
    answer = await api.ask("GET", "/whatsapp_conversations", params={"results_per_page": size})

    assert answer == (500, {"message": "divided by 0", "info": {"data": {}}})


async def test_a_conversation_carries_the_row_id_of_a_customer(api: Api) -> None:
    conversation = (await api.get("/whatsapp_conversations"))["whatsapp_conversations"][0]
    same = [c for c in await api.everybody() if c["id"].endswith(str(conversation["customer_id"]))]

    assert [customer["phone"] for customer in same] == [conversation["phone"]]


async def test_unassigned_conversations_have_no_agent(api: Api) -> None:
    page = await api.get("/messenger_conversations", unassigned="true", results_per_page=600)
    rows = page["messenger_conversations"]

    assert 0 < page["results"] == len(rows) < 600
    assert {row["agent_id"] for row in rows} == {None}


async def test_an_assignment_shows_in_the_conversations_only(api: Api) -> None:
    row = (await api.get("/whatsapp_conversations", unassigned="true"))["whatsapp_conversations"][0]
    customer = next(c for c in await api.everybody() if c["id"].endswith(str(row["customer_id"])))
    for agent_id in (2763, 999, "nobody"):
        await api.put(f"/customers/{customer['id']}", {"customer": {"agent_id": agent_id}})

    rows = (await api.get("/whatsapp_conversations", results_per_page=600))["whatsapp_conversations"]
    assert [r["agent_id"] for r in rows if r["customer_id"] == row["customer_id"]] == [2763]
    assert (await api.get(f"/customers/{customer['id']}"))["customer"] == customer


async def test_without_a_facebook_page_the_conversations_are_a_number() -> None:
    async with opened(MercatelySandbox(facebook_connected=False)) as api:
        answer = await api.get("/messenger_conversations")

    assert answer == {"results": 0, "total_pages": 0, "messenger_conversations": 0}


# Notifications


async def test_no_balance_is_told_before_anything_else() -> None:
    async with opened(MercatelySandbox(balance=False)) as api:
        status, body = await api.post("/whatsapp/send_notification_by_id", {})

    assert status == 401
    assert body["message"].startswith("Usted no tiene suficiente saldo")


async def test_the_documented_refusals_come_in_their_order(api: Api) -> None:
    path = "/whatsapp/send_notification_by_id"
    no_phone, no_template = {"internal_id": "x", "template_params": ["1"]}, {"phone_number": "+593999999999"}

    assert await api.post(path, no_phone) == (400, MISSING)
    assert await api.post(path, no_template) == (400, MISSING)
    assert await api.send("+593999999999", template="x") == (404, NO_TEMPLATE)
    assert await api.send("+593999999999", "test 1", "test 2") == (400, MISMATCH)
    assert (await api.get("/customers"))["results"] == 2500


async def test_a_customer_who_did_not_opt_in_cannot_be_reached(api: Api) -> None:
    refused = {"message": "Error", "info": {"message": "No fue posible verificar el número de destino"}}

    assert await api.send("+593667 357 821", "1", "2", "3") == (500, refused)
    assert api.sandbox.accepted == []


async def test_whom_whatsapp_refuses_is_a_customer_all_the_same(api: Api) -> None:
    reason = "No fue posible entregar el mensaje al número de destino"

    assert await api.send("+593999999500", "1", "2", "3") == (
        500,
        {"message": "Error", "info": {"message": reason}},
    )
    assert api.sandbox.accepted == []
    assert (await api.get("/customers"))["results"] == 2501


async def test_what_was_accepted_is_remembered_each_time_also_for_another_process(api: Api) -> None:
    for _ in range(2):
        await api.send("593999999999", "1", "2", "3")
    async with api.session.get("/_sandbox/accepted") as response:
        accepted = await response.json()

    text = "Your OTP for 1 is 2. This is valid for 3."
    assert accepted == [{"phone": "+593999999999", "template_id": OTP, "text": text}] * 2


async def test_an_implicit_customer_with_a_wrong_email_is_refused(api: Api) -> None:
    answer = await api.send("+593999999999", "1", "2", "3", email="wrong")

    assert answer == (404, {"message": "Error: Customer not found", "errors": "Email invalido"})


async def test_a_notification_creates_a_customer_once(api: Api) -> None:
    for phone in ("+593999999999", "593999999999"):
        assert (await api.send(phone, "1", "2", "3", first_name="Zoë"))[0] == 200

    newest = (await api.everybody())[2500:]
    assert [(c["first_name"], c["phone"]) for c in newest] == [("Zoë", "+593999999999")]


async def test_a_notification_updates_what_is_not_blank(api: Api) -> None:
    customer = await api.create(**JUAN)
    tag = {"name": "VIP", "value": True}
    await api.send(JUAN["phone"], "1", "2", "3", city="Quito", first_name=" ", tags=[tag], agent_id=2763)

    after = (await api.get(f"/customers/{customer['id']}"))["customer"]
    assert (after["city"], after["first_name"], after["whatsapp_opt_in"]) == ("Quito", "Juan", True)
    assert [entry["tag"] for entry in after["tags"]] == ["VIP"]


async def test_a_notification_moves_its_conversation_to_the_top(api: Api) -> None:
    await api.send("+593999999999", "1", "2", "3", agent_id=2763)
    await api.send("+593999999999", "1", "2", "3")
    page = await api.get("/whatsapp_conversations")

    top = page["whatsapp_conversations"][0]
    assert (page["results"], top["phone"], top["message_count"]) == (601, "+593999999999", 2)
    assert (top["agent_id"], top["last_interaction"]) == (2763, "2026-11-20T12:00:02.000Z")


async def test_a_notification_may_come_as_a_form(api: Api) -> None:
    form = [("phone_number", "+593999999999"), ("internal_id", OTP)]
    params = [("template_params[]", value) for value in ("test 1", "test 2", "test 3")]
    status, body = await api.ask("POST", "/whatsapp/send_notification_by_id", data=[*form, *params])

    assert status == 200
    assert body["info"]["content"] == SENT["info"]["content"]


async def test_a_mexican_phone_is_also_looked_up_with_its_old_1(api: Api) -> None:
    customers = await api.everybody()
    old = next(c["phone"] for c in customers if c["whatsapp_opt_in"] and c["phone"].startswith("+521"))
    status, body = await api.send(old.replace("+521", "+52"), "1", "2", "3")

    assert (status, body["info"]["destination"], body["info"]["country"]) == (200, old, "MX")


@pytest.mark.parametrize(
    ("template", "params", "text"),
    [
        ("* * * *", ["a", "b", "c", "d"], "a b c d"),
        ("*, su saldo es de \\*$*\\*.", ["José", "5.00"], "José, su saldo es de *$5.00*."),
        ("\\*¡Gracias por su compra!\\* 🎉", [], "*¡Gracias por su compra!* 🎉"),
        ("Su código es *", ["\\* y *"], "Su código es \\* y *"),
    ],
)
async def test_parameters_fill_the_stars_that_are_not_escaped(
    api: Api, template: str, params: list[str], text: str
) -> None:
    templates = (await api.get("/whatsapp_templates"))["templates"]
    internal_id = next(t["internal_id"] for t in templates if t["text"] == template)
    status, body = await api.send("+593999999999", *params, template=internal_id)

    assert (status, body["info"]["content"]["text"]) == (200, text)


async def test_the_templates_are_of_every_kind(api: Api) -> None:
    templates = (await api.get("/whatsapp_templates"))["templates"]

    assert len({template["internal_id"] for template in templates}) == len(templates) == 30
    assert {template["status"] for template in templates} == {"active", "inactive"}
    assert {t["template_type"] for t in templates} == {"text", "image", "document", "video", "location"}


# Two sandboxes


async def test_two_sandboxes_start_with_the_same_data() -> None:
    async with opened(MercatelySandbox()) as one, opened(MercatelySandbox()) as other:
        for path in ("/agents", "/customers", "/whatsapp_conversations", "/whatsapp_templates"):
            assert await one.get(path) == await other.get(path)


async def test_a_change_in_one_sandbox_does_not_show_in_another() -> None:
    async with opened(MercatelySandbox()) as one, opened(MercatelySandbox()) as other:
        await one.put(
            f"/customers/{PABLO}", {"customer": {"city": "Loja", "tags": [{"name": "VIP", "value": True}]}}
        )
        await one.send("+593999999999", "1", "2", "3")

        assert await other.get(f"/customers/{PABLO}") != await one.get(f"/customers/{PABLO}")
        assert (await other.get("/customers"))["customers"][0] == SEED["customers"]["customers"][0]
        assert (await other.get("/whatsapp_conversations"))["results"] == 600


# The record


async def test_the_record_says_what_was_asked(api: Api) -> None:
    await api.get("/customers", page=2)
    await api.put(f"/customers/{PABLO}", {"customer": {"city": "Quito"}})
    await api.ask("PUT", f"/customers/{PABLO}", data={"customer[city]": "Loja"})
    read, written, form = api.sandbox.asked

    assert (read.method, read.path, read.query, read.body) == ("GET", f"{API}/customers", {"page": "2"}, None)
    assert (written.method, written.body) == ("PUT", {"customer": {"city": "Quito"}})
    assert form.body == {"customer[city]": "Loja"}


async def test_requests_are_counted_by_the_end_of_their_path(api: Api) -> None:
    await api.get("/agents")
    await api.get("/agents")
    await api.get("/customers")

    assert (api.sandbox.count("/agents"), api.sandbox.count("/ping")) == (2, 0)


async def test_a_refused_request_is_recorded_too(api: Api) -> None:
    await api.ask("GET", "/agents", headers={"Api-Key": "wrong"})
    await api.ask("GET", "/nothing")

    assert [asked.path for asked in api.sandbox.asked] == [f"{API}/agents", f"{API}/nothing"]


async def test_the_record_does_not_grow_without_end(api: Api) -> None:
    assert api.sandbox.asked.maxlen == 10_000


# Trouble


async def test_a_status_comes_with_its_body_and_headers(api: Api) -> None:
    api.sandbox.trouble("status", status=429, body={"message": "slow down"}, headers={"Retry-After": "3"})
    async with api.session.get(f"{API}/agents") as response:
        assert (response.status, response.headers["Retry-After"]) == (429, "3")
        assert await response.json() == {"message": "slow down"}


async def test_a_status_may_come_with_plain_text(api: Api) -> None:
    api.sandbox.trouble("status", status=502, body="Bad Gateway")
    async with api.session.get(f"{API}/agents") as response:
        assert (response.status, response.content_type) == (502, "text/plain")
        assert await response.text() == "Bad Gateway"


async def test_a_delay_lets_the_right_answer_come_late(api: Api) -> None:
    api.sandbox.trouble("delay", seconds=0.05)
    started = time.perf_counter()
    body = await api.get("/agents")

    assert time.perf_counter() - started >= 0.05
    assert_like(body, SEED["agents"])


async def test_a_delay_combines_with_another_trouble(api: Api) -> None:
    api.sandbox.trouble("status", status=503, body={})
    api.sandbox.trouble("delay", seconds=0.05)
    started = time.perf_counter()
    status, _ = await api.ask("GET", "/agents")

    assert status == 503
    assert time.perf_counter() - started >= 0.05


async def test_the_vendors_redirect_carries_errors_and_leads_nowhere(api: Api) -> None:
    api.sandbox.trouble("redirect_errors", errors=["Email invalido"])
    async with api.session.get(f"{API}/agents") as response:
        assert (response.status, "Location" in response.headers) == (302, False)
        assert await response.json() == {"errors": ["Email invalido"]}


async def test_a_redirect_leads_elsewhere(api: Api) -> None:
    api.sandbox.trouble("redirect", url="http://192.0.2.1/")
    async with api.session.get(f"{API}/agents", allow_redirects=False) as response:
        assert (response.status, response.headers["Location"]) == (302, "http://192.0.2.1/")


async def test_html_comes_with_status_200(api: Api) -> None:
    api.sandbox.trouble("html")
    async with api.session.get(f"{API}/agents") as response:
        assert (response.status, response.content_type) == (200, "text/html")
        assert (await response.text()).startswith("<!DOCTYPE html>")


async def test_a_truncated_answer_is_valid_http_and_broken_json(api: Api) -> None:
    api.sandbox.trouble("truncated")
    async with api.session.get(f"{API}/agents") as response:
        body = await response.read()

    assert response.content_length == len(body)
    assert body.startswith(b'{"agents":[')
    with pytest.raises(json.JSONDecodeError):
        json.loads(body)


async def test_a_wrong_shape_is_valid_json(api: Api) -> None:
    api.sandbox.trouble("wrong_shape", times=1)
    api.sandbox.trouble("wrong_shape", body={"agents": "none"})

    assert await api.get("/agents") == [["something", {"else": 1}]]
    assert await api.get("/agents") == {"agents": "none"}


async def test_a_reset_is_a_tcp_reset(api: Api) -> None:
    api.sandbox.trouble("reset")
    with pytest.raises(aiohttp.ClientOSError, match="reset by peer"):
        await api.get("/agents")


async def test_a_dropped_request_was_carried_out(api: Api) -> None:
    api.sandbox.trouble("drop", times=1)
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await api.create(**JUAN)

    assert (await api.get("/customers"))["results"] == 2501


async def test_a_reset_request_was_not_carried_out(api: Api) -> None:
    api.sandbox.trouble("reset", times=1)
    with pytest.raises(aiohttp.ClientOSError):
        await api.create(**JUAN)

    assert (await api.get("/customers"))["results"] == 2500


async def test_an_endless_answer_goes_on(api: Api) -> None:
    api.sandbox.trouble("endless")
    async with api.session.get(f"{API}/agents") as response:
        assert len(await response.content.readexactly(3_000_000)) == 3_000_000
        assert response.content_length is None


async def test_a_short_answer_ends_before_its_length(api: Api) -> None:
    api.sandbox.trouble("short")
    async with api.session.get(f"{API}/agents") as response:
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()


@pytest.mark.parametrize("kind", ["reset", "drop", "short", "endless"])
async def test_a_client_that_leaves_during_trouble_leaves_no_error_behind(
    api: Api, kind: Kind, caplog: pytest.LogCaptureFixture
) -> None:
    api.sandbox.trouble("delay", seconds=0.05)
    api.sandbox.trouble(kind)
    with pytest.raises(TimeoutError):
        await api.ask("GET", "/agents", timeout=ClientTimeout(0.01))
    await asyncio.sleep(0.1)

    assert caplog.records == []


async def test_an_endless_answer_ends_when_its_reader_leaves(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    api.sandbox.trouble("endless")
    async with api.session.get(f"{API}/agents") as response:
        await response.content.readexactly(1_000)
    await asyncio.sleep(0.05)

    assert caplog.records == []


async def test_trouble_keeps_to_its_path(api: Api) -> None:
    api.sandbox.trouble("status", path="/agents", body={})
    api.sandbox.trouble("status", path="PUT /", body={})

    assert (await api.ask("GET", "/agents"))[0] == 500
    assert (await api.ask("GET", f"/customers/{PABLO}"))[0] == 200
    assert (await api.put(f"/customers/{PABLO}", {"customer": {"city": "Loja"}}))[0] == 500


async def test_troubles_with_times_read_as_a_script(api: Api) -> None:
    api.sandbox.trouble("status", status=503, body={}, times=2)
    api.sandbox.trouble("status", status=404, body={}, times=1)
    statuses = [(await api.ask("GET", "/agents"))[0] for _ in range(4)]

    assert statuses == [503, 503, 404, 200]


async def test_healing_ends_all_trouble(api: Api) -> None:
    api.sandbox.trouble("html")
    api.sandbox.trouble("delay", seconds=30)
    api.sandbox.heal()

    assert_like(await api.get("/agents"), SEED["agents"])


@pytest.mark.parametrize(
    ("kind", "details"),
    [("flood", {}), ("delay", {}), ("delay", {"minutes": 1}), ("redirect", {}), ("html", {"times": 0})],
)
async def test_trouble_that_makes_no_sense_is_refused(kind: Kind, details: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"^[A-Z].*\.$"):
        MercatelySandbox().trouble(kind, **details)


# Control over HTTP


async def test_another_process_reads_and_forgets_the_record(api: Api) -> None:
    await api.get("/agents")
    async with api.session.get("/_sandbox/asked") as response:
        seen = await response.json()
    agents = f"{API}/agents"
    assert seen == [
        {
            "method": "GET",
            "path": agents,
            "query": {},
            "body": None,
            "target": agents,
            "route": agents,
            "trace": {},
        }
    ]

    async with api.session.delete("/_sandbox/asked") as response:
        assert response.status == 200
    assert list(api.sandbox.asked) == []


async def test_another_process_makes_and_heals_trouble(api: Api) -> None:
    order = {"kind": "status", "path": "/agents", "times": 5, "status": 503, "body": {}}
    async with api.session.post("/_sandbox/trouble", json=order) as response:
        assert await response.json() == {"troubles": 1}
    assert (await api.ask("GET", "/agents"))[0] == 503

    async with api.session.delete("/_sandbox/trouble") as response:
        assert await response.json() == {"troubles": 0}
    assert (await api.ask("GET", "/agents"))[0] == 200


@pytest.mark.parametrize("order", [{"kind": "flood"}, {}, [], {"kind": []}, {"kind": "html", "times": "x"}])
async def test_an_order_that_makes_no_sense_answers_400_and_one_sentence(api: Api, order: object) -> None:
    async with api.session.post("/_sandbox/trouble", json=order) as response:
        assert response.status == 400
        assert list(await response.json()) == ["message"]


async def test_the_control_itself_is_never_in_trouble(api: Api) -> None:
    api.sandbox.trouble("reset")
    async with api.session.get("/_sandbox/asked") as response:
        assert await response.json() == []


# Starting and stopping


async def test_another_sandbox_starts_in_well_under_100_ms() -> None:
    MercatelySandbox()
    started = time.perf_counter()
    async with MercatelySandbox():
        assert time.perf_counter() - started < 0.1


async def test_stopping_is_prompt_and_leaves_no_task_behind() -> None:
    async with opened(MercatelySandbox()) as api:
        api.sandbox.trouble("delay", seconds=60)
        waiting = asyncio.create_task(api.get("/agents"))
        await asyncio.sleep(0.05)
        started = time.perf_counter()
        await api.sandbox.stop()
        with pytest.raises(aiohttp.ClientError):
            await waiting

    assert time.perf_counter() - started < 1
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_an_endless_answer_ends_when_the_sandbox_stops() -> None:
    async with opened(MercatelySandbox()) as api:
        api.sandbox.trouble("endless")
        async with api.session.get(f"{API}/agents", timeout=ClientTimeout(5)) as response:
            await api.sandbox.stop()
            with pytest.raises(aiohttp.ClientPayloadError):
                await response.read()


async def test_a_stopped_sandbox_comes_back_where_it_was_as_it_was() -> None:
    async with opened(MercatelySandbox()) as api:
        await api.create(**JUAN)
        url, port = api.sandbox.url, int(api.sandbox.url.rpartition(":")[2])
        await api.sandbox.stop()
        with pytest.raises(aiohttp.ClientConnectorError):
            await api.get("/agents")

        await api.sandbox.start(port=port)
        assert api.sandbox.url == url
        assert (await api.get("/customers"))["results"] == 2501


async def test_a_port_that_is_taken_is_an_error_and_leaves_nothing_open() -> None:
    async with MercatelySandbox() as sandbox:
        port = int(sandbox.url.rpartition(":")[2])
        with pytest.raises(OSError, match="in use"):
            await MercatelySandbox().start(port=port)
