"""The explorer on the real application, in a real browser."""

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from shutil import copy

import pytest
import strawberry
from playwright.async_api import Browser

from gateway.graph import Graph
from gateway.settings import Settings
from resolvers.query import Query
from tests.gateway.browser import Visit, answer, browsing, open_tab, run, settled, tabs, type_query, visiting
from tests.gateways import Gateway, gateway_on

EXAMPLES = Path(__file__).parent.parent.parent / "gateway" / "explorer" / "src" / "examples"


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with browsing() as opened:
        yield opened


def assert_clean(visit: Visit) -> None:
    assert (visit.foreign, visit.violations, visit.errors) == ([], [], [])


async def test_a_query_is_typed_run_and_answered(gateway: Gateway, browser: Browser) -> None:
    async with visiting(browser, f"{gateway.url}/graphql") as visit:
        await visit.page.click(".graphiql-query-editor .view-lines")
        await visit.page.keyboard.press("Control+A")
        await visit.page.keyboard.press("Delete")
        await visit.page.keyboard.type('{agent(id:"QWdlbnQ6Mjc2Mw"){email}}')
        await settled(visit.page)
        await visit.page.keyboard.press("Control+Enter")
        shown = await answer(visit.page)

    assert shown == {"data": {"agent": {"email": "agent@example.com"}}}
    assert_clean(visit)


async def test_every_example_opens_in_a_tab_and_answers(peopled: Gateway, browser: Browser) -> None:
    async with visiting(browser, f"{peopled.url}/graphql") as visit:
        names = await tabs(visit.page)
        for name in names:
            await open_tab(visit.page, name)
            await run(visit.page)
            shown = await answer(visit.page)
            if name == "Status":  # it wants the id of a message
                assert shown["errors"][0]["extensions"]["code"] == "NOT_FOUND"
                continue
            assert set(shown) == {"data"}, (name, shown)
            assert None not in shown["data"].values()

    assert len(names) == len([*EXAMPLES.glob("*.graphql")])
    assert_clean(visit)


async def test_a_message_is_sent_and_its_status_arrives(
    settings: Settings, peopled_database: Path, browser: Browser
) -> None:
    settings.data_dir.mkdir()
    copy(peopled_database, settings.data_dir)
    async with (
        gateway_on(settings.model_copy(update={"sending": True})) as gateway,
        visiting(browser, f"{gateway.url}/graphql") as visit,
    ):
        await open_tab(visit.page, "Message")
        await run(visit.page)
        sent = (await answer(visit.page))["data"]["sendMessage"]
        await open_tab(visit.page, "Status")
        example = (EXAMPLES / "48-status.graphql").read_text(encoding="utf-8")
        await type_query(visit.page, example.replace("TWVzc2FnZTowOjE", sent["id"]))
        await run(visit.page)
        async with asyncio.timeout(15):
            shown = await answer(visit.page)
            while shown["data"]["messageStatus"]["status"] != "DELIVERED":
                await asyncio.sleep(0.05)
                shown = await answer(visit.page)

    assert sent["recipient"]["customer"] == {"firstName": "Mariana"}
    assert shown["data"]["messageStatus"]["channel"] == "PUSH"
    assert_clean(visit)


async def test_the_picture_in_readme_is_of_this_page(
    peopled: Gateway, browser: Browser, tmp_path: Path
) -> None:
    picture = Path(os.environ.get("SWITCHBOARD_PICTURES", tmp_path)) / "explorer.png"
    async with visiting(browser, f"{peopled.url}/graphql") as visit:
        await open_tab(visit.page, "Person")
        await run(visit.page)
        await answer(visit.page)
        await visit.page.screenshot(path=picture)

    assert picture.stat().st_size > 20_000
    assert_clean(visit)


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def countdown(self, start: int) -> AsyncGenerator[int, None]:
        for number in range(start, -1, -1):
            yield number


async def test_a_subscription_runs_over_a_socket_to_the_same_host(
    settings: Settings, browser: Browser
) -> None:
    graph = Graph(query=Query, subscription=Subscription)
    async with (
        gateway_on(settings, graph=graph) as gateway,
        visiting(browser, f"{gateway.url}/graphql") as visit,
    ):
        assert visit.sockets == []
        await type_query(visit.page, "subscription { countdown(start: 3) }")
        await run(visit.page)
        while (shown := await answer(visit.page)) != {"data": {"countdown": 0}}:
            assert set(shown) == {"data"}

    assert visit.sockets == [gateway.url.replace("http", "ws") + "/graphql"]
    assert_clean(visit)


async def test_a_page_is_for_browsers_and_an_answer_for_everyone_else(gateway: Gateway) -> None:
    async with gateway.session.get(f"{gateway.url}/", headers={"Accept": "text/html"}) as page:
        assert (page.status, page.url.path, page.content_type) == (200, "/graphql", "text/html")
        assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    async with gateway.session.head(f"{gateway.url}/graphql", headers={"Accept": "text/html"}) as head:
        assert (head.status, head.content_type) == (200, "text/html")
    async with gateway.session.get(f"{gateway.url}/graphql") as other:
        assert (other.status, other.content_type) == (400, "application/json")
