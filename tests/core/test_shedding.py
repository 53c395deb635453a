"""Adaptive limits: the knee of a simulated service is found, kept and found again; priorities; what is not learnt."""

import heapq
import random
from collections.abc import Iterator
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecourt.core.shedding import Limiter, Priority, Terms, Usual, bears
from tests.core.bench import examples

MS = 1000


class Simulation:
    """A service of `workers`, each for about `time` µs on a call, the rest wait; callers come back."""

    def __init__(self, workers: int, time: int, callers: int, seed: int = 1, **terms: float) -> None:
        self.workers, self.time, self.callers = workers, time, callers
        self.limiter = Limiter(Terms(**terms))  # type: ignore[arg-type]  # the tests' own words
        self.usual = Usual()
        self.now = 0
        self.done = self.shed = 0
        self._random = random.Random(seed)
        self._order = count()
        self._free: list[int] = []
        self._events: list[tuple[int, int, int | None]] = []

    def run(self, seconds: float) -> list[float]:
        """Let so many seconds pass; return the limits at the end of each call in the second half of them."""
        end, half = self.now + round(seconds * 1e6), self.now + round(seconds * 5e5)
        self.done = self.shed = 0
        under_way = len(self._events)
        for _ in range(self.callers - under_way):
            self._push(self.now + self._random.randrange(self.time), None)
        limits: list[float] = []
        while self._events and self._events[0][0] < end:
            self.now, _, began = heapq.heappop(self._events)
            if began is not None:
                self.limiter.leave()
                self.limiter.learn(self.usual, began, self.now)
                self.done += 1
                if self.now >= half:
                    limits.append(self.limiter.limit)
            if len(self._events) < self.callers:
                self._arrive()
        self.now = end
        return limits

    def _arrive(self) -> None:
        if not self.limiter.has_room("normal"):
            self.shed += 1
            return self._push(self.now + 20 * MS, None)
        self.limiter.enter()
        while len(self._free) > self.workers:
            heapq.heappop(self._free)
        start = max(self.now, heapq.heappop(self._free)) if len(self._free) == self.workers else self.now
        ends = start + round(self.time * self._random.uniform(0.8, 1.2))
        heapq.heappush(self._free, ends)
        self._push(ends, self.now)

    def _push(self, at: int, began: int | None) -> None:
        heapq.heappush(self._events, (at, next(self._order), began))


def mean(limits: list[float]) -> float:
    """Return the mean of limits."""
    return sum(limits) / len(limits)


@pytest.mark.parametrize(("workers", "time"), [(4, 10 * MS), (16, 10 * MS), (40, 20 * MS), (16, 100 * MS)])
def test_the_knee_is_found_in_overload_from_the_first_call(workers: int, time: int) -> None:
    """The limit settles around what the service carries, no call waits twice its time, and all workers have work."""
    service = Simulation(workers, time, callers=4 * workers)
    service.run(5)
    found = service.run(5)
    assert workers <= mean(found) <= 2 * workers
    assert service.done >= 0.9 * 5e6 / time * workers


@settings(max_examples=examples(6), deadline=None)
@given(workers=st.integers(3, 50), time=st.integers(5, 80), seed=st.integers(0, 99))
def test_any_knee_is_found(workers: int, time: int, seed: int) -> None:
    """Whatever the service, at four times its load."""
    service = Simulation(workers, time * MS, 4 * workers, seed)
    service.run(5)
    assert 0.8 * workers <= mean(service.run(3)) <= 2.5 * workers


def test_a_service_that_slows_down_is_let_recover() -> None:
    """With a quarter of the workers the limit follows down; with all of them back it follows up."""
    service = Simulation(32, 10 * MS, callers=100)
    service.run(4)
    service.workers = 8
    service.run(3)
    assert mean(service.run(3)) <= 20
    service.workers = 32
    service.run(4)
    assert 32 <= mean(service.run(3)) <= 64


