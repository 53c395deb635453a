"""The sliding window counter: worked examples, and all its hits weighed one by one as its oracle."""

from fractions import Fraction
from math import floor

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.bench import START, Bench, Limit, Move, examples, moves
from tests.core.histories import walk

SECOND = 1_000_000
TEN = (10, 60 * SECOND)

SMALL = st.builds(
    lambda limit, window: Limit("sliding_window", (limit, window), 2 * window), st.integers(1, 9), st.integers(1, 40)
)
"""Windows so short that every instant of two of them can be tried."""


class Hits:
    """Every hit with its window; waits are found by trying one microsecond after the other."""

    def __init__(self, limit: Limit) -> None:
        self.most, self.window = limit.parameters
        self.begin: int | None = None
        self.hits: list[tuple[int, int]] = []

    def take(self, now: int, cost: int) -> tuple[int, int, int]:
        """Return what remains, µs until the call may pass, µs until there is more."""
        if not any(self._place(begin, now) < 2 for _, begin in self.hits):
            self.begin, self.hits = now, []
        assert self.begin is not None
        own = self.begin + (now - self.begin) // self.window * self.window
        retry = -1 if cost > self.most else self._wait(now, self.most - cost) if cost else 0
        if not retry:
            self.hits += [(now, own)] * cost
        remaining = max(0, floor(self.most - self._used(now)))
        return remaining, retry, self._wait(now, self.most - remaining - 1) if self.hits else 0

    def _place(self, begin: int, now: int) -> int:
        """Return 0 for a hit of the running window, 1 for one of the window before, more for older ones."""
        return (now - begin) // self.window

    def _used(self, now: int) -> Fraction:
        used = Fraction(0)
        for _, begin in self.hits:
            place = self._place(begin, now)
            passed = (now - begin) % self.window
            used += 1 if place == 0 else Fraction(self.window - passed, self.window) if place == 1 else 0
        return used

    def _wait(self, now: int, most: int) -> int:
        return next(later for later in range(2 * self.window + 1) if self._used(now + later) <= most)


@given(limit=SMALL, history=moves(60, plain=True))
@settings(max_examples=examples(30), deadline=None)
def test_it_weighs_the_hits_of_two_windows(limit: Limit, history: list[Move]) -> None:
    """What remains, when the call may pass and when there is more are those of hits weighed one by one."""
    hits = Hits(limit)
    for asked in walk([limit], history, honest=True):
        assert asked.standing[1:4] == hits.take(asked.before.now, asked.cost)


def test_the_last_window_fades() -> None:
    """Half way through a window, half of the ten hits of the one before still count, and a tenth more each 6 s."""
    bench = Bench("sliding_window")
    bench.ask(*TEN, 10, 0)
    assert bench.ask(*TEN, 1, 0)[:3] == ("refuse", 0, 66 * SECOND)
    bench.now += 90 * SECOND
    assert bench.later(0).ask(*TEN, 5, 0)[:4] == ("go", 0, 0, 6 * SECOND)
    assert bench.ask(*TEN, 6, 0)[:4] == ("refuse", 5, 6 * SECOND, 6 * SECOND)


def test_the_weight_is_not_rounded_in_favour_of_the_caller() -> None:
    """A microsecond after the half, half a hit less a bit is used: with a limit of one that is too much for another."""
    bench = Bench("sliding_window")
    bench.ask(1, 3, 1, 0)
    bench.now += 5
    assert bench.ask(1, 3, 1, 0)[:3] == ("refuse", 0, 1)


def test_hits_are_given_back_to_the_window_before_too() -> None:
    """A hit of the window before, given back, no longer counts; of an older one there is nothing to give back."""
    bench = Bench("sliding_window")
    taken = bench.ask(*TEN, 10, 0)
    bench.now += 60 * SECOND
    fresh = bench.later(0)
    fresh.back(*TEN, 10, taken.ticket)
    assert fresh.state is None
    assert fresh.ask(*TEN, 10, 0).passed
    bench.back(*TEN, 4, taken.ticket)
    assert bench.ask(*TEN, 4, 0).remaining == 0
    bench.now += 60 * SECOND
    bench.back(*TEN, 4, taken.ticket)
    assert bench.ask(*TEN, 0, 0).remaining == 6


def test_told_twice_it_never_counts_below_nothing() -> None:
    """A ticket given back twice uncounts other hits of its window too, and stops at none."""
    bench = Bench("sliding_window")
    two = bench.ask(*TEN, 2, 0)
    bench.ask(*TEN, 1, 0)
    later = bench.later(60 * SECOND)
    for _ in range(2):
        bench.back(*TEN, 2, two.ticket)
    assert bench.state is None
    later.ask(*TEN, 1, 0)
    for _ in range(2):
        later.back(*TEN, 2, two.ticket)
    assert later.ask(*TEN, 0, 0).remaining == 9


def test_a_window_with_hits_of_the_one_before_only_lives_to_its_own_end() -> None:
    """Once its current hits are given back, nothing is left when the window is over."""
    bench = Bench("sliding_window")
    bench.ask(*TEN, 10, 0)
    bench.now += 90 * SECOND
    taken = bench.ask(*TEN, 5, 0)
    assert bench.kept is not None
    assert bench.kept.expires == START + 180 * SECOND
    bench.back(*TEN, 5, taken.ticket)
    assert bench.kept.expires == START + 120 * SECOND


def test_a_longer_window_keeps_its_promise() -> None:
    """When the window is made longer, a refused call makes the state live as long as it promised."""
    bench = Bench("sliding_window")
    bench.ask(10, SECOND, 10, 0)
    standing = bench.ask(*TEN, 1, 0)
    assert standing[:3] == ("refuse", 0, 66 * SECOND)
    assert not bench.later(standing.retry - 1).ask(*TEN, 1, 0).passed
    assert bench.later(standing.retry).ask(*TEN, 1, 0).passed


def test_a_longer_window_keeps_its_promise_of_the_window_before() -> None:
    """So does the state of hits that are a window old already: it lives to the end of the longer one."""
    bench = Bench("sliding_window")
    bench.ask(*TEN, 10, 0)
    bench.now += 80 * SECOND
    standing = bench.ask(10, 70 * SECOND, 10, 0)
    assert standing[:3] == ("refuse", 1, 60 * SECOND)
    assert not bench.later(standing.retry - 1).ask(10, 70 * SECOND, 10, 0).passed
    assert bench.later(standing.retry).ask(10, 70 * SECOND, 10, 0).passed


def test_a_lowered_limit_is_never_below_nothing() -> None:
    """Ten spent of ten leave nothing of three; they fade until three of ten are left of them."""
    bench = Bench("sliding_window")
    bench.ask(*TEN, 10, 0)
    assert bench.ask(3, 60 * SECOND, 1, 0)[:3] == ("refuse", 0, 108 * SECOND)


def test_a_clock_set_back_counts_the_window_again() -> None:
    """An hour back, the hits count as if their window began now."""
    bench = Bench("sliding_window")
    bench.ask(*TEN, 10, 0)
    bench.now -= 3600 * SECOND
    assert bench.ask(*TEN, 1, 0)[:3] == ("refuse", 0, 66 * SECOND)
    bench.now += 66 * SECOND
    assert bench.ask(*TEN, 1, 0).passed
