"""Rest: the one place that speaks HTTP to a source.

An adapter asks its questions through `_get` and its changes through `_change`; sessions, limits, deadlines,
sharing, keeping, second tries, the circuit, errors, the log line and the count are here, once.
"""

import asyncio
import re
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Coroutine, Hashable, Mapping
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime
from enum import StrEnum
from functools import partial
from math import ceil, inf
from time import monotonic, time
from types import TracebackType
from typing import Any, ClassVar, Self, TypeVar
from urllib.parse import urlencode

import aiohttp
import msgspec
import structlog
from multidict import CIMultiDict, CIMultiDictProxy
from pydantic import BaseModel, ConfigDict, Field, field_validator
from yarl import URL

from adapters import deadline, retries, tracing
from adapters.cache import NOT_AT_ALL, Cache, Keep, since, teller
from adapters.circuit import Circuit, CircuitState, Ending
from adapters.errors import (
    Busy,
    Malformed,
    Misconfigured,
    Rejected,
    SourceError,
    TimedOut,
    Unasked,
    Unavailable,
)
from adapters.fetcher import Body, Departure, Fetcher, TooLarge
from adapters.flights import Flights
from adapters.record import Record
from adapters.sandbox import Sandbox
from adapters.tracing import Kind

T = TypeVar("T")
E = TypeVar("E", bound=Exception)

LARGEST_ANSWER = 2 * 2**20
"""Bytes after decompression; the largest page any vendor documents is a twenty-fifth of it."""

UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What msgspec raises at an answer it cannot read: not only errors of its own."""

log = structlog.get_logger("switchboard.source")


class Mode(StrEnum):
    """Who answers for a source."""

    REAL = "real"
    SANDBOX = "sandbox"
    OFF = "off"


class Source(BaseModel):
    """The settings every REST source has; an adapter adds its credentials."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    credentials: ClassVar[tuple[str, ...]] = ()
    """The settings without which the vendor does not talk to us."""

    url: str = Field(description="Where the vendor is: the part before its own path.")
    timeout: float = Field(3, gt=0, le=300, description="Seconds a call may take in all.")
    connect_timeout: float = Field(1, gt=0, le=60, description="Seconds it may take to connect.")
    connections: int = Field(20, ge=1, le=1000, description="Connections open at most, in each process.")
    probe_interval: float = Field(
        1,
        gt=0,
        le=60,
        description="Seconds after which it is tried again, once it keeps failing.",
    )

    @field_validator("url")
    @classmethod
    def _http(cls, url: str) -> str:
        # What aiohttp cannot parse it would repeat in its errors, with all that we put behind it.
        try:
            parsed = URL(url)
        except ValueError:
            raise ValueError("must have a host and a port that can be called") from None
        if parsed.scheme not in ("http", "https") or not parsed.host:
            raise ValueError("must start with http:// or https:// and name a host")
        return url.rstrip("/")

    def pointed_at(self, sandbox: Sandbox) -> Self:
        """The same, but for who answers."""
        return self.model_validate({**self.model_dump(), **sandbox.settings})

    def among_others(self) -> Self:
        """The same where other processes change what is at the vendor, too."""
        return self

    @property
    def missing(self) -> tuple[str, ...]:
        return tuple(name for name in self.credentials if not getattr(self, name))


class Kept(Source):
    """The settings of a source whose answers are kept for a while."""

    cache: float = Field(
        2,
        ge=0,
        le=60,
        description="Seconds for which what it says of people and groups is answered without asking again; 0 "
        "is off, and so is leaving it out where other processes may change the same: with several workers, "
        "Redis, a broker, or a database that is not the embedded one.",
    )
    stale: float = Field(
        600,
        ge=0,
        le=86_400,
        description="Seconds for which older answers are given, and said to be stale, while it fails; 0 is "
        "off.",
    )

    def among_others(self) -> Self:
        return self if "cache" in self.model_fields_set else self.model_copy(update={"cache": 0.0})

    @property
    def keep_passing(self) -> Keep:
        return Keep(self.cache, self.stale)

    @property
    def keep_people(self) -> Keep:
        """Should the source fail, the directory knows them."""
        return Keep(self.cache)


class Path(str):
    """A path with ids, or other values, in it: `Path("/tickets/{id}", id=...)`."""

    route: str
    """The same without them, and without a query."""

    def __new__(cls, template: str, **values: object) -> Self:
        path = super().__new__(cls, template.format(**values))
        path.route = template.partition("?")[0]
        return path


