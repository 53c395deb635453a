"""The sliding log: worked examples, and every hit looked through each time as its oracle."""

import time

from hypothesis import given, settings

from forecourt.core.sliding_log import MOST
from tests.core.bench import PARAMETERS, Bench, Limit, Move, examples, moves
from tests.core.histories import walk

SECOND = 1_000_000
THREE = (3, 60 * SECOND)


class Hits:
    """Every hit there ever was."""

    def __init__(self, limit: Limit) -> None:
        self.most, self.window = limit.parameters
        self.hits: list[int] = []

    def take(self, now: int, cost: int) -> tuple[int, int, int]:
        """Return what remains, µs until the call may pass, µs until there is more."""
        wait = -1 if cost > self.most else self._wait(now, self.most - cost) if cost else 0
        for _ in range(cost if wait == 0 else 0):
            self.hits.append(max([now, *(hit + 1 for hit in self.hits)]))
        used = len(self._live(now))
        return self.most - used, wait, self._wait(now, used - 1) if used else 0

    def _live(self, now: int) -> list[int]:
        return [hit for hit in self.hits if hit > now - self.window]

    def _wait(self, now: int, most: int) -> int:
        """Return when so many hits are left: now, or when one of those that count ends."""
        ends = sorted({now, *(hit + self.window for hit in self._live(now))})
        return next(end for end in ends if len(self._live(end)) <= most) - now


@given(limit=PARAMETERS["sliding_log"], history=moves(60, plain=True))
@settings(max_examples=examples(40), deadline=None)
def test_it_counts_the_hits_of_one_window(limit: Limit, history: list[Move]) -> None:
    """What remains, when the call may pass and when there is more are those of a list of all hits."""
    hits = Hits(limit)
    for asked in walk([limit], history, honest=True):
        assert asked.standing[1:4] == hits.take(asked.before.now, asked.cost)


def test_each_hit_counts_for_one_window() -> None:
    """Three pass; the fourth waits until the first is a minute old, and two at once until the second is."""
    bench = Bench("sliding_log")
    for _ in range(3):
        assert bench.ask(*THREE, 1, 0).passed
        bench.now += 10 * SECOND
    assert bench.ask(*THREE, 1, 0)[:4] == ("refuse", 0, 30 * SECOND, 30 * SECOND)
    assert bench.ask(*THREE, 2, 0)[:4] == ("refuse", 0, 40 * SECOND, 30 * SECOND)


def test_hits_of_one_microsecond_are_not_one() -> None:
    """Three hits at the same instant are three, with three tickets."""
    bench = Bench("sliding_log")
    tickets = [bench.ask(*THREE, 1, 0).ticket for _ in range(3)]
    assert tickets == [bench.now, bench.now + 1, bench.now + 2]
    assert not bench.ask(*THREE, 1, 0).passed


def test_a_ticket_gives_back_its_own_hits_once() -> None:
    """Told again, giving back changes nothing; other hits stay."""
    bench = Bench("sliding_log")
    two, one = bench.ask(*THREE, 2, 0), bench.ask(*THREE, 1, 0)
    for _ in range(2):
        bench.back(*THREE, 2, two.ticket)
        assert bench.ask(*THREE, 0, 0).remaining == 2
    bench.back(*THREE, 1, one.ticket)
    assert bench.state is None


def test_a_lowered_limit_is_never_below_nothing() -> None:
    """Three hits are too many for a limit of one: it waits for the last of them."""
    bench = Bench("sliding_log")
    for _ in range(3):
        bench.ask(*THREE, 1, 0)
        bench.now += SECOND
    assert bench.ask(1, 60 * SECOND, 1, 0)[:4] == ("refuse", 0, 59 * SECOND, 59 * SECOND)


def test_a_longer_window_keeps_its_promise() -> None:
    """When the window is made longer, a refused call makes the state live as long as it promised."""
    bench = Bench("sliding_log")
    bench.ask(3, SECOND, 3, 0)
    standing = bench.ask(*THREE, 1, 0)
    assert standing[:3] == ("refuse", 0, 60 * SECOND)
    assert not bench.later(standing.retry - 1).ask(*THREE, 1, 0).passed
    assert bench.later(standing.retry).ask(*THREE, 1, 0).passed


def test_a_clock_set_back_delays_for_two_windows_at_most() -> None:
    """An hour back, hits count for a window from now and the window that they last, and then are gone."""
    bench = Bench("sliding_log")
    bench.ask(*THREE, 3, 0)
    bench.now -= 3600 * SECOND
    standing = bench.ask(*THREE, 1, 0)
    assert standing[:2] == ("refuse", 0)
    assert standing.retry == 2 * 60 * SECOND + MOST - 2
    bench.now += standing.retry
    assert bench.ask(*THREE, 1, 0).passed


def test_a_thousand_hits_are_decided_quickly() -> None:
    """The largest log a config allows takes well under a millisecond of this process's time for each decision."""
    bench = Bench("sliding_log")
    began = time.thread_time()
    for _ in range(2 * MOST):
        bench.ask(MOST, 1000, 1, 0)
        bench.now += 1
    assert (time.thread_time() - began) / (2 * MOST) < 0.001
