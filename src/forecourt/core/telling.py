"""How often a change of state is told: a state that flaps must not fill a log.

A thing is in one of two states. Each change deserves a line, but of each state at most one in `every` microseconds.
What is held back is counted, and told with the next line that is due: so the last line is never older than `every`
when it is wrong, provided that somebody looks. A clock that was set back holds nothing back.
"""

from typing import NamedTuple


class Told(NamedTuple):
    """What is so, and when each state was last told: `at[False]` and `at[True]`, in µs; None is never."""

    state: bool = False
    changes: int = 0
    """Changes since the last line."""
    at: tuple[int | None, int | None] = (None, None)


def look(was: Told, state: bool, now: int, every: int) -> tuple[Told, int | None]:
    """Return what is so now, and how many changes a line is to tell of; None while there is nothing to tell."""
    changes = was.changes + (state is not was.state)
    if not changes or _is_recent(was.at[state], now, every):
        return Told(state, changes, was.at), None
    return Told(state, 0, (was.at[0], now) if state else (now, was.at[1])), changes


def _is_recent(then: int | None, now: int, every: int) -> bool:
    return then is not None and 0 <= now - then < every