class Rest(ABC):
    """One source over HTTP: subclasses ask, this class carries."""

    name: ClassVar[str]
    title: ClassVar[str]
    """The vendor as its users write it."""
    Settings: ClassVar[type[Source]]
    Sandbox: ClassVar[type[Sandbox]]

    def __init__(self, settings: Source, mode: Mode, connector: aiohttp.TCPConnector) -> None:
        self.mode = mode
        self.record = Record(self.title)
        self._settings = settings
        self.switched: Callable[[], None] | None = None
        """Whoever wants to know that a circuit of its is in another state."""
        self._circuits = dict[str, Circuit]()
        self._circuit(settings.url)
        headers = {"Accept": "application/json", "User-Agent": "Switchboard", **self.headers(settings)}
        self._fetcher = Fetcher(connector, headers, settings.connect_timeout, LARGEST_ANSWER)
        self._border = _Border(self.name, self.title)
        self._flights = Flights()
        self._cache = Cache()
        self._retries = retries.Retries()

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: Source, mode: Mode) -> AsyncIterator[Self]:
        connector = aiohttp.TCPConnector(limit=settings.connections)  # which is the bulkhead
        async with connector:
            yield cls(settings, mode, connector)

    @classmethod
    def headers(cls, settings: Any) -> Mapping[str, str]:
        """The headers that carry this source's credentials."""
        return {}

    @classmethod
    def parameters(cls, settings: Any) -> Mapping[str, str]:
        """The query parameters that carry this source's credentials, on every call."""
        return {}

    @abstractmethod
    async def ping(self) -> None:
        """Fails unless the source answers and accepts our credentials."""

    @property
    def timeout(self) -> float:
        """Seconds that a call may take."""
        return self._settings.timeout

    @property
    def circuit(self) -> Circuit:
        """Of its hosts', that of the one which is worst off."""
        return max(self._circuits.values(), key=lambda circuit: _WORSE.index(circuit.state))

    def _circuit(self, url: str) -> Circuit:
        """Each of its hosts has its own: where reports come from may be dead while messages are taken."""
        host = url.split("/", 3)[2]
        if host not in self._circuits:
            self._circuits[host] = circuit = Circuit(self._settings.probe_interval)
            circuit.told = self._switched
        return self._circuits[host]

    def _switched(self) -> None:
        if self.switched:
            self.switched()

    def read_anew(self) -> None:
        """Who asks from now on gets no answer that was asked for before, unless told how old it is."""
        self._flights.close_doors()
        self._cache.expire()

    async def _get(
        self, question: str, path: str, answer: type[T], keep: Keep = NOT_AT_ALL, /, **parameters: str
    ) -> T:
        """Read `path` into `answer`; `question` names the call in logs and counts, where no id may show.

        A path may be a whole URL, for a vendor who has several hosts. `keep` says how long the answer serves
        others who ask the same.
        """
        url, read = self._url(path), self._reader(answer)
        key = ("GET", url, *sorted(parameters.items()), answer)
        take = read
        if keep != NOT_AT_ALL:
            if (kept := self._cache.fresh(key, keep)) is not None:
                return read(kept)
            take = partial(self._read_and_keep, read, key, keep, monotonic(), self._cache.era)
        try:
            call = partial(self._call, question, "GET", path, take, params=parameters)
            return await self._shared(key, self._circuit(url), call)
        except (Unavailable, Malformed) as error:
            if (tell := teller()) and (stale := self._cache.stale(key, keep)):
                body, age = stale
                tell(self.name, since(age), error.code)
                return read(body)
            raise

    def _read_and_keep(
        self, read: Callable[[bytes], T], key: Hashable, keep: Keep, asked_at: float, era: int, body: bytes
    ) -> T:
        said = read(body)
        self._cache.put(key, body, keep, asked_at, era)
        return said

    async def _shared(
        self, key: Hashable, circuit: Circuit, call: Callable[..., Coroutine[Any, Any, T]]
    ) -> T:
        self._check(circuit)  # who boarded the call that tries whether it is back would wait with it
        try:
            return await self._flights.board(key, partial(self._up_to_twice, circuit, call))
        except TimeoutError as error:
            raise TimedOut(self.name, f"{self.title} did not answer within this request's time.") from error

    async def _up_to_twice(self, circuit: Circuit, call: Callable[..., Coroutine[Any, Any, T]]) -> T:
        """Once more after a trouble that may pass, if both fit into the time of one, and not too often."""
        clock = asyncio.get_running_loop().time
        patience = self._patience(circuit)
        end = min(clock() + patience, deadline.current() or inf)
        self._retries.asked()
        try:
            return await call(seconds=patience)
        except Unasked:
            raise
        except Unavailable as error:
            wait = retries.pause() + (error.retry_after or 0)
            is_over = isinstance(error, Busy) and error.retry_after is None
            if is_over or clock() + wait >= end or not self._retries.take():
                raise
        await asyncio.sleep(wait)
        return await call(seconds=end - clock())

    def _patience(self, circuit: Circuit) -> float:
        """Seconds that a read may take: while it tries whether the source is back, little more than usual."""
        if circuit.state is CircuitState.CLOSED:
            return self.timeout
        usual = self.record.percentile(95) or 0
        return min(self.timeout, max(self._settings.probe_interval, 2 * usual))

    async def _change(
        self,
        question: str,
        method: str,
        path: str,
        answer: type[T],
        /,
        *,
        json: Mapping[str, Any] | None = None,
        form: Mapping[str, str] | None = None,
        **parameters: str,
    ) -> T:
        """Asks for a change: once, whatever happens, and for this caller alone.

        What fails without a clear no may have been done, unless it never left. Either way nobody gets an
        answer from before it.
        """
        if form is None:
            body = Body("application/json", msgspec.json.encode(json))
        else:
            body = Body("application/x-www-form-urlencoded", urlencode(form).encode())
        departure, read = Departure(), self._reader(answer)
        try:
            async with asyncio.timeout_at(deadline.current()):
                return await self._call(
                    question, method, path, read, params=parameters, body=body, departure=departure
                )
        except TimeoutError as error:
            late = TimedOut(self.name, f"{self.title} did not answer within this request's time.")
            if departure.has_left:
                late.doubt()
            raise late from error
        except (Unavailable, Malformed) as error:
            if departure.has_left and not isinstance(error, Busy):
                error.doubt()
            raise
        finally:
            self.read_anew()
            if departure.has_left:
                self._cache.forget()

    def _url(self, path: str) -> str:
        return path if path.startswith(("http://", "https://")) else self._settings.url + path

    def _reader(self, answer: type[T]) -> Callable[[bytes], T]:
        """How an answer is read; a vendor that writes its numbers as text overrides it."""
        return _decoder(answer).decode

    async def _call(
        self,
        question: str,
        method: str,
        path: str,
        read: Callable[[bytes], T],
        *,
        params: Mapping[str, str] | None = None,
        seconds: float | None = None,
        body: Body | None = None,
        departure: Departure | None = None,
    ) -> T:
        if self.mode is Mode.OFF:
            raise Misconfigured(
                self.name, f"{self.title} is not connected: `switchboard doctor` says what to set."
            )
        url = self._url(path)
        circuit = self._circuit(url)
        self._check(circuit)
        turn, ending = circuit.begin(), None
        call = self.record.call(question)
        status, said, detail = 0, b"", None
        with tracing.span(f"{self.name} {question}", Kind.CLIENT) as span:
            try:
                with call, self._border:
                    status, headers, said = await self._fetcher.ask(
                        method,
                        url,
                        {**(params or {}), **self.parameters(self._settings)},
                        tracing.headers(),
                        body,
                        seconds=self.timeout if seconds is None else seconds,
                        departure=departure,
                    )
                    if refusal := self._refusal(status, said):
                        if isinstance(refusal, Unavailable):
                            refusal.retry_after = _seconds(headers.get("Retry-After"))
                        raise refusal
                    try:
                        return read(said)
                    except UNREADABLE as error:
                        raise error.with_traceback(None)  # noqa: B904 - it is the same, without the answer
            except SourceError as error:
                detail = _cause(error)
                if isinstance(error, Busy):
                    ending = Ending.ANSWERED
                if isinstance(error, Unavailable) and error.retry_after:
                    circuit.pause(turn, error.retry_after)
                raise
            finally:
                circuit.end(turn, ending or _ENDINGS.get(call.outcome, Ending.GIVEN_UP))
                if span.is_heard:
                    self._tell(span, method, path, status, call.outcome)
                log.info(
                    "source",
                    source=self.name,
                    call=question,
                    outcome=call.outcome,
                    status=status,
                    ms=round(call.seconds * 1000, 1),
                    bytes=len(said),
                    **({"detail": detail} if detail else {}),
                )
                said = b""  # an error keeps its frames alive until the garbage collector comes by

    def _tell(self, span: tracing.Span, method: str, path: str, status: int, outcome: str) -> None:
        span.say({"switchboard.source": self.name, "http.request.method": method})
        if route := _route(path):
            span.say({"url.template": route})
        if status:
            span.say({"http.response.status_code": status})
        if outcome != "ok":
            span.fail(outcome)

    def _check(self, circuit: Circuit) -> None:
        wait = circuit.wait
        if wait is None:
            return
        why = "asks us to slow down" if circuit.paused else "keeps failing"
        when = f"tried again in {ceil(wait)} s" if wait else "being tried again at this moment"
        raise Unasked(self.name, f"{self.title} {why} and is {when}.")

    def _refusal(self, status: int, body: bytes) -> SourceError | None:
        """The error that an answer is, by its status; a vendor with manners of its own overrides it."""
        if 200 <= status < 300:
            return None
        if status in (401, 403):
            return self._refused_credentials()
        if status == 429:
            return Busy(self.name, f"{self.title} asks us to slow down: try again in a moment.")
        if status >= 500:
            return Unavailable(self.name, f"{self.title} failed to answer: try again later.")
        if status < 400:
            return Malformed(self.name, f"{self.title} sent us elsewhere instead of answering.")
        return self._said_no(str(status))

    def _refused_credentials(self) -> Misconfigured:
        return Misconfigured(
            self.name, f"{self.title} refuses our credentials: `switchboard doctor` says what to set."
        )

    def _said_no(self, vendor_code: str, vendor_message: str = "") -> Rejected:
        return Rejected(
            self.name,
            f"{self.title} refused the request.",
            vendor_code=vendor_code,
            vendor_message=vendor_message,
        )


