"""The token bucket, as GCRA: one instant instead of a count and a time.

A bucket of B tokens, one more every T microseconds, is exactly the generic cell rate algorithm (ATM Forum TM 4.0):
keep the *theoretical arrival time* (TAT), the instant at which the bucket will be full again. A call of cost c
moves TAT by c·T and is refused if that would put it more than B·T ahead. A bucket that is full is the same as no
state at all, so state expires at TAT. In no time w does it admit more than B + w/T.

**Exact.** T is a fraction N/D in lowest terms, for rates such as 3 a second. TAT is kept as whole microseconds and
a rest in [0, D); only the debt (TAT - now, at most B·T) is multiplied by D, so that all stays below 2^53 as long
as 2·B·N and 2·D do, which the config checks.

**A clock that steps back** finds TAT further ahead than a bucket can owe. The debt is cut to an empty bucket:
calls are delayed, by no more than it takes to fill it, and never admitted early.

**Other parameters** than those the state was written with (the span B·T, in whole µs, is kept with it): the bucket
stays as full as it was, in proportion. Keeping the time owed instead would let callers wait for days after a limit
was raised; cutting it to the new span would fill a bucket again and again while old and new parameters are both in
use. Such a state, and one from before a step back, is written anew even by a call that is refused, or its promise
of when to come again would not hold.

**Giving back.** A take occupies the stretch of time before its ticket (the TAT it led to). What has passed of it was
refilled already; only the rest is given back, so that no burst grows beyond B.
"""

from math import ceil
from typing import TYPE_CHECKING, cast

from forecourt.core.operations import Arg, Operation, Outcome, State, Write, register

_new = tuple.__new__
"""Makes a named tuple without its Python constructor."""


def take(states: tuple[State | None, ...], now: int, args: tuple[Arg, ...]) -> Outcome:
    """Take `cost` tokens; args: capacity, N, D, cost, shadow.

    Values: tokens left, µs until this call may pass (0: it passed; -1: never), µs until one more token, ticket.
    """
    capacity, period, parts, cost, shadow = args
    if TYPE_CHECKING:
        assert isinstance(capacity, int)
        assert isinstance(period, int)
        assert isinstance(parts, int)
        assert isinstance(cost, int)
    full = capacity * period
    debt, stale = _debt(states[0], now, full, parts) if states[0] else (0, False)
    after = debt + cost * period
    anew = _kept(debt, now, full, parts) if stale else None
    if after <= full:
        ahead, rest = divmod(after, parts)
        tat = now + ahead
        write = _new(Write, ((tat, rest, -(-full // parts)), tat + 1 if rest else tat)) if cost else anew
        following = -(-((after - 1) % period + 1) // parts) if after else 0
        values = ((full - after) // period, 0, following, tat if cost else 0)
        return _new(Outcome, ("go", values, (write,), (anew,)))
    wait = -1 if cost > capacity else -(-(after - full) // parts)
    values = ((full - debt) // period, wait, _next(debt, period, parts), 0)
    return Outcome("go" if shadow else "refuse", values, (anew,), (anew,))


def give_back(states: tuple[State | None, ...], now: int, args: tuple[Arg, ...]) -> Outcome:
    """Return what is left of a take; args: capacity, N, D, cost, ticket. Told twice, it gives back twice."""
    capacity, period, parts, cost, ticket = cast("tuple[int, int, int, int, int]", args)
    full = capacity * period
    debt, _ = _debt(states[0], now, full, parts)
    back = min(cost * period, (ticket - now) * parts)
    if not debt or back <= 0:
        return Outcome("go", (), (None,))
    return Outcome("go", (), (_kept(max(0, debt - back), now, full, parts),))


def _debt(state: State | None, now: int, full: int, parts: int) -> tuple[int, bool]:
    """Return how far TAT is ahead of now, in µs/parts up to `full`, and whether the state must be written anew."""
    tat, rest, span = cast("tuple[int, int, int]", state or (0, 0, 0))
    ahead = tat - now + (rest > 0)
    if ahead <= 0:
        return 0, False
    own = -(-full // parts)
    if span != own:
        return min(full, ceil(min(ahead, span) / span * own) * parts), True
    debt = min(own, tat - now) * parts + min(rest, parts - 1)
    return (full, True) if ahead > own or debt > full else (debt, False)


def _kept(debt: int, now: int, full: int, parts: int) -> Write:
    state = (now + debt // parts, debt % parts, -(-full // parts)) if debt else None
    return Write(state, now - (-debt // parts))


def _next(debt: int, period: int, parts: int) -> int:
    """Return the microseconds until the bucket holds one token more than now; 0 when it is full."""
    return -(-((debt - 1) % period + 1) // parts) if debt else 0


TOKEN_BUCKET = register(Operation("token_bucket", "limit", 4, take))
TOKEN_BUCKET_BACK = register(Operation("token_bucket_back", "settle", 0, give_back))
