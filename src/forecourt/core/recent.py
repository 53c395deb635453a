"""What happened in the last few minutes: counts by key, in slots of time that are forgotten one by one.

Each count is kept twice, in its slot and in the total; when a slot is too old its counts are taken off the totals. So
counting costs two additions, reading costs one look per key, and memory does not grow with traffic. A clock that is
set back adds to the newest slot.

How long things took is counted in buckets, four to each doubling: a quantile is at most a quarter above what was.
"""

from collections import deque
from collections.abc import Mapping

Key = tuple[str | int, ...]

_FINE = 4
"""Buckets in each doubling."""


class Recent:
    """Counts by key over `slots` slots of `slot` µs each; a slot takes `most` keys, and what more come are not kept."""

    def __init__(self, slot: int, slots: int, most: int | None = None) -> None:
        self.slot = slot
        self.slots = slots
        self._most = most
        self._kept: deque[tuple[int, dict[Key, int]]] = deque()
        self._totals: dict[Key, int] = {}

    def add(self, now: int, key: Key, amount: int = 1) -> None:
        """Count something at `now`, in µs."""
        counts = self._newest(now)
        if key not in counts and self._most is not None and len(counts) >= self._most:
            return
        counts[key] = counts.get(key, 0) + amount
        self._totals[key] = self._totals.get(key, 0) + amount

    def totals(self, now: int) -> Mapping[Key, int]:
        """Return all counts of the slots that are not too old."""
        self._newest(now)
        return self._totals

    def last(self, now: int, slots: int) -> Mapping[Key, int]:
        """Return the counts of the newest `slots` slots, the one under way included."""
        number = self._number(now)
        found: dict[Key, int] = {}
        for each, counts in self._kept:
            if each > number - slots:
                for key, count in counts.items():
                    found[key] = found.get(key, 0) + count
        return found

    def series(self, now: int, key: Key) -> list[int]:
        """Return a key's count in each slot, oldest first, the one under way last."""
        number = self._number(now)
        counts = {each: of.get(key, 0) for each, of in self._kept}
        return [counts.get(each, 0) for each in range(number - self.slots + 1, number + 1)]

    def _number(self, now: int) -> int:
        self._newest(now)
        return self._kept[-1][0]

    def _newest(self, now: int) -> dict[Key, int]:
        """Return the slot of `now`, once what is too old is forgotten."""
        number = now // self.slot
        if not self._kept or self._kept[-1][0] < number:
            self._kept.append((number, {}))
            while self._kept[0][0] <= number - self.slots:
                self._forget(self._kept.popleft()[1])
        return self._kept[-1][1]

    def _forget(self, counts: Mapping[Key, int]) -> None:
        for key, count in counts.items():
            left = self._totals[key] - count
            if left:
                self._totals[key] = left
            else:
                del self._totals[key]


def bucket(took: int) -> int:
    """Return the bucket of a duration in µs, counted from 0 up."""
    took = max(0, took)
    if took < _FINE:
        return took
    doublings = took.bit_length() - 3
    return (took >> doublings) + _FINE * doublings


def longest(number: int) -> int:
    """Return the longest duration in µs that a bucket holds."""
    if number < _FINE:
        return number
    doublings = max(0, number // _FINE - 1)
    return ((number - _FINE * doublings + 1) << doublings) - 1


def quantile(buckets: Mapping[int, int], share: float) -> int | None:
    """Return the µs within which this share of what was counted in buckets took; None where nothing was."""
    wanted = share * sum(buckets.values())
    for number in sorted(buckets):
        wanted -= buckets[number]
        if wanted <= 0:
            return longest(number)
    return None
