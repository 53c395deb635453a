"""Until when a call is worth working on: on the exchange, and in a context variable for code that has no request."""

from contextvars import ContextVar

from forecourt.types import SECOND, Clock


class Deadline:
    """An instant, in microseconds since the epoch, after which nobody waits for the answer."""

    __slots__ = ("_clock", "at")

    def __init__(self, at: int, clock: Clock) -> None:
        self.at = at
        self._clock = clock

    def __repr__(self) -> str:
        return f"<Deadline in {self.remaining():.3f} s>"

    def remaining(self) -> float:
        """Return the seconds that are left, never less than 0."""
        return max(0, self.at - self._clock.now()) / SECOND


current: ContextVar[Deadline | None] = ContextVar("forecourt.deadline", default=None)


def current_deadline() -> Deadline | None:
    """Return the deadline of the call that this code works for; None where it has none."""
    return current.get()
