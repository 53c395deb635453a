"""Metrics by an OpenTelemetry meter, for those who prefer it: the same counts, under the conventions' names.

Where the semantic conventions have a metric it has their name, unit and attributes (`http.server.request.duration`,
`http.server.active_requests`, `http.server.request.body.size`, `http.server.response.body.size`,
`db.client.operation.duration`); all others begin with the config's prefix. Attributes are bounded, as labels are: of a
request its method where HTTP knows it, else `_OTHER`, its scheme, its route's template, its status; never its path.
A WebSocket is no request of HTTP's: it is counted by our own metrics, and by none of `http.server`.

The meter is that of the process's meter provider; while none is set up nothing is kept. Durations carry their trace's
id by the SDK's own exemplars: the span is current when they are recorded. What is only counted when somebody looks is
looked at when the SDK collects, in its thread; how queues stand is asked on the loop of the requests.
"""

import asyncio
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from opentelemetry.metrics import CallbackOptions, Histogram, Observation, get_meter
from opentelemetry.util.types import AttributeValue

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
)
from forecourt.types import Scope

Attributes = Mapping[str, AttributeValue]
Labels = tuple[str, ...]

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "QUERY"})
_SCHEMES = frozenset({"http", "https", "ws", "wss"})
_ANSWER = 2.0
"""Seconds that queues may take to say how they stand, before the SDK goes on with their last figures."""


