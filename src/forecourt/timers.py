"""Timers of one process: one task sleeps until the next, so that a timer which does not ring costs next to nothing."""

import asyncio
from collections.abc import Callable

from forecourt.types import SECOND, Clock


class Timer:
    """Rings once at `due` (µs since the epoch) unless it is dropped."""

    __slots__ = ("due", "ring", "span")

    def __init__(self, due: int, span: int, ring: Callable[[], None]) -> None:
        self.due = due
        self.span = span
        self.ring = ring


class Timers:
    """All timers of one clock; they belong to one running loop at a time.

    A clock that is set back makes a timer late by its own span at most.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._set: dict[Timer, None] = {}
        self._task: asyncio.Task[None] | None = None
        self._wakes = 0

    def __repr__(self) -> str:
        return f"<Timers, {len(self._set)} set>"

    def set(self, span: int, ring: Callable[[], None]) -> Timer:
        """Ring in `span` µs from now."""
        timer = Timer(self._clock.now() + span, span, ring)
        self._set[timer] = None
        if not self._runs() or timer.due < self._wakes:
            self.stop()
            self._wakes = timer.due
            self._task = asyncio.get_running_loop().create_task(self._run())
        return timer

    def drop(self, timer: Timer) -> None:
        """Let it not ring; one that has rung is no matter."""
        self._set.pop(timer, None)

    def stop(self) -> None:
        """End the task; nothing rings until another timer is set."""
        task, self._task = self._task, None
        if task is not None and not task.get_loop().is_closed():
            task.get_loop().call_soon_threadsafe(task.cancel)

    def _runs(self) -> bool:
        task = self._task
        return task is not None and not task.done() and task.get_loop() is asyncio.get_running_loop()

    async def _run(self) -> None:
        while self._set:
            now = self._clock.now()
            for timer in list(self._set):
                timer.due = min(timer.due, now + timer.span)
                if timer.due <= now:
                    del self._set[timer]
                    timer.ring()
            if self._set:
                self._wakes = min(timer.due for timer in self._set)
                await self._clock.sleep((self._wakes - now) / SECOND)
