"""The sandboxes alone: the emulated vendors on ports of their own, until told to stop."""

import signal
import sys
from contextlib import AsyncExitStack

from adapters import RESTS
from gateway.server import CannotStart, told_to_stop, why
from gateway.settings import variable_name


async def run(host: str, first_port: int) -> None:
    """Standard output holds nothing but settings, fit to become a .env."""
    stop = told_to_stop(signal.SIGINT, signal.SIGTERM)
    async with AsyncExitStack() as stack:
        for offset, rest in enumerate(RESTS):
            sandbox = rest.Sandbox()
            port = first_port + offset if first_port else 0
            try:
                await sandbox.start(host, port)
            except OSError as error:
                raise CannotStart(
                    f"Cannot listen on {host}:{port} ({why(error)}): choose --host and --port."
                ) from error
            stack.push_async_callback(sandbox.stop)
            for name, value in sandbox.settings.items():
                print(f"{variable_name(rest.name, name)}={value}", flush=True)
        print("Ctrl-C stops.", file=sys.stderr, flush=True)
        await stop.wait()
