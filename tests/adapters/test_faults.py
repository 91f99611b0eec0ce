"""Every fault of every source, at reads and at writes: its one code, in time, asked once, and then well."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from itertools import count
from typing import Any

import pytest

from adapters.chatfuel.client import Chatfuel
from adapters.errors import SourceError
from adapters.hyber.client import Hyber
from adapters.hyber.message import Message, Sms
from adapters.mercately.client import Mercately
from adapters.poster.client import Poster
from adapters.rest import Mode, Rest, Source
from adapters.sandbox import Sandbox
from tests.gateways import free_port

TIMEOUT, LONG = 0.4, 5.0
"""Seconds: of what never answers, and of what does in any case, on any machine."""
MERCY = 0.25
"""Seconds that a slow machine may take beyond a time-out, in place of its tenth."""

_numbers = count()

READS: dict[type[Rest], Callable[[Any], Awaitable[object]]] = {
    Mercately: lambda mercately: mercately.agents(),
    Poster: lambda poster: poster.groups(),
    Hyber: lambda hyber: hyber.report_of("1"),
    Chatfuel: lambda chatfuel: chatfuel.ping(),
}
WRITES: dict[type[Rest], Callable[[Any], Awaitable[object]]] = {
    Mercately: lambda mercately: mercately.send_template(
        "+593999999999", "997dd550-c8d8-4bf7-ad98-a5ac4844a1ed", ["1", "2", "3"]
    ),
    Poster: lambda poster: poster.create_group(f"VIP {next(_numbers)}", 1, Decimal(1), Decimal(0)),
    Hyber: lambda hyber: hyber.send(
        Message(phone="+380961111111", options=(Sms(text="Hello", ttl=300, alpha_name="GMSU"),), extra_id="1")
    ),
    Chatfuel: lambda chatfuel: chatfuel.send("2413659892012345", "Hello"),
}


@dataclass(frozen=True)
class Fault:
    code: str
    in_doubt: bool
    """Whether a change may have been made nevertheless."""
    kind: Any = None
    """None: nobody listens."""
    details: tuple[tuple[str, Any], ...] = ()


def fault(code: str, in_doubt: bool, kind: str | None = None, **details: Any) -> Fault:
    return Fault(code, in_doubt, kind, tuple(details.items()))


FAULTS = {
    "connect refused": fault("SOURCE_UNAVAILABLE", False),
    "time-out": fault("SOURCE_TIMEOUT", True, "hang"),
    "slow body": fault("SOURCE_TIMEOUT", True, "slow_body"),
    "reset": fault("SOURCE_UNAVAILABLE", True, "reset"),
    "broken off": fault("SOURCE_UNAVAILABLE", True, "short"),
    "truncated": fault("SOURCE_MALFORMED", True, "truncated"),
    "HTML": fault("SOURCE_MALFORMED", True, "html"),
    "wrong shape": fault("SOURCE_MALFORMED", True, "wrong_shape"),
    "401": fault("SOURCE_MISCONFIGURED", False, "status", status=401),
    "429": fault("SOURCE_UNAVAILABLE", False, "status", status=429),
    "500": fault("SOURCE_UNAVAILABLE", True, "status", status=500),
    "503": fault("SOURCE_UNAVAILABLE", True, "status", status=503),
    "302": fault("SOURCE_MALFORMED", True, "redirect", url="http://192.0.2.1/"),
}

# All that Chatfuel has to read is whether somebody answers at all, and a no is an answer.
AN_ANSWER = {"401", "truncated", "HTML", "wrong shape"}


@asynccontextmanager
async def connected(kind: type[Rest], fault: Fault) -> AsyncIterator[tuple[Any, Sandbox]]:
    sandbox = kind.Sandbox()
    with free_port() as port:
        number = port.getsockname()[1]
    if fault.kind:
        await sandbox.start(port=number)
    try:
        sandbox.url = f"http://127.0.0.1:{number}"
        timeout = TIMEOUT if fault.code == "SOURCE_TIMEOUT" else LONG
        given: dict[str, Any] = {"timeout": timeout, "connect_timeout": timeout}
        kept = {"cache", "cache_lists", "stale"} & kind.Settings.model_fields.keys()
        settings: Source = kind.Settings(**given, **dict.fromkeys(kept, 0)).pointed_at(sandbox)
        async with kind.open(settings, Mode.REAL) as client:
            yield client, sandbox
    finally:
        await sandbox.stop()


@pytest.mark.parametrize("verb", ["read", "write"])
@pytest.mark.parametrize("kind", READS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("name", FAULTS)
async def test_each_fault_has_its_code(name: str, kind: type[Rest], verb: str) -> None:
    fault, ask = FAULTS[name], (READS if verb == "read" else WRITES)[kind]
    async with connected(kind, fault) as (client, sandbox):
        if fault.kind:
            await WRITES[kind](client)  # something to read
            sandbox.asked.clear()
            sandbox.trouble(fault.kind, **dict(fault.details))
        if (kind, verb) == (Chatfuel, "read") and name in AN_ANSWER:
            await ask(client)
            return

        started = time.perf_counter()
        with pytest.raises(SourceError) as caught:
            await ask(client)
        assert time.perf_counter() - started < max(client.timeout * 1.1, client.timeout + MERCY)
        assert caught.value.code == fault.code
        assert caught.value.source == kind.name
        assert caught.value.in_doubt is (fault.in_doubt and verb == "write")
        assert len(sandbox.asked) == bool(fault.kind)

        sandbox.heal()
        if not fault.kind:
            await sandbox.start(port=int(sandbox.url.rpartition(":")[2]))
        await ask(client)
