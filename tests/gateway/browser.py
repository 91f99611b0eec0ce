"""A browser on the explorer: start one, visit the page, type, run, read the answer, keep what went wrong."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

from playwright.async_api import Browser, ConsoleMessage, Page, async_playwright

from tests.services import CHROMIUM, path_of

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    # A page that asks for another host does not reach it, wherever this runs.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
]
# Told to Python at once: what a page itself remembers is gone with its next navigation.
TELL_VIOLATIONS = """
document.addEventListener('securitypolicyviolation', (event) =>
  tellViolation(`${event.violatedDirective} ${event.blockedURI}`));
"""
# The page's editors, by the ends of their names. GraphiQL leaves Monaco where this finds it.
OPERATION = (
    "globalThis.__MONACO?.editor.getModels().find(model => model.uri.path.endsWith('operation.graphql'))"
)
RESPONSE = "globalThis.__MONACO?.editor.getModels().find(model => model.uri.path.endsWith('response.json'))"


@dataclass
class Visit:
    """A page, and what a good page has none of."""

    page: Page
    foreign: list[str] = field(default_factory=list)  # addresses asked for at other hosts
    errors: list[str] = field(default_factory=list)  # on the console, or thrown and not caught
    violations: list[str] = field(default_factory=list)  # of the content security policy
    sockets: list[str] = field(default_factory=list)  # WebSockets opened, which is no fault


@asynccontextmanager
async def browsing() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=path_of(CHROMIUM), headless=True, args=FLAGS
        )
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def visiting(
    browser: Browser, address: str, *, colors: Literal["light", "dark"] = "light"
) -> AsyncIterator[Visit]:
    """The explorer at this address, open and ready, as someone sees it who was never here before."""
    host = urlsplit(address).netloc
    async with await browser.new_context(
        color_scheme=colors, viewport={"width": 1280, "height": 800}
    ) as context:
        visit = Visit(await context.new_page())

        def note(url: str) -> None:
            parts = urlsplit(url)
            if parts.scheme not in ("data", "blob") and parts.netloc != host:
                visit.foreign.append(url)

        def note_console(message: ConsoleMessage) -> None:
            if message.type == "error":
                visit.errors.append(message.text)

        def note_socket(url: str) -> None:
            note(url)
            visit.sockets.append(url)

        def note_violation(text: str) -> None:
            visit.violations.append(text)

        await context.expose_function("tellViolation", note_violation)
        await context.add_init_script(TELL_VIOLATIONS)
        context.on("request", lambda request: note(request.url))
        context.on("console", note_console)
        context.on("weberror", lambda thrown: visit.errors.append(str(thrown.error)))
        visit.page.on("websocket", lambda socket: note_socket(socket.url))
        await visit.page.goto(address)
        await ready(visit.page)
        yield visit


async def ready(page: Page) -> None:
    """Wait until the editors are there and the schema is known."""
    await page.wait_for_selector(".graphiql-query-editor .view-lines")
    await until(page, f"() => Boolean({RESPONSE})")
    await page.wait_for_selector(".graphiql-spinner", state="detached")


async def until(page: Page, script: str, argument: object = None, *, seconds: float = 10) -> Any:
    """What the script answers, as soon as that is something. Playwright's own wait is an eval: not here."""
    async with asyncio.timeout(seconds):
        while not (found := await page.evaluate(script, argument)):
            await asyncio.sleep(0.02)
    return found


async def type_query(page: Page, text: str) -> None:
    """Put an operation in the open tab. Not key by key: the editor closes the brackets one types."""
    await page.evaluate(f"text => {OPERATION}.setValue(text)", text)
    await settled(page)


async def open_tab(page: Page, name: str) -> None:
    await page.get_by_role("tab").nth((await tabs(page)).index(name)).click()
    await settled(page)


async def settled(page: Page) -> None:
    """The page reads its editor a moment after a change, and stores the text when it has."""
    await until(page, f"() => localStorage.getItem('graphiql:query') === {OPERATION}.getValue()")


async def run(page: Page, operation: str | None = None) -> None:
    """Press the round button: it runs the operation, or stops the subscription that runs.

    Where there are several, it asks which.
    """
    await page.click(".graphiql-execute-button")
    if operation:
        await page.get_by_role("menuitem", name=operation, exact=True).click()


async def answer(page: Page) -> dict[str, Any]:
    """What the page shows on its right side, as soon as it shows anything."""
    shown: dict[str, Any] = json.loads(await until(page, f"() => {RESPONSE}.getValue()"))
    return shown


async def tabs(page: Page) -> list[str]:
    """The names of the open tabs."""
    return [name.strip() for name in await page.get_by_role("tab").all_inner_texts()]
