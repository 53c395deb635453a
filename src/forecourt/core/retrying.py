"""Whether to try again, and when: full jitter, a budget in proportion to traffic, and what was asked for.

The wait before attempt n + 1 is a random share of `backoff` · 2^(n−1), at most `max_backoff` (full jitter: callers
that failed together do not come back together). A Retry-After of the failed answer is respected: never sooner, and not
at all where it is longer than `max_backoff`.

The budget keeps retries from making an outage worse. Each call adds `share` of a retry, each retry takes one; it holds
`RESERVE` retries at most, which it begins with, so that rare calls may be tried again too. In a total outage retries
are therefore `share` of the traffic, and `RESERVE` once. Thousandths are counted, so that nothing is lost to rounding.
"""

from dataclasses import dataclass
from typing import Literal

RESERVE = 10
"""How many retries a budget holds at most."""

_THOUSAND = 1000

IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"})
"""Methods that may be carried out twice (RFC 9110 §9.2.2)."""

MARK = b"retry-attempt"
"""The field of a request that is a retry."""

Stop = Literal["attempts", "late", "budget"]


class Budget:
    """The retries that the callers of one endpoint of one process have left together."""

    __slots__ = ("_each", "_left")

    def __init__(self, share: float) -> None:
        self._each = round(share * _THOUSAND)
        self._left = RESERVE * _THOUSAND

    def call(self) -> None:
        """Count a call, whatever becomes of it."""
        self._left = min(RESERVE * _THOUSAND, self._left + self._each)

    @property
    def left(self) -> float:
        """How many retries there are."""
        return self._left / _THOUSAND

    def take(self) -> bool:
        """Take one retry, if there is one."""
        if self._left < _THOUSAND:
            return False
        self._left -= _THOUSAND
        return True


@dataclass(frozen=True, slots=True)
class Plan:
    """How often, and how long between; durations in µs."""

    max_attempts: int
    backoff: int
    max_backoff: int

    def wait(self, attempt: int, random: float, retry_after: int | None, left: int | None) -> int | Stop:
        """Return how long to wait after so many attempts; or why there is no other.

        `random` from 0 to 1; `retry_after` and `left`, until the deadline, in µs where they are known.
        """
        if attempt >= self.max_attempts:
            return "attempts"
        wait = int(min(self.backoff << min(attempt - 1, 32), self.max_backoff) * random)
        if retry_after is not None:
            wait = max(wait, retry_after)
        if wait > self.max_backoff or (left is not None and wait >= left):
            return "late"
        return wait
