"""How the endpoints stand, from the counts of this process: numbers and one word each, ready to be shown."""

from collections.abc import Iterable, Mapping
from typing import Literal

from forecourt.console import watching as seen
from forecourt.console.watching import SLOT, Watching
from forecourt.core.recent import Key, quantile
from forecourt.types import SECOND

Word = Literal["failing", "troubled", "well", "idle"]

Told = dict[str, object]

MINUTE = 60 * SECOND // SLOT
_RATE = 2
"""Whole slots that a rate is taken over, beside the one under way."""

_MOST_REASONS = 50
_MOST_CALLERS = 20


def endpoints(watching: Watching, names: Iterable[str], open_breakers: Mapping[str, str]) -> list[Told]:
    """Return how each endpoint stands; `open_breakers` names, by endpoint, a breaker that keeps calls away."""
    now = watching.clock.now()
    calls = watching.calls
    totals, minute, short = calls.totals(now), calls.last(now, MINUTE), calls.last(now, _RATE + 1)
    span = (_RATE * SLOT + now % SLOT) / SECOND
    took = _took(totals)
    shown = [*names]
    if totals.get((seen.CALLS, seen.UNROUTED)):
        shown.append(seen.UNROUTED)
    return [
        {
            "name": name,
            "word": word(minute, name, open_breakers.get(name)),
            "why": why(minute, name, open_breakers.get(name)),
            "rate": round(short.get((seen.CALLS, name), 0) / span, 2),
            "running": watching.running.get(name, 0),
            **{kind: totals.get((kind, name), 0) for kind in _COUNTED},
            "p50": quantile(took.get(name, {}), 0.5),
            "p95": quantile(took.get(name, {}), 0.95),
            "hits": totals.get((seen.CACHE, name, "hits"), 0),
            "misses": totals.get((seen.CACHE, name, "misses"), 0),
            "credits": totals.get((seen.CREDITS, name), 0),
            "calls_series": calls.series(now, (seen.CALLS, name)),
            "errors_series": calls.series(now, (seen.ERRORS, name)),
        }
        for name in shown
    ]


_COUNTED = (seen.CALLS, seen.ERRORS, seen.REFUSED, seen.CLIENT, seen.CANCELLED)


def word(minute: Mapping[Key, int], name: str, breaker: str | None) -> Word:
    """Say in a word how an endpoint stands, by its last minute."""
    count, errors = minute.get((seen.CALLS, name), 0), minute.get((seen.ERRORS, name), 0)
    if breaker is not None or (errors >= 3 and errors * 20 >= count):
        return "failing"
    if errors or minute.get((seen.REFUSED, name), 0) * 5 > count:
        return "troubled"
    return "well" if count else "idle"


def why(minute: Mapping[Key, int], name: str, breaker: str | None) -> str:
    """Say why an endpoint does not stand well; empty where it does."""
    count, errors = minute.get((seen.CALLS, name), 0), minute.get((seen.ERRORS, name), 0)
    refused = minute.get((seen.REFUSED, name), 0)
    said = [f"breaker {breaker} is open"] if breaker is not None else []
    if errors:
        said.append(f"{errors} of {count} calls failed in the last minute")
    elif refused * 5 > count:
        said.append(f"{refused} of {count} calls refused in the last minute")
    return "; ".join(said)


def refusals(watching: Watching) -> list[Told]:
    """Return why calls were refused, the most frequent first."""
    totals = watching.calls.totals(watching.clock.now())
    found = [(count, key[1:]) for key, count in totals.items() if key[0] == seen.WHY]
    names = ("endpoint", "layer", "outcome", "detail", "status")
    ordered = sorted(found, key=lambda each: (-each[0], str(each[1])))
    return [{**dict(zip(names, key, strict=True)), "calls": count} for count, key in ordered[:_MOST_REASONS]]


def layers(watching: Watching) -> list[Told]:
    """Return how long each layer took, over all endpoints and for each of them; the slowest first."""
    totals = watching.calls.totals(watching.clock.now())
    every: dict[tuple[str, str], dict[int, int]] = {}
    for key, count in totals.items():
        if key[0] == seen.LAYER:
            _, name, layer, place = key
            for whose in ("", str(name)):
                buckets = every.setdefault((whose, str(layer)), {})
                buckets[int(place)] = buckets.get(int(place), 0) + count
    return [
        {
            "endpoint": whose,
            "layer": layer,
            "calls": sum(buckets.values()),
            "p50": quantile(buckets, 0.5),
            "p95": quantile(buckets, 0.95),
        }
        for (whose, layer), buckets in every.items()
    ]


def limited(watching: Watching) -> list[Told]:
    """Return who was refused by limits most often: callers by their digest."""
    totals = watching.callers.totals(watching.clock.now())
    ordered = sorted(totals.items(), key=lambda each: (-each[1], str(each[0])))[:_MOST_CALLERS]
    names = ("endpoint", "limit", "by", "caller")
    return [{**dict(zip(names, key, strict=True)), "refused": count} for key, count in ordered]


def trips(watching: Watching) -> Told:
    """Return how long trips to the store took and how they ended."""
    totals = watching.calls.totals(watching.clock.now())
    took = {int(key[1]): count for key, count in totals.items() if key[0] == seen.TRIP}
    ends = {str(key[1]): count for key, count in totals.items() if key[0] == seen.TRIP_END}
    return {"trips": sum(took.values()), "p50": quantile(took, 0.5), "p95": quantile(took, 0.95), "ends": ends}


def _took(totals: Mapping[Key, int]) -> dict[str, dict[int, int]]:
    took: dict[str, dict[int, int]] = {}
    for key, count in totals.items():
        if key[0] == seen.TOOK:
            took.setdefault(str(key[1]), {})[int(key[2])] = count
    return took
