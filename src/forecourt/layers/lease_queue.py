"""Callers of this process that wait for a lease: in line per key, the first of each line asked for by one poller.

However many wait, the store is asked one question at a time for each key: at once after a success, else after 5 ms,
then after longer and longer pauses up to 50 ms, with jitter so that processes do not ask in step. A line is served in
order, and who comes later does not go past it; between processes it is luck.
"""

import asyncio
import random
from collections import deque
from contextlib import suppress
from dataclasses import dataclass

from forecourt.errors import StoreError
from forecourt.runtime import Runtime
from forecourt.stores.contract import Question, Settlement
from forecourt.types import SECOND

_FIRST_PAUSE, _LONGEST_PAUSE = 0.005, 0.05


@dataclass(slots=True, eq=False)
class _Waiter:
    question: Question
    until: int
    turn: asyncio.Future[bool]


@dataclass(slots=True, eq=False)
class _Line:
    waiters: deque[_Waiter]
    poller: asyncio.Task[None] | None = None

    def polled(self) -> bool:
        """Tell whether a poller of the running loop is at work."""
        poller = self.poller
        return poller is not None and not poller.done() and poller.get_loop() is asyncio.get_running_loop()


class LeaseQueue:
    """The lines of one policy; each is `most` callers long, and each caller waits `max_wait` µs at most."""

    def __init__(self, runtime: Runtime, *, most: int, max_wait: int) -> None:
        self._runtime = runtime
        self._most = most
        self._max_wait = max_wait
        self._lines: dict[str, _Line] = {}

    def waited_for(self, key: str) -> bool:
        """Tell whether callers of this process wait for a lease of this key."""
        line = self._lines.get(key)
        return line is not None and line.polled()

    async def turn(self, question: Question) -> bool:
        """Wait for the lease that is asked for; True: it is held now.

        False at once when the line is full, and when it took too long. Raises StoreDown or StoreOverloaded when the
        store does not answer the poller. Cancelled, nothing stays held.
        """
        line = self._line(question.key)
        if len(line.waiters) >= self._most:
            return False
        loop = asyncio.get_running_loop()
        waiter = _Waiter(question, self._runtime.clock.now() + self._max_wait, loop.create_future())
        line.waiters.append(waiter)
        if line.poller is None:
            line.poller = loop.create_task(self._poll(question.key, line))
        try:
            return await waiter.turn
        except asyncio.CancelledError:
            if not waiter.turn.cancelled() and not waiter.turn.exception() and waiter.turn.result():
                self.give_back(question)
            raise
        finally:
            with suppress(ValueError):
                line.waiters.remove(waiter)

    def give_back(self, question: Question) -> None:
        """Release a lease that was waited for in vain, whoever granted it."""
        release = Settlement("lease_release", question.key, (question.args[2],))
        self._runtime.settle([release])
        self._runtime.settle([release._replace(local=True)])

    def _line(self, key: str) -> _Line:
        """Return the key's line; one that another event loop left behind is forgotten."""
        line = self._lines.get(key)
        if line is None or not line.polled():
            line = self._lines[key] = _Line(deque())
        return line

    async def _poll(self, key: str, line: _Line) -> None:
        """Ask for the first in line until nobody waits; whoever is left when the store fails is told so."""
        pause = _FIRST_PAUSE
        failure: StoreError | None = None
        try:
            while waiter := self._first(line):
                late = (waiter.until - self._runtime.clock.now()) / SECOND
                await self._runtime.clock.sleep(min(late, pause * random.uniform(0.5, 1)))  # noqa: S311  # jitter
                granted = await self._grant(line)
                pause = 0.0 if granted else min(max(2 * pause, _FIRST_PAUSE), _LONGEST_PAUSE)
        except StoreError as error:
            failure = error
        finally:
            for waiter in line.waiters:
                _tell(waiter, failure)
            if self._lines.get(key) is line:
                del self._lines[key]

    async def _grant(self, line: _Line) -> bool:
        """Ask for the first in line; tell whether there was a lease."""
        waiter = self._first(line)
        if waiter is None:
            return False
        (answer,) = await self._runtime.store.decide([waiter.question])
        if answer.verdict != "go":
            return False
        if waiter.turn.done():
            self.give_back(waiter.question)
        else:
            waiter.turn.set_result(True)
        return True

    def _first(self, line: _Line) -> _Waiter | None:
        """Return the first who still waits; those whose time is over are told so."""
        now = self._runtime.clock.now()
        while line.waiters:
            first = line.waiters[0]
            if first.until <= now:
                _tell(first, None)
            if not first.turn.done():
                return first
            line.waiters.popleft()
        return None


def _tell(waiter: _Waiter, failure: StoreError | None) -> None:
    """End a wait without a lease, unless it has ended."""
    if waiter.turn.done():
        return
    if failure is None:
        waiter.turn.set_result(False)
    else:
        waiter.turn.set_exception(failure)
