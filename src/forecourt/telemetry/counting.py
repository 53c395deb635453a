"""What is counted of one config and of its endpoints, whoever reads it: prometheus-client, or OpenTelemetry's meter.

Also the bounds of histograms, and the numbers of words, which are the same for both.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Protocol

from forecourt.config_databases import Spent
from forecourt.decisions import Decision
from forecourt.stores.observed import Trip
from forecourt.types import Scope

SIZES = (1, 2, 4, 8, 16, 32, 64)
TRIPS = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
JOBS = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0)
STATEMENTS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
SHARES = (0.0, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0)
CREDITS = (0, 1, 3, 10, 30, 100, 300, 1_000, 10_000, 100_000, 1_000_000)
PLACES = {"closed": 0, "half-open": 1, "open": 2}

Refresh = Callable[[], None]
"""Writes down what is only counted when somebody looks."""

Render = Callable[[str], tuple[bytes, str]]
"""What an Accept field asks for → (body, media type)."""

Asks = Mapping[str, Callable[[], Awaitable[None]]]
"""What asks others how they stand, by name."""


class Counts(Protocol):
    """What is counted of one endpoint; of a request's `scope` only what is bounded becomes a label."""

    def began(self, scope: Scope) -> None:
        """Count a request that arrives."""
        ...

    def ended(self, scope: Scope, outcome: str, status: int, seconds: float, trace_id: str | None) -> None:
        """Count a request that is over; `trace_id` becomes the exemplar of its duration."""
        ...

    def carried(self, scope: Scope, received: int, sent: int) -> None:
        """Count the bytes of its bodies."""
        ...

    def leaves(self, left: float | None, balance: int | None) -> None:
        """Count what its caller has left: the least share of a limit, and credits, where they are known."""
        ...

    def decided(self, decision: Decision) -> None:
        """Count what a layer decided."""
        ...


class Counting(Protocol):
    """What is counted of one config in this process."""

    @property
    def shared(self) -> bool:
        """Whether other processes read what this one counts."""
        ...

    def endpoint(self, name: str, path: str | None, outcomes: Iterable[str]) -> Counts:
        """Return what counts one endpoint, of this path template (None: no route matches)."""
        ...

    def read_through(self, refresh: Refresh, asks: Asks) -> Render | None:
        """Have `refresh` called, and whoever is in `asks` asked, before anything is read; None where nobody scrapes."""
        ...

    def trip(self, trip: Trip) -> None:
        """Count a trip to the store."""
        ...

    def spent(self, spent: Spent) -> None:
        """Count time that was spent on a database."""
        ...

    def config_came(self, outcome: str) -> None:
        """Count a config that was adopted or refused while the service ran."""
        ...

    def stands(self, breaker: str, place: str) -> None:
        """Write down where a breaker stands: closed, half-open or open."""
        ...

    def moved(self, breaker: str, place: str) -> None:
        """Count that a breaker came to stand so."""
        ...

    def holds(self, leases: int, mismatches: int, budgets: Mapping[str, float]) -> None:
        """Write down what a process holds: its leases, its endpoint mismatches, and the retries that are left."""
        ...

    def queue_stands(self, queue: str, depth: Mapping[str, int], age: float | None) -> None:
        """Note how many jobs of a queue stand how, and the seconds that the oldest waits (None: nobody knows)."""
        ...

    def job_ended(self, endpoint: str, outcome: str, attempts: int, seconds: float) -> None:
        """Count a job that ended here."""
        ...

    def forget_process(self) -> None:
        """Leave nothing behind that counts on when this process is gone."""
        ...
