"""Concurrency leases: who is at work now, each for a short time unless it says that it still is.

The state is a set of leases, each with the instant at which it expires; one that has expired does not count. Whoever
holds a lease renews it well before that, so a holder that died frees its place within one lease, and nobody has to
notice. A renewal adds its own lease again even where that goes over the limit: a clock that jumped forward, or a store
that lost its state, must not let twice as many in by forgetting those at work.

A lease is known by its id: taking it twice is taking it once. A `batch` takes several at a time, `id`, `id.1`, `id.2`
…, as many as there is room for, for a process that hands them out by itself.
"""

from typing import cast

from forecourt.core.operations import Arg, Operation, Outcome, State, Write, register

Leases = dict[str, int]
"""Id → µs at which it expires. Never changed in place: a state is shared with what is being computed."""


def take(states: tuple[State | None, ...], now: int, args: tuple[Arg, ...]) -> Outcome:
    """Hold a lease; args: limit, ttl in µs, id, shadow (0 or 1), batch (leases wanted, at least 1).

    A limit of 0 grants only what is held under this id already.

    Values: leases left, µs until the first one expires where there was no room (an upper estimate: it may be given
    back sooner) else 0, leases in use, leases now held under this id.
    """
    limit, ttl, shadow, batch = (int(args[at]) for at in (0, 1, 3, 4))
    wanted = _block(str(args[2]), batch)
    live = _live(states[0], now)
    if wanted[0] in live:
        held, wait = [each for each in wanted if each in live], 0
    elif len(live) < limit:
        held, wait = wanted[: limit - len(live)], 0
    else:
        held, wait = wanted[: int(shadow)], min(live.values(), default=now) - now
    after = _with(live, held, now + ttl)
    values = (max(0, limit - len(after)), wait, len(after), len(held))
    return Outcome("go", values, (_write(after, now),)) if held else Outcome("refuse", values)


def renew(states: tuple[State | None, ...], now: int, args: tuple[Arg, ...]) -> Outcome:
    """Keep leases for another ttl, or take them again, whatever the limit; args: ttl in µs, ids (between spaces)."""
    return Outcome("go", (), (_write(_with(_live(states[0], now), str(args[1]).split(), now + int(args[0])), now),))


def release(states: tuple[State | None, ...], now: int, args: tuple[Arg, ...]) -> Outcome:
    """Give leases back; args: ids (between spaces). What is not held is no matter."""
    freed = frozenset(str(args[0]).split())
    leases = _leases(states[0])
    kept = {each: expires for each, expires in leases.items() if each not in freed}
    return Outcome("go", (), (_write(kept, now) if len(kept) < len(leases) else None,))


def given_back(args: tuple[Arg, ...]) -> tuple[str, tuple[Arg, ...]]:
    """Undo a taking whose answer nobody saw; args as for `take`."""
    return "lease_release", (" ".join(_block(str(args[2]), int(args[4]))),)


def _block(own: str, batch: int) -> list[str]:
    return [own, *(f"{own}.{number}" for number in range(1, batch))]


def _leases(state: State | None) -> Leases:
    return cast("tuple[Leases]", state)[0] if state else {}


def _live(state: State | None, now: int) -> Leases:
    return {each: expires for each, expires in _leases(state).items() if expires > now}


def _with(live: Leases, ids: list[str], expires: int) -> Leases:
    return live | {each: max(expires, live.get(each, 0)) for each in ids}


def _write(leases: Leases, now: int) -> Write:
    return Write((leases,), max(leases.values())) if leases else Write(None, now)


LEASE = register(Operation("lease", "limit", 4, take, undo=given_back))
RENEW = register(Operation("lease_renew", "settle", 0, renew))
RELEASE = register(Operation("lease_release", "settle", 0, release))
