"""The queue in a file: jobs survive the end of the process, with nothing to install and nothing to run.

One file per queue's address, SQLite in WAL mode, so several processes of one machine may share it. Each operation is
one transaction that takes the write lock first (`BEGIN IMMEDIATE`), on a thread of its own, so that the loop never
waits for the disk. What is to be done is decided by `core.jobs`, from the row and the time; a property test drives this
queue and the one in memory with the same histories.

Owners take turns: each waiting job has a place in its owner's line (`place`), and each owner with a line a turn
(`lines`). Time is this machine's; a commit is on disk before it is answered (`synchronous=FULL`).
"""

import asyncio
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from forecourt.core import jobs
from forecourt.core.jobs import Cancelled, Dead, Done, Failed, Leased, Queued, State, Status, Terms
from forecourt.errors import ConfigError, StoreDown, StoreOverloaded
from forecourt.jobs.queue import LISTED, Claimed, Ending, Held, NewJob, Published, Record
from forecourt.types import Clock, SystemClock

Value = TypeVar("Value")

_PATIENCE = 2.0
"""Seconds that another process may hold the file."""

_FIRST_IDLE, _LONGEST_IDLE = 0.005, 0.1
_TABLES = """
CREATE TABLE IF NOT EXISTS jobs (
    queue TEXT, id TEXT, owner TEXT, endpoint TEXT, fingerprint TEXT, envelope BLOB, max_attempts INTEGER,
    lease INTEGER, expires INTEGER, ttl INTEGER, deadline INTEGER, state TEXT, attempts INTEGER, due INTEGER,
    token TEXT DEFAULT '', reason TEXT DEFAULT '', created INTEGER, changed INTEGER, result BLOB,
    progress REAL DEFAULT -1, note TEXT DEFAULT '', place INTEGER, PRIMARY KEY (queue, id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS standing ON jobs (queue, state, due);
CREATE INDEX IF NOT EXISTS owning ON jobs (queue, owner, created, id);
CREATE INDEX IF NOT EXISTS lining ON jobs (queue, owner, place) WHERE place IS NOT NULL;
CREATE TABLE IF NOT EXISTS lines (queue TEXT, owner TEXT, turn INTEGER, PRIMARY KEY (queue, owner)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS counter (number INTEGER);
"""
_NEVER = ((1 << 63) - 1, "")
"""Later than any instant."""

_RECORD = "SELECT id, owner, endpoint, fingerprint, state, attempts, created, changed, reason, progress, note FROM jobs"


