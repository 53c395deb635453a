"""A queue of one's own: a file for each job, in a folder that the processes of one machine share.

Which state follows which is decided by `forecourt.core.jobs`, as in every queue of the package; this file only keeps
what was decided. A lock on the folder makes each step whole, and a job's file is replaced by a rename, so a process
that dies leaves none half written. Each claim reads the whole folder: good for hundreds of jobs, not for millions.
"""

import asyncio
import base64
import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import quote

from forecourt.core import jobs
from forecourt.core.jobs import Cancelled, Dead, Done, Failed, Leased, Queued, State, Terms
from forecourt.errors import StoreOverloaded
from forecourt.jobs.queue import Claimed, Ending, Held, NewJob, Published, QueueSite, Record
from forecourt.types import Clock

STATES = {each.__name__: each for each in (Queued, Leased, Done, Failed, Dead, Cancelled)}


@dataclass
class Job:
    """What the file of a job says."""

    given: NewJob
    state: State
    number: int
    created: int
    changed: int
    deadline: int
    result: bytes | None = None
    progress: float = -1
    note: str = ""

    @property
    def terms(self) -> Terms:
        """What holds for it."""
        return Terms(self.given.max_attempts, self.deadline)

    @property
    def ended(self) -> bool:
        """Whether nothing will change by itself."""
        return not isinstance(self.state, Queued | Leased)

    def become(self, state: State, now: int) -> None:
        """Go over to a state."""
        self.state, self.changed = state, now

    def record(self) -> Record:
        """Return what is told of it."""
        given, reason = self.given, getattr(self.state, "reason", "")
        told = (given.id, given.owner, given.endpoint, given.fingerprint, jobs.status_of(self.state))
        times = (self.state.attempts, self.created, self.changed)
        return Record(*told, *times, reason, self.progress, self.note)

    def text(self) -> str:
        """Return the file."""
        given = {**self.given._asdict(), "envelope": _spelt(self.given.envelope)}
        state = {"is": type(self.state).__name__, **asdict(self.state)}
        result = None if self.result is None else _spelt(self.result)
        return json.dumps({**vars(self), "given": given, "state": state, "result": result})

    @classmethod
    def read(cls, text: str) -> "Job":
        """Return what a file says."""
        said = json.loads(text)
        given = NewJob(**{**said["given"], "envelope": base64.b64decode(said["given"]["envelope"])})
        state = STATES[said["state"].pop("is")](**said["state"])
        result = None if said["result"] is None else base64.b64decode(said["result"])
        return cls(**{**said, "given": given, "state": state, "result": result})


