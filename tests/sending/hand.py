"""Hand: a process that sends broadcasts, and waits less than the real one for what has to settle."""

import asyncio

from gateway.settings import Settings
from gateway.worker import work
from resolvers.sending import carrier, courier, dispatch

LEASE, AGAIN, SETTLE = 1_500, 200, 200


def run(settings: Settings) -> None:
    for module in (courier, carrier, dispatch):
        vars(module).update(
            {name: value for name, value in globals().items() if name.isupper() and name in vars(module)}
        )
    asyncio.run(work(settings))
