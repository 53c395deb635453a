"""The sliding window counter: two counts stand for every hit of the last window.

State is (start, current, previous, window): when the running window began, its hits, those of the window before, and
how long a window is. Of the previous hits as many count as lie in the last `window` microseconds if they were spread
evenly: used = previous · left/window + current, where `left` is what remains of the running window.
The product is not rounded: flooring it would admit up to one hit
too many. Hits spread evenly are limited exactly; at worst (the previous hits all at the end of their window) a
stretch of one window sees 2·limit - 1. `core.sliding_log` is exact, at the price of remembering each hit.

All is compared as previous · left <= (limit - cost - current) · window, below 2^53 as long as limit · window is.
After the limit was lowered the left side may pass that; it then is the larger one whatever its last digits are.

**When may it pass?** In the running window, once previous · (left - t) fits; else in the next, where the current hits
are the previous ones. Both are solved for t in whole microseconds, so Retry-After is exact.

The first hit after two idle windows begins a window; windows follow each other from there. When the clock steps back
before the start, the window is moved to begin now: it counts for as long again, and admits nothing early. A window of
another length goes on from the same start. Both are written even by a call that is refused: the state must live as
long as its promise of when to come again. It equals absence when its current hits are two windows old.

**Made shorter**, the window may be over already, and with it hits that came late in the long one are forgotten, once.
So two lengths in use on one key at the same time allow, at worst, twice the larger limit in any stretch of the shorter.
"""

from typing import cast

from forecourt.core.operations import Arg, Operation, Outcome, State, Write, register


def take(states: tuple[State | None, ...], now: int, args: tuple[Arg, ...]) -> Outcome:
    """Count `cost` hits; args: limit, window in µs, cost, shadow.

    Values: hits left, µs until this call may pass (0: it passed; -1: never), µs until one more hit, ticket.
    """
    limit, window, cost, shadow = cast("tuple[int, int, int, int]", args)
    start, current, previous, stale = _rolled(states[0], now, window)
    left = start + window - now
    anew = _kept(start, current, previous, window) if stale else None
    wait = _wait(left, current, previous, limit - cost, window) if cost else 0
    if wait:
        remaining, reset = _rest(left, current, previous, limit, window)
        return Outcome("go" if shadow else "refuse", (remaining, wait, reset, 0), (anew,), (anew,))
    current += cost
    remaining, reset = _rest(left, current, previous, limit, window)
    write = _kept(start, current, previous, window) if cost else anew
    return Outcome("go", (remaining, 0, reset, start if cost else 0), (write,), (anew,))


def give_back(states: tuple[State | None, ...], now: int, args: tuple[Arg, ...]) -> Outcome:
    """Uncount hits of the running window or the one before; args: limit, window, cost, ticket.

    Told twice, it uncounts twice.
    """
    _, window, cost, ticket = cast("tuple[int, int, int, int]", args)
    start, current, previous, _ = _rolled(states[0], now, window)
    if current and ticket == start:
        return Outcome("go", (), (_kept(start, max(0, current - cost), previous, window),))
    if previous and ticket == start - window:
        return Outcome("go", (), (_kept(start, current, max(0, previous - cost), window),))
    return Outcome("go", (), (None,))


def _rolled(state: State | None, now: int, window: int) -> tuple[int, int, int, bool]:
    """Return start, current and previous as they are at `now`, and whether the state must be written anew."""
    start, current, previous, kept_window = cast("tuple[int, int, int, int]", state or (now, 0, 0, window))
    if now < start:
        return now, current, previous, True
    if now < start + window:
        return start, current, previous, kept_window != window
    if now < start + 2 * window and current:
        return start + window, 0, current, kept_window != window
    return now, 0, 0, False


def _kept(start: int, current: int, previous: int, window: int) -> Write:
    if current + previous == 0:
        return Write(None, start)
    return Write((start, current, previous, window), start + (2 * window if current else window))


def _wait(left: int, current: int, previous: int, room: int, window: int) -> int:
    """Return the microseconds until no more than `room` hits are used; -1 when that is never."""
    if room < 0:
        return -1
    if current > room:
        return left + window - room * window // current
    free = (room - current) * window
    return 0 if previous * left <= free else left - free // previous


def _rest(left: int, current: int, previous: int, limit: int, window: int) -> tuple[int, int]:
    """Return the hits left, and the microseconds until there is one more; 0 when nothing is used."""
    if current + previous == 0:
        return limit, 0
    remaining = max(0, limit - current - -(-previous * left // window))
    return remaining, _wait(left, current, previous, limit - remaining - 1, window)


SLIDING_WINDOW = register(Operation("sliding_window", "limit", 4, take))
SLIDING_WINDOW_BACK = register(Operation("sliding_window_back", "settle", 0, give_back))
