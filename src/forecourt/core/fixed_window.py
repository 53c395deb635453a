"""The fixed window: a count that is forgotten when its window ends.

A window begins at the first hit and lasts `window` microseconds, so that the windows of many callers do not all end
at the same instant; the first hit after its end begins the next. Any one window admits `limit`; a stretch of that
length that lies across an end may see twice as many. State is (end, count) and expires at the end.

The end is never further away than one window: after the clock stepped back, or when the window was made shorter, it
is drawn near, in the state too. So two lengths in use on one key at the same time allow, at worst, the larger
limit in each of the shorter windows.
"""

from typing import cast

from forecourt.core.operations import Arg, Operation, Outcome, State, Write, register


def take(states: tuple[State | None, ...], now: int, args: tuple[Arg, ...]) -> Outcome:
    """Count `cost` hits; args: limit, window in µs, cost, shadow.

    Values: hits left, µs until this call may pass (0: it passed; -1: never), µs until the window ends, ticket.
    """
    limit, window, cost, shadow = cast("tuple[int, int, int, int]", args)
    end, count = cast("tuple[int, int]", states[0] or (0, 0))
    if end <= now:
        end, count = now + window, 0
    anew = None
    if end > now + window:
        end = now + window
        anew = Write((end, count), end)
    if not cost or count + cost <= limit:
        write = Write((end, count + cost), end) if cost else anew
        reset = end - now if count + cost else 0
        return Outcome("go", (max(0, limit - count - cost), 0, reset, end if cost else 0), (write,), (anew,))
    wait = -1 if cost > limit else end - now
    values = (max(0, limit - count), wait, end - now if count else 0, 0)
    return Outcome("go" if shadow else "refuse", values, (anew,), (anew,))


def give_back(states: tuple[State | None, ...], now: int, args: tuple[Arg, ...]) -> Outcome:
    """Uncount hits of the window that still runs; args: limit, window, cost, ticket. Told twice, it uncounts twice."""
    _, _, cost, ticket = cast("tuple[int, int, int, int]", args)
    end, count = cast("tuple[int, int]", states[0] or (0, 0))
    if end <= now or end != ticket:
        return Outcome("go", (), (None,))
    left = count - cost
    return Outcome("go", (), (Write((end, left) if left > 0 else None, end),))


FIXED_WINDOW = register(Operation("fixed_window", "limit", 4, take))
FIXED_WINDOW_BACK = register(Operation("fixed_window_back", "settle", 0, give_back))
