"""Plain: the gateway's own resolvers and adapters, served by Strawberry alone as its documentation shows it.

`python -m bench.plain plain|tuned|unbatched`, with the settings of `switchboard serve`. Of gateway/ nothing
else is used: no limits, no deadline, no error handling, no log.
"""

import gc
import logging
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial

import orjson
import strawberry
import structlog
import uvloop
from aiohttp import web
from strawberry.aiohttp.views import GraphQLView
from strawberry.dataloader import DataLoader
from strawberry.extensions import ParserCache, ValidationCache
from strawberry.schema.config import StrawberryConfig

from adapters import Adapters, open_adapters
from adapters.lines import Line
from adapters.rest import Mode
from bench.serving import be_patient, share_nothing
from gateway.settings import Settings, load
from resolvers import loaders
from resolvers.query import Query
from resolvers.stale import Stale
from schema.scalars import SCALARS

ADAPTERS = web.AppKey("adapters", Adapters)
CONFIG = StrawberryConfig(scalar_map=SCALARS)
REGION = "EC"


@dataclass(slots=True)
class Context:
    """What the resolvers of our queries need."""

    loaders: loaders.Loaders
    region: str = REGION


class View(GraphQLView[Context, None]):
    async def get_context(
        self, request: web.Request, response: web.Response | web.WebSocketResponse
    ) -> Context:
        return Context(loaders.Loaders(request.app[ADAPTERS], REGION, Stale()))


class TunedView(View):
    def decode_json(self, data: str | bytes) -> object:
        return orjson.loads(data)

    def encode_json(self, data: object) -> bytes:
        return orjson.dumps(data)


def plain_view() -> View:
    return View(strawberry.Schema(Query, config=CONFIG))


def tuned_view() -> View:
    return TunedView(strawberry.Schema(Query, config=CONFIG, extensions=[ParserCache, ValidationCache]))


def without_batches() -> None:
    """As if there were no loaders: whoever asks, asks alone."""
    assert vars(loaders)["DataLoader"] is DataLoader
    vars(loaders)["DataLoader"] = partial(DataLoader, max_batch_size=1, cache=False)


def create_app(view: View, settings: Settings) -> web.Application:
    async def resources(app: web.Application) -> AsyncIterator[None]:
        lines = {name: Line(Mode.REAL, source) for name, source in settings.sources.items()}
        async with open_adapters(lines, settings.database) as app[ADAPTERS]:
            yield

    app = web.Application()
    app.cleanup_ctx.append(resources)
    app.router.add_route("*", "/graphql", view)
    return app


def main(kind: str) -> None:
    silent = structlog.make_filtering_bound_logger(logging.CRITICAL)
    structlog.configure(wrapper_class=silent, cache_logger_on_first_use=True)
    be_patient()
    share_nothing()
    if kind == "unbatched":
        without_batches()
    tuned, settings = kind != "plain", load()
    app = create_app(tuned_view() if tuned else plain_view(), settings)
    if tuned:
        gc.collect()
        gc.freeze()
        gc.set_threshold(20_000, 10, 10)
    loop = uvloop.new_event_loop() if tuned else None
    web.run_app(app, host=settings.host, port=settings.port, access_log=None, loop=loop)


if __name__ == "__main__":
    main(sys.argv[1])
