"""A clock for tests: it stands still until it is told to go on."""

import asyncio
import heapq
from itertools import count

from forecourt.types import SECOND


class FakeClock:
    """A `Clock` whose time passes only by `advance`.

    `start` is the first instant in microseconds since the epoch. Sleepers wake in the order of their times, once
    the clock has been advanced far enough in all; setting the clock back neither wakes nor delays them, as with
    the timers of an event loop.
    """

    def __init__(self, start: int = 1_700_000_000_000_000) -> None:
        self._now = start
        self._passed = 0
        self._order = count()
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []

    def __repr__(self) -> str:
        return f"<FakeClock {self._now}, {len(self._sleepers)} sleeping>"

    def now(self) -> int:
        """Return microseconds since the epoch."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Let time pass, rounded to the microsecond; a negative number sets the clock back."""
        step = round(seconds * SECOND)
        self._now += step
        self._passed += max(0, step)
        while self._sleepers and self._sleepers[0][0] <= self._passed:
            _, _, sleeper = heapq.heappop(self._sleepers)
            if not sleeper.done():
                sleeper.set_result(None)

    async def sleep(self, seconds: float) -> None:
        """Return once the clock was advanced by `seconds` in all; at once when that is no microsecond."""
        wait = round(seconds * SECOND)
        if wait <= 0:
            return
        sleeper = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._passed + wait, next(self._order), sleeper))
        await sleeper
