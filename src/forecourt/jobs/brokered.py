"""A queue whose jobs wait at a message broker, and whose records, leases and results are on a board beside it.

    publish   a record on the board, then the message, which carries the whole job; a job whose message the broker did
              not take is withdrawn, so that nothing half-published is ever run
    claim     messages that came; the board says of each whether it is to run. One that is not due, or that another
              worker holds (the broker has lost sight of it, but its lease is renewed), is kept until that has changed
    finish    noted on the board, fenced; then the message is settled. So a worker may die at any point between:
              the message comes again, and the board knows what became of it

A failed attempt keeps its message here until the next one is due: no delays of the broker's are needed. A dead job's
message goes to the topic of the dead, and its envelope to the board, from which it can be tried again.

The broker gives messages out in the order that they came, whoever published them, and knows no start in the future: so
owners do not take turns, and `delay` is refused.
"""

import asyncio
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from heapq import heappop, heappush
from typing import NamedTuple, Protocol, assert_never

from forecourt.core.jobs import Status, backoff
from forecourt.errors import ConfigError, StoreError
from forecourt.jobs.board import Board, Taken
from forecourt.jobs.queue import Claimed, Ending, Held, NewJob, Published, Record
from forecourt.types import SECOND, Clock

logger = logging.getLogger("forecourt")

_LONGEST_IDLE = 1.0
_MOST_CLAIMED = 16
_MOST_KEPT = 1000
"""Messages that one worker keeps; others it gives back."""


class Message(NamedTuple):
    """What came from the broker: `place` names it there, `handle` is the broker's own."""

    place: bytes
    fields: Mapping[str, str]
    body: bytes
    handle: object


class Broker(Protocol):
    """Takes messages, and gives each to one of those who ask until one settles it."""

    news: asyncio.Event
    """Set while there are messages, and when none can come any more; cleared by `arrived`."""

    async def open(self) -> None:
        """Begin, on the running loop."""
        ...

    async def close(self) -> None:
        """Let go of all; what is not settled goes to others."""
        ...

    async def send(self, fields: Mapping[str, str], body: bytes, *, dead: bool = False) -> None:
        """Return once the broker has the message; StoreDown, StoreOverloaded."""
        ...

    async def arrived(self, most: int) -> list[Message]:
        """Return messages that have come, at most so many; StoreDown where none can come."""
        ...

    async def settle(self, message: Message) -> None:
        """Have it never come again."""
        ...

    async def refuse(self, message: Message) -> None:
        """Have it come again later."""
        ...


