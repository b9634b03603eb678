"""What a signing service measures of itself, as Prometheus reads it (text exposition 0.0.4, docs/operating.md).

    metrics = Metrics()
    edge(resources, [metrics.watch], bodies)
    log = metrics.counting(log)
    metrics.exposition(Measured(requests, tls, counts), tenant)

1. A label is one of a few words of ours: a route's template, a method of HTTP, a state, a code, a key's name. No client chooses one, and
   none is a person, a product or an address (A129).
2. What belongs to a key is told to whoever watches the whole service (tenant None), else of this tenant's keys alone (A121).
3. A part that cannot be read now is left out, and `sealwright_store_up` says so; the rest is told.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from sqlalchemy import func, select

from sealwright import __version__
from sealwright.errors import PolicyChangeRefused, SealwrightError
from sealwright.service.edge import Answered
from sealwright.service.logcounts import LogCounts
from sealwright.service.server import Log
from sealwright.service.stamping import Stamped
from sealwright.signing.requests import Requests
from sealwright.signing.tables import REQUESTS, State
from sealwright.signing.wish import ServedKey

TYPE = "text/plain; version=0.0.4; charset=utf-8"
PREFIX = "sealwright"
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
FRESH_S = 10.0  # a count of all requests costs more than anything else here
MAX_EVENTS = 64
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))


@dataclass(frozen=True, slots=True)
class Measured:
    """What is looked at when somebody asks. ends: by its name, when a file that lets people in ends (`tls.py`); stamped: how the timestamp
    authority does, None where there is none."""

    requests: Requests
    counts: LogCounts
    ends: Callable[[], Mapping[str, datetime]]
    stamped: Callable[[], Stamped] | None = None


class Metrics:
    """Counters of one process, from its start; for any thread."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._answers = Counter(
            "http_requests",
            "Answers, by what was asked; status 0: the client left first.",
            ("route", "method", "status"),
            namespace=PREFIX,
            registry=self._registry,
        )
        self._seconds = Histogram(
            "http_request_duration_seconds",
            "From the end of a head to the end of its answer.",
            ("route",),
            namespace=PREFIX,
            registry=self._registry,
            buckets=BUCKETS,
        )
        self._events = Counter(
            "events",
            "Lines of the service's log, by event and code: unidentified is somebody who was not let in.",
            ("event", "code", "by"),
            namespace=PREFIX,
            registry=self._registry,
        )
        self._children: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self._known: set[tuple[str, str, str]] = set()
        self._states: tuple[float, Mapping[str, int]] | None = None
        self._lock = threading.Lock()  # of `_states`, so that scrapers at once cost one count

    def watch(self, one: Answered) -> None:
        """Count an answer."""
        method = one.method if one.method in _METHODS else "other"
        key = (one.route, method, one.status)
        if (
            kept := self._children.get(key)
        ) is None:  # looking one up by its labels costs ten times as much as counting
            kept = self._answers.labels(one.route, method, str(one.status)), self._seconds.labels(one.route)
            self._children[key] = kept
        kept[0].inc()
        kept[1].observe(one.seconds)

    def counting(self, log: Log) -> Log:
        """A log whose lines are counted."""

        def counted(fields: Mapping[str, object]) -> None:
            labels = (str(fields.get("event", "")), str(fields.get("code", "")), str(fields.get("by", "")))
            if labels in self._known or len(self._known) < MAX_EVENTS:
                self._known.add(labels)
                self._events.labels(*labels).inc()
            log(fields)

        return counted

    def exposition(self, measured: Measured, tenant: str | None) -> bytes:
        """Everything as text, of the keys of one tenant or of all. Works on the database: not for the event loop."""
        return generate_latest(_Told(self, measured, tenant))

    def collect(self) -> Iterator[Metric]:
        """What is counted here."""
        yield from self._registry.collect()

    def states(self, requests: Requests) -> Mapping[str, int]:
        """How many requests stand how, at most `FRESH_S` old; StoreUnavailable."""
        with self._lock:
            if self._states is None or time.monotonic() - self._states[0] > FRESH_S:
                found = dict.fromkeys(State, 0)
                with requests.store.read() as connection:
                    for state, count in connection.execute(
                        select(REQUESTS.c.state, func.count()).group_by(REQUESTS.c.state)
                    ):
                        found[State(state)] = count
                self._states = (time.monotonic(), {state.value: count for state, count in found.items()})
            return self._states[1]


