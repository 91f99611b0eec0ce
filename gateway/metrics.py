"""Metrics: what Prometheus reads at /metrics."""

import asyncio
import hmac
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import lru_cache, partial
from tempfile import TemporaryDirectory
from time import monotonic, time
from typing import TYPE_CHECKING

from aiohttp import hdrs, web

from adapters import RESTS, Adapters
from adapters.circuit import CircuitState
from adapters.errors import SourceError
from adapters.rest import Rest
from adapters.storage.client import Storage
from adapters.storage.standing import Standing
from gateway.gate import is_here
from gateway.settings import Settings
from resolvers.context import Counts

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""Where several processes count together; has to be said before the library is imported."""
LABELLED = 4_096
"""So many counters are found by their labels without the library, whose way there takes a lock."""
MOST_OPERATIONS = 200
"""Names of operations that are told apart: they are the clients', and each is kept for good."""
OTHER = "(other)"
SECONDS = 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10
FRESH = 10.0
"""Seconds for which what the ledger said is not asked again."""


class Metrics(Counts):
    """Of an application; with several workers, of all of them."""

    def __init__(self) -> None:
        # Here, for it costs a start a good part of what that may take, and decides where it counts.
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self._registry = CollectorRegistry()
        self._labelled = lru_cache(LABELLED)(lambda metric, *labels: metric.labels(*labels))
        self._names = set[str]()
        self._requests = Histogram(
            "switchboard_request_seconds",
            "Requests, by path and status.",
            ["path", "status"],
            buckets=SECONDS,
            registry=self._registry,
        )
        self._operations = Counter(
            "switchboard_operations",
            "Operations, by name and code.",
            ["operation", "code"],
            registry=self._registry,
        )
        self._executions = Counter(
            "switchboard_executions",
            "Operations that were executed, by who did: as compiled, or graphql-core.",
            ["executor"],
            registry=self._registry,
        )
        self._answers = Histogram(
            "switchboard_operation_seconds",
            "Queries and mutations, over HTTP and WebSocket, by name.",
            ["operation"],
            buckets=SECONDS,
            registry=self._registry,
        )
        self._subscriptions = Gauge(
            "switchboard_subscriptions",
            "Subscriptions that are open, over WebSocket and as streams of events.",
            multiprocess_mode="livesum",
            registry=self._registry,
        )
        self._circuits = Gauge(
            "switchboard_source_circuit",
            "In how many processes the circuit of a source is in this state.",
            ["source", "state"],
            multiprocess_mode="livesum",
            registry=self._registry,
        )
        self._calls = Histogram(
            "switchboard_source_seconds",
            "Calls to sources, the database among them, by question and outcome.",
            ["source", "call", "outcome"],
            buckets=SECONDS,
            registry=self._registry,
        )

    def request(self, path: str, status: int, seconds: float) -> None:
        self._labelled(self._requests, path, str(status)).observe(seconds)

    def executed(self, executor: str) -> None:
        self._executions.labels(executor).inc()

    def operation(self, name: str | None, codes: Collection[str], seconds: float | None) -> None:
        """Of one without errors the code is `ok`."""
        name = name or "(none)"
        if name not in self._names:
            if len(self._names) < MOST_OPERATIONS:
                self._names.add(name)
            else:
                name = OTHER
        for code in codes or ("ok",):
            self._labelled(self._operations, name, code).inc()
        if seconds is not None:
            self._labelled(self._answers, name).observe(seconds)

    def subscriptions(self, more: int) -> None:
        self._subscriptions.inc(more)

    def watch(self, adapters: Adapters) -> None:
        """From now on its calls are counted."""
        adapters.storage.record.told = partial(self._called, "everyprint")
        for rest in RESTS:
            source = getattr(adapters, rest.name)
            source.record.told = partial(self._called, rest.name)
            source.switched = partial(self._switched, source)
            source.switched()

    def _called(self, source: str, question: str, outcome: str, seconds: float) -> None:
        self._labelled(self._calls, source, question, outcome).observe(seconds)

    def _switched(self, source: Rest) -> None:
        circuit = source.circuit
        now = circuit.state
        for state in CircuitState:
            self._circuits.labels(source.name, state).set(state is now)
        if now is CircuitState.OPEN and (wait := circuit.wait):  # when that is over, nobody else says so
            asyncio.get_running_loop().call_later(wait, self._switched, source)

    def page(self, standing: Standing | None) -> bytes:
        from prometheus_client import CollectorRegistry, generate_latest
        from prometheus_client.multiprocess import MultiProcessCollector

        counted: CollectorRegistry = self._registry
        if os.environ.get(FOLDER):
            counted = CollectorRegistry()
            MultiProcessCollector(counted)  # type: ignore[no-untyped-call]
        now = CollectorRegistry()
        now.register(_Ledger(standing))
        now.register(_Tasks())
        return generate_latest(counted) + generate_latest(now)


