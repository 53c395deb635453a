"""The embedded queue: jobs of this process, in its memory. They are gone when it ends.

Every method runs from its first read to its last write without an await, so no lock is needed. Owners take turns: each
has a line of its own, and the lines stand in a ring. What has ended is forgotten when its time is over, looked for a
few at a time as jobs come.
"""

import asyncio
import os
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush

from forecourt.core import jobs
from forecourt.core.jobs import Dead, Leased, Queued, State, Status, Terms
from forecourt.errors import StoreOverloaded
from forecourt.jobs.queue import LISTED, Claimed, Ending, Held, NewJob, Published, Record
from forecourt.types import SECOND, Clock, SystemClock

_LONGEST_IDLE = 1.0


@dataclass(slots=True)
class _Job:
    """One job: what was published, and what became of it so far."""

    given: NewJob
    terms: Terms
    state: State
    created: int
    changed: int
    result: bytes | None = None
    progress: float = -1
    note: str = ""

    def record(self) -> Record:
        given, state = self.given, self.state
        reason = state.reason if isinstance(state, jobs.Failed | Dead) else ""
        told = (given.id, given.owner, given.endpoint, given.fingerprint, jobs.status_of(state), state.attempts)
        return Record(*told, self.created, self.changed, reason, self.progress, self.note)


