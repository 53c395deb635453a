"""Metrics by prometheus-client: the families of one config, and the children of one endpoint, bound beforehand.

All labels are bounded: endpoints are those of the route table (and `unrouted` for what no route matches), all other
words are fixed. Children are looked up once: a request increments objects that it finds in one place.

Each config has a registry of its own, so that two in one process do not mix; what is exposed is that registry and
prometheus-client's own, where an app keeps its metrics. With PROMETHEUS_MULTIPROC_DIR set, values live in files that
all workers write, and whichever worker is asked adds them up. Two configs in one process then share their numbers.
"""

import itertools
import os
from collections.abc import Iterable, Mapping, Sequence

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import (
    MultiProcessCollector,
    mark_process_dead,  # type: ignore[attr-defined, unused-ignore]
)
from prometheus_client.registry import Collector

from forecourt.config_databases import Spent
from forecourt.decisions import Decision
from forecourt.stores.observed import Trip
from forecourt.telemetry.counting import (
    CREDITS,
    JOBS,
    PLACES,
    SHARES,
    SIZES,
    STATEMENTS,
    TRIPS,
    Asks,
    Refresh,
    Render,
)
from forecourt.types import Scope

_DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"


class Families:
    """What one config counts; `prefix` and `buckets` as in `Telemetry`."""

    def __init__(self, prefix: str, buckets: Sequence[float]) -> None:
        own = self.registry = CollectorRegistry()
        self.requests = Counter(
            f"{prefix}_requests", "Requests that ended.", ("endpoint", "outcome", "status"), registry=own
        )
        self.durations = Histogram(
            f"{prefix}_request_duration_seconds",
            "From a request's arrival to the end of its response.",
            ("endpoint", "outcome"),
            buckets=tuple(buckets),
            registry=own,
        )
        self.in_progress = Gauge(
            f"{prefix}_requests_in_progress",
            "Requests under way.",
            ("endpoint",),
            multiprocess_mode="livesum",
            registry=own,
        )
        self.received = Counter(
            f"{prefix}_request_body_bytes", "Bytes of request bodies that were read.", ("endpoint",), registry=own
        )
        self.sent = Counter(f"{prefix}_response_body_bytes", "Bytes of response bodies.", ("endpoint",), registry=own)
        self.decisions = Counter(
            f"{prefix}_decisions", "What layers decided.", ("endpoint", "layer", "outcome"), registry=own
        )
        self.credits = Counter(f"{prefix}_credits_settled", "Credits that calls cost.", ("endpoint",), registry=own)
        self._count_what_is_left(prefix)
        self._count_the_store(prefix)
        self._count_jobs(prefix)
        self.statements = Histogram(
            f"{prefix}_db_seconds",
            "Time spent on databases, by statement and by named block.",
            ("endpoint", "database", "operation", "outcome"),
            buckets=STATEMENTS,
            registry=own,
        )
        self._bound: dict[str, EndpointMetrics] = {}

    def _count_what_is_left(self, prefix: str) -> None:
        own = self.registry
        self.left = Histogram(
            f"{prefix}_limit_remaining_ratio",
            "The least share of its limits that a caller had left after a call.",
            ("endpoint",),
            buckets=SHARES,
            registry=own,
        )
        self.balances = Histogram(
            f"{prefix}_credits_remaining",
            "Credits that a caller's account had left after a call.",
            ("endpoint",),
            buckets=CREDITS,
            registry=own,
        )
        self.retries_left = Gauge(
            f"{prefix}_retry_budget",
            "Retries that an endpoint's callers have left together, in the process that has the fewest.",
            ("endpoint",),
            multiprocess_mode="livemin",
            registry=own,
        )
        self.transitions = Counter(
            f"{prefix}_breaker_transitions", "How often a breaker came to stand so.", ("breaker", "state"), registry=own
        )

    def _count_the_store(self, prefix: str) -> None:
        own = self.registry
        self.trips = Histogram(
            f"{prefix}_store_trip_seconds",
            "Trips to the store.",
            ("operation", "outcome"),
            buckets=TRIPS,
            registry=own,
        )
        self.trip_sizes = Histogram(
            f"{prefix}_store_trip_size",
            "Questions or settlements in one trip.",
            ("operation",),
            buckets=SIZES,
            registry=own,
        )
        self.degraded = Gauge(
            f"{prefix}_store_degraded",
            "1 while failure policies answer instead of the store.",
            multiprocess_mode="livemax",
            registry=own,
        )
        self.configs = Counter(
            f"{prefix}_configs_came", "Configs that came while the service ran.", ("outcome",), registry=own
        )
        self.leases = Gauge(
            f"{prefix}_leases_held",
            "Leases and reservations that this process holds.",
            multiprocess_mode="livesum",
            registry=own,
        )
        self.mismatches = Gauge(
            f"{prefix}_endpoint_mismatches",
            "How often another endpoint ran than the one resolved; anything but 0 is a fault.",
            multiprocess_mode="livesum",
            registry=own,
        )
        self.breakers = Gauge(
            f"{prefix}_breaker_state",
            "Where a breaker stands: 0 closed, 1 half-open, 2 open.",
            ("breaker",),
            multiprocess_mode="livemax",
            registry=own,
        )
        for operation, end in itertools.product(("decide", "settle"), ("ok", "down", "overloaded")):
            self.trips.labels(operation, end)
            self.trip_sizes.labels(operation)
        for end in ("adopted", "refused"):
            self.configs.labels(end)

    def _count_jobs(self, prefix: str) -> None:
        own = self.registry
        self.jobs = Gauge(
            f"{prefix}_jobs",
            "Jobs in a queue, when it was asked.",
            ("queue", "state"),
            multiprocess_mode="livemostrecent",
            registry=own,
        )
        self.oldest_job = Gauge(
            f"{prefix}_jobs_oldest_seconds",
            "For how long the job that is due the longest has waited.",
            ("queue",),
            multiprocess_mode="livemostrecent",
            registry=own,
        )
        self.job_durations = Histogram(
            f"{prefix}_job_duration_seconds",
            "From a job's publication to its end.",
            ("endpoint", "outcome"),
            buckets=JOBS,
            registry=own,
        )
        self.job_attempts = Counter(
            f"{prefix}_job_attempts", "Attempts of jobs that ended.", ("endpoint",), registry=own
        )

    def queue_stands(self, queue: str, depth: Mapping[str, int], age: float | None) -> None:
        """Note how many jobs of a queue stand how, and the seconds that the oldest waits (None: nobody knows)."""
        for state, number in depth.items():
            self.jobs.labels(queue, state).set(number)
        if age is not None:
            self.oldest_job.labels(queue).set(age)

    def job_ended(self, endpoint: str, outcome: str, attempts: int, seconds: float) -> None:
        """Count a job that ended here."""
        self.job_durations.labels(endpoint, outcome).observe(seconds)
        self.job_attempts.labels(endpoint).inc(attempts)

    def endpoint(self, name: str, path: str | None, outcomes: Iterable[str]) -> "EndpointMetrics":
        """Return the children of one endpoint; endpoints of one name share them, whatever their paths."""
        if name not in self._bound:
            self._bound[name] = EndpointMetrics(self, name, outcomes)
        return self._bound[name]

    def read_through(self, refresh: Refresh, asks: Asks) -> Render:
        """Return what renders, for whoever scrapes, once `refresh` has written down what only then is counted."""

        def render(accept: str) -> tuple[bytes, str]:
            refresh()
            return self.render(accept)

        return render

    def trip(self, trip: Trip) -> None:
        """Count a trip to the store; one that found it down or well says whether failure policies answer."""
        self.trips.labels(trip.operation, trip.end).observe(trip.took / 1e9)
        self.trip_sizes.labels(trip.operation).observe(trip.size)
        if trip.operation == "decide" and trip.end in ("ok", "down"):
            self.degraded.set(trip.end == "down")

    def config_came(self, outcome: str) -> None:
        """Count a config that was adopted or refused while the service ran."""
        self.configs.labels(outcome).inc()

    def stands(self, breaker: str, place: str) -> None:
        """Write down where a breaker stands: closed, half-open or open."""
        self.breakers.labels(breaker).set(PLACES[place])

    def moved(self, breaker: str, place: str) -> None:
        """Count that a breaker came to stand so, and write it down."""
        self.transitions.labels(breaker, place).inc()
        self.stands(breaker, place)

    def holds(self, leases: int, mismatches: int, budgets: Mapping[str, float]) -> None:
        """Write down what a process holds: its leases, its endpoint mismatches, and the retries that are left."""
        self.leases.set(leases)
        self.mismatches.set(mismatches)
        for endpoint, left in budgets.items():
            self.retries_left.labels(endpoint).set(left)

    def spent(self, spent: Spent) -> None:
        """Count time that was spent on a database."""
        labels = spent.endpoint or "none", spent.database, spent.operation, spent.end
        self.statements.labels(*labels).observe(spent.took / 1e9)

    @property
    def shared(self) -> bool:
        """Whether other processes read what this one counts."""
        return _DIRECTORY in os.environ

    def render(self, accept: str) -> tuple[bytes, str]:
        """Return everything in the format that the Accept field prefers, and its media type."""
        encode, media_type = choose_encoder(accept)
        return encode(_exposed(self.registry)), media_type

    def forget_process(self) -> None:
        """Have the files of this process's gauges count no more; without a directory for them nothing happens."""
        if _DIRECTORY in os.environ:
            mark_process_dead(os.getpid())  # type: ignore[no-untyped-call, unused-ignore]


