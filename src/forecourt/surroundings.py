"""Under which layers the running code works, so that a call it makes is not guarded or tried again twice.

One breaker entered twice by one call would, half-open, refuse its own probe; retries within retries multiply.
"""

from contextvars import ContextVar


class Surroundings:
    """What stands around a handler: its breakers by name, and whether its call is tried again or is a retry itself.

    A task that outlives the call keeps these, but they no longer hold.
    """

    __slots__ = ("_guards", "_over", "_retried")

    def __init__(self, guards: tuple[str, ...], *, retried: bool) -> None:
        self._guards = guards
        self._retried = retried
        self._over = False

    def __repr__(self) -> str:
        return f"<Surroundings {self._guards}{', retried' if self._retried else ''}{', over' if self._over else ''}>"

    def guarded_by(self, breaker: str) -> bool:
        """Whether the call holds a permit of this breaker already."""
        return not self._over and breaker in self._guards

    @property
    def retried(self) -> bool:
        """Whether somebody further out tries the call again."""
        return not self._over and self._retried

    def within(self, guards: tuple[str, ...], *, retried: bool) -> "Surroundings":
        """Return these and what stands further in."""
        if self._over:
            return Surroundings(guards, retried=retried)
        return Surroundings((*self._guards, *guards), retried=self._retried or retried)

    def end(self) -> None:
        """Say that the call is over."""
        self._over = True


NOTHING = Surroundings((), retried=False)
"""Around code that works for no call."""

around: ContextVar[Surroundings] = ContextVar("forecourt.surroundings", default=NOTHING)
