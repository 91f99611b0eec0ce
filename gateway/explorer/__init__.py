"""The explorer: the page at /graphql where people write operations. hatch_build.py builds it into dist."""

from functools import partial
from html import escape
from pathlib import Path

from aiohttp import hdrs, web

DIST = Path(__file__).parent / "dist"
PATH = "/graphql/explorer"  # index.html links here, relative to /graphql
LICENSES = "THIRD_PARTY_LICENSES.txt"
# Given by us and not guessed: what a machine's own table says of .js varies, and nosniff makes it matter.
CONTENT_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

# Nothing from any other host, no inline script, no eval, in nobody's frame. Styles may be inline because
# the editor writes <style> elements as it runs.
POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data:",
        "font-src 'self' data:",
        "connect-src 'self'",
        "worker-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)
SAFE = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
# The page names its assets by their content: it is asked for anew each time, they never are.
PAGE = SAFE | {"Cache-Control": "no-cache", "Content-Type": "text/html; charset=utf-8", "Vary": "Accept"}
ASSET = SAFE | {"Cache-Control": "public, max-age=31536000, immutable", "Vary": "Accept-Encoding"}
TEXT = SAFE | {"Cache-Control": "no-cache", "Content-Type": "text/plain; charset=utf-8"}

NOT_BUILT = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="color-scheme" content="light dark">
<title>Switchboard</title>
<link rel="icon" href="data:,">
<style>body {{ font: 1rem/1.5 system-ui, sans-serif; margin: 4rem auto; max-width: 42rem; padding: 0 1rem }}
pre {{ overflow-wrap: anywhere; white-space: pre-wrap }}</style>
<h1>The explorer is not built</h1>
<p>The API at this address works. Only this page is missing, because:</p>
<pre>{reason}</pre>
<p>Run <code>make explorer</code> where Switchboard is installed, then load this page again.</p>
</html>
"""


def missing(dist: Path = DIST) -> str | None:
    """Why the page is not there, or None when it is."""
    if (dist / "index.html").is_file():
        return None
    try:
        return (dist / "not-built.txt").read_text(encoding="utf-8").strip()
    except OSError:
        return "It was never built here."


def asked_for(request: web.Request) -> bool:
    """Is this a browser opening the page, and not a client sending an operation?"""
    if request.method not in (hdrs.METH_GET, hdrs.METH_HEAD) or "query" in request.query:
        return False
    kinds = ",".join(request.headers.getall(hdrs.ACCEPT, [])).lower().split(",")
    return any(kind.partition(";")[0].strip() == "text/html" for kind in kinds)


async def page(request: web.Request, dist: Path = DIST) -> web.StreamResponse:
    """The page itself, for GET and HEAD of /graphql when `asked_for`."""
    if reason := missing(dist):
        return web.Response(status=503, text=NOT_BUILT.format(reason=escape(reason)), headers=PAGE)
    return web.FileResponse(dist / "index.html", headers=PAGE)


def routes(dist: Path = DIST) -> list[web.RouteDef]:
    """What the page asks for. A name holds no slash and no leading dot, so it stays in its folder."""
    return [
        web.get(f"{PATH}/{LICENSES}", partial(_licenses, dist=dist)),
        web.get(f"{PATH}/{{name:[A-Za-z0-9][A-Za-z0-9._-]*}}", partial(_asset, dist=dist)),
    ]


async def _licenses(request: web.Request, *, dist: Path) -> web.StreamResponse:
    return _file(dist / LICENSES, TEXT)


async def _asset(request: web.Request, *, dist: Path) -> web.StreamResponse:
    path = dist / "assets" / request.match_info["name"]
    content_type = CONTENT_TYPES.get(path.suffix)
    if content_type is None:
        raise web.HTTPNotFound
    return _file(path, ASSET | {"Content-Type": content_type})


def _file(path: Path, headers: dict[str, str]) -> web.FileResponse:
    if not path.is_file():  # FileResponse answers 404 by itself, but under these headers: cached for a year
        raise web.HTTPNotFound
    return web.FileResponse(path, headers=headers)
