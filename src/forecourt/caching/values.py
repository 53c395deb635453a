"""Values that code keeps: `config.cache.get_or_set`. The same tier, store, tags and single flight as answers have."""

import random
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar, cast

from pydantic_core import from_json, to_json

from forecourt.caching.caching import Caching, unique
from forecourt.caching.flights import Flight, Landed
from forecourt.caching.spots import NOTHING, Found, Spot
from forecourt.core.caching.entries import Entry
from forecourt.core.caching.freshness import Life
from forecourt.policies.quantities import microseconds
from forecourt.types import SECOND

Value = TypeVar("Value")

_PATIENCE = 5 * SECOND
_FIRST_PAUSE, _LONGEST_PAUSE = 0.005, 0.05
_MOST_ROUNDS = 3
VALUES = "\0value"
"""What stands in a spot's parts where an answer has its endpoint."""

_BYTES, _JSON = (b"kind", b"bytes"), (b"content-type", b"application/json")


async def get_or_set(
    caching: Caching, key: str, fn: Callable[[], Awaitable[Value]], ttl: float, tags: Iterable[str]
) -> Value:
    """Return the value kept under a key, or make it, once for all who ask for it at the same time."""
    ids = tuple(caching.tag_id(tag) for tag in sorted(set(tags)))
    for _ in range(_MOST_ROUNDS):
        spot = Spot((VALUES, key), (), (), ids, caching.tier.position)
        now = caching.clock.now()
        entry = caching.tier.get(spot.parts, spot.selection) if caching.tier_serves(now) else None
        if _fresh(entry, now):
            return cast("Value", _value(entry))
        flight = caching.flights.get(spot.place)
        if flight is None:
            return cast("Value", await _in_turn(caching, spot, fn, Life(microseconds(ttl))))
        outcome = await flight.follow(caching.clock, _PATIENCE / SECOND)
        if isinstance(outcome, Landed) and caching.tier.valid(outcome.entry.seen, ids) and caching.shares(flight, now):
            return cast("Value", _value(outcome.entry))
    return await fn()


async def _in_turn(caching: Caching, spot: Spot, fn: Callable[[], Awaitable[object]], life: Life) -> object:
    flight = caching.flights.begin(spot.place, caching.clock.now())
    own = unique()
    try:
        found = await _found(caching, spot, own)
        if found.entry is not None:
            caching.keep(spot, found.entry)
            flight.land(Landed(found.entry, spot.selection))
            return _value(found.entry)
        return await _made(caching, spot, fn, life, own if found.leads else "", flight)
    finally:
        caching.flights.end(spot.place, flight)


async def _found(caching: Caching, spot: Spot, own: str) -> Found:
    """Ask the store until there is a fresh value, or the lead, or until it took too long."""
    if caching.store is None:
        return NOTHING
    late, pause, unwanted = caching.clock.now() + _PATIENCE, _FIRST_PAUSE, 0
    while True:
        found = await caching.look(spot, own, unwanted)
        unwanted = found.unwanted or unwanted
        if found.entry is not None and not _fresh(found.entry, caching.clock.now()):
            found = found._replace(entry=None)
        if found.entry is not None or found.leads or not (found.waits or found.unwanted):
            return found
        if caching.clock.now() >= late:
            return NOTHING
        if found.waits:
            await caching.clock.sleep(pause * random.uniform(0.5, 1))  # noqa: S311  # jitter
            pause = min(2 * pause, _LONGEST_PAUSE)


async def _made(  # noqa: PLR0917  # all of it is needed
    caching: Caching, spot: Spot, fn: Callable[[], Awaitable[object]], life: Life, own: str, flight: Flight
) -> object:
    """Make the value and keep it; what `fn` raises is kept by nobody, and the next one tries."""
    if own:
        caching.hold(spot, own)
    kept = False
    begun = caching.clock.now()
    try:
        value = await fn()
        body = bytes(value) if isinstance(value, bytes) else _json(value)
        now = caching.clock.now()
        headers = (_BYTES,) if isinstance(value, bytes) else (_JSON,)
        entry = Entry(200, headers, body, life, now, took=now - begun, seen=spot.seen, stamps=spot.stamps)
        await caching.fill(spot, entry, own, life.whole)
        kept = True
    finally:
        if own:
            caching.let_go(spot, own)
            if not kept:
                caching.release(spot, own)
    flight.land(Landed(entry, spot.selection))
    return _value(entry)


def _json(value: object) -> bytes:
    try:
        return to_json(value)
    except ValueError as error:
        raise TypeError(f"a value of type {type(value).__name__} has no JSON to be kept as: {error}") from None


def _fresh(entry: Entry | None, now: int) -> bool:
    return entry is not None and not entry.softened and entry.stale_for(now) < 0


def _value(entry: Entry | None) -> object:
    assert entry is not None
    return entry.body if entry.headers == (_BYTES,) else from_json(entry.body)


class CacheOfConfig:
    """What `config.cache` is bound to: a config's cache in this process."""

    def __init__(self, caching: Caching) -> None:
        self._caching = caching

    async def invalidate(self, tags: Iterable[str], *, soft: bool = False) -> None:
        """Make what has these tags invalid."""
        await self._caching.invalidate(tags, soft=soft)

    async def get_or_set(self, key: str, fn: Callable[[], Awaitable[Value]], ttl: float, tags: Iterable[str]) -> Value:
        """Return a value, made once."""
        return await get_or_set(self._caching, key, fn, ttl, tags)