class SqliteQueue:
    """Jobs in the file at `path`, under a name; `clock` says when."""

    def __init__(self, path: str, name: str, clock: Clock | None = None) -> None:
        self._path = path
        self._name = name
        self._clock = clock or SystemClock()
        self._file: sqlite3.Connection | None = None
        self._thread: ThreadPoolExecutor | None = None

    def __repr__(self) -> str:
        return f"<SqliteQueue {self._name} in {self._path}>"

    async def open(self) -> None:
        """Open the file, which is made where there is none; ConfigError where that cannot be."""
        self._thread = ThreadPoolExecutor(1, "forecourt jobs")
        try:
            await self._within(self._open)
        except StoreDown as error:
            await self.close()
            raise ConfigError(f'queues: sqlite: "{self._path}" cannot be used: {error.__cause__}') from error

    async def close(self) -> None:
        """Close the file."""
        if self._thread is not None:
            await self._within(self._close)
            self._thread.shutdown()
            self._thread = None

    async def publish(self, job: NewJob) -> Published:
        """Create the job unless there is one of this id; StoreOverloaded when the queue is full."""
        return await self._do(lambda at: at.publish(job))

    async def claim(self, most: int) -> list[Claimed]:
        """Return at most so many jobs, one of each owner in turn."""
        return await self._do(lambda at: at.claim(most))

    async def idle(self, turns: int) -> None:
        """Wait 5 to 100 ms, longer the longer nothing came."""
        await asyncio.sleep(min(_LONGEST_IDLE, _FIRST_IDLE * 1.5 ** min(turns, 20)))

    async def renew(self, held: Sequence[Held]) -> frozenset[str]:
        """Hold on to these; return those that are lost."""
        return await self._do(lambda at: frozenset(each.id for each in held if not at.renew(each)))

    async def finish(self, job: str, token: str, ending: Ending) -> Record | None:
        """Note how an attempt ended; None: it was another's by then."""
        return await self._do(lambda at: at.finish(job, token, ending))

    async def look(self, job: str) -> Record | None:
        """Return what is known of a job."""
        return await self._do(lambda at: at.record(job))

    async def result(self, job: str) -> bytes | None:
        """Return the result of a job."""
        return await self._do(lambda at: at.result(job))

    async def cancel(self, job: str) -> Record | None:
        """End a job unless it has ended."""
        return await self._do(lambda at: at.cancel(job))

    async def redrive(self, job: str) -> Record | None:
        """Give a dead job all its attempts and its time again; None: it is not dead."""
        return await self._do(lambda at: at.redrive(job))

    async def dead(self, most: int = 100) -> list[Record]:
        """Return dead jobs, the latest first."""
        return await self._do(lambda at: at.standing("dead", most))

    async def depth(self) -> dict[str, int]:
        """Return how many jobs are waiting, delayed, running and dead."""
        return await self._do(lambda at: at.depth())

    async def age(self) -> int:
        """Return the µs for which the job that is due the longest has waited."""
        return await self._do(lambda at: at.age())

    async def owned(self, owner: str, most: int, before: tuple[int, str] | None = None) -> list[Record]:
        """Return an owner's jobs, the latest first."""
        return await self._do(lambda at: at.owned(owner, most, before))

    async def standing(self, status: Status, most: int = 100) -> list[Record]:
        """Return jobs that are queued, running or dead, the latest first."""
        return await self._do(lambda at: at.standing(status, most)) if status in LISTED else []

    async def _do(self, doing: Callable[["_Transaction"], Value]) -> Value:
        return await self._within(lambda: self._done(doing))

    async def _within(self, doing: Callable[[], Value]) -> Value:
        if self._thread is None:
            raise StoreDown("the queue is not open")
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, doing)
        except sqlite3.Error as error:
            raise StoreDown(f"the queue's file does not answer: {error}") from error

    def _done(self, doing: Callable[["_Transaction"], Value]) -> Value:
        if self._file is None:
            raise StoreDown("the queue's file is not open")
        self._file.execute("BEGIN IMMEDIATE")
        try:
            done = doing(_Transaction(self._file, self._name, self._clock.now()))
        except BaseException:
            self._file.execute("ROLLBACK")
            raise
        self._file.execute("COMMIT")
        return done

    def _open(self) -> None:
        self._file = sqlite3.connect(self._path, timeout=_PATIENCE, isolation_level=None)
        self._file.execute("PRAGMA journal_mode=WAL")
        self._file.execute("PRAGMA synchronous=FULL")
        self._file.executescript(_TABLES)

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


