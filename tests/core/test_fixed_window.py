"""The fixed window: worked examples, and a list of hits as its oracle."""

from hypothesis import given, settings

from tests.core.bench import PARAMETERS, Bench, Limit, Move, examples, moves
from tests.core.histories import walk

SECOND = 1_000_000
FIVE = (5, 60 * SECOND)


class Hits:
    """Every unit that was admitted, with the beginning of the window it fell into."""

    def __init__(self, limit: Limit) -> None:
        self.most, self.window = limit.parameters
        self.hits: list[int] = []

    def take(self, now: int, cost: int) -> tuple[int, int, int]:
        """Return what remains, µs until the call may pass, µs until there is more."""
        self.hits = [begin for begin in self.hits if now - begin < self.window]
        begin = self.hits[0] if self.hits else now
        retry = 0
        if cost > self.most:
            retry = -1
        elif cost > self.most - len(self.hits):
            retry = begin + self.window - now
        else:
            self.hits += [begin] * cost
        return self.most - len(self.hits), retry, begin + self.window - now if self.hits else 0


@given(limit=PARAMETERS["fixed_window"], history=moves(60, plain=True))
@settings(max_examples=examples(60), deadline=None)
def test_it_counts_the_hits_of_its_window(limit: Limit, history: list[Move]) -> None:
    """What remains, when the call may pass and when there is more are those of a list of hits."""
    hits = Hits(limit)
    for asked in walk([limit], history, honest=True):
        assert asked.standing[1:4] == hits.take(asked.before.now, asked.cost)


def test_a_window_begins_at_the_first_hit() -> None:
    """Five pass in the minute after the first hit, whenever it came; the sixth waits for the end of that minute."""
    bench = Bench("fixed_window", now=1_234_567_890)
    assert [bench.ask(*FIVE, 1, 0).remaining for _ in range(4)] == [4, 3, 2, 1]
    bench.now += 59 * SECOND
    assert bench.ask(*FIVE, 1, 0)[:4] == ("go", 0, 0, SECOND)
    assert bench.ask(*FIVE, 1, 0)[:4] == ("refuse", 0, SECOND, SECOND)
    bench.now += SECOND
    assert bench.ask(*FIVE, 5, 0)[:4] == ("go", 0, 0, 60 * SECOND)


def test_hits_are_given_back_to_their_own_window() -> None:
    """A ticket of a window that is over gives nothing back to the next one."""
    bench = Bench("fixed_window")
    early, also_early = bench.ask(*FIVE, 2, 0), bench.ask(*FIVE, 2, 0)
    bench.back(*FIVE, 2, early.ticket)
    assert bench.ask(*FIVE, 0, 0).remaining == 3
    bench.now += 60 * SECOND
    bench.ask(*FIVE, 3, 0)
    bench.back(*FIVE, 2, also_early.ticket)
    assert bench.ask(*FIVE, 0, 0).remaining == 2


def test_a_window_without_hits_is_over() -> None:
    """Once all is given back the window is gone: the next hit begins one of full length."""
    bench = Bench("fixed_window")
    taken = bench.ask(*FIVE, 2, 0)
    bench.now += 30 * SECOND
    bench.back(*FIVE, 2, taken.ticket)
    assert bench.state is None
    assert bench.ask(*FIVE, 1, 0).reset == 60 * SECOND


def test_a_lowered_limit_counts_what_was_spent() -> None:
    """Five spent of five leave nothing of three, never less than nothing, and five of ten."""
    bench = Bench("fixed_window")
    bench.ask(*FIVE, 5, 0)
    assert bench.later(0).ask(3, 60 * SECOND, 1, 0)[:3] == ("refuse", 0, 60 * SECOND)
    assert bench.later(0).ask(10, 60 * SECOND, 1, 0)[:3] == ("go", 4, 0)


def test_a_shorter_window_ends_sooner() -> None:
    """A call that waits for a day waits for a minute when the window is made one; the refusal itself keeps that."""
    bench = Bench("fixed_window")
    bench.ask(5, 86_400 * SECOND, 5, 0)
    assert bench.ask(*FIVE, 1, 0)[:3] == ("refuse", 0, 60 * SECOND)
    bench.now += 60 * SECOND
    assert bench.ask(*FIVE, 1, 0).passed


def test_a_clock_set_back_delays_for_a_window_at_most() -> None:
    """An hour back, the minute that runs ends a minute from now."""
    bench = Bench("fixed_window")
    bench.ask(*FIVE, 5, 0)
    bench.now -= 3600 * SECOND
    assert bench.ask(*FIVE, 1, 0)[:3] == ("refuse", 0, 60 * SECOND)
    bench.now += 60 * SECOND
    assert bench.ask(*FIVE, 1, 0).passed