class EndpointMetrics:
    """The children of one endpoint."""

    def __init__(self, families: Families, name: str, outcomes: Iterable[str]) -> None:
        self._requests = families.requests
        self._decisions = families.decisions
        self._name = name
        self._running = 0
        self._in_progress = families.in_progress.labels(name)
        self._shared = _DIRECTORY in os.environ
        if not self._shared:
            self._in_progress.set_function(lambda: self._running)
        self._all_left = families.left
        self._left: Histogram | None = None
        self._all_balances = families.balances
        self._balances: Histogram | None = None
        self._received = families.received.labels(name)
        self._sent = families.sent.labels(name)
        self._credits = families.credits.labels(name)
        self._all_durations = families.durations
        self._durations = {each: families.durations.labels(name, each) for each in outcomes}
        self._ends: dict[tuple[str, int], Counter] = {}
        self._decided: dict[tuple[str, str], Counter] = {}

    def began(self, scope: Scope) -> None:
        """Count a request that arrives."""
        self._running += 1
        if self._shared:
            self._in_progress.inc()

    def ended(self, scope: Scope, outcome: str, status: int, seconds: float, trace_id: str | None) -> None:
        """Count a request that is over; `trace_id` becomes the exemplar of its duration."""
        self._running -= 1
        if self._shared:
            self._in_progress.dec()
        counter = self._ends.get((outcome, status))
        if counter is None:
            counter = self._ends[outcome, status] = self._requests.labels(self._name, outcome, status)
        counter.inc()
        durations = self._durations.get(outcome)
        if durations is None:
            durations = self._durations[outcome] = self._all_durations.labels(self._name, outcome)
        durations.observe(seconds, {"trace_id": trace_id} if trace_id else None)

    def leaves(self, left: float | None, balance: int | None) -> None:
        """Count what its caller has left: the least share of a limit, and credits, where they are known."""
        if left is not None:
            if self._left is None:
                self._left = self._all_left.labels(self._name)
            self._left.observe(left)
        if balance is not None:
            if self._balances is None:
                self._balances = self._all_balances.labels(self._name)
            self._balances.observe(balance)

    def carried(self, scope: Scope, received: int, sent: int) -> None:
        """Count the bytes of its bodies."""
        if received:
            self._received.inc(received)
        if sent:
            self._sent.inc(sent)

    def decided(self, decision: Decision) -> None:
        """Count what a layer decided."""
        said = (decision.layer, decision.outcome)
        counter = self._decided.get(said)
        if counter is None:
            counter = self._decided[said] = self._decisions.labels(self._name, *said)
        counter.inc()
        if decision.outcome == "settled" and decision.amount:
            self._credits.inc(decision.amount)


class _Exposed(Collector):
    """Our registry and prometheus-client's own, as one."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterable[Metric]:
        """Yield the metrics of both; of two of one name, ours."""
        names: set[str] = set()
        for metric in itertools.chain(self._registry.collect(), REGISTRY.collect()):
            if metric.name not in names:
                names.add(metric.name)
                yield metric


def _exposed(registry: CollectorRegistry) -> CollectorRegistry:
    exposed = CollectorRegistry(auto_describe=False)
    if _DIRECTORY in os.environ:
        MultiProcessCollector(exposed)  # type: ignore[no-untyped-call, unused-ignore]
    else:
        exposed.register(_Exposed(registry))
    return exposed
