"""The banner: what the gateway runs on, source by source, and where the explorer is."""

import socket

from sqlalchemy import make_url

from adapters.lines import Line, Lines
from adapters.rest import Mode
from gateway import __version__
from gateway.settings import Settings


def banner(settings: Settings, lines: Lines, listener: socket.socket) -> str:
    rows = [("database", "real", make_url(settings.database).render_as_string(hide_password=True))]
    rows += [(name, line.mode.value, _answers(line)) for name, line in lines.items()]
    table = "\n".join(f"  {name:<12}{mode:<10}{answers}".rstrip() for name, mode, answers in rows)
    unreal = any(line.mode is not Mode.REAL for line in lines.values())
    hint = "\n`switchboard doctor` says what to set for the real ones.\n" if unreal else ""
    return f"""Switchboard {__version__}

{table}
{hint}
  explorer    {_explorer(listener)}

Ctrl-C stops.
"""


def _answers(line: Line) -> str:
    return "" if line.mode is Mode.OFF else line.settings.url


def _explorer(listener: socket.socket) -> str:
    address = listener.getsockname()
    if isinstance(address, str):
        return f"/graphql on the socket {address}"
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    return f"http://{host}:{address[1]}/graphql"