@dataclass(frozen=True, slots=True)
class _Told:
    """What one scraper is told, in the shape of a registry."""

    metrics: Metrics
    measured: Measured
    tenant: str | None

    def collect(self) -> Iterator[Metric]:
        yield from self.metrics.collect()
        keys = {name: one for name, one in self.measured.requests.keys.items() if self.tenant in (None, one.tenant)}
        yield self._info()
        yield from _of_keys(keys)
        yield _ends(self.measured.ends())
        if self.measured.stamped is not None:
            yield from _of_timestamps(self.measured.stamped())
        yield from self._stored(keys)

    def _info(self) -> Metric:
        requests = self.measured.requests
        info = GaugeMetricFamily(
            f"{PREFIX}_info", "Which service this is, and by which policies.", labels=("version", "service", "policy")
        )
        try:
            policy = str(requests.policies().digest)
        except PolicyChangeRefused:  # none here counts
            policy = ""
        info.add_metric((__version__, requests.shelf.service, policy), 1)
        return info

    def _stored(self, keys: Mapping[str, ServedKey]) -> Iterator[Metric]:
        """What the database says, after it has said it all."""
        requests, counts = self.measured.requests, self.measured.counts
        up = GaugeMetricFamily(f"{PREFIX}_store_up", "1 where the database answered just now.")
        try:
            states = self.metrics.states(requests)
            counts.read()
            size = requests.writer.reader.head().size
        except SealwrightError:
            up.add_metric((), 0)
            yield up
            return
        up.add_metric((), 1)
        yield up
        yield GaugeMetricFamily(f"{PREFIX}_log_entries", "The size of the log.", value=size)
        of_states = GaugeMetricFamily(
            f"{PREFIX}_requests", "Requests for signatures, by how they stand.", labels=("state",)
        )
        for state, count in states.items():
            of_states.add_metric((state,), count)
        yield of_states
        yield from _of_log(counts, {str(one.desk.key): name for name, one in keys.items()})


def _of_keys(keys: Mapping[str, ServedKey]) -> Iterator[Metric]:
    labels = ("key", "tenant")
    up = GaugeMetricFamily(
        f"{PREFIX}_key_up", "1 while a key signs, 0 while /health says why it does not.", labels=labels
    )
    waiting = GaugeMetricFamily(f"{PREFIX}_key_waiting_artifacts", "Artifacts that wait for a key.", labels=labels)
    ends = GaugeMetricFamily(
        f"{PREFIX}_key_certificate_end_timestamp_seconds", "When the certificate of a key ends.", labels=labels
    )
    for name, one in keys.items():
        up.add_metric((name, one.tenant), 0 if one.desk.problem else 1)
        waiting.add_metric((name, one.tenant), one.desk.waiting)
        ends.add_metric((name, one.tenant), one.desk.ends.timestamp())
    yield from (up, waiting, ends)


def _of_timestamps(stamped: Stamped) -> Iterator[Metric]:
    yield GaugeMetricFamily(
        f"{PREFIX}_timestamps_up", "1 while timestamps are made.", value=0 if stamped.problem else 1
    )
    yield CounterMetricFamily(
        f"{PREFIX}_timestamps_issued", "Timestamps since this process began.", value=stamped.issued
    )


def _ends(ends: Mapping[str, datetime]) -> Metric:
    told = GaugeMetricFamily(
        f"{PREFIX}_tls_end_timestamp_seconds",
        "When the server's certificate, or the first revocation list of clients, ends: nobody gets in after that.",
        labels=("what",),
    )
    for what, end in ends.items():
        told.add_metric((what,), end.timestamp())
    return told


def _of_log(counts: LogCounts, keys: Mapping[str, str]) -> Iterator[Metric]:
    """keys: names by digest."""
    entries = CounterMetricFamily(
        f"{PREFIX}_log_entries_appended", "Entries since this process began, of all replicas.", labels=("type",)
    )
    for kind, count in sorted(counts.by_type.items()):
        entries.add_metric((kind,), count)
    signatures = CounterMetricFamily(
        f"{PREFIX}_signatures", "Signatures in the log since this process began, of all replicas.", labels=("key",)
    )
    for digest, name in sorted(keys.items(), key=lambda one: one[1]):
        signatures.add_metric((name,), counts.signatures[digest])
    refusals = CounterMetricFamily(
        f"{PREFIX}_refusals",
        "Refusals in the log since this process began, of all replicas.",
        labels=("stage", "code"),
    )
    for (stage, code), count in sorted(counts.refusals.items()):
        refusals.add_metric((stage, code), count)
    yield from (entries, signatures, refusals)
