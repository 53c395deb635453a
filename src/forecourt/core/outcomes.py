"""What a breaker remembers of the calls that ended: the last so many, or those of the last so many seconds.

Both keep sums, so that asking costs nothing. The window by time is a ring of ten parts: a call counts for nine to ten
tenths of a span more, and memory does not grow with traffic. A clock that is set back adds to the newest part.
"""

from collections import deque

_PARTS = 10


class CountWindow:
    """The last `size` calls."""

    __slots__ = ("_kept", "_size", "calls", "failures", "slow")

    def __init__(self, size: int) -> None:
        self._size = size
        self._kept: deque[tuple[bool, bool]] = deque()
        self.calls = self.failures = self.slow = 0

    def record(self, _now: int, *, failed: bool, slow: bool) -> None:
        """Count a call that ended, and forget the oldest where the window is full."""
        self._kept.append((failed, slow))
        self.failures += failed
        self.slow += slow
        if self.calls < self._size:
            self.calls += 1
            return
        old_failed, old_slow = self._kept.popleft()
        self.failures -= old_failed
        self.slow -= old_slow


class TimeWindow:
    """The calls of the last `span` microseconds."""

    __slots__ = ("_kept", "_part", "calls", "failures", "slow")

    def __init__(self, span: int) -> None:
        self._part = max(1, span // _PARTS)
        self._kept: deque[list[int]] = deque()
        self.calls = self.failures = self.slow = 0

    def record(self, now: int, *, failed: bool, slow: bool) -> None:
        """Count a call that ended, and forget the parts that are too old."""
        part = now // self._part
        while self._kept and self._kept[0][0] <= part - _PARTS:
            _, calls, failures, old_slow = self._kept.popleft()
            self.calls -= calls
            self.failures -= failures
            self.slow -= old_slow
        if not self._kept or self._kept[-1][0] < part:
            self._kept.append([part, 0, 0, 0])
        newest = self._kept[-1]
        newest[1] += 1
        newest[2] += failed
        newest[3] += slow
        self.calls += 1
        self.failures += failed
        self.slow += slow


Window = CountWindow | TimeWindow
