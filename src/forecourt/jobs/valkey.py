"""The queue on Redis or Valkey: plain commands in a few scripts, one trip each.

The keys of a queue share a hash tag, so that on a cluster they share a slot (`<namespace>:{jobs:<queue>}` is the
prefix of all):

    :job:<id>      a hash: what was published, its state, its result; expires when nobody can want it any more
    :line:<owner>  a list: the owner's waiting jobs; owners take turns
    :ring          a list: the owners who have any
    :later         a sorted set: delayed jobs and those that wait for their next attempt, by the µs when they are due
    :leases        a sorted set: jobs at work, by the µs at which their lease ends
    :owned:<owner> a sorted set: the owner's last jobs, by the µs of their publication
    :dead          a sorted set: dead jobs, by the µs when they died
    :waiting       how many jobs stand in lines

Each claim first takes back what nobody holds on to, and puts what is due in line: so it happens as long as any worker
looks for work, also on an idle queue. Time is the server's. The scripts are twins of `core.jobs`; a property test
drives both with the same histories. Names of keys below the prefix are made in the scripts: they are of one slot.

A lost reply to a claim leaves the jobs leased until their lease ends; that counts as an attempt. `publish` may be
repeated: the id is created once.
"""

import asyncio
import importlib.resources
import os
import random
import re
from collections.abc import Sequence
from struct import Struct
from typing import TYPE_CHECKING, cast

from forecourt.core.jobs import Status
from forecourt.errors import StoreDown, StoreOverloaded
from forecourt.jobs.queue import Claimed, Ending, Held, NewJob, Published, Record
from forecourt.stores.redis.commands import Item, Reply, Script
from forecourt.types import Clock

if TYPE_CHECKING:
    from forecourt.stores.redis.client import Client

ANSWER = 2.0
"""Seconds that an answer may take: a job carries a body, and nobody is let in by it."""

_FIRST_IDLE, _LONGEST_IDLE = 0.002, 0.05
_MOST_CLAIMED = 16
_NUMBERS = Struct("<6q")
_NAMES = (
    "publish",
    "claim",
    "renew",
    "finish",
    "look",
    "cancel",
    "redrive",
    "dead",
    "depth",
    "age",
    "owned",
    "standing",
)


_COMMENT = re.compile(r"^ *--.*\n", re.MULTILINE)
_STATEMENT = re.compile(r"^(?=\w)(?!end\b)", re.MULTILINE)
_DEFINES = re.compile(r"(?:local )?([\w, ]+) = ")


def script(*names: str) -> Script:
    """Return the last of these files as a script, after what it uses of those before it."""
    folder = importlib.resources.files("forecourt.jobs") / "lua"
    *before, last = [_COMMENT.sub("", (folder / f"{name}.lua").read_text("utf-8")) for name in names]
    return Script(_after("".join(before), last))


def _after(library: str, text: str) -> str:
    """Return the text after those statements of the library that it uses, or they: each is made anew in every run."""
    for statement in reversed(_STATEMENT.split(library)):
        defined = found[1].split(", ") if (found := _DEFINES.match(statement)) else []
        if not defined or any(re.search(rf"\b{name}\b", text) for name in defined):
            text = statement + text
    return text


