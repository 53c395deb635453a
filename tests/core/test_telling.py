"""How often a change of state is told."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from forecourt.core.telling import Told, look

EVERY = 10


def lines(seen: list[tuple[int, bool]]) -> list[tuple[int, bool, int]]:
    """Return the lines that what was seen, and when, gives: when, which state, how many changes."""
    told, out = Told(), []
    for now, state in seen:
        told, changes = look(told, state, now, EVERY)
        if changes is not None:
            out.append((now, state, changes))
    return out


def test_first_changes_are_told_at_once() -> None:
    """Nothing is told of the state that was there from the start; a change and the way back are a line each."""
    assert lines([(0, False), (1, True), (2, True), (3, False)]) == [(1, True, 1), (3, False, 1)]


def test_flapping_is_held_back_and_counted() -> None:
    """A state is told again when its time has come, with all changes since the last line."""
    assert lines([(0, True), (1, False), (2, True), (3, False), (4, True), (9, True), (10, True)]) == [
        (0, True, 1),
        (1, False, 1),
        (10, True, 3),
    ]


def test_a_clock_set_back_holds_nothing_back() -> None:
    """A last line that lies in the future is no reason to be silent."""
    assert lines([(100, True), (101, False), (5, True)])[-1] == (5, True, 1)


@given(st.lists(st.tuples(st.integers(0, 8), st.booleans()), max_size=60))
def test_no_state_is_told_twice_within_its_time_and_no_change_is_lost(steps: list[tuple[int, bool]]) -> None:
    """Lines of one state keep their distance; after a pause the last line is true and every change was counted."""
    now, state, changes, seen = 0, False, 0, []
    for step, said in steps:
        now, changes, state = now + step, changes + (said is not state), said
        seen.append((now, said))
    out = lines([*seen, (now + EVERY, state)])
    assert sum(each[2] for each in out) == changes
    assert not out or out[-1][1] is state
    for which in (False, True):
        times = [each[0] for each in out if each[1] is which]
        assert all(later - earlier >= EVERY for earlier, later in pairwise(times))
