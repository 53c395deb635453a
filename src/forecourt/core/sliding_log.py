"""The sliding log: every hit is remembered for one window, so that no window ever admits more than `limit`.

State is (the stamps of the hits, oldest first; the window). A stamp is the instant of its hit, or one microsecond after
the last stamp where that is later: stamps are unique, so two hits of one microsecond are two, and a ticket names its
own. A call of cost c leaves c stamps. A hit counts until its stamp is `window` old; state expires with the last one.
It costs eight bytes a hit: a limit is 1,000 at most, and a config offers the two counters of
`core.sliding_window` beyond.

A clock that stepped back sees stamps in the future; they count, so calls are delayed and none is admitted early. When
the last one is further ahead than a window, all are moved back together until it is not; a millisecond is added,
and another one borne, because the stamps of one instant run ahead of it. This, and a window of another length, is
written even by a call that is refused: the state must live as long as its promise of when to come again.
"""

from bisect import bisect_left, bisect_right
from typing import cast

from forecourt.core.operations import Arg, Operation, Outcome, State, Write, register

MOST = 1000
"""The largest limit that a config allows."""


def take(states: tuple[State | None, ...], now: int, args: tuple[Arg, ...]) -> Outcome:
    """Remember `cost` hits; args: limit, window in µs, cost, shadow.

    Values: hits left, µs until this call may pass (0: it passed; -1: never), µs until one more hit, ticket.
    """
    limit, window, cost, shadow = cast("tuple[int, int, int, int]", args)
    stamps, kept_window = cast("tuple[tuple[int, ...], int]", states[0] or ((), window))
    ahead = stamps[-1] - now - window if stamps else 0
    if ahead > 2 * MOST:
        stamps = tuple([stamp - ahead + MOST for stamp in stamps])
    stamps = stamps[bisect_right(stamps, now - window) :]
    anew = _kept(stamps, window) if stamps and (ahead > 2 * MOST or kept_window != window) else None
    over = len(stamps) + cost - limit
    if cost and over > 0:
        wait = -1 if cost > limit else stamps[over - 1] + window - now
        values = (max(0, limit - len(stamps)), wait, _next(stamps, limit, window, now), 0)
        return Outcome("go" if shadow else "refuse", values, (anew,), (anew,))
    first = max(now, stamps[-1] + 1) if stamps else now
    after = (*stamps, *range(first, first + cost))
    values = (max(0, limit - len(after)), 0, _next(after, limit, window, now), first if cost else 0)
    return Outcome("go", values, (_kept(after, window) if cost else anew,), (anew,))


def give_back(states: tuple[State | None, ...], now: int, args: tuple[Arg, ...]) -> Outcome:
    """Forget the hits of a ticket; args: limit, window, cost, ticket. May be told again."""
    _, _, cost, ticket = cast("tuple[int, int, int, int]", args)
    stamps, window = cast("tuple[tuple[int, ...], int]", states[0] or ((), 0))
    first, last = bisect_left(stamps, ticket), bisect_left(stamps, ticket + cost)
    if first == last:
        return Outcome("go", (), (None,))
    return Outcome("go", (), (_kept(stamps[:first] + stamps[last:], window),))


def _kept(stamps: tuple[int, ...], window: int) -> Write:
    return Write((stamps, window), stamps[-1] + window) if stamps else Write(None, 0)


def _next(stamps: tuple[int, ...], limit: int, window: int, now: int) -> int:
    """Return the microseconds until one more hit is left; 0 when none is used."""
    return stamps[max(0, len(stamps) - limit)] + window - now if stamps else 0


SLIDING_LOG = register(Operation("sliding_log", "limit", 4, take))
SLIDING_LOG_BACK = register(Operation("sliding_log_back", "settle", 0, give_back))
