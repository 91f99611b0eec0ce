"""The explorer on the real application, in a real browser."""

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from pathlib import Path
from shutil import copy
from typing import Any

import pytest
import strawberry
from playwright.async_api import Browser, Page

from gateway.graph import Graph
from gateway.settings import Sending, Settings
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
            await run(visit.page, "BroadcastPreview" if name == "BroadcastPreview" else None)
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
    copy(peopled_database, settings.data_dir)
    async with (
        gateway_on(settings.model_copy(update={"sending": Sending.ON})) as gateway,
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


async def test_a_broadcast_is_previewed_watched_paused_resumed_and_cancelled(
    settings: Settings, peopled_database: Path, browser: Browser
) -> None:
    copy(peopled_database, settings.data_dir)
    example = (EXAMPLES / "55-broadcast.graphql").read_text(encoding="utf-8")
    async with (
        gateway_on(settings.model_copy(update={"sending": Sending.ON})) as gateway,
        visiting(browser, f"{gateway.url}/graphql") as visit,
        visiting(browser, f"{gateway.url}/graphql") as watcher,
    ):
        await open_tab(visit.page, "BroadcastPreview")
        await run(visit.page, "BroadcastPreview")
        preview = (await answer(visit.page))["data"]["broadcastPreview"]
        await type_query(visit.page, example.replace('group: "Christmas cards"', "all: true"))
        await run(visit.page, "Broadcast")
        started = (await answer(visit.page))["data"]["broadcast"]

        await open_tab(watcher.page, "BroadcastPreview")
        await run(watcher.page, "Progress")
        await seen(watcher.page, lambda shown: shown["status"] == "RUNNING" and shown["counts"]["submitted"])
        for operation, status in (("Pause", "PAUSED"), ("Resume", "RUNNING"), ("Cancel", "CANCELLED")):
            await run(visit.page, operation)
            await seen(watcher.page, lambda shown, status=status: shown["status"] == status)  # type: ignore[misc]
        over = await seen(watcher.page, lambda shown: shown["counts"]["queued"] < 10)

    assert preview["recipients"] == 3
    assert started == {"id": "QnJvYWRjYXN0OjE", "status": "DRAFTING"}, "the others have this id"
    assert 0 < over["counts"]["submitted"] < over["counts"]["total"]
    assert_clean(visit)
    assert_clean(watcher)


async def seen(page: Page, is_it: Callable[[Any], bool]) -> Any:
    """What the page shows of a broadcast as soon as it is that."""
    async with asyncio.timeout(20):
        while not is_it(shown := (await answer(page))["data"]["broadcastProgress"]):
            await asyncio.sleep(0.02)
    return shown


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
        assert (other.status, other.content_type) == (422, "application/graphql-response+json")
