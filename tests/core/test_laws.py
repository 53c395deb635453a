"""What holds for every strategy, in every state that a history can lead to.

Histories change parameters, set the clock back, give back, ask in shadow and ask for nothing.
"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecourt.core.operations import operation
from forecourt.core.sliding_log import MOST
from forecourt.types import EXACT
from tests.core.bench import COUNTED, GIVING_BACK, LEADING, PARAMETERS, Bench, examples, moves
from tests.core.histories import walk

each_strategy = pytest.mark.parametrize("kind", LEADING)


@each_strategy
@given(data=st.data())
@settings(max_examples=examples(20), deadline=None)
def test_the_promise_of_when_to_come_again_is_exact(kind: str, data: st.DataObject) -> None:
    """A refused call is still refused a microsecond before its `retry` is over, and passes when it is."""
    limits = data.draw(st.lists(PARAMETERS[kind], min_size=1, max_size=3))
    for asked in walk(limits, data.draw(moves(40))):
        if asked.standing.retry <= 0:
            continue
        for early, passes in ((1, False), (0, True)):
            again = asked.before.later(0)
            again.ask(*asked.limit.args(asked.cost, asked.shadow))
            again.now += asked.standing.retry - early
            assert again.ask(*asked.limit.args(asked.cost, asked.shadow)).passed is passes


@each_strategy
@given(data=st.data())
@settings(max_examples=examples(20), deadline=None)
def test_the_promise_of_more_is_exact(kind: str, data: st.DataObject) -> None:
    """No more is left a microsecond before `reset` is over, more is when it is; 0 says that all is left."""
    limits = data.draw(st.lists(PARAMETERS[kind], min_size=1, max_size=3))
    for asked in walk(limits, data.draw(moves(40))):
        if kind == "debounce":
            assert asked.standing.reset > 0
            continue
        after = asked.before.later(0)
        standing = after.ask(*asked.limit.args(asked.cost))
        peek = asked.limit.args(0)
        assert after.ask(*peek)[1:4] == (standing.remaining, 0, standing.reset)
        if standing.reset:
            assert after.later(standing.reset - 1).ask(*peek).remaining == standing.remaining
            assert after.later(standing.reset).ask(*peek).remaining > standing.remaining
        else:
            assert standing.remaining == (1 if kind == "throttle" else asked.limit.parameters[0])


@each_strategy
@given(data=st.data())
@settings(max_examples=examples(20), deadline=None)
def test_verdicts_follow_from_the_promise(kind: str, data: st.DataObject) -> None:
    """Enforced, a call is refused exactly when `retry` is not 0; a shadow goes, and its values are the same."""
    limits = data.draw(st.lists(PARAMETERS[kind], min_size=1, max_size=3))
    for asked in walk(limits, data.draw(moves(40))):
        enforced = asked.before.later(0).ask(*asked.limit.args(asked.cost, 0))
        shadow = asked.before.later(0).ask(*asked.limit.args(asked.cost, 1))
        assert enforced.verdict == ("go" if enforced.passed else "refuse")
        assert shadow.verdict == "go"
        assert shadow[1:] == enforced[1:] == asked.standing[1:]
        assert enforced.retry >= -1
        assert enforced.remaining >= 0


@pytest.mark.parametrize("kind", GIVING_BACK)
@given(data=st.data())
@settings(max_examples=examples(20), deadline=None)
def test_only_what_is_granted_is_taken(kind: str, data: st.DataObject) -> None:
    """A refused call, a shadow that would be, a peek, and a call whose group is refused: none takes anything."""
    limits = data.draw(st.lists(PARAMETERS[kind], min_size=1, max_size=3))
    for asked in walk(limits, data.draw(moves(40))):
        peek, alone = asked.limit.args(0), asked.before.later(0)
        expected = alone.ask(*peek)
        for shadow, group_goes in ((0, True), (1, True), (0, False)):
            bench = asked.before.later(0)
            standing = bench.ask(*asked.limit.args(asked.cost, shadow), group_goes=group_goes)
            if standing.passed and group_goes and asked.cost:
                assert standing.ticket > 0
                continue
            assert standing.ticket == 0 or (standing.passed and asked.cost)
            assert bench.ask(*peek) == expected
            assert bench.state == alone.state


@pytest.mark.parametrize("kind", COUNTED)
@given(data=st.data())
@settings(max_examples=examples(20), deadline=None)
def test_what_is_said_to_be_left_can_be_had(kind: str, data: st.DataObject) -> None:
    """All that remains passes as one call, and one unit more does not."""
    limits = data.draw(st.lists(PARAMETERS[kind], min_size=1, max_size=3))
    for asked in walk(limits, data.draw(moves(40))):
        bench = asked.before.later(0)
        remaining = bench.ask(*asked.limit.args(0)).remaining
        assert not bench.later(0).ask(*asked.limit.args(remaining + 1)).passed
        standing = bench.ask(*asked.limit.args(remaining))
        assert standing.passed
        assert standing.remaining == 0


@each_strategy
@given(data=st.data())
@settings(max_examples=examples(20), deadline=None)
def test_expired_state_equals_absence(kind: str, data: st.DataObject) -> None:
    """When a state expires, a decision on it and one on nothing are the same."""
    limit = data.draw(PARAMETERS[kind])
    compute = operation(kind).compute
    for asked in walk([limit], data.draw(moves(40))):
        kept = asked.before.kept
        if kept is None or kept.state is None:
            continue
        for later in (0, 1, limit.span):
            now, args = kept.expires + later, limit.args(asked.cost)
            assert compute((kept.state,), now, args) == compute((None,), now, args)


@each_strategy
@given(data=st.data())
@settings(max_examples=examples(20), deadline=None)
def test_state_is_exact_and_lasts_no_longer_than_it_may(kind: str, data: st.DataObject) -> None:
    """State is integers below 2^53, and once written it lives no longer than the longest thing of its parameters."""
    limits = data.draw(st.lists(PARAMETERS[kind], min_size=1, max_size=3))
    longest = 6 * max(limit.span + limit.parameters[0] for limit in limits) + 2 * MOST
    for asked in walk(limits, data.draw(moves(40))):
        bench = asked.before
        if bench.state is None:
            continue
        for number in bench.state:
            assert all(type(each) is int and 0 <= each < EXACT for each in _flat(number))
        written = bench.later(0)
        written.ask(*asked.limit.args(asked.cost))
        assert written.kept is not None
        if written.written > bench.written:
            assert written.kept.expires - written.now <= longest


@each_strategy
@given(data=st.data())
@settings(max_examples=examples(20), deadline=None)
def test_nobody_is_kept_out(kind: str, data: st.DataObject) -> None:
    """However wrong the clock was and however the limit was changed, one unit passes within a bounded time."""
    limits = data.draw(st.lists(PARAMETERS[kind], min_size=1, max_size=3))
    for asked in walk(limits, data.draw(moves(40))):
        retry = asked.before.later(0).ask(*asked.limit.args(1)).retry
        longest = {
            "token_bucket": asked.limit.span,
            "fixed_window": asked.limit.span,
            "sliding_window": asked.limit.span,
            "sliding_log": 2 * asked.limit.span + 2 * MOST,
            "throttle": 6 * asked.limit.span,
            "debounce": asked.limit.span,
        }[kind]
        assert 0 <= retry <= longest


@pytest.mark.parametrize("kind", GIVING_BACK)
@given(data=st.data())
@settings(max_examples=examples(20), deadline=None)
def test_taken_and_given_back_at_once_is_not_taken(kind: str, data: st.DataObject) -> None:
    """What is given back before time passed is all there again (of a bucket with a rest: a microsecond later)."""
    limits = data.draw(st.lists(PARAMETERS[kind], min_size=1, max_size=3))
    for asked in walk(limits, data.draw(moves(40))):
        bench = asked.before.later(0)
        bench.ask(*asked.limit.args(0))
        untouched = bench.later(0)
        standing = bench.ask(*asked.limit.args(asked.cost))
        bench.back(*asked.limit.back(asked.cost, standing.tickets))
        peek = asked.limit.args(0)
        late = 1 if kind == "token_bucket" else 0
        assert bench.later(late).ask(*peek).remaining == untouched.later(late).ask(*peek).remaining


@pytest.mark.parametrize("kind", GIVING_BACK)
@given(data=st.data())
@settings(max_examples=examples(20), deadline=None)
def test_a_ticket_for_nothing_gives_nothing_back(kind: str, data: st.DataObject) -> None:
    """The tickets of refused calls, would-be refused shadows and peeks are 0, and giving them back changes nothing."""
    limits = data.draw(st.lists(PARAMETERS[kind], min_size=1, max_size=3))
    for asked in walk(limits, data.draw(moves(40))):
        bench = asked.before.later(0)
        expected = bench.later(0)
        bench.back(*asked.limit.back(asked.cost, (0,) * (2 if kind == "throttle" else 1)))
        assert bench == expected


def _flat(part: object) -> tuple[object, ...]:
    return part if isinstance(part, tuple) else (part,)


def test_a_call_that_can_never_pass_says_so() -> None:
    """A cost above the whole limit is refused with -1, by limits that count units; a shadow says it too."""
    for kind, args in {
        "token_bucket": (5, 1000, 1, 6),
        "fixed_window": (5, 1000, 6),
        "sliding_window": (5, 1000, 6),
        "sliding_log": (5, 1000, 6),
    }.items():
        assert Bench(kind).ask(*args, 0)[:4] == ("refuse", 5, -1, 0)
        assert Bench(kind).ask(*args, 1)[:4] == ("go", 5, -1, 0)
