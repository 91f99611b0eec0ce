"""Vendor: Hyber as a broadcast meets it, as fast as can be, that takes everything as often as it comes.

Some answers it loses after it has taken what was asked. It remembers who got what, and when.
"""

import asyncio
import random
import sys
from bisect import bisect_left
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from time import monotonic
from typing import Any

import msgspec
from aiohttp import web

SECOND = 1.0


class _Part(msgspec.Struct):
    phone_number: int
    extra_id: str


class _Batch(msgspec.Struct):
    messages: list[_Part]


_read_batch = msgspec.json.Decoder(_Batch).decode
_read_one = msgspec.json.Decoder(_Part).decode


class Vendor:
    def __init__(self, lost: float) -> None:
        self.lost = lost
        self.taken: Counter[int] = Counter()
        """How often each phone got something."""
        self.ids: set[str] = set()
        self.arrivals: list[tuple[float, int, str]] = []
        """When how many came, and of which broadcast."""

    def take(self, parts: list[_Part]) -> None:
        self.arrivals.append((monotonic(), len(parts), parts[0].extra_id.split("-")[1]))
        for part in parts:
            self.taken[part.phone_number] += 1
            self.ids.add(part.extra_id)

    async def batch(self, request: web.Request) -> web.Response:
        parts = _read_batch(await request.read()).messages
        self.take(parts)
        said = [{"extra_id": part.extra_id, "message_id": part.extra_id, "accepted": True} for part in parts]
        return self._answer(request, {"messages": said})

    async def single(self, request: web.Request) -> web.Response:
        part = _read_one(await request.read())
        self.take([part])
        return self._answer(request, {"message_id": part.extra_id})

    async def report(self, request: web.Request) -> web.Response:
        extra_id = request.match_info["extra_id"]
        if extra_id not in self.ids:
            return web.json_response({"error_code": 404, "error_text": "message not found"}, status=404)
        return web.json_response(
            {
                "message_id": extra_id,
                "extra_id": extra_id,
                "status": 1,
                "substatus": 12,
                "time": 1,
                "phone_number": "1",
            }
        )

    def _answer(self, request: web.Request, said: Any) -> web.Response:
        if random.random() < self.lost and request.transport:
            request.transport.abort()
        return web.Response(body=msgspec.json.encode(said), content_type="application/json")

    async def seen(self, _: web.Request) -> web.Response:
        return web.json_response(
            {
                "taken": self.taken.total(),
                "unique": len(self.taken),
                "worst": worst_second([(at, count) for at, count, _ in self.arrivals]),
                "first": self.arrivals[0][0] if self.arrivals else 0,
                "last": self.arrivals[-1][0] if self.arrivals else 0,
                "by_broadcast": self._by_broadcast(),
            }
        )

    def _by_broadcast(self) -> dict[str, int]:
        """What each had got when the first of them was through."""
        all_of_them, so_far = Counter[str](), Counter[str]()
        for _, count, broadcast in self.arrivals:
            all_of_them[broadcast] += count
        for _, count, broadcast in self.arrivals:
            so_far[broadcast] += count
            if so_far[broadcast] == all_of_them[broadcast]:
                break
        return dict(so_far)


def worst_second(arrivals: list[tuple[float, int]]) -> int:
    """The most that came within any second."""
    moments, sums = [at for at, _ in arrivals], [0]
    for _, count in arrivals:
        sums.append(sums[-1] + count)
    return max(
        (sums[end + 1] - sums[bisect_left(moments, at - SECOND)] for end, at in enumerate(moments)), default=0
    )


def app_of(vendor: Vendor) -> web.Application:
    app = web.Application(client_max_size=2**24)
    app.add_routes(
        [
            web.post("/{client}/batch/sync", vendor.batch),
            web.post("/{client}", vendor.single),
            web.get("/{client}/api/dr/external/{extra_id}/simple", vendor.report),
            web.get("/", vendor.seen),
        ]
    )
    return app


@asynccontextmanager
async def serving(vendor: Vendor) -> AsyncIterator[str]:
    """On a free port: its address."""
    runner = web.AppRunner(app_of(vendor), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def main(lost: float) -> None:
    async with serving(Vendor(lost)) as url:
        print(url, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    import uvloop

    with suppress(KeyboardInterrupt):
        uvloop.run(main(float(sys.argv[1])))