class FolderQueue:
    """Jobs in a folder; `embedded`: the processes that take jobs also run them, unless workers do."""

    embedded = True

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._folder = folder
        self._clock = clock

    async def open(self) -> None:
        """Make the folder."""
        self._folder.mkdir(parents=True, exist_ok=True)

    async def close(self) -> None:
        """Keep what is there."""

    async def publish(self, job: NewJob) -> Published:
        """Create the job unless there is one of this id; StoreOverloaded when the queue is full."""
        return await asyncio.to_thread(self._publish, job)

    async def claim(self, most: int) -> list[Claimed]:
        """Return at most so many jobs, one of each owner in turn, besides those that ended while nobody had them."""
        return await asyncio.to_thread(self._claim, most)

    async def idle(self, turns: int) -> None:
        """Look again after a twentieth of a second, after a second where there is seldom anything."""
        await self._clock.sleep(min(1.0, 0.05 * turns))

    async def renew(self, held: Sequence[Held]) -> frozenset[str]:
        """Hold on to these; return those that are lost."""
        return await asyncio.to_thread(self._renew, held)

    async def finish(self, job: str, token: str, ending: Ending) -> Record | None:
        """Note how an attempt ended; None: it was another's by then."""
        return await asyncio.to_thread(self._finish, job, token, ending)

    async def look(self, job: str) -> Record | None:
        """Return what is known of a job."""
        known = (await asyncio.to_thread(self._seen)).get(job)
        return known.record() if known else None

    async def result(self, job: str) -> bytes | None:
        """Return the result of a job."""
        known = (await asyncio.to_thread(self._seen)).get(job)
        return known.result if known else None

    async def cancel(self, job: str) -> Record | None:
        """End a job unless it has ended."""
        return await asyncio.to_thread(self._cancel, job)

    async def redrive(self, job: str) -> Record | None:
        """Give a dead job all its attempts and its time again; None: it is not dead."""
        return await asyncio.to_thread(self._redrive, job)

    async def dead(self, most: int = 100) -> list[Record]:
        """Return dead jobs, the latest first."""
        known = await asyncio.to_thread(self._seen)
        found = [job.record() for job in known.values() if isinstance(job.state, Dead)]
        return sorted(found, key=lambda record: -record.changed)[:most]

    async def depth(self) -> dict[str, int]:
        """Return how many jobs are waiting, delayed, running and dead."""
        now, states = self._clock.now(), [job.state for job in (await asyncio.to_thread(self._seen)).values()]
        queued = [state for state in states if isinstance(state, Queued)]
        delayed = sum(state.due > now for state in queued)
        running, dead = (sum(isinstance(state, kind) for state in states) for kind in (Leased, Dead))
        return {"waiting": len(queued) - delayed, "delayed": delayed, "running": running, "dead": dead}

    def _publish(self, given: NewJob) -> Published:
        with self._locked() as now:
            known = self._all()
            if there := known.get(given.id):
                return Published(there.record(), created=False)
            if sum(not job.ended for job in known.values()) >= given.max_queued:
                raise StoreOverloaded(f"the queue is full: {given.max_queued} jobs")
            number = 1 + max((job.number for job in known.values()), default=0)
            made = Job(given, Queued(0, now + given.delay), number, now, now, now + given.expires)
            self._write(made)
            return Published(made.record(), created=True)

    def _claim(self, most: int) -> list[Claimed]:
        with self._locked() as now:
            known, found = self._all(), []
            for job in known.values():
                if state := jobs.swept(job.state, job.terms, now):
                    job.become(state, now)
                    self._write(job)
                    found += [_told(job)] if isinstance(state, Dead) else []
            turns = self._in_turn([job for job in known.values() if isinstance(job.state, Queued)], now)
            while len(found) < most and (due := next(turns, None)):
                found += self._claimed(due, now)
            return found

    def _claimed(self, job: Job, now: int) -> list[Claimed]:
        token = os.urandom(12).hex()
        state = jobs.claimed(job.state, job.terms, now, job.given.lease, token)
        if state is None:
            return []
        job.become(state, now)
        job.progress, job.note = -1, ""
        self._write(job)
        return [_told(job, token)] if isinstance(state, Leased) else [_told(job)]

    def _in_turn(self, queued: list[Job], now: int) -> Iterator[Job]:
        """Yield the jobs that are due, each time the oldest of the owner who has waited longest for a turn."""
        due = sorted((job for job in queued if isinstance(job.state, Queued) and job.state.due <= now), key=_age)
        turns = self._folder / "turns"
        served: dict[str, int] = json.loads(turns.read_text("utf-8")) if turns.exists() else {}
        while due:
            job = min(due, key=lambda each: (served.get(each.given.owner, 0), _age(each)))
            due.remove(job)
            served[job.given.owner] = 1 + max(served.values(), default=0)
            _replace(turns, json.dumps(served))
            yield job

    def _renew(self, held: Sequence[Held]) -> frozenset[str]:
        with self._locked() as now:
            known, lost = self._all(), set()
            for each in held:
                job = known.get(each.id)
                state = jobs.renewed(job.state, each.token, now + each.lease) if job else None
                if job is None or state is None:
                    lost.add(each.id)
                    continue
                job.state, job.progress, job.note = state, each.progress, each.note
                self._write(job)
            return frozenset(lost)

    def _finish(self, name: str, token: str, ending: Ending) -> Record | None:
        with self._locked() as now:
            job = self._all().get(name)
            state = _after(job, token, ending, now) if job else None
            if job is None or state is None:
                return None
            if ending.kind == "done" or isinstance(state, Dead):
                job.result = ending.result or None
            job.become(state, now)
            self._write(job)
            return job.record()

    def _cancel(self, name: str) -> Record | None:
        with self._locked() as now:
            job = self._all().get(name)
            if job and (state := jobs.cancelled(job.state)):
                job.become(state, now)
                self._write(job)
            return job.record() if job else None

    def _redrive(self, name: str) -> Record | None:
        with self._locked() as now:
            job = self._all().get(name)
            state = jobs.redriven(job.state, now) if job else None
            if job is None or state is None:
                return None
            job.become(state, now)
            job.result, job.deadline = None, now + job.given.expires
            self._write(job)
            return job.record()

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """Be alone in the folder, threads and processes alike; yield the time."""
        with (self._folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield self._clock.now()

    def _seen(self) -> dict[str, Job]:
        """Return all jobs, for who only looks."""
        with self._locked():
            return self._all()

    def _all(self) -> dict[str, Job]:
        """Return all jobs by id; those that have been over for their `ttl` are gone."""
        now, known = self._clock.now(), {}
        for path in self._folder.glob("*.json"):
            job = Job.read(path.read_text("utf-8"))
            if job.ended and job.changed + job.given.ttl <= now:
                path.unlink(missing_ok=True)
            else:
                known[job.given.id] = job
        return known

    def _write(self, job: Job) -> None:
        _replace(self._folder / f"{quote(job.given.id, safe='')}.json", job.text())


def folder_queue(site: QueueSite) -> FolderQueue:
    """Make the queue of an address such as folder:///var/jobs; what a package's entry point names."""
    return FolderQueue(Path(site.address.removeprefix("folder://")) / site.name, site.clock)


def _replace(path: Path, text: str) -> None:
    new = path.with_suffix(".new")
    new.write_text(text, "utf-8")
    new.replace(path)


def _age(job: Job) -> tuple[int, int]:
    return (job.state.due if isinstance(job.state, Queued) else 0, job.number)


def _told(job: Job, token: str = "") -> Claimed:
    return Claimed(job.given.id, token, job.state.attempts, job.given.lease if token else 0, job.given.envelope)


def _after(job: Job, token: str, ending: Ending, now: int) -> State | None:
    if ending.kind == "done":
        return jobs.done(job.state, token)
    if ending.kind == "given back":
        return jobs.given_back(job.state, token, now)
    return jobs.failed(job.state, job.terms, token, now, ending.reason)


def _spelt(content: bytes) -> str:
    return base64.b64encode(content).decode()