class _Border:
    """Where foreign exceptions end; tests/adapters/test_rest.py is the list of what is mapped."""

    __slots__ = ("_name", "_title")

    def __init__(self, name: str, title: str) -> None:
        self._name = name
        self._title = title

    def __enter__(self) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None or isinstance(error, SourceError):
            return
        name, title = self._name, self._title
        if isinstance(error, TimeoutError):  # before ClientError: aiohttp's time-outs are both
            raise TimedOut(name, f"{title} did not answer in time.") from _discreet(error)
        if isinstance(error, UNREADABLE):
            raise Malformed(name, f"{title} answered something we cannot read.") from error
        if isinstance(error, TooLarge):
            raise Malformed(name, f"{title} answered more than we are ready to read.") from error
        if isinstance(error, aiohttp.ClientResponseError):
            raise Malformed(name, f"{title} did not answer in HTTP.") from _discreet(error)
        if isinstance(error, aiohttp.ClientPayloadError):
            raise Unavailable(name, f"{title} broke off its answer: try again later.") from error
        if isinstance(error, aiohttp.ClientError | OSError):
            raise Unavailable(name, f"{title} cannot be reached: try again later.") from error


_WORSE = CircuitState.CLOSED, CircuitState.HALF_OPEN, CircuitState.OPEN

