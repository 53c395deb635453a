"""No stretch of time ever sees more than a strategy promises: counted over every stretch of every history."""

from collections.abc import Callable, Sequence
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.bench import GIVING_BACK, PARAMETERS, Bench, Limit, examples, moves, passing
from tests.core.histories import Asked, walk

Bound = Callable[[Limit, int], Fraction | int]
"""The most units between two admissions so many µs apart, both counted."""


def _bucket(limit: Limit, apart: int) -> Fraction:
    capacity, period, parts = limit.parameters
    return capacity + Fraction(apart * parts, period)


def _windows(limit: Limit, apart: int) -> int:
    """The windows between the first one and the last lie apart as a whole."""
    most, window = limit.parameters
    return most * ((apart - 1) // window + 2)


def _sliding(limit: Limit, apart: int) -> int:
    most, window = limit.parameters
    return (2 * most - 1) * (apart // window + 1)


def _log(limit: Limit, apart: int) -> int:
    most, window = limit.parameters
    return most * (apart // window + 1)


BOUNDS: dict[str, Bound] = {
    "token_bucket": _bucket,
    "fixed_window": _windows,
    "sliding_window": _sliding,
    "sliding_log": _log,
}

each_strategy = pytest.mark.parametrize("kind", BOUNDS)


def admitted(history: Sequence[Asked]) -> list[tuple[int, int]]:
    """Return when how much was admitted, in true time."""
    return [(asked.lived, asked.cost) for asked in history if asked.standing.passed]


def stays_within(bound: Bound, limit: Limit, taken: Sequence[tuple[int, int]]) -> None:
    """Fail if any stretch from one admission to another saw more than the bound."""
    for first, (begin, _) in enumerate(taken):
        units = 0
        for end, cost in taken[first:]:
            units += cost
            assert units <= bound(limit, end - begin)


@each_strategy
@given(data=st.data())
@settings(max_examples=examples(30), deadline=None)
def test_no_stretch_sees_more_than_promised(kind: str, data: st.DataObject) -> None:
    """With one set of parameters and an honest clock, every stretch stays within the bound."""
    limit = data.draw(PARAMETERS[kind])
    history = [*walk([limit], data.draw(moves(60, plain=True)), honest=True)]
    stays_within(BOUNDS[kind], limit, admitted(history))


@each_strategy
@given(data=st.data())
@settings(max_examples=examples(30), deadline=None)
def test_a_clock_set_back_admits_no_more(kind: str, data: st.DataObject) -> None:
    """With a clock that is set back again and again, every stretch of true time stays within the bound."""
    limit = data.draw(PARAMETERS[kind])
    history = [*walk([limit], data.draw(moves(60, plain=True)))]
    stays_within(BOUNDS[kind], limit, admitted(history))


@each_strategy
@given(data=st.data())
@settings(max_examples=examples(30), deadline=None)
def test_a_change_admits_no_more_than_the_new_limit(kind: str, data: st.DataObject) -> None:
    """From any change on, as long as the new parameters hold, every stretch stays within their bound."""
    limits = data.draw(st.lists(PARAMETERS[kind], min_size=2, max_size=3))
    history = [*walk(limits, data.draw(moves(60, plain=True)))]
    while history:
        limit = history[0].limit
        reign = 0
        while reign < len(history) and history[reign].limit is limit:
            reign += 1
        stays_within(BOUNDS[kind], limit, admitted(history[:reign]))
        history = history[reign:]


@each_strategy
@given(data=st.data())
@settings(max_examples=examples(30), deadline=None)
def test_giving_back_admits_no_more_in_the_end(kind: str, data: st.DataObject) -> None:
    """What was admitted and not given back stays within the bound, whatever is given back when, once each."""
    limit = data.draw(PARAMETERS[kind])
    bench, last = Bench(kind), None
    kept: list[tuple[int, int, tuple[int, ...]]] = []
    for move in data.draw(moves(60)):
        bench.now += abs(passing(move, limit.span, last))
        if move.share % 2 and kept:
            _, cost, tickets = kept.pop(move.share % len(kept))
            bench.back(*limit.back(cost, tickets))
        last = bench.ask(*limit.args(move.cost))
        if last.passed:
            kept.append((bench.now, move.cost, last.tickets))
    stays_within(BOUNDS[kind], limit, [(now, cost) for now, cost, _ in kept])


@given(data=st.data())
@settings(max_examples=examples(30), deadline=None)
def test_throttled_calls_start_apart(data: st.DataObject) -> None:
    """Throttled calls start, when they stop waiting, cost · N/D apart, and none waits longer than max_delay."""
    limit = data.draw(PARAMETERS["throttle"])
    period, parts, max_delay = limit.parameters
    starts = []
    for asked in walk([limit], data.draw(moves(60, plain=True)), honest=True):
        if asked.standing.passed and asked.cost:
            delay = asked.standing.rest[1]
            assert 0 <= delay <= max_delay
            starts.append((asked.lived + delay, asked.cost))
    for first, (begin, _) in enumerate(starts):
        units = 0
        for (_, cost), (end, _) in zip(starts[first:], starts[first + 1 :], strict=False):
            units += cost
            assert end - begin > Fraction(units * period, parts) - 1  # a wait is rounded up to the microsecond


@given(data=st.data())
@settings(max_examples=examples(30), deadline=None)
def test_a_throttle_set_back_is_no_faster(data: st.DataObject) -> None:
    """With a clock that is set back, as many are admitted in any stretch of true time as fit, and as may wait."""
    limit = data.draw(PARAMETERS["throttle"])
    period, parts, max_delay = limit.parameters

    def bound(_: Limit, apart: int) -> Fraction:
        return 5 + Fraction((apart + max_delay) * parts, period)

    history = [*walk([limit], data.draw(moves(60, plain=True)))]
    stays_within(bound, limit, admitted(history))


@given(data=st.data())
@settings(max_examples=examples(30), deadline=None)
def test_debounced_calls_are_quiet_apart(data: st.DataObject) -> None:
    """A call passes only when none came for an interval of true time, or none passed for max_wait."""
    limit = data.draw(PARAMETERS["debounce"])
    interval, max_wait = limit.parameters
    called = passed = None
    for asked in walk([limit], data.draw(moves(60, plain=True))):
        if asked.standing.passed:
            if called is not None and passed is not None:
                assert asked.lived - called >= interval or asked.lived - passed >= max_wait > 0
            passed = asked.lived
        called = asked.lived


def test_every_strategy_that_counts_is_bounded_here() -> None:
    """No strategy was forgotten above."""
    assert {*BOUNDS, "throttle"} == {*GIVING_BACK}
