"""What the spans of jobs say, and where they come from: OpenTelemetry's conventions for messaging.

`publish QUEUE` is inside the span of the call; `process QUEUE` is an attempt, at a worker, linked to it.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import NamedTuple, Protocol

from forecourt.config_addresses import SCHEMES
from forecourt.config_jobs import PULSAR
from forecourt.decisions import Decision
from forecourt.responses import Header
from forecourt.types import Scope

Said = Mapping[str, str | int]

ATTEMPT = "forecourt.attempt"
"""Where a job's scope has its `Attempted`."""


class Attempted(NamedTuple):
    """Which job an attempt is of, and the how many-th it is."""

    job: str
    number: int


class BegunAttempt(Protocol):
    """The span of an attempt."""

    @property
    def recorded(self) -> bool:
        """Whether anybody will see it."""
        ...

    @property
    def trace_id(self) -> str:
        """The trace's id."""
        ...

    def decided(self, decision: Decision) -> None:
        """Add what a layer decided."""
        ...


class TracedAttempt(Protocol):
    """A context in which the span of an attempt is current."""

    @property
    def begun(self) -> BegunAttempt:
        """Its span."""
        ...

    def __enter__(self) -> object:
        """Make it current."""
        ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        """End it."""
        ...

    def answered(self, status: int | None) -> None:
        """Note what the handler answered."""
        ...


class JobSpans(Protocol):
    """Where spans of jobs come from."""

    def publishing(
        self, name: str, attributes: Said, headers: Sequence[Header]
    ) -> AbstractContextManager[Sequence[Header]]:
        """Have a publication's span current; give the job's fields, with this context in place of the caller's."""
        ...

    def attempt(self, name: str, attributes: Said, scope: Scope) -> TracedAttempt | None:
        """Begin an attempt's span, linked to the publication that the job's fields tell of."""
        ...


def said_of(queue: str, address: str, job: str, endpoint: str, operation: str) -> dict[str, str | int]:
    """Return what the spans of a job say: of its publication (`send`), or of an attempt (`process`)."""
    return {
        "messaging.system": _system(address),
        "messaging.operation.type": operation,
        "messaging.operation.name": "publish" if operation == "send" else operation,
        "messaging.destination.name": queue,
        "messaging.message.id": job,
        "forecourt.endpoint": endpoint,
    }


def _system(address: str) -> str:
    scheme = address.partition(":")[0]
    if scheme in PULSAR:
        return "pulsar"
    return "redis" if scheme in SCHEMES and scheme != "memory" else scheme
