"""What sheds calls in one process: a limit that moves, the lag of the event loop, and a short line of those who wait.

Endpoints whose policies have one `name` share one; the rest have one each.
"""

import asyncio
import weakref
from functools import partial
from typing import NamedTuple

from forecourt.core.shedding import Limiter, Priority, Usual, bears
from forecourt.layers.loop_lag import LoopLag
from forecourt.policies.adaptive import PRIORITIES, Adaptive
from forecourt.policies.quantities import microseconds
from forecourt.runtime import Runtime


class _Waiter(NamedTuple):
    rank: int
    turn: asyncio.Future[bool]


class Shedder:
    """Says who may be at work; whoever is let in must `leave` once."""

    def __init__(self, policy: Adaptive, runtime: Runtime, lag: LoopLag) -> None:
        self._limiter = Limiter(policy.terms())
        self._lag = lag
        self._max_lag = None if policy.max_lag == "off" else microseconds(policy.max_lag)
        self._most = policy.queue
        self._max_wait = microseconds(policy.max_wait)
        self._clock = runtime.clock
        self._timers = runtime.timers
        self._line: list[_Waiter] = []
        self._shadow = policy.shadow

    def __repr__(self) -> str:
        limiter = self._limiter
        return f"<Shedder, {limiter.at_work} of {limiter.limit:.1f} at work, {len(self._line)} wait>"

    @property
    def limit(self) -> float:
        """How many may be at work now."""
        return self._limiter.limit

    @property
    def at_work(self) -> int:
        """How many are."""
        return self._limiter.at_work

    def sheds(self, priority: Priority) -> bool:
        """Return whether a call of this priority would be refused at once."""
        return self._late(priority) or (not self._free(priority) and len(self._line) >= self._most)

    async def enter(self, priority: Priority) -> bool:
        """Let a call in, maybe after a wait; False: it is refused."""
        if self._late(priority):
            return False
        if self._free(priority):
            self._limiter.enter()
            return True
        return len(self._line) < self._most and await self._wait(priority)

    def leave(self, usual: Usual, began: int | None) -> None:
        """Let go of a place; a call that began at `began` (µs) tells how long such calls take, None tells nothing."""
        self._limiter.leave()
        if began is not None:
            self._limiter.learn(usual, began, self._clock.now())
        self._next()

    def _late(self, priority: Priority) -> bool:
        return self._max_lag is not None and not bears(priority, self._lag.now(), self._max_lag)

    def _free(self, priority: Priority) -> bool:
        """Return whether there is room, and nobody in line before."""
        if not self._limiter.has_room(priority):
            return False
        rank = PRIORITIES.index(priority)
        return priority == "critical" or all(waiter.rank < rank or waiter.turn.done() for waiter in self._line)

    async def _wait(self, priority: Priority) -> bool:
        waiter = _Waiter(PRIORITIES.index(priority), asyncio.get_running_loop().create_future())
        self._line.append(waiter)
        timer = self._timers.set(self._max_wait, partial(_give_up, waiter.turn))
        try:
            return await waiter.turn
        except asyncio.CancelledError:
            if waiter.turn.done() and not waiter.turn.cancelled() and waiter.turn.result():
                self._limiter.leave()
                self._next()
            raise
        finally:
            self._timers.drop(timer)
            if waiter in self._line:
                self._line.remove(waiter)

    def _next(self) -> None:
        """Let in whom there is room for: higher priorities first, of one the first to come."""
        while waiter := max((each for each in self._line if not each.turn.done()), key=_rank, default=None):
            if not self._limiter.has_room(PRIORITIES[waiter.rank]):
                return
            self._line.remove(waiter)
            self._limiter.enter()
            waiter.turn.set_result(True)


def _rank(waiter: _Waiter) -> int:
    return waiter.rank


def _give_up(turn: asyncio.Future[bool]) -> None:
    if not turn.done():
        turn.set_result(False)


class _Shedders:
    """The shedders of one runtime, by the name of a policy, and its one measure of lag."""

    def __init__(self) -> None:
        self.lag = LoopLag()
        self.named: dict[str, tuple[Adaptive, Shedder]] = {}


_made: weakref.WeakKeyDictionary[Runtime, _Shedders] = weakref.WeakKeyDictionary()


def shedder_of(policy: Adaptive, endpoint: str, runtime: Runtime) -> Shedder:
    """Return what sheds calls of this endpoint in this process."""
    mine = _made.setdefault(runtime, _Shedders())
    name = f"endpoint {endpoint}" if policy.name is None else f"name {policy.name}"
    if name not in mine.named or mine.named[name][0] != policy:  # it has changed while the service runs
        mine.named[name] = policy, Shedder(policy, runtime, mine.lag)
    return mine.named[name][1]
