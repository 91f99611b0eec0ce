"""Reports: where Hyber tells what became of our messages, behind a secret in the path."""

import asyncio
import hmac
from functools import partial

import structlog
from aiohttp import web

from adapters.deadline import deadline
from adapters.errors import Malformed, SourceError
from gateway.keys import POST
from gateway.settings import REPORTS, Settings
from gateway.view import SLOWEST_BODY

log = structlog.get_logger("switchboard.reports")


def routes(settings: Settings) -> list[web.RouteDef]:
    if settings.reports_secret is None:
        return []
    secret = settings.reports_secret.get_secret_value()
    return [web.post(f"{REPORTS}/{{secret}}", partial(_hear, settings, secret))]


async def _hear(settings: Settings, secret: str, request: web.Request) -> web.Response:
    """What is kept is answered 200 at once; anything else comes again, or is looked up when it is time."""
    given = request.match_info["secret"]
    if not hmac.compare_digest(given.encode(errors="surrogatepass"), secret.encode()):
        raise web.HTTPNotFound
    try:
        async with asyncio.timeout(SLOWEST_BODY):
            body = await request.read()
    except TimeoutError:
        return web.Response(status=408)
    except web.RequestPayloadError:
        return _not_read(request)
    try:
        with deadline(settings.timeout):
            await request.app[POST].receive(body)
    except Malformed:
        return _not_read(request)
    except SourceError as error:
        log.warning("reports were not kept", code=error.code)
        return web.Response(status=503)
    return web.Response()


def _not_read(request: web.Request) -> web.Response:
    log.warning("reports cannot be read", bytes=request.content_length)
    return web.Response(status=400)