class BrokeredQueue:
    """Jobs that wait at a broker; `clock` says how long messages are kept."""

    def __init__(self, broker: Broker, board: Board, clock: Clock) -> None:
        self._broker = broker
        self._board = board
        self._records = board.records
        self._clock = clock
        self._kept: dict[str, tuple[Message, int]] = {}
        """By job: its message, and when the board is to be asked again."""
        self._again: list[tuple[int, str]] = []

    def __repr__(self) -> str:
        return f"<BrokeredQueue {self._broker!r}, {len(self._kept)} messages kept>"

    async def open(self) -> None:
        """Connect on the running loop."""
        self._kept, self._again = {}, []
        await self._records.open()
        await self._broker.open()

    async def close(self) -> None:
        """Let go of the connections; messages that are kept go to others."""
        await self._broker.close()
        await self._records.close()

    async def publish(self, job: NewJob) -> Published:
        """Create the job unless there is one of this id; ConfigError for one that is to begin later."""
        if job.delay:
            raise ConfigError("a broker knows no delay")
        published = await self._records.publish(job._replace(envelope=b""))
        record = published.record
        unsent = record.status == "queued" and record.attempts == 0 and record.fingerprint == job.fingerprint
        if unsent:  # also when it is known: whoever created it may have died before it was sent
            await self._send(job, record.created + job.expires, undo=published.created)
        return published

    async def claim(self, most: int) -> list[Claimed]:
        """Return at most so many jobs (16), in the order that the broker gave them."""
        most = min(most, _MOST_CLAIMED)
        messages = list(self._due(most))
        try:
            messages += [each for each in await self._broker.arrived(most - len(messages)) if await self._is_new(each)]
            told = await self._board.take([_read(each) for each in messages]) if messages else []
        except StoreError:
            for each in messages:
                self._keep(each, 0)
            raise
        found = [await self._found(each, taken) for each, taken in zip(messages, told, strict=True)]
        return [claimed for claimed in found if claimed is not None]

    async def idle(self, turns: int) -> None:
        """Return when a message comes or may be asked for again."""
        wait = _LONGEST_IDLE
        while self._again and self._stale(*self._again[0]):
            heappop(self._again)
        if self._again:
            wait = min(wait, (self._again[0][0] - self._clock.now()) / SECOND)
        if turns <= 0 or wait <= 0:
            return
        waits = [asyncio.ensure_future(self._broker.news.wait()), asyncio.ensure_future(self._clock.sleep(wait))]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()

    async def renew(self, held: Sequence[Held]) -> frozenset[str]:
        """Hold on to these; return those that are lost."""
        lost = await self._records.renew(held)
        for each in held:
            if each.id in self._kept:
                self._keep(self._kept[each.id][0], 0 if each.id in lost else each.lease)
        return lost

    async def finish(self, job: str, token: str, ending: Ending) -> Record | None:
        """Note how an attempt ended; None: it was another's by then."""
        record = await self._records.finish(job, token, ending)
        if job not in self._kept:
            return record
        message = self._kept[job][0]
        if record is not None and record.ended:
            del self._kept[job]
            await self._over(message, dead=record.status == "dead")
            return record
        again = record is not None and ending.kind == "failed"
        self._keep(message, backoff(record.attempts) if record is not None and again else 0)
        self._broker.news.set()
        return record

    async def look(self, job: str) -> Record | None:
        """Return what is known of a job."""
        return await self._records.look(job)

    async def result(self, job: str) -> bytes | None:
        """Return the result of a job."""
        return await self._records.result(job)

    async def cancel(self, job: str) -> Record | None:
        """End a job unless it has ended; its message is dropped when it comes."""
        return await self._records.cancel(job)

    async def redrive(self, job: str) -> Record | None:
        """Give a dead job all its attempts and its time again; None: it is not dead."""
        exhumed = await self._board.exhumed(job)
        record = await self._records.redrive(job) if exhumed else None
        if exhumed is None or record is None:
            return None
        try:
            await self._send(exhumed, record.changed + exhumed.expires)
        except StoreError:
            with suppress(StoreError):
                await self._board.bury(job, exhumed.envelope, unsent=True)
            raise
        return record

    async def dead(self, most: int = 100) -> list[Record]:
        """Return dead jobs, the latest first."""
        return await self._records.dead(most)

    async def depth(self) -> dict[str, int]:
        """Return how many jobs are waiting, delayed, running and dead."""
        return await self._records.depth()

    async def age(self) -> int:
        """Return the µs for which the job that is due the longest has waited, of those next to expire (64)."""
        return await self._records.age()

    async def owned(self, owner: str, most: int, before: tuple[int, str] | None = None) -> list[Record]:
        """Return an owner's jobs, the latest first."""
        return await self._records.owned(owner, most, before)

    async def standing(self, status: Status, most: int = 100) -> list[Record]:
        """Return jobs that are queued, running or dead."""
        return await self._records.standing(status, most)

    async def _send(self, job: NewJob, deadline: int, *, undo: bool = False) -> None:
        try:
            await self._broker.send(_written(job, deadline), job.envelope)
        except BaseException:
            if undo:
                with suppress(StoreError):
                    await self._board.withdraw(job.id)
            raise

    async def _found(self, message: Message, taken: Taken) -> Claimed | None:
        """Do with a message what the board says."""
        job, _ = _read(message)
        match taken.what:
            case "run":
                self._keep(message, taken.us)
                return Claimed(job.id, taken.token, taken.attempts, taken.us, job.envelope)
            case "told":
                await self._over(message, dead=True)
                return Claimed(job.id, "", taken.attempts, 0, job.envelope)
            case "over":
                await self._broker.settle(message)
            case "wait" if len(self._kept) < _MOST_KEPT:
                self._keep(message, taken.us)
            case "wait":
                await self._broker.refuse(message)
            case _:
                assert_never(taken.what)
        return None

    async def _over(self, message: Message, *, dead: bool) -> None:
        """Settle the message of a job that has ended; that of a dead one is kept in two places first."""
        job, _ = _read(message)
        with suppress(StoreError):
            if dead:
                await self._board.bury(job.id, job.envelope)
                await self._broker.send(message.fields, message.body, dead=True)
        await self._broker.settle(message)

    async def _is_new(self, message: Message) -> bool:
        """Tell whether a message is one to ask the board about; one that is here already came again, or twice."""
        try:
            job, _ = _read(message)
        except (KeyError, ValueError):
            logger.error("a message that is no job is dropped")
            await self._broker.settle(message)
            return False
        if job.id not in self._kept:
            return True
        here, when = self._kept[job.id]
        if here.place == message.place:
            self._kept[job.id] = (message, when)
        else:
            await self._broker.settle(message)
        return False

    def _due(self, most: int) -> Iterator[Message]:
        """Yield messages of which the board may say something else by now; they are kept no more."""
        now = self._clock.now()
        while most > 0 and self._again and self._again[0][0] <= now:
            when, job = heappop(self._again)
            if not self._stale(when, job):
                most -= 1
                yield self._kept.pop(job)[0]

    def _stale(self, when: int, job: str) -> bool:
        return job not in self._kept or self._kept[job][1] != when

    def _keep(self, message: Message, us: int) -> None:
        when, job = self._clock.now() + us, message.fields["id"]
        self._kept[job] = (message, when)
        heappush(self._again, (when, job))


def _written(job: NewJob, deadline: int) -> dict[str, str]:
    """Return the fields of a job's message, but for its envelope."""
    texts = {"id": job.id, "owner": job.owner, "endpoint": job.endpoint, "fingerprint": job.fingerprint}
    numbers = {"attempts": job.max_attempts, "lease": job.lease, "expires": job.expires, "ttl": job.ttl}
    return texts | {name: str(number) for name, number in numbers.items()} | {"deadline": str(deadline)}


def _read(message: Message) -> tuple[NewJob, int]:
    """Return the job of a message, and the µs when its time is over."""
    fields = message.fields
    texts = (fields["id"], fields["owner"], fields["endpoint"], fields["fingerprint"])
    attempts, lease, expires, ttl = (int(fields[name]) for name in ("attempts", "lease", "expires", "ttl"))
    return NewJob(*texts, message.body, attempts, lease, 0, expires, ttl, 0), int(fields["deadline"])