@contextmanager
def counting_together() -> Iterator[None]:
    """For the processes that are started meanwhile."""
    with TemporaryDirectory(prefix="switchboard-metrics-") as folder:
        os.environ[FOLDER] = folder
        try:
            yield
        finally:
            del os.environ[FOLDER]


def forget_process(id: int | None) -> None:
    """It is no more, and what was open there is not open."""
    from prometheus_client.multiprocess import mark_process_dead

    mark_process_dead(id)  # type: ignore[no-untyped-call]


class _Ledger:
    """Asked for when it is looked at: no counter of it could drift."""

    def __init__(self, standing: Standing | None) -> None:
        self._standing = standing

    def collect(self) -> "Iterator[Metric]":
        from prometheus_client.core import GaugeMetricFamily

        said, standing = GaugeMetricFamily, self._standing
        yield said("switchboard_ledger_up", "Whether the ledger answers.", value=standing is not None)
        if standing:
            yield said(
                "switchboard_ledger_overdue_seconds",
                "For how long the message has been due that has waited longest.",
                value=standing.overdue,
            )
            yield said(
                "switchboard_ledger_unknown_messages",
                "Messages of which nobody knows whether their vendor has taken them.",
                value=standing.unknown,
            )
            yield said(
                "switchboard_ledger_expired_leases",
                "Chunks of broadcasts whose sender has gone, and that nobody has taken over.",
                value=standing.expired,
            )


class _Tasks:
    def collect(self) -> "Iterator[Metric]":
        from prometheus_client.core import GaugeMetricFamily

        sentence = "What is under way in the process that answers this: at rest, always about as much."
        yield GaugeMetricFamily("switchboard_tasks", sentence, value=len(asyncio.all_tasks()))


class Page:
    """Answers who asks from this machine, or knows the secret; to others there is nothing here."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._secret = settings.metrics_secret and settings.metrics_secret.get_secret_value()
        self._metrics = metrics
        self.storage: Storage | None = None
        """Once there is one."""
        self._standing: Standing | None = None
        self._fresh_until = 0.0

    async def answer(self, request: web.Request) -> web.Response:
        if not self._may(request):
            raise web.HTTPNotFound
        from prometheus_client import CONTENT_TYPE_LATEST

        await self._look()
        headers = {hdrs.CONTENT_TYPE: CONTENT_TYPE_LATEST}
        return web.Response(body=self._metrics.page(self._standing), headers=headers)

    def _may(self, request: web.Request) -> bool:
        if self._secret:
            given = request.headers.get(hdrs.AUTHORIZATION, "")
            return hmac.compare_digest(
                given.encode(errors="surrogatepass"), f"Bearer {self._secret}".encode()
            )
        is_for_another = "X-Forwarded-For" in request.headers or "Forwarded" in request.headers
        return is_here(request.remote or "") and not is_for_another

    async def _look(self) -> None:
        if self.storage is None or monotonic() < self._fresh_until:
            return
        try:
            self._standing = await self.storage.standings.now(int(time() * 1000))
        except SourceError:
            self._standing = None
        self._fresh_until = monotonic() + FRESH
