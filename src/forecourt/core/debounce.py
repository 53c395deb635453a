"""Debounce: of a flurry of calls, one runs.

**Leading edge** (`debounce`): the first call runs. Every call within `interval` of the one before it, run or refused,
is refused and begins the quiet time anew; that mark is left even though the call consumes nothing. With `max_wait` a
call passes when the last one passed so long ago, however steady the stream. State is (quiet until, last passed); once
it is quiet, it equals absence.

**Trailing edge** (`debounce_trailing`, `debounce_claim`): the last call runs. Every arrival takes the place of the one
before it and is told how long to wait: `interval`, or less where `max_wait` after the first of the flurry comes sooner.
Then it claims: it may run, or it has to wait on, or it was superseded and must not run. State is (first arrival, due,
id of the last). A claim that runs ends the flurry. One that nobody claims is forgotten ten seconds after it was due; so
is its right to run, because an absent state cannot tell it from one that was superseded by a call that has run.

In both, instants that a clock set back has left in the future are drawn near, so that nobody waits for more than one
interval. A shadow debounce re-arms and remembers, but never refuses and never makes wait.
"""

from typing import cast

from forecourt.core.operations import Arg, Operation, Outcome, State, Write, register
from forecourt.types import SECOND

GRACE = 10 * SECOND
"""How long after it was due the last call of a flurry may still claim."""

_SUPERSEDED = (0, -1, 0, 0)


def call(states: tuple[State | None, ...], now: int, args: tuple[Arg, ...]) -> Outcome:
    """Let the first call of a flurry pass; args: interval and max_wait in µs (0: none), shadow.

    Values: 0, µs of quiet until a call may pass (0: it passed), µs until another call may pass, 0.
    """
    interval, max_wait, shadow = cast("tuple[int, int, int]", args)
    quiet, passed = cast("tuple[int, int]", states[0] or (0, 0))
    passed = min(passed, now)
    if quiet <= now or (max_wait and passed + max_wait <= now):
        return Outcome("go", (0, 0, interval, 0), (Write((now + interval, now), now + interval),))
    wait = min(interval, passed + max_wait - now) if max_wait else interval
    armed = Write((now + interval, passed), now + interval)
    return Outcome("go" if shadow else "refuse", (0, wait, wait, 0), (armed,), (armed,))


def look(states: tuple[State | None, ...], now: int, args: tuple[Arg, ...]) -> Outcome:
    """Say whether a call would pass the leading edge, re-arming nothing; args: max_wait in µs (0: none).

    Values: 1 when a call may pass now, else 0; µs until one may if none comes before.
    """
    (max_wait,) = cast("tuple[int]", args)
    quiet, passed = cast("tuple[int, int]", states[0] or (0, 0))
    passed = min(passed, now)
    if quiet <= now or (max_wait and passed + max_wait <= now):
        return Outcome("go", (1, 0), (None,))
    return Outcome("go", (0, min(quiet, passed + max_wait) - now if max_wait else quiet - now), (None,))


def arrive(states: tuple[State | None, ...], now: int, args: tuple[Arg, ...]) -> Outcome:
    """Take the last place of the flurry; args: interval and max_wait in µs (0: none), shadow, id of this call.

    Always goes. Values: 0, µs to wait before claiming, the same, 0.
    """
    interval, max_wait, shadow, call_id = cast("tuple[int, int, int, str]", args)
    first, due, _ = cast("tuple[int, int, str]", states[0] or (now, now, ""))
    first = min(first, now) if now < due + GRACE else now
    due = now + interval
    if max_wait:
        due = min(due, max(now, first + max_wait))
    wait = 0 if shadow else due - now
    return Outcome("go", (0, wait, wait, 0), (Write((first, due, call_id), due + GRACE),))


def claim(states: tuple[State | None, ...], now: int, args: tuple[Arg, ...]) -> Outcome:
    """Ask whether the call may run now; args: those of its arrival.

    Values: 0, µs still to wait (0: it may run; -1: superseded), µs still to wait or 0, 0.
    """
    interval, _, shadow, call_id = cast("tuple[int, int, int, str]", args)
    first, due, last_id = cast("tuple[int, int, str]", states[0] or (0, 0, ""))
    if states[0] is None or due + GRACE <= now or last_id != call_id:
        return Outcome("go" if shadow else "refuse", _SUPERSEDED, (None,))
    if due <= now:
        return Outcome("go", (0, 0, 0, 0), (Write(None, now),))
    wait = min(due - now, interval)
    nearer = Write((first, now + wait, last_id), now + wait + GRACE) if wait < due - now else None
    return Outcome("go" if shadow else "refuse", (0, wait, wait, 0), (nearer,), (nearer,))


DEBOUNCE = register(Operation("debounce", "limit", 4, call))
DEBOUNCE_LOOK = register(Operation("debounce_look", "limit", 2, look))
DEBOUNCE_TRAILING = register(Operation("debounce_trailing", "limit", 4, arrive))
DEBOUNCE_CLAIM = register(Operation("debounce_claim", "limit", 4, claim))
