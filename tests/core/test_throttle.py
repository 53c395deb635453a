"""The throttle: worked examples, and a list of starts as its oracle."""

from fractions import Fraction
from math import ceil

from hypothesis import given, settings

from tests.core.bench import PARAMETERS, Bench, Limit, Move, examples, moves
from tests.core.histories import walk

SECOND = 1_000_000
STRICT = (SECOND, 1, 0)
"""One a second, nobody waits."""
PATIENT = (SECOND, 1, 2 * SECOND)
"""One a second, and two may wait."""


class Starts:
    """When each call starts, as a fraction of microseconds, and when the next one may."""

    def __init__(self, limit: Limit) -> None:
        period, parts, self.max_delay = limit.parameters
        self.gap = Fraction(period, parts)
        self.free = Fraction(0)

    def take(self, now: int, cost: int) -> tuple[int, int, int, int]:
        """Return whether one may start at once, µs until the call may pass, until one may start, and its own delay."""
        start = max(Fraction(now), self.free)
        delay = ceil(start - now)
        if cost and delay <= self.max_delay:
            self.free = start + cost * self.gap
            return 0, 0, ceil(self.free - now), delay
        return int(not cost and not delay), max(0, delay - self.max_delay) if cost else 0, delay, 0


@given(limit=PARAMETERS["throttle"], history=moves(60, plain=True))
@settings(max_examples=examples(60), deadline=None)
def test_it_spaces_the_starts(limit: Limit, history: list[Move]) -> None:
    """Waits and delays are those of a list of starts."""
    starts = Starts(limit)
    for asked in walk([limit], history, honest=True):
        *values, delay = starts.take(asked.before.now, asked.cost)
        assert [*asked.standing[1:4], asked.standing.rest[1]] == [*values, delay]


def test_calls_are_a_second_apart() -> None:
    """The second call within a second is refused until the second is over."""
    bench = Bench("throttle")
    assert bench.ask(*STRICT, 1, 0)[:4] == ("go", 0, 0, SECOND)
    bench.now += 400_000
    assert bench.ask(*STRICT, 1, 0)[:4] == ("refuse", 0, 600_000, 600_000)
    bench.now += 600_000
    assert bench.ask(*STRICT, 1, 0).passed


def test_patient_calls_get_slots() -> None:
    """Three calls at once start a second apart; the fourth would wait for three seconds and comes again in one."""
    bench = Bench("throttle")
    assert [bench.ask(*PATIENT, 1, 0).rest[1] for _ in range(3)] == [0, SECOND, 2 * SECOND]
    assert bench.ask(*PATIENT, 1, 0)[:4] == ("refuse", 0, SECOND, 3 * SECOND)


def test_a_costly_call_keeps_the_next_one_away_for_longer() -> None:
    """After a call of cost 3 the next one starts three seconds later."""
    bench = Bench("throttle")
    assert bench.ask(*PATIENT, 3, 0).passed
    assert bench.ask(*PATIENT, 1, 0)[:3] == ("refuse", 0, SECOND)


def test_only_the_last_slot_is_given_back() -> None:
    """A slot with another one after it stays; the last one is free again, and can be given back only once."""
    bench = Bench("throttle")
    first, second = bench.ask(*PATIENT, 1, 0), bench.ask(*PATIENT, 1, 0)
    bench.back(*PATIENT, 1, *first.tickets)
    assert bench.ask(*PATIENT, 0, 0).reset == 2 * SECOND
    for _ in range(2):
        bench.back(*PATIENT, 1, *second.tickets)
        assert bench.ask(*PATIENT, 0, 0).reset == SECOND
    bench.back(*PATIENT, 1, *first.tickets)
    assert bench.state is None


def test_thirds_are_given_back_whole() -> None:
    """With a gap that is no whole number of microseconds, giving back restores the very instant."""
    bench = Bench("throttle")
    thirds = (SECOND, 3, SECOND)
    bench.ask(*thirds, 1, 0)
    before = bench.kept
    slot = bench.ask(*thirds, 2, 0)
    assert slot.rest[:2] == (0, 333_334)
    bench.back(*thirds, 2, *slot.tickets)
    assert bench.kept == before


def test_slots_within_one_microsecond_are_told_apart() -> None:
    """Of two slots a third of a microsecond apart only the later one can be given back."""
    bench = Bench("throttle")
    thirds = (1, 3, SECOND)
    first, second = bench.ask(*thirds, 1, 0), bench.ask(*thirds, 1, 0)
    assert (first.tickets, second.tickets) == ((bench.now, 1), (bench.now, 2))
    kept = bench.kept
    bench.back(*thirds, 1, *first.tickets)
    assert bench.kept == kept
    bench.back(*thirds, 1, *second.tickets)
    assert bench.state == (bench.now, 1, bench.now, SECOND + 1)


def test_a_clock_set_back_keeps_the_slots_as_far_away() -> None:
    """An hour back, the next slot is as far away as it was, and stays so."""
    bench = Bench("throttle")
    bench.ask(*STRICT, 1, 0)
    bench.now -= 3600 * SECOND
    assert bench.ask(*STRICT, 1, 0)[:3] == ("refuse", 0, SECOND)
    bench.now += SECOND
    assert bench.ask(*STRICT, 1, 0).passed


def test_a_changed_throttle_keeps_its_queue_in_proportion() -> None:
    """A full queue stays full, an hour of waiting becomes a second; a refused call keeps that."""
    bench = Bench("throttle")
    bench.ask(3600 * SECOND, 1, 0, 1, 0)
    assert bench.ask(*STRICT, 1, 0)[:3] == ("refuse", 0, SECOND)
    bench.now += SECOND
    assert bench.ask(*STRICT, 1, 0).passed


def test_two_sets_of_parameters_in_turn_give_no_more_slots() -> None:
    """While old and new parameters are both in use, the change to and fro frees no slot."""
    bench = Bench("throttle")
    admitted = 0
    for _ in range(1000):
        admitted += bench.ask(SECOND, 1, 10 * SECOND, 1, 0).passed
        admitted += bench.ask(*STRICT, 1, 0).passed
    assert admitted <= 11


def test_a_rest_in_parts_of_another_rate_is_less_than_a_microsecond() -> None:
    """Eight ninths of one are no eight: neither in the next slot, nor in one that is given back."""
    ninths, whole = (8, 9, 100), (1, 1, 100)
    bench = Bench("throttle")
    first = bench.ask(*ninths, 1, 0)
    assert first.tickets == (bench.now, 8)
    again = bench.later(0)
    assert again.ask(*whole, 1, 0).tickets == (bench.now + 2, 0)
    bench.back(*whole, 1, *first.tickets)
    assert bench.state is None