class _Transaction:
    """What is done to one queue's rows at one instant."""

    def __init__(self, file: sqlite3.Connection, queue: str, now: int) -> None:
        self._file = file
        self._queue = queue
        self._now = now
        self._ask("DELETE FROM jobs WHERE queue = ? AND state NOT IN ('queued', 'running') AND changed + ttl <= ?", now)

    def publish(self, job: NewJob) -> Published:
        if known := self.record(job.id):
            return Published(known, created=False)
        if (
            self._number("SELECT count(*) FROM jobs WHERE queue = ? AND state IN ('queued', 'running')")
            >= job.max_queued
        ):
            raise StoreOverloaded(f"the queue is full: {job.max_queued} jobs")
        now = self._now
        told = (job.id, job.owner, job.endpoint, job.fingerprint, job.envelope, job.max_attempts)
        times = (job.lease, job.expires, job.ttl, now + job.expires)
        self._ask(
            "INSERT INTO jobs (queue, id, owner, endpoint, fingerprint, envelope, max_attempts, lease, expires, ttl,"
            " deadline, state, attempts, due, created, changed) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'queued', 0,"
            " ?, ?, ?)",
            *(*told, *times, now + job.delay, now, now),
        )
        if not job.delay:
            self._line_up(job.id, job.owner)
        return Published(self._surely(job.id), created=True)

    def claim(self, most: int) -> list[Claimed]:
        found = [self._told(job) for job in self._sweep()]
        self._due()
        while len(found) < most and (job := self._first()) is not None:
            lease, terms = self._terms(job)
            token = os.urandom(12).hex()
            state = jobs.claimed(self._state(job), terms, self._now, lease, token)
            if state is not None:
                self._become(job, state)
                found.append(self._told(job, token if isinstance(state, Leased) else ""))
        return found

    def renew(self, held: Held) -> bool:
        state = jobs.renewed(self._known(held.id), held.token, self._now + held.lease)
        if state is None:
            return False
        words = "UPDATE jobs SET due = ?, progress = ?, note = ? WHERE id = ? AND queue = ?"
        self._change(words, state.until, held.progress, held.note, held.id)
        return True

    def finish(self, job: str, token: str, ending: Ending) -> Record | None:
        state = self._after(job, token, ending)
        if state is None:
            return None
        self._become(job, state)
        if ending.kind == "done" or isinstance(state, Dead):
            self._change("UPDATE jobs SET result = ? WHERE id = ? AND queue = ?", ending.result or None, job)
        return self._surely(job)

    def record(self, job: str) -> Record | None:
        row = self._ask(_RECORD + " WHERE queue = ? AND id = ?", job).fetchone()
        return Record(*row) if row else None

    def result(self, job: str) -> bytes | None:
        row = self._ask("SELECT result FROM jobs WHERE queue = ? AND id = ?", job).fetchone()
        return row[0] if row else None

    def cancel(self, job: str) -> Record | None:
        if state := jobs.cancelled(self._known(job)):
            self._become(job, state)
        return self.record(job)

    def redrive(self, job: str) -> Record | None:
        state = jobs.redriven(self._known(job), self._now)
        if state is None:
            return None
        words = "UPDATE jobs SET deadline = ? + expires, result = NULL, reason = '' WHERE id = ? AND queue = ?"
        self._change(words, self._now, job)
        self._become(job, state)
        return self._surely(job)

    def standing(self, status: Status, most: int) -> list[Record]:
        words = _RECORD + " WHERE queue = ? AND state = ? ORDER BY changed DESC LIMIT ?"
        return [Record(*row) for row in self._ask(words, status, most)]

    def owned(self, owner: str, most: int, before: tuple[int, str] | None) -> list[Record]:
        words = _RECORD + " WHERE queue = ? AND owner = ? AND (created, id) < (?, ?) ORDER BY created DESC, id DESC"
        return [Record(*row) for row in self._ask(words + " LIMIT ?", owner, *(before or _NEVER), most)]

    def age(self) -> int:
        words = "SELECT min(due) FROM jobs WHERE queue = ? AND state = 'queued'"
        (due,) = self._ask(words).fetchone()
        return 0 if due is None else max(0, self._now - due)

    def depth(self) -> dict[str, int]:
        words = "SELECT count(*) FROM jobs WHERE queue = ? AND state = ?"
        numbers = {state: self._number(words, state) for state in ("queued", "running", "dead")}
        delayed = self._number(words + " AND due > ?", "queued", self._now)
        waiting = numbers["queued"] - delayed
        return {"waiting": waiting, "delayed": delayed, "running": numbers["running"], "dead": numbers["dead"]}

    def _sweep(self) -> Iterator[str]:
        """Take back what nobody holds on to; yield those that are dead by it."""
        words = "SELECT id FROM jobs WHERE queue = ? AND state = 'running' AND due <= ? ORDER BY due, id"
        for (job,) in self._ask(words, self._now).fetchall():
            state = jobs.swept(self._state(job), self._terms(job)[1], self._now)
            assert state is not None
            self._become(job, state)
            if isinstance(state, Dead):
                yield job

    def _due(self) -> None:
        words = "SELECT id, owner FROM jobs WHERE queue = ? AND state = 'queued' AND place IS NULL AND due <= ?"
        for job, owner in self._ask(words + " ORDER BY due, id", self._now).fetchall():
            self._line_up(job, owner)

    def _first(self) -> str | None:
        """Return the next job of the owner whose turn it is, out of line."""
        row = self._ask("SELECT owner FROM lines WHERE queue = ? ORDER BY turn LIMIT 1").fetchone()
        if row is None:
            return None
        (owner,) = row
        words = "SELECT id FROM jobs WHERE queue = ? AND owner = ? AND place IS NOT NULL ORDER BY place LIMIT 2"
        standing = self._ask(words, owner).fetchall()
        self._ask("DELETE FROM lines WHERE queue = ? AND owner = ?", owner)
        if len(standing) > 1:
            self._ask("INSERT INTO lines VALUES (?, ?, ?)", owner, self._next())
        job: str = standing[0][0]
        self._ask("UPDATE jobs SET place = NULL WHERE queue = ? AND id = ?", job)
        return job

    def _line_up(self, job: str, owner: str) -> None:
        self._change("UPDATE jobs SET place = ? WHERE id = ? AND queue = ?", self._next(), job)
        self._ask("INSERT OR IGNORE INTO lines VALUES (?, ?, ?)", owner, self._next())

    def _leave_line(self, job: str) -> None:
        self._ask("UPDATE jobs SET place = NULL WHERE queue = ? AND id = ?", job)
        self._ask(
            "DELETE FROM lines WHERE queue = ?"
            " AND owner = (SELECT owner FROM jobs WHERE jobs.queue = lines.queue AND id = ?) AND NOT EXISTS"
            " (SELECT 1 FROM jobs WHERE jobs.queue = lines.queue AND owner = lines.owner AND place IS NOT NULL)",
            job,
        )

    def _become(self, job: str, state: State) -> None:
        self._leave_line(job)
        due = state.due if isinstance(state, Queued) else state.until if isinstance(state, Leased) else 0
        token = state.token if isinstance(state, Leased) else ""
        reason = state.reason if isinstance(state, Failed | Dead) else ""
        self._change(
            "UPDATE jobs SET state = ?, attempts = ?, due = ?, token = ?, reason = ?, changed = ?"
            " WHERE id = ? AND queue = ?",
            *(jobs.status_of(state), state.attempts, due, token, reason, self._now, job),
        )
        if isinstance(state, Leased):
            self._ask("UPDATE jobs SET progress = -1, note = '' WHERE queue = ? AND id = ?", job)
        if isinstance(state, Queued) and due <= self._now:
            self._line_up(job, self._surely(job).owner)

    def _after(self, job: str, token: str, ending: Ending) -> State | None:
        state = self._known(job)
        if ending.kind == "done":
            return jobs.done(state, token)
        if ending.kind == "given back":
            return jobs.given_back(state, token, self._now)
        if not isinstance(state, Leased):
            return None
        return jobs.failed(state, self._terms(job)[1], token, self._now, ending.reason)

    def _known(self, job: str) -> State:
        """Return a job's state; one that is not there is like one that its owner gave up."""
        return self._state(job) if self.record(job) else Cancelled(0)

    def _state(self, job: str) -> State:
        words = "SELECT state, attempts, due, token, reason FROM jobs WHERE queue = ? AND id = ?"
        status, attempts, due, token, reason = self._ask(words, job).fetchone()
        states: dict[str, State] = {
            "queued": Queued(attempts, due),
            "running": Leased(attempts, token, due),
            "succeeded": Done(attempts),
            "failed": Failed(attempts, reason),
            "dead": Dead(attempts, reason),
            "cancelled": Cancelled(attempts),
        }
        return states[status]

    def _terms(self, job: str) -> tuple[int, Terms]:
        words = "SELECT lease, max_attempts, deadline FROM jobs WHERE queue = ? AND id = ?"
        lease, *terms = self._ask(words, job).fetchone()
        return lease, Terms(*terms)

    def _told(self, job: str, token: str = "") -> Claimed:
        words = "SELECT attempts, lease, envelope FROM jobs WHERE queue = ? AND id = ?"
        return Claimed(job, token, *self._ask(words, job).fetchone())

    def _surely(self, job: str) -> Record:
        record = self.record(job)
        assert record is not None
        return record

    def _next(self) -> int:
        if self._file.execute("UPDATE counter SET number = number + 1").rowcount == 0:
            self._file.execute("INSERT INTO counter VALUES (1)")
        number: int = self._file.execute("SELECT number FROM counter").fetchone()[0]
        return number

    def _number(self, words: str, *values: object) -> int:
        number: int = self._ask(words, *values).fetchone()[0]
        return number

    def _ask(self, words: str, *values: object) -> sqlite3.Cursor:
        return self._file.execute(words, (self._queue, *values))

    def _change(self, words: str, *values: object) -> None:
        """Run words that name the queue last."""
        self._file.execute(words, (*values, self._queue))