class Metered:
    """What one config counts; `prefix` and `buckets` as in `Telemetry`."""

    shared = False
    """No other process reads what this one counts: the SDK exports it."""

    def __init__(self, prefix: str, buckets: Sequence[float]) -> None:
        self._prefix = prefix
        self._meter = meter = get_meter("forecourt")
        self.loop: asyncio.AbstractEventLoop | None = None
        """Of the requests: where queues are asked."""
        self.requests = self._counter("requests", "{request}", "Requests that ended.")
        self.durations = meter.create_histogram(
            "http.server.request.duration",
            "s",
            "From a request's arrival to the end of its response.",
            explicit_bucket_boundaries_advisory=list(buckets),
        )
        self.in_progress = meter.create_up_down_counter(
            "http.server.active_requests", "{request}", "Requests under way."
        )
        self.received = meter.create_histogram("http.server.request.body.size", "By", "Bytes of bodies that were read.")
        self.sent = meter.create_histogram("http.server.response.body.size", "By", "Bytes of response bodies.")
        self.decisions = self._counter("decisions", "{decision}", "What layers decided.")
        self.credits = self._counter("credits.settled", "{credit}", "Credits that calls cost.")
        self.left = self._histogram("limit.remaining", "1", "The least share of its limits a caller had left.", SHARES)
        self.balances = self._histogram("credits.remaining", "{credit}", "Credits an account had left.", CREDITS)
        self.trips = self._histogram("store.trip.duration", "s", "Trips to the store.", TRIPS)
        self.trip_sizes = self._histogram(
            "store.trip.size", "{operation}", "Questions or settlements in one trip.", SIZES
        )
        self.statements = meter.create_histogram(
            "db.client.operation.duration",
            "s",
            "Time spent on databases, by statement and by named block.",
            explicit_bucket_boundaries_advisory=list(STATEMENTS),
        )
        self.transitions = self._counter("breaker.transitions", "{transition}", "How often a breaker came to stand so.")
        self.job_durations = self._histogram("job.duration", "s", "From a job's publication to its end.", JOBS)
        self.job_attempts = self._counter("job.attempts", "{attempt}", "Attempts of jobs that ended.")
        self.configs = self._counter("configs.came", "{config}", "Configs that came while the service ran.")
        self._refresh: Refresh | None = None
        self._asks: Asks = {}
        self._observe()

    def _observe(self) -> None:
        """Have that which stands somehow read when the SDK collects."""
        self._standing: dict[str, dict[Labels, float]] = {}
        for name, unit, labels, words in _GAUGES:
            self._standing[name] = {}
            read = partial(_read, weakref.WeakMethod(self._look), name, labels)
            self._meter.create_observable_gauge(f"{self._prefix}.{name}", [read], unit, words)
        self._standing["store.degraded"][()] = 0

    def _look(self, name: str) -> Mapping[Labels, float]:
        """Return the figures of a gauge by its labels' values; the first of a collection has all looked at."""
        if name == _GAUGES[0][0]:
            if self._refresh is not None:
                self._refresh()
            self._ask()
        return self._standing[name].copy()

    def _ask(self) -> None:
        """Ask queues how they stand, on their loop; where that is not running, or collects itself, nobody is asked."""
        loop = self.loop
        if loop is None or not loop.is_running() or not self._asks or _is_here(loop):
            return
        asking = asyncio.run_coroutine_threadsafe(_ask_all(self._asks), loop)
        try:
            asking.result(_ANSWER)
        except TimeoutError:
            asking.cancel()

    def _counter(self, name: str, unit: str, words: str) -> "_Counter":
        return self._meter.create_counter(f"{self._prefix}.{name}", unit, words).add

    def _histogram(self, name: str, unit: str, words: str, bounds: Sequence[float]) -> Histogram:
        return self._meter.create_histogram(
            f"{self._prefix}.{name}", unit, words, explicit_bucket_boundaries_advisory=list(bounds)
        )

    def endpoint(self, name: str, path: str | None, _outcomes: Iterable[str]) -> "MeteredEndpoint":
        """Return what counts one endpoint."""
        return MeteredEndpoint(self, name, path)

    def read_through(self, refresh: Refresh, asks: Asks) -> None:
        """Have `refresh` called, and queues asked, when the SDK collects; nobody scrapes."""
        self._refresh = refresh
        self._asks = asks

    def trip(self, trip: Trip) -> None:
        """Count a trip to the store; one that found it down or well says whether failure policies answer."""
        self.trips.record(trip.took / 1e9, {"forecourt.operation": trip.operation, "forecourt.outcome": trip.end})
        self.trip_sizes.record(trip.size, {"forecourt.operation": trip.operation})
        if trip.operation == "decide" and trip.end in ("ok", "down"):
            self._standing["store.degraded"][()] = trip.end == "down"

    def spent(self, spent: Spent) -> None:
        """Count time that was spent on a database."""
        said = {
            "db.namespace": spent.database,
            "db.operation.name": spent.operation,
            "forecourt.endpoint": spent.endpoint or "none",
        }
        if spent.end != "ok":
            said["error.type"] = spent.end
        self.statements.record(spent.took / 1e9, said)

    def config_came(self, outcome: str) -> None:
        """Count a config that was adopted or refused while the service ran."""
        self.configs(1, {"forecourt.outcome": outcome})

    def stands(self, breaker: str, place: str) -> None:
        """Write down where a breaker stands: closed, half-open or open."""
        self._standing["breaker.state"][(breaker,)] = PLACES[place]

    def moved(self, breaker: str, place: str) -> None:
        """Count that a breaker came to stand so, and write it down."""
        self.transitions(1, {"forecourt.breaker": breaker, "forecourt.state": place})
        self.stands(breaker, place)

    def holds(self, leases: int, mismatches: int, budgets: Mapping[str, float]) -> None:
        """Write down what a process holds: its leases, its endpoint mismatches, and the retries that are left."""
        self._standing["leases.held"][()] = leases
        self._standing["endpoint.mismatches"][()] = mismatches
        for endpoint, left in budgets.items():
            self._standing["retry.budget"][(endpoint,)] = left

    def queue_stands(self, queue: str, depth: Mapping[str, int], age: float | None) -> None:
        """Note how many jobs of a queue stand how, and the seconds that the oldest waits (None: nobody knows)."""
        for state, number in depth.items():
            self._standing["jobs"][(queue, state)] = number
        if age is not None:
            self._standing["jobs.oldest"][(queue,)] = age

    def job_ended(self, endpoint: str, outcome: str, attempts: int, seconds: float) -> None:
        """Count a job that ended here."""
        self.job_durations.record(seconds, {"forecourt.endpoint": endpoint, "forecourt.outcome": outcome})
        self.job_attempts(attempts, {"forecourt.endpoint": endpoint})

    def forget_process(self) -> None:
        """Leave everything to the SDK, which ends with the process."""


