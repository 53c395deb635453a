"""What is known of jobs whose lines are with a broker: the records, leases and results, on Redis or Valkey.

The keys and scripts are those of the queue on Valkey, but for the lines: jobs wait at the broker, and here they are
only counted (`:open`). A message is one to run when the record says so; so it may come twice, late, or to two workers
at once, and the job has one result all the same.
"""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple, cast

from forecourt.jobs.queue import NewJob
from forecourt.jobs.valkey import ValkeyQueue, script
from forecourt.stores.redis.commands import Item, Reply
from forecourt.types import Clock

if TYPE_CHECKING:
    from forecourt.stores.redis.client import Client

_OWN = ("take", "withdraw", "bury", "exhume")
_FOUND: dict[bytes, Literal["run", "told", "over", "wait"]] = {
    b"run": "run",
    b"told": "told",
    b"over": "over",
    b"wait": "wait",
}


class Taken(NamedTuple):
    """What is to be done with a message.

    `run`: it is the caller's, with this token, for `us`. `told`: it has ended while nobody had it. `over`: nothing.
    `wait`: nothing for `us`: it is not due, or another has it.
    """

    what: Literal["run", "told", "over", "wait"]
    token: str
    attempts: int
    us: int


class Board:
    """The records of one brokered queue; `records` answers what any queue answers of a job."""

    def __init__(self, client: "Client", namespace: str, name: str, *, clock: Clock | None = None) -> None:
        self.records = ValkeyQueue(client, namespace, name, clock=clock, brokered=True)
        self._scripts = {each: script("common", "brokered", each) for each in _OWN}

    async def take(self, jobs: Sequence[tuple[NewJob, int]]) -> list[Taken]:
        """Say what is to be done with the messages of these jobs, each with the µs when its time is over."""
        told: list[Item] = []
        tokens = [os.urandom(12).hex() for _ in jobs]
        for token, (job, deadline) in zip(tokens, jobs, strict=True):
            times = (job.max_attempts, job.lease, job.expires, job.ttl, deadline)
            told += [job.id, token, job.owner, job.endpoint, job.fingerprint, *times]
        answers = cast("list[list[Reply]]", await self._run("take", *told))
        return [
            Taken(_FOUND[cast("bytes", what)], token, cast("int", attempts), cast("int", us))
            for token, (what, attempts, us) in zip(tokens, answers, strict=True)
        ]

    async def withdraw(self, job: str) -> None:
        """Have a job that waits be none: its message may not have been sent."""
        await self._run("withdraw", job)

    async def bury(self, job: str, envelope: bytes, *, unsent: bool = False) -> None:
        """Keep the envelope of a dead job, so that it can be tried again; `unsent`: it waits, and is dead again."""
        await self._run("bury", job, envelope, int(unsent))

    async def exhumed(self, job: str) -> NewJob | None:
        """Return what a message of this job says; None without an envelope."""
        fields = cast("list[bytes | None]", await self._run("exhume", job))
        if any(each is None for each in fields):
            return None
        owner, endpoint, fingerprint, envelope, *numbers = cast("list[bytes]", fields)
        attempts, lease, expires, ttl = map(int, numbers)
        texts = (job, owner.decode(), endpoint.decode(), fingerprint.decode())
        return NewJob(*texts, envelope, attempts, lease, 0, expires, ttl, 0)

    async def _run(self, name: str, *args: Item) -> Reply:
        return await self.records.run(self._scripts[name], *args)
