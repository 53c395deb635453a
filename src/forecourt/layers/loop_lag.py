"""How late the event loop runs: the sign of overload that a process of Python shows first.

While calls come, a timer is set for every `TICK`; what it is late by is the lag. So is what a timer that has not rung
yet is overdue by, so that a call which is served right after a stall learns of it. With no calls for a second there
is no timer.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

from forecourt.types import SECOND

TICK = 0.05
"""Seconds between two looks."""

_IDLE = 20


class Ticking(Protocol):
    """What is needed of an event loop."""

    def time(self) -> float:
        """Return seconds since some instant."""
        ...

    def call_later(self, delay: float, callback: Callable[[], None], /) -> object:
        """Call back in so many seconds, at the earliest."""
        ...


class LoopLag:
    """Measures the loop that runs, or the one it is given; it belongs to one loop at a time."""

    def __init__(self, running: Callable[[], Ticking] = asyncio.get_running_loop) -> None:
        self._running = running
        self._loop: Ticking | None = None
        self._due = 0.0
        self._late = 0.0
        self._unasked = 0

    def now(self) -> int:
        """Return by how many µs the loop is late now."""
        loop = self._running()
        if loop is not self._loop:
            self._loop, self._late = loop, 0.0
            self._set(loop)
        self._unasked = 0
        return round(max(self._late, loop.time() - self._due, 0.0) * SECOND)

    def _set(self, loop: Ticking) -> None:
        self._due = loop.time() + TICK
        loop.call_later(TICK, lambda: self._ring(loop))

    def _ring(self, loop: Ticking) -> None:
        if loop is not self._loop:
            return
        self._late = loop.time() - self._due
        self._unasked += 1
        if self._unasked > _IDLE:
            self._loop = None
        else:
            self._set(loop)