def test_work_that_takes_longer_for_good_becomes_usual() -> None:
    """Calls that take four times as long at any load lower the limit, until it is known that they always do."""
    service = Simulation(16, 10 * MS, callers=64)
    service.run(5)
    service.time = 40 * MS
    service.run(12)
    assert 16 <= mean(service.run(6)) <= 32


def test_a_service_at_rest_keeps_its_limit_and_learns_what_is_usual() -> None:
    """With few at work nothing is known of the knee; what calls take is followed both ways."""
    service = Simulation(50, 10 * MS, callers=3)
    assert set(service.run(10)) == {10}
    assert service.usual.time == pytest.approx(10 * MS, rel=0.1)
    service.time = 30 * MS
    assert set(service.run(20)) == {10}
    assert service.usual.time == pytest.approx(30 * MS, rel=0.1)


def test_the_limit_keeps_its_bounds() -> None:
    """Never below the least nor above the most."""
    wide = Simulation(500, 10 * MS, callers=150, most=64)
    wide.run(3)
    assert mean(wide.run(2)) == 64
    narrow = Simulation(1, 10 * MS, callers=20, initial=6, least=6, most=9)
    narrow.run(3)
    assert 6 <= min(narrow.run(5)) <= 9


def test_overload_from_the_first_call_is_found_out_by_a_check() -> None:
    """What is usual was learnt in overload; after so many busy windows it is measured anew at the least limit."""
    service = Simulation(4, 20 * MS, callers=40, initial=40)
    service.usual.time = 400 * MS
    service.run(1.5)
    assert service.usual.time > 60 * MS
    service.run(5)
    assert (service.usual.time or 0) < 35 * MS
    assert mean(service.run(5)) <= 10


def test_fast_and_slow_endpoints_share_a_limit() -> None:
    """Each is compared with itself: a mixture that changes is no overload."""
    limiter, fast, slow = Limiter(Terms(initial=4, least=2)), Usual(), Usual()
    now, limiter.at_work = 0, 9
    for of, time in [(fast, MS)] * 200 + [(slow, 500 * MS)] * 40 + [(fast, MS)] * 200:
        now += time
        limiter.learn(of, now - time, now)
    assert limiter.limit > 4


def test_a_clock_that_is_set_back_begins_a_window_anew() -> None:
    """No call takes less than nothing, and windows end again."""
    limiter, usual = Limiter(Terms(initial=2, least=1)), Usual()

    limiter.at_work = 9

    def calls(start: int) -> Iterator[float]:
        for number in range(40):
            limiter.enter()
            limiter.learn(usual, start + number * 10 * MS, start + (number + 1) * 10 * MS)
            limiter.leave()
            yield limiter.limit

    assert max(calls(10**12)) > 2
    before = limiter.limit
    assert max(calls(0)) > before


def test_priorities_take_shares_of_the_limit() -> None:
    """Low half, normal all, high a quarter more, critical whatever there is; one always has a place."""
    limiter = Limiter(Terms(initial=8))
    let_in = {}
    for priority in _ALL[:3]:
        limiter.at_work = 0
        while limiter.has_room(priority):
            limiter.enter()
        let_in[priority] = limiter.at_work
    assert let_in == {"low": 4, "normal": 8, "high": 10}
    limiter.at_work = 1000
    assert limiter.has_room("critical")
    assert Limiter(Terms(initial=1)).has_room("low")


def test_priorities_bear_a_late_loop() -> None:
    """Low half of what normal calls bear, high twice as much, critical any."""
    most = 100
    borne = {each: [late for late in (50, 51, 100, 101, 200, 201) if bears(each, late, most)] for each in _ALL}
    assert borne == {
        "low": [50],
        "normal": [50, 51, 100],
        "high": [50, 51, 100, 101, 200],
        "critical": [50, 51, 100, 101, 200, 201],
    }


_ALL: tuple[Priority, ...] = ("low", "normal", "high", "critical")
