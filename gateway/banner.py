"""The banner: what the gateway runs on, source by source, and where the explorer is."""

import socket

from sqlalchemy import make_url

from adapters.lines import Line, Lines
from adapters.rest import Mode
from gateway import __version__
from gateway.settings import Settings, variable_name


def banner(settings: Settings, lines: Lines, listener: socket.socket) -> str:
    rows = [("database", "real", make_url(settings.database).render_as_string(hide_password=True))]
    rows += [(name, line.mode.value, _detail(name, line)) for name, line in lines.items()]
    table = "\n".join(f"  {name:<12}{mode:<10}{detail}" for name, mode, detail in rows)
    return f"Switchboard {__version__}\n\n{table}\n\n  explorer    {_explorer(listener)}\n\nCtrl-C stops.\n"


def _detail(name: str, line: Line) -> str:
    if line.mode is Mode.REAL:
        return line.settings.url
    real = " and ".join(variable_name(name, credential) for credential in line.settings.credentials)
    return f"{line.settings.url}; the real one with {real}" if line.mode is Mode.SANDBOX else f"needs {real}"


def _explorer(listener: socket.socket) -> str:
    address = listener.getsockname()
    if isinstance(address, str):
        return f"/graphql on the socket {address}"
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    return f"http://{host}:{address[1]}/graphql"
