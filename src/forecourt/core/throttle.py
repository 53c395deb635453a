"""The throttle: calls are spaced evenly, and one that comes too early may wait for its slot.

It is the generic cell rate algorithm with a burst of one. The theoretical arrival time (TAT) is the instant at which
the next call may start; a call starts at max(now, TAT), and moves TAT to cost · N/D microseconds after its start. It
is admitted when it has to wait `max_delay` at most; its slot is then reserved, and the caller sleeps. Starts are never
closer than N/D, so no time w sees more than 1 + w·D/N of them.

State is (TAT in whole µs, its rest in 1/D, the instant of writing, the span max_delay + N/D). It expires at TAT, when a
call may start at once. Only waits, in whole microseconds, are compared; nothing is multiplied but cost · N.

A clock that steps back behind the instant of writing takes TAT back with it: the slots already given stay as far away
as they were. Under another span the queue stays as long as it was, in proportion (see `core.token_bucket`). Both are
written even by a call that is refused.

A slot is given back only while it is the last one: otherwise later callers sleep for slots counted from it.
"""

from math import ceil
from typing import cast

from forecourt.core.operations import Arg, Operation, Outcome, State, Write, register

_Slot = tuple[int, int, int, int]
"""TAT in whole µs, rest, the instant of writing, the span."""


def take(states: tuple[State | None, ...], now: int, args: tuple[Arg, ...]) -> Outcome:
    """Reserve the next slot; args: N, D, max_delay in µs, cost, shadow.

    Values: 1 when a call may start at once, else 0; µs until this call may pass (0: it passed); µs until a call may
    start at once; ticket in two numbers; µs that this call has to wait.
    """
    period, parts, max_delay, cost, shadow = cast("tuple[int, int, int, int, int]", args)
    span = max_delay - (-period // parts)
    (tat, rest, *_), stale = _slot(cast("_Slot | None", states[0]), now, span, parts)
    delay = tat - now + (rest > 0)
    anew = _kept((tat, rest, now, span)) if stale else None
    if not cost:
        return Outcome("go", (int(not delay), 0, delay, 0, 0, 0), (anew,), (anew,))
    if delay > max_delay:
        values = (0, delay - max_delay, delay, 0, 0, 0)
        return Outcome("go" if shadow else "refuse", values, (anew,), (anew,))
    tat, rest = tat + (rest + cost * period) // parts, (rest + cost * period) % parts
    write = _kept((tat, rest, now, span))
    return Outcome("go", (0, 0, write.expires - now, tat, rest, delay), (write,), (anew,))


def give_back(states: tuple[State | None, ...], now: int, args: tuple[Arg, ...]) -> Outcome:
    """Free the slot if nobody reserved one after it; args: N, D, max_delay, cost, ticket in two numbers."""
    period, parts, _, cost, ticket, ticket_rest = cast("tuple[int, int, int, int, int, int]", args)
    state = cast("_Slot | None", states[0])
    if state is None or state[:2] != (ticket, ticket_rest):
        return Outcome("go", (), (None,))
    tat, rest = _in_parts(ticket, ticket_rest, parts)
    rest -= cost * period
    freed = _kept((tat + rest // parts, rest % parts, *state[2:]))
    return Outcome("go", (), (freed if freed.expires > now else Write(None, now),))


def _slot(state: _Slot | None, now: int, span: int, parts: int) -> tuple[_Slot, bool]:
    """Return the state as it is now, and whether it must be written anew."""
    tat, rest, written, kept_span = state or (now, 0, now, span)
    tat, rest = _in_parts(tat, rest, parts)
    if now < written:
        tat -= written - now
    ahead = tat - now + (rest > 0)
    if ahead <= 0:
        return (now, 0, now, span), False
    if kept_span != span:
        return (now + ceil(ahead / kept_span * span), 0, now, span), True
    return (tat, rest, now, span), now < written


def _in_parts(tat: int, rest: int, parts: int) -> tuple[int, int]:
    """Return a TAT whose rest may be in the parts of another rate, which the span need not show: then rounded up."""
    return (tat, rest) if rest < parts else (tat + 1, 0)


def _kept(slot: _Slot) -> Write:
    return Write(slot, slot[0] + (slot[1] > 0))


THROTTLE = register(Operation("throttle", "limit", 6, take))
THROTTLE_BACK = register(Operation("throttle_back", "settle", 0, give_back))