class MemoryQueue:
    """Jobs of this process; `clock` says when."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._jobs: dict[str, _Job] = {}
        self._lines: dict[str, deque[str]] = {}
        self._ring: deque[str] = deque()
        self._later: list[tuple[int, str]] = []
        """When a job is due, or its lease ends."""
        self._over: list[tuple[int, str]] = []
        """When a job that has ended may be forgotten."""
        self._owned: dict[str, dict[str, None]] = {}
        """Ids by owner, in the order of their publication."""
        self._unfinished = 0
        self._news = asyncio.Event()

    def __repr__(self) -> str:
        return f"<MemoryQueue of {len(self._jobs)} jobs>"

    async def open(self) -> None:
        """Nothing to connect; an event belongs to the loop that waits for it."""
        self._news = asyncio.Event()

    async def close(self) -> None:
        """Keep what is known: the same object may be opened again."""

    async def publish(self, job: NewJob) -> Published:
        """Create the job unless there is one of this id; StoreOverloaded when the queue is full."""
        now = self._forget()
        if known := self._jobs.get(job.id):
            return Published(known.record(), created=False)
        if self._unfinished >= job.max_queued:
            raise StoreOverloaded(f"the queue is full: {job.max_queued} jobs")
        terms = Terms(job.max_attempts, now + job.expires)
        made = self._jobs[job.id] = _Job(job, terms, Queued(0, now + job.delay), now, now)
        self._unfinished += 1
        self._owned.setdefault(job.owner, {})[job.id] = None
        self._enqueue(made)
        return Published(made.record(), created=True)

    async def claim(self, most: int) -> list[Claimed]:
        """Return at most so many jobs, one of each owner in turn, besides those that ended while nobody had them."""
        now = self._forget()
        found = [_adopted(job) for job in self._look_again(now)]
        return found + [claimed for _, claimed in zip(range(most - len(found)), self._claims(now), strict=False)]

    async def idle(self, turns: int) -> None:
        """Return when a job is published or due."""
        self._news.clear()
        now = self._clock.now()
        wait = _LONGEST_IDLE
        if self._later:
            wait = min(wait, max(0, self._later[0][0] - now) / SECOND)
        if turns <= 0 or wait <= 0:
            return
        waits = [asyncio.ensure_future(self._news.wait()), asyncio.ensure_future(self._clock.sleep(wait))]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()

    async def renew(self, held: Sequence[Held]) -> frozenset[str]:
        """Hold on to these; return those that are lost."""
        now = self._forget()
        lost: set[str] = set()
        for each in held:
            job = self._jobs.get(each.id)
            state = jobs.renewed(job.state, each.token, now + each.lease) if job else None
            if job is None or state is None:
                lost.add(each.id)
                continue
            job.state, job.progress, job.note = state, each.progress, each.note
            heappush(self._later, (state.until, each.id))
        return frozenset(lost)

    async def finish(self, job: str, token: str, ending: Ending) -> Record | None:
        """Note how an attempt ended; None: it was another's by then."""
        now = self._forget()
        known = self._jobs.get(job)
        state = _after(known, token, ending, now) if known else None
        if known is None or state is None:
            return None
        if ending.kind == "done" or isinstance(state, Dead):
            known.result = ending.result or None
        self._become(known, state, now)
        return known.record()

    async def look(self, job: str) -> Record | None:
        """Return what is known of a job."""
        self._forget()
        known = self._jobs.get(job)
        return known.record() if known else None

    async def result(self, job: str) -> bytes | None:
        """Return the result of a job."""
        self._forget()
        known = self._jobs.get(job)
        return known.result if known else None

    async def cancel(self, job: str) -> Record | None:
        """End a job unless it has ended."""
        now = self._forget()
        known = self._jobs.get(job)
        if known is None:
            return None
        if state := jobs.cancelled(known.state):
            self._leave_line(known)
            self._become(known, state, now)
        return known.record()

    async def redrive(self, job: str) -> Record | None:
        """Give a dead job all its attempts and its time again; None: it is not dead."""
        now = self._forget()
        known = self._jobs.get(job)
        state = jobs.redriven(known.state, now) if known else None
        if known is None or state is None:
            return None
        known.terms = known.terms._replace(deadline=now + known.given.expires)
        known.result = None
        self._become(known, state, now)
        return known.record()

    async def dead(self, most: int = 100) -> list[Record]:
        """Return dead jobs, the latest first."""
        self._forget()
        found = [job.record() for job in self._jobs.values() if isinstance(job.state, Dead)]
        return sorted(found, key=lambda record: -record.changed)[:most]

    async def depth(self) -> dict[str, int]:
        """Return how many jobs are waiting, delayed, running and dead."""
        now = self._forget()
        states = [job.state for job in self._jobs.values()]
        delayed = sum(isinstance(state, Queued) and state.due > now for state in states)
        return {
            "waiting": sum(isinstance(state, Queued) for state in states) - delayed,
            "delayed": delayed,
            "running": sum(isinstance(state, Leased) for state in states),
            "dead": sum(isinstance(state, Dead) for state in states),
        }

    async def age(self) -> int:
        """Return the µs for which the job that is due the longest has waited."""
        now = self._forget()
        heads = (self._jobs[line[0]].state for line in self._lines.values())
        return max([0, *(now - state.due for state in heads if isinstance(state, Queued))])

    async def owned(self, owner: str, most: int, before: tuple[int, str] | None = None) -> list[Record]:
        """Return an owner's jobs, the latest first."""
        self._forget()
        records = sorted(
            (self._jobs[name].record() for name in self._owned.get(owner, ())), key=lambda each: (each.created, each.id)
        )
        older = (each for each in reversed(records) if before is None or (each.created, each.id) < before)
        return [each for _, each in zip(range(most), older, strict=False)]

    async def standing(self, status: Status, most: int = 100) -> list[Record]:
        """Return jobs that are queued, running or dead, the latest first."""
        self._forget()
        found = [record for job in self._jobs.values() if (record := job.record()).status == status]
        return sorted(found, key=lambda record: -record.changed)[:most] if status in LISTED else []

    def _claims(self, now: int) -> Iterator[Claimed]:
        while self._ring:
            owner = self._ring.popleft()
            line = self._lines[owner]
            job = self._jobs.get(line.popleft())
            if line:
                self._ring.append(owner)
            else:
                del self._lines[owner]
            if job and (claimed := self._claimed(job, now)):
                yield claimed

    def _claimed(self, job: _Job, now: int) -> Claimed | None:
        token = os.urandom(12).hex()
        state = jobs.claimed(job.state, job.terms, now, job.given.lease, token)
        if state is None:
            if isinstance(job.state, Queued):  # it was due, and the clock was set back
                heappush(self._later, (job.state.due, job.given.id))
            return None
        self._become(job, state, now)
        if not isinstance(state, Leased):
            token = ""
        return Claimed(job.given.id, token, state.attempts, job.given.lease, job.given.envelope)

    def _become(self, job: _Job, state: State, now: int) -> None:
        self._unfinished += isinstance(state, Queued | Leased) - isinstance(job.state, Queued | Leased)
        job.state, job.changed = state, now
        match state:
            case Queued():
                self._enqueue(job)
            case Leased():
                job.progress, job.note = -1, ""
                heappush(self._later, (state.until, job.given.id))
            case _:
                heappush(self._over, (now + job.given.ttl, job.given.id))

    def _enqueue(self, job: _Job) -> None:
        assert isinstance(job.state, Queued)
        if job.state.due > self._clock.now():
            heappush(self._later, (job.state.due, job.given.id))
            self._news.set()
            return
        self._line_up(job)

    def _line_up(self, job: _Job) -> None:
        owner = job.given.owner
        if owner not in self._lines:
            self._lines[owner] = deque()
            self._ring.append(owner)
        self._lines[owner].append(job.given.id)
        self._news.set()

    def _leave_line(self, job: _Job) -> None:
        owner = job.given.owner
        if job.given.id in (line := self._lines.get(owner, ())):
            self._lines[owner].remove(job.given.id)
            if not line:
                del self._lines[owner]
                self._ring.remove(owner)

    def _forget(self) -> int:
        """Forget what is over; return the time."""
        now = self._clock.now()
        while self._over and self._over[0][0] <= now:
            _, name = heappop(self._over)
            job = self._jobs.get(name)
            if job and not isinstance(job.state, Queued | Leased) and job.changed + job.given.ttl <= now:
                del self._jobs[name]
                owned = self._owned[job.given.owner]
                del owned[name]
                if not owned:
                    del self._owned[job.given.owner]
        return now

    def _look_again(self, now: int) -> list[_Job]:
        """Take back what nobody holds on to, and put what is due in line; return what has ended by that."""
        due: list[_Job] = []
        ended: list[_Job] = []
        while self._later and self._later[0][0] <= now:
            _, name = heappop(self._later)
            job = self._jobs.get(name)
            if job is None:
                continue
            if isinstance(job.state, Queued) and job.state.due <= now and job not in due:
                due.append(job)
            elif isinstance(job.state, Leased) and (state := jobs.swept(job.state, job.terms, now)):
                self._become(job, state, now)
                ended += [job] if isinstance(state, Dead) else []
        for job in due:
            self._line_up(job)
        return ended


def _adopted(job: _Job) -> Claimed:
    return Claimed(job.given.id, "", job.state.attempts, 0, job.given.envelope)


def _after(job: _Job, token: str, ending: Ending, now: int) -> State | None:
    if ending.kind == "done":
        return jobs.done(job.state, token)
    if ending.kind == "given back":
        return jobs.given_back(job.state, token, now)
    return jobs.failed(job.state, job.terms, token, now, ending.reason)
