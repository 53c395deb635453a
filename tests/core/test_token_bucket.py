"""The token bucket: worked examples, and a bucket that is refilled drop by drop as its oracle."""

from fractions import Fraction
from math import ceil, floor

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.bench import PARAMETERS, Bench, Limit, Move, examples, moves
from tests.core.histories import walk

SECOND = 1_000_000
FIVE = (5, SECOND, 1)
"""Five tokens, one more each second."""
THIRDS = (2, SECOND, 3)
"""Two tokens, three more each second: a third of a second is no whole number of microseconds."""


class Bucket:
    """An honest bucket: a fraction of tokens, and when they were last counted."""

    def __init__(self, limit: Limit) -> None:
        capacity, period, parts = limit.parameters
        self.capacity = capacity
        self.rate = Fraction(parts, period)
        self.tokens = Fraction(capacity)
        self.counted: int | None = None

    def take(self, now: int, cost: int) -> tuple[int, int, int]:
        """Return what remains, µs until the call may pass, µs until one token more."""
        if self.counted is not None:
            self.tokens = min(Fraction(self.capacity), self.tokens + (now - self.counted) * self.rate)
        self.counted = now
        retry = 0
        if cost > self.capacity:
            retry = -1
        elif cost > self.tokens:
            retry = ceil((cost - self.tokens) / self.rate)
        else:
            self.tokens -= cost
        more = floor(self.tokens) + 1 - self.tokens
        return floor(self.tokens), retry, 0 if self.tokens == self.capacity else ceil(more / self.rate)


@given(limit=PARAMETERS["token_bucket"], history=moves(60, plain=True))
@settings(max_examples=examples(60), deadline=None)
def test_it_is_a_bucket_refilled_at_its_rate(limit: Limit, history: list[Move]) -> None:
    """What remains, when the call may pass and when there is more are those of a bucket refilled explicitly."""
    bucket = Bucket(limit)
    for asked in walk([limit], history, honest=True):
        assert asked.standing[1:4] == bucket.take(asked.before.now, asked.cost)


def test_a_burst_and_then_the_rate() -> None:
    """A full bucket gives all it has at once, then one token a second, and says when."""
    bench = Bench("token_bucket")
    assert [bench.ask(*FIVE, 1, 0).remaining for _ in range(5)] == [4, 3, 2, 1, 0]
    assert bench.ask(*FIVE, 1, 0)[:4] == ("refuse", 0, SECOND, SECOND)
    assert bench.ask(*FIVE, 3, 0)[:4] == ("refuse", 0, 3 * SECOND, SECOND)
    bench.now += SECOND
    assert bench.ask(*FIVE, 1, 0)[:4] == ("go", 0, 0, SECOND)


def test_thirds_of_a_second_are_not_lost() -> None:
    """A rate that is no whole number of microseconds admits exactly that many in a thousand seconds."""
    bench = Bench("token_bucket")
    admitted = 0
    while bench.now < Bench("token_bucket").now + 1000 * SECOND:
        standing = bench.ask(*THIRDS, 1, 0)
        admitted += standing.passed
        bench.now += standing.retry
    assert admitted == 2 + 3 * 1000 - 1  # the last one is due a thousand seconds after the first, and that is the end


def test_what_time_has_refilled_is_not_given_back() -> None:
    """A take given back late returns only what of it was not refilled: a burst never grows beyond the bucket."""
    bench = Bench("token_bucket")
    slow = bench.ask(*FIVE, 2, 0)
    bench.now += 2 * SECOND
    assert [bench.ask(*FIVE, 5, 0).remaining, bench.ask(*FIVE, 1, 0).retry] == [0, SECOND]
    bench.back(*FIVE, 2, slow.ticket)
    assert bench.ask(*FIVE, 0, 0).remaining == 0


def test_half_of_it_is_given_back_half_way() -> None:
    """Of two tokens taken a second ago, one is refilled already and the other is given back."""
    bench = Bench("token_bucket")
    taken = bench.ask(*FIVE, 2, 0)
    bench.now += SECOND
    bench.back(*FIVE, 2, taken.ticket)
    assert bench.ask(*FIVE, 0, 0).remaining == 5
    assert bench.state is None


def test_a_changed_bucket_stays_as_full_as_it_was() -> None:
    """Forty of a hundred spent are two of five spent, and four of ten at another rate; refused calls keep that too."""
    bench = Bench("token_bucket")
    bench.ask(100, SECOND, 1, 40, 0)
    assert bench.later(0).ask(5, SECOND, 1, 0, 0).remaining == 3
    assert bench.later(0).ask(10, 60 * SECOND, 1, 0, 0).remaining == 6
    assert bench.ask(5, SECOND, 1, 4, 0)[:3] == ("refuse", 3, SECOND)
    assert bench.ask(100, SECOND, 1, 0, 0).remaining == 60


def test_a_rest_of_another_fraction_is_less_than_a_microsecond() -> None:
    """Parameters with the same span in µs and another D read 501/999 µs as less than one, never as 501."""
    bench = Bench("token_bucket")
    bench.ask(1000, 1_000_500, 999, 1, 0)
    assert bench.state == (bench.now + 1001, 501, 1_001_502)
    assert bench.ask(1, 1_001_502, 1, 0, 0).reset == 1001


def test_two_sets_of_parameters_in_turn_do_not_refill() -> None:
    """While old and new parameters are both in use, the bucket is not filled by the change to and fro."""
    bench = Bench("token_bucket")
    admitted = 0
    for _ in range(1000):
        admitted += bench.ask(100, SECOND, 1, 1, 0).passed
        admitted += bench.ask(5, SECOND, 1, 1, 0).passed
    assert admitted <= 100


def test_a_clock_set_back_leaves_an_empty_bucket_at_worst() -> None:
    """After an hour back, the bucket is empty and fills at its rate: the wait is the usual one, and it is kept."""
    bench = Bench("token_bucket")
    bench.ask(*FIVE, 1, 0)
    bench.now -= 3600 * SECOND
    assert bench.ask(*FIVE, 1, 0)[:4] == ("refuse", 0, SECOND, SECOND)
    bench.now += SECOND
    assert bench.ask(*FIVE, 1, 0).passed


@given(limits=st.lists(PARAMETERS["token_bucket"], min_size=2, max_size=3), history=moves(60, plain=True))
@settings(max_examples=examples(30), deadline=None)
def test_a_change_never_fills_the_bucket(limits: list[Limit], history: list[Move]) -> None:
    """At the instant of a change, the part that is left does not grow, but for what is less than two microseconds."""
    for asked in walk(limits, history):
        left = asked.before.later(0).ask(*asked.limit.args(0)).remaining + 1
        for other in limits:
            bench = asked.before.later(0)
            bench.ask(*asked.limit.args(0))
            part = Fraction(bench.ask(*other.args(0)).remaining, other.parameters[0])
            rounding = Fraction(2, min(asked.limit.span, other.span))
            assert part <= Fraction(left, asked.limit.parameters[0]) + rounding