class MeteredEndpoint:
    """What is counted of one endpoint."""

    def __init__(self, families: Metered, name: str, path: str | None) -> None:
        self._families = families
        self._own: Attributes = {"forecourt.endpoint": name}
        self._route: Attributes = {**self._own, "http.route": path} if path else self._own

    def began(self, scope: Scope) -> None:
        """Count a request that arrives."""
        if self._families.loop is None:
            self._families.loop = asyncio.get_running_loop()
        if scope["type"] == "http":
            self._families.in_progress.add(1, self._asked(scope))

    def ended(self, scope: Scope, outcome: str, status: int, seconds: float, _trace_id: str | None) -> None:
        """Count a request that is over; the SDK takes exemplars from the span that is current."""
        ended: dict[str, AttributeValue] = {"http.response.status_code": status, "forecourt.outcome": outcome}
        self._families.requests(1, {**self._own, **ended})
        if scope["type"] != "http":
            return
        asked = self._asked(scope)
        self._families.in_progress.add(-1, asked)
        said = {**asked, **self._route, **ended}
        if status >= 500:
            said["error.type"] = str(status)
        self._families.durations.record(seconds, said)

    def leaves(self, left: float | None, balance: int | None) -> None:
        """Count what its caller has left: the least share of a limit, and credits, where they are known."""
        if left is not None:
            self._families.left.record(left, self._own)
        if balance is not None:
            self._families.balances.record(max(0, balance), self._own)

    def carried(self, scope: Scope, received: int, sent: int) -> None:
        """Count the bytes of its bodies."""
        if scope["type"] != "http":
            return
        said = {**self._asked(scope), **self._route}
        self._families.received.record(received, said)
        self._families.sent.record(sent, said)

    def decided(self, decision: Decision) -> None:
        """Count what a layer decided."""
        layer, outcome, _, _, amount = decision
        said = {**self._own, "forecourt.layer": layer, "forecourt.outcome": outcome}
        self._families.decisions(1, said)
        if outcome == "settled" and amount:
            self._families.credits(amount, self._own)

    def _asked(self, scope: Scope) -> Attributes:
        """Return what the conventions want to know of a request: its method and scheme, in words that are few."""
        method, scheme = scope.get("method", "GET"), scope.get("scheme", "http")
        return {
            "http.request.method": method if method in _METHODS else "_OTHER",
            "url.scheme": scheme if scheme in _SCHEMES else "_OTHER",
        }


_Counter = Callable[[float, Attributes], None]

_GAUGES: Sequence[tuple[str, str, Labels, str]] = (
    ("leases.held", "{lease}", (), "Leases and reservations that this process holds."),
    ("endpoint.mismatches", "{request}", (), "How often another endpoint ran than the one resolved."),
    ("store.degraded", "1", (), "1 while failure policies answer instead of the store."),
    ("breaker.state", "1", ("breaker",), "Where a breaker stands: 0 closed, 1 half-open, 2 open."),
    ("retry.budget", "{retry}", ("endpoint",), "Retries that an endpoint's callers have left together."),
    ("jobs", "{job}", ("queue", "state"), "Jobs in a queue, when it was asked."),
    ("jobs.oldest", "s", ("queue",), "For how long the job that is due the longest has waited."),
)
"""What stands somehow: its name, unit, labels, and what it is; the first is read first."""


def _read(
    look: "weakref.WeakMethod[Callable[[str], Mapping[Labels, float]]]",
    name: str,
    labels: Labels,
    _options: CallbackOptions,
) -> Iterable[Observation]:
    """Tell the SDK how a gauge stands; it must not keep a config alive."""
    method = look()
    if method is None:
        return []
    return [
        Observation(value, {f"forecourt.{label}": word for label, word in zip(labels, said, strict=True)})
        for said, value in method(name).items()
    ]


async def _ask_all(asks: Asks) -> None:
    for ask in list(asks.values()):
        await ask()


def _is_here(loop: asyncio.AbstractEventLoop) -> bool:
    """Tell whether this is the loop that runs in this thread."""
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False
