"""Time as a deadline should see it: counted in ticks of an event loop that has its turns.

A deadline by the clock cannot tell a late reply from a loop that was blocked while the reply lay in the socket. So a
deadline is sixteen ticks of one timer, each a turn of the loop: while the loop is blocked there are none, and when
sixteen have passed there were sixteen turns in which to read. On a loop that is not blocked sixteen ticks are the
deadline. The timer runs only while something is outstanding.
"""

import asyncio
from collections.abc import Callable

PER_DEADLINE = 16


class Ticks:
    """Counts ticks of `step` seconds in `now`, from `start()` on, as long as `on_tick()` says that it is still needed.

    A tick that is late is not made up for.
    """

    __slots__ = ("_due", "_loop", "_on_tick", "_timer", "now", "step")

    def __init__(self, deadline: float, on_tick: Callable[[], bool]) -> None:
        self.now = 0
        self.step = deadline / PER_DEADLINE
        self._on_tick = on_tick
        self._loop = asyncio.get_running_loop()
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def running(self) -> bool:
        """Whether it counts."""
        return self._timer is not None

    def start(self) -> None:
        """Run; does nothing while running."""
        if self._timer is None:
            self._due = self._loop.time() + self.step
            self._timer = self._loop.call_at(self._due, self._tick)

    def stop(self) -> None:
        """Do not tick any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        self.now += 1
        self._due = max(self._due, self._loop.time() - self.step) + self.step
        self._timer = self._loop.call_at(self._due, self._tick)
        if not self._on_tick():
            self.stop()