_ENDINGS = {
    "ok": Ending.ANSWERED,
    Rejected.code: Ending.ANSWERED,
    Malformed.code: Ending.ANSWERED,
    Misconfigured.code: Ending.ANSWERED,
    Unavailable.code: Ending.FAILED,
    TimedOut.code: Ending.TIMED_OUT,
}
"""What a call says about the source, by its outcome in the record."""


_NOBODYS = re.compile(r"(?:/(?:v[0-9]+|[A-Za-z_.]+))+")


def _route(path: str) -> str | None:
    """The path without ids; None where nobody has said which parts of it are, and some may be."""
    if isinstance(path, Path):
        return path.route
    return path if _NOBODYS.fullmatch(path) else None


_decoders: dict[Any, msgspec.json.Decoder[Any]] = {}


def _decoder(answer: type[T]) -> msgspec.json.Decoder[T]:
    """One a wire model: building it costs more than most answers."""
    if answer not in _decoders:
        _decoders[answer] = msgspec.json.Decoder(answer)
    return _decoders[answer]


def _seconds(retry_after: str | None) -> float | None:
    """How long we are asked to wait: given in seconds, or as the moment until when."""
    if not retry_after:
        return None
    if re.fullmatch(r"[0-9]{1,9}", retry_after):
        return float(retry_after)
    try:
        return max(parsedate_to_datetime(retry_after).timestamp() - time(), 0)
    except ValueError:
        return None


def _discreet(error: E) -> E:
    """The error without the request that aiohttp repeats in it: a URL or headers, with our credentials."""
    error.args = ()
    if isinstance(error, aiohttp.ClientResponseError):
        error.request_info = aiohttp.RequestInfo(URL(), "", CIMultiDictProxy(CIMultiDict()))
    return error


def _cause(error: SourceError) -> str | None:
    """What the log says beyond the code: a type, or a place in a document, never a value."""
    cause = error.__cause__
    if cause is None:
        return None
    return str(cause) if isinstance(cause, msgspec.MsgspecError) else type(cause).__name__