class ValkeyQueue:
    """Jobs on the server that `client` connects to; `clock` replaces the server's time, for tests only.

    `brokered`: they wait elsewhere, and are not claimed here.
    """

    def __init__(
        self, client: "Client", namespace: str, name: str, *, clock: Clock | None = None, brokered: bool = False
    ) -> None:
        self._client = client
        self._prefix = f"{namespace}:{{jobs:{name}}}"
        self._clock = clock
        before = ("common", "brokered") if brokered else ("common",)
        self._scripts = {each: script(*before, each) for each in _NAMES}

    def __repr__(self) -> str:
        return f"<ValkeyQueue {self._prefix}>"

    async def open(self) -> None:
        """Connect on the running loop."""
        await self._client.open()

    async def close(self) -> None:
        """Let go of the connections."""
        await self._client.close()

    async def publish(self, job: NewJob) -> Published:
        """Create the job unless there is one of this id; StoreOverloaded when the queue is full."""
        numbers = _NUMBERS.pack(job.max_attempts, job.lease, job.delay, job.expires, job.ttl, job.max_queued)
        told = await self._run("publish", job.id, job.owner, job.endpoint, job.fingerprint, job.envelope, numbers)
        if told is None:
            raise StoreOverloaded(f"the queue is full: {job.max_queued} jobs")
        if not isinstance(told, int):
            return Published(_record(cast("list[Reply]", told)), created=False)
        record = Record(job.id, job.owner, job.endpoint, job.fingerprint, "queued", 0, told, told, "", -1.0, "")
        return Published(record, created=True)

    async def claim(self, most: int) -> list[Claimed]:
        """Return at most so many jobs (16), those of different owners in turns."""
        told = await self._run("claim", min(most, _MOST_CLAIMED), os.urandom(12).hex())
        return [
            Claimed(_text(job), _text(token), int(_text(attempts)), int(_text(lease)), cast("bytes", envelope))
            for job, token, attempts, lease, envelope in cast("list[list[Reply]]", told)
        ]

    async def idle(self, turns: int) -> None:
        """Wait 2 to 50 ms, longer the longer nothing came."""
        pause = min(_LONGEST_IDLE, _FIRST_IDLE * 1.5 ** min(turns, 20))
        await asyncio.sleep(pause * random.uniform(0.75, 1.25))  # noqa: S311  # only so that workers spread

    async def renew(self, held: Sequence[Held]) -> frozenset[str]:
        """Hold on to these; return the ids of those that are not ours any more."""
        told: list[Item] = []
        for each in held:
            told += [each.id, each.token, each.lease, repr(each.progress), each.note]
        return frozenset(_text(job) for job in cast("list[Reply]", await self._run("renew", *told)))

    async def finish(self, job: str, token: str, ending: Ending) -> Record | None:
        """Note how an attempt ended; None: the job was another's by then."""
        return _found(await self._run("finish", job, token, ending.kind, ending.result, ending.reason))

    async def look(self, job: str) -> Record | None:
        """Return what is known of a job."""
        return _found(await self._run("look", job))

    async def result(self, job: str) -> bytes | None:
        """Return a job's result."""
        return cast(
            "bytes | None", await self._client.call("HGET", f"{self._prefix}:job:{job}", "result", lane="bodies")
        )

    async def cancel(self, job: str) -> Record | None:
        """End a job unless it has ended."""
        return _found(await self._run("cancel", job))

    async def redrive(self, job: str) -> Record | None:
        """Give a dead job all its attempts and its time again; None: it is not dead."""
        return _found(await self._run("redrive", job))

    async def dead(self, most: int = 100) -> list[Record]:
        """Return dead jobs, the latest first."""
        return [_record(fields) for fields in cast("list[list[Reply]]", await self._run("dead", most))]

    async def depth(self) -> dict[str, int]:
        """Return how many jobs are waiting, delayed, running and dead."""
        numbers = cast("list[int]", await self._run("depth"))
        return dict(zip(("waiting", "delayed", "running", "dead"), numbers, strict=True))

    async def age(self) -> int:
        """Return the µs for which the job that is due the longest has waited, of 64 owners at most."""
        return cast("int", await self._run("age"))

    async def owned(self, owner: str, most: int, before: tuple[int, str] | None = None) -> list[Record]:
        """Return an owner's jobs, the latest first."""
        told = await self._run("owned", owner, most, *(before or (0, "")))
        return [_record(fields) for fields in cast("list[list[Reply]]", told)]

    async def standing(self, status: Status, most: int = 100) -> list[Record]:
        """Return jobs that are queued, running or dead."""
        told = await self._run("standing", status, most)
        return [_record(fields) for fields in cast("list[list[Reply]]", told)]

    async def run(self, doing: Script, *args: Item) -> Reply:
        """Run a script on the keys of this queue."""
        now = self._clock.now() if self._clock is not None else 0
        return await self._client.run(doing, [self._prefix], [now, *args], lane="bodies")

    async def _run(self, name: str, *args: Item) -> Reply:
        return await self.run(self._scripts[name], *args)


def _found(told: Reply) -> Record | None:
    return _record(told) if isinstance(told, list) else None


def _record(fields: Sequence[Reply]) -> Record:
    """Read the fields as `shown` in common.lua gives them."""
    if len(fields) != 11:
        raise StoreDown("the queue answered with something that is no job")
    job, owner, endpoint, fingerprint, status, attempts, created, changed, reason, progress, note = map(_text, fields)
    times = (int(attempts), int(created), int(changed))
    return Record(job, owner, endpoint, fingerprint, cast("Status", status), *times, reason, float(progress), note)


def _text(value: Reply) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
