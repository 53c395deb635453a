"""Adaptive concurrency: finds how many calls may be at work at once before they only wait for each other.

A service that is not full answers in its usual time however many calls it has; one that is full answers later and
later, and no sooner for being asked more. The knee between the two is the limit to keep. It is found as Netflix's
concurrency-limits (`Gradient2Limit`) and Envoy's adaptive concurrency filter (`GradientController`) find it: by the
ratio of the usual time to the time that calls take now.

Calls are judged by windows, of `window` µs and `samples` calls at least. At the end of one:

    gradient = tolerance · usual ÷ now, between ½ and 1
    limit    = limit · gradient                 where the gradient is below 1
    limit    = limit + √limit                   else: room to find out whether there is more

Only a window that had at least half of the limit at work lowers it, only one that filled it raises it; of a service at
rest nothing is learnt about its knee. (Netflix adds the room at any gradient, which lets the limit creep up under load;
here it is added at 1 alone.)

What is *usual* is known for each endpoint by itself, so that slow and fast ones may share a limit. It follows the
windows of a service at rest both ways, and those of a busy one down only, or overload would become usual. A service
that is never at rest is looked at again after `recheck` busy windows (the first time after a thirtieth of them, for
one that is overloaded from its first call): for one window the limit is the least, and what calls take then is usual
from then on.

Priorities take shares of the limit: low half of it, normal all, high a quarter more; critical calls are counted and
never refused. The same in time: how late the event loop may be before calls are refused for it.
"""

from dataclasses import dataclass, field
from math import sqrt
from typing import Literal

Priority = Literal["low", "normal", "high", "critical"]
"""Who is refused first."""

_PLACES: dict[Priority, float] = {"low": 0.5, "normal": 1, "high": 1.25}
_LATE: dict[Priority, float] = {"low": 0.5, "normal": 1, "high": 2}
_EASE = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How a limit is sought: from `initial`, between `least` and `most`; `window` in µs."""

    initial: int = 10
    least: int = 3
    most: int = 200
    tolerance: float = 1.5
    window: int = 100_000
    samples: int = 10
    recheck: int = 600


@dataclass(slots=True, eq=False)
class Usual:
    """What calls of one endpoint take: `time` µs as a rule (None: not known yet), and `total` of `calls` lately."""

    time: float | None = None
    calls: int = 0
    total: int = 0

    def learn(self, *, rest: bool, least: bool) -> None:
        """Follow the mean of a window: at rest both ways, at the least limit at once, else down only."""
        mean = self.total / self.calls
        if self.time is None or least:
            self.time = mean
        elif rest or mean < self.time:
            self.time += _EASE * (mean - self.time)


@dataclass(slots=True, eq=False)
class Limiter:
    """How many calls are at work, how many may be, and the window under way; times in µs."""

    terms: Terms
    limit: float = 0
    at_work: int = 0
    _since: int = 0
    _most: int = 0
    _calls: int = 0
    _busy: int = 0
    _before: float = 0
    _patience: int = 0
    _seen: set[Usual] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.limit = self.limit or self.terms.initial
        self._patience = self.terms.recheck // 30

    def has_room(self, priority: Priority) -> bool:
        """Return whether one more of this priority may be at work."""
        share = _PLACES.get(priority)
        return share is None or self.at_work < max(1, int(self.limit * share))

    def enter(self) -> None:
        """Count a call that is at work from now on."""
        self.at_work += 1
        self._most = max(self._most, self.at_work)

    def leave(self) -> None:
        """Count a call that is at work no more, and of which nothing is learnt."""
        self.at_work -= 1

    def learn(self, usual: Usual, began: int, now: int) -> None:
        """Learn from a call how long it took; from one that began in an earlier check of what is usual, nothing."""
        if now < self._since:
            self._begin(now)
        if self._before and began < self._since:
            return
        usual.calls += 1
        usual.total += max(1, now - began)
        self._seen.add(usual)
        self._calls += 1
        if self._calls >= self.terms.samples and now - self._since >= self.terms.window:
            self._close(now)

    def _close(self, now: int) -> None:
        """End a window: move the limit, learn what is usual, begin another."""
        busy = 2 * self._most >= self.limit
        expected = sum(each.calls * (each.time or each.total / each.calls) for each in self._seen)
        gradient = self.terms.tolerance * expected / sum(each.total for each in self._seen)
        for each in self._seen:
            each.learn(rest=not busy, least=bool(self._before) or self.limit <= self.terms.least)
        self._busy = self._busy + 1 if busy else 0
        if self._before:
            self.limit, self._before, self._busy = self._before, 0, 0
        elif self._busy > self._patience:
            self.limit, self._before, self._patience = self.terms.least, self.limit, self.terms.recheck
        elif busy:
            self.limit = self._moved(gradient)
        self._begin(now)

    def _moved(self, gradient: float) -> float:
        if gradient < 1:
            moved = self.limit * max(0.5, gradient)
        else:
            moved = self.limit + (sqrt(self.limit) if self._most >= int(self.limit) else 0)
        return min(max(moved, self.terms.least), self.terms.most)

    def _begin(self, now: int) -> None:
        self._since = now
        self._most = self.at_work
        self._calls = 0
        for each in self._seen:
            each.calls = each.total = 0
        self._seen.clear()


def bears(priority: Priority, late: int, most: int) -> bool:
    """Return whether calls of this priority go on while the loop is `late` µs; normal ones bear `most`."""
    share = _LATE.get(priority)
    return share is None or late <= most * share
