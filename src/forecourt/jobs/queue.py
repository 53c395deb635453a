"""What a layer, a worker and the endpoints of jobs may rely on when they use a queue.

Promises of every queue:

- `publish` is whole: when it returns, the job is there and will be run; when it raises, ask again with the same id,
  which creates the job once. The same id again changes nothing.
- A job is claimed by one worker at a time, for as long as that one renews its lease; when it stops, the job is
  claimed again within the lease, also while nothing else happens.
- `finish` is fenced: it takes effect only with the token of the last claim, once.
- What has ended is kept for the job's `ttl`, its result beside it.
- `StoreDown`: nothing is known, nothing may be assumed done. `StoreOverloaded`: the queue is full.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol, runtime_checkable

from forecourt.core.jobs import Status
from forecourt.types import Clock


class NewJob(NamedTuple):
    """A job to publish. Durations in µs; `lane` says with whom it takes turns, `owner` who may see it.

    `fingerprint` tells whether the same id was meant for the same request.
    """

    id: str
    owner: str
    endpoint: str
    fingerprint: str
    envelope: bytes
    max_attempts: int
    lease: int
    delay: int
    expires: int
    ttl: int
    max_queued: int


class Record(NamedTuple):
    """What is known of a job. Instants in µs; `progress` from 0 to 1, below 0 where the handler said none."""

    id: str
    owner: str
    endpoint: str
    fingerprint: str
    status: Status
    attempts: int
    created: int
    changed: int
    reason: str = ""
    progress: float = -1
    note: str = ""

    @property
    def ended(self) -> bool:
        """Whether nothing will change by itself."""
        return self.status not in ("queued", "running")


class Published(NamedTuple):
    """What `publish` found: the job, and whether it was this call that created it."""

    record: Record
    created: bool


class Claimed(NamedTuple):
    """A job to run: `token` is what its holder shows, `lease` how many µs it lasts unless renewed.

    Without a token it is none to run: it has ended while nobody had it, and whoever is to be told of it is told now.
    """

    id: str
    token: str
    attempts: int
    lease: int
    envelope: bytes


class Held(NamedTuple):
    """A job at work, and how far it has come."""

    id: str
    token: str
    lease: int
    progress: float = -1
    note: str = ""


class Ending(NamedTuple):
    """How an attempt ended: with the job's result, in a failure for a reason, or given back unfinished."""

    kind: Literal["done", "failed", "given back"]
    result: bytes = b""
    reason: str = ""


class QueueSite(NamedTuple):
    """What a queue of one's own is made for: its name in `queues`, its address, the config's namespace, the clock.

    The address is empty where the config has a function.
    """

    name: str
    address: str
    namespace: str
    clock: Clock


@runtime_checkable
class Queue(Protocol):
    """Where jobs wait, and what is known of them; see the promises above.

    One of your own may say `embedded = True`: the processes that take jobs then run them too, unless workers do.
    """

    async def open(self) -> None:
        """Connect on the running loop."""
        ...

    async def close(self) -> None:
        """Let go of every connection and task."""
        ...

    async def publish(self, job: NewJob) -> Published:
        """Create the job unless there is one of this id."""
        ...

    async def claim(self, most: int) -> list[Claimed]:
        """Return at most so many jobs to run, those of different owners in turns; empty where none is due.

        Jobs that ended while no worker had them come first, without a token, even where they are more than that.
        """
        ...

    async def idle(self, turns: int) -> None:
        """Return when there may be jobs again, after so many claims in a row that found none."""
        ...

    async def renew(self, held: Sequence[Held]) -> frozenset[str]:
        """Hold on to these; return the ids of those that are not the caller's any more."""
        ...

    async def finish(self, job: str, token: str, ending: Ending) -> Record | None:
        """Note how an attempt ended, and return what became of the job; None: it was another's by then."""
        ...

    async def look(self, job: str) -> Record | None:
        """Return what is known of a job; None: nothing, or nothing any more."""
        ...

    async def result(self, job: str) -> bytes | None:
        """Return the result of a job that succeeded, or of the last attempt of one that is dead."""
        ...

    async def cancel(self, job: str) -> Record | None:
        """End a job unless it has ended, and return what is known of it then."""
        ...

    async def redrive(self, job: str) -> Record | None:
        """Give a dead job all its attempts again; None: it is not dead."""
        ...

    async def dead(self, most: int = 100) -> list[Record]:
        """Return dead jobs, the latest first."""
        ...

    async def depth(self) -> dict[str, int]:
        """Return how many jobs are waiting, delayed, running and dead."""
        ...


LISTED: tuple[Status, ...] = ("running", "queued", "dead")
"""How jobs stand of which there are lists."""


@runtime_checkable
class Lists(Protocol):
    """A queue that can also say which jobs there are, and for how long they wait."""

    async def age(self) -> int:
        """Return the µs for which the job that is due the longest has waited; 0 where none waits."""
        ...

    async def owned(self, owner: str, most: int, before: tuple[int, str] | None = None) -> list[Record]:
        """Return an owner's jobs, the latest first: those before (created, id), maybe of the last thousand only."""
        ...

    async def standing(self, status: Status, most: int = 100) -> list[Record]:
        """Return jobs that are queued, running or dead; of others nobody keeps a list."""
        ...
