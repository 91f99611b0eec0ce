"""Lines: whom to ask for each source, the vendor itself, its sandbox or nobody."""

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum

from adapters.rest import Mode, Rest, Source


class UseSandbox(StrEnum):
    """What `SWITCHBOARD_SANDBOX` may say."""

    AUTO = "auto"
    ON = "on"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class Line:
    """Plain data, so that the worker processes of one server share the sandboxes of their parent."""

    mode: Mode
    settings: Source


Lines = Mapping[str, Line]


def mode_of(source: Source, use: UseSandbox, *, embedded: bool) -> Mode:
    """Credentials make a source real; `on` keeps even those from being used."""
    if use is UseSandbox.ON:
        return Mode.SANDBOX
    if not source.missing:
        return Mode.REAL
    return Mode.SANDBOX if use is UseSandbox.AUTO and embedded else Mode.OFF


@asynccontextmanager
async def open_lines(
    rests: Iterable[type[Rest]], sources: Mapping[str, Source], use: UseSandbox, *, embedded: bool
) -> AsyncIterator[Lines]:
    """The sandboxes that are needed run as long as this block."""
    async with AsyncExitStack() as stack:
        lines = {}
        for rest in rests:
            source = sources[rest.name]
            mode = mode_of(source, use, embedded=embedded)
            if mode is Mode.SANDBOX:
                source = source.pointed_at(await stack.enter_async_context(rest.Sandbox()))
            lines[rest.name] = Line(mode, source)
        yield lines
