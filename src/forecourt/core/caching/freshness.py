"""How old a response is, how long it is fresh, and what may be done with it when it is not.

RFC 9111 §4.2 (freshness), §4.2.1 (lifetime), §4.2.2 (heuristics), §4.2.3 (age), §4.2.4 (stale); RFC 5861 (stale
windows). Times are µs.
"""

from collections.abc import Sequence
from typing import NamedTuple

from forecourt.core.caching import dates
from forecourt.core.caching.directives import Directives, Header, seconds, values
from forecourt.types import SECOND

HEURISTIC = frozenset({200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501})
"""RFC 9110 §15.1: statuses that are cacheable by heuristics; 206 is not kept here at all."""

OF_TTL = frozenset({200, 203, 204, 300, 301, 308})
"""What a policy's `ttl` is for: errors are kept only where the response itself says how long."""

MOST_HEURISTIC = 24 * 3600 * SECOND
LONGEST = 30 * 24 * 3600 * SECOND
"""Nothing is kept for longer than a month, whatever it says."""


class Terms(NamedTuple):
    """What a policy says about time, in µs; `ttl` None: as the response says. `heuristics`: may be guessed."""

    ttl: int | None = None
    while_revalidate: int = 0
    if_error: int = 0
    heuristics: bool = False


class Life(NamedTuple):
    """How long a response is fresh, and useful beyond: while it is revalidated, where that fails. In µs."""

    fresh: int
    while_revalidate: int = 0
    if_error: int = 0

    @property
    def whole(self) -> int:
        """How long it is worth keeping for its own sake."""
        return self.fresh + max(self.while_revalidate, self.if_error)


def initial_age(headers: Sequence[Header], now: int, took: int) -> int:
    """Return how old a response is that has just been made, after `took` µs.

    RFC 9111 §4.2.3: corrected_initial_age = max(apparent_age, age_value + response_delay).
    """
    date = next((dates.parsed(value) for value in values(headers, b"date")), None)
    apparent = max(0, now - date * SECOND) if date is not None else 0
    # A date has whole seconds: up to one of them is no age.
    apparent = apparent if apparent >= 2 * SECOND else 0
    stated = next((seconds(value.split(",")[0].strip()) for value in values(headers, b"age")), None)
    return max(apparent, stated * SECOND + took if stated else 0)


def life(
    status: int, headers: Sequence[Header], said: Directives, terms: Terms, now: int, *, aimed: bool = False
) -> Life | None:
    """Return how long a response lives here; None when nothing says so. `aimed`: it was said in a targeted field."""
    fresh = terms.ttl if terms.ttl is not None and status in OF_TTL else _lifetime(headers, said, aimed, now)
    if fresh is None and terms.heuristics and (status in HEURISTIC or "public" in said):
        fresh = _heuristic(headers, now)
    if fresh is None:
        return None
    if "no-cache" in said and said["no-cache"] is None:
        return Life(0)  # §5.2.2.4: never without asking
    fresh = min(fresh, LONGEST)
    if not may_be_stale(said):
        return Life(fresh)
    return Life(
        fresh,
        min(_window(said, "stale-while-revalidate", terms.while_revalidate), LONGEST),
        min(_window(said, "stale-if-error", terms.if_error), LONGEST),
    )


def _lifetime(headers: Sequence[Header], said: Directives, aimed: bool, now: int) -> int | None:
    """RFC 9111 §4.2.1: s-maxage, else max-age, else Expires less Date.

    A number that is none makes the response stale, as does an Expires that is no date (§5.3: "0" is in the past).
    """
    for name in ("s-maxage", "max-age"):
        if name in said:
            return (seconds(said[name]) or 0) * SECOND
    expires = [] if aimed else values(headers, b"expires")
    if not expires:
        return None
    until = dates.parsed(expires[0])
    date = next((dates.parsed(value) for value in values(headers, b"date")), None)
    if until is None:
        return 0
    return max(0, (until - date) * SECOND if date is not None else until * SECOND - now)


def _heuristic(headers: Sequence[Header], now: int) -> int | None:
    """RFC 9111 §4.2.2: a tenth of the time since Last-Modified; here a day at most."""
    modified = next((dates.parsed(value) for value in values(headers, b"last-modified")), None)
    if modified is None or modified * SECOND > now:
        return None
    return min((now - modified * SECOND) // 10, MOST_HEURISTIC)


def _window(said: Directives, name: str, ours: int) -> int:
    """RFC 5861 §3, §4: what the response says of its windows, else what the policy says."""
    given = seconds(said.get(name))
    return ours if given is None else given * SECOND


def may_be_stale(said: Directives) -> bool:
    """RFC 9111 §4.2.4: not where must-revalidate, proxy-revalidate, s-maxage (§5.2.2.10) or no-cache forbid it."""
    return said.keys().isdisjoint({"must-revalidate", "proxy-revalidate", "s-maxage", "no-cache"})


class Demand(NamedTuple):
    """What a request accepts (RFC 9111 §5.2.1), in µs; `stale` None: nothing stale; -1: however stale."""

    age: int | None = None
    fresh: int = 0
    stale: int | None = None
    revalidated: bool = False
    stored: bool = True
    only_cached: bool = False


ANYTHING = Demand()


def demand(said: Directives) -> Demand:
    """Read a request's directives; a number that is none is ignored, as directives of requests are advice."""
    if not said:
        return ANYTHING
    age, fresh = seconds(said.get("max-age")), seconds(said.get("min-fresh"))
    stale: int | None = None
    if "max-stale" in said:
        limit = seconds(said["max-stale"])
        stale = -1 if limit is None else limit * SECOND
    return Demand(
        age=None if age is None else age * SECOND,
        fresh=(fresh or 0) * SECOND,
        stale=stale,
        revalidated="no-cache" in said,
        stored="no-store" not in said,
        only_cached="only-if-cached" in said,
    )


def satisfies(asked: Demand, age: int, fresh: int, *, stale_allowed: bool) -> bool:
    """Return whether a response of this age and freshness lifetime may be served without asking anybody.

    RFC 9111 §5.2.1.1 max-age, §5.2.1.2 max-stale, §5.2.1.3 min-fresh, §5.2.1.4 no-cache. `stale_allowed`: the response
    does not forbid it (§4.2.4).
    """
    if asked.revalidated or (asked.age is not None and age > asked.age):
        return False
    left = fresh - age
    if left > 0:
        return left >= asked.fresh
    if asked.stale is None or not stale_allowed or asked.fresh:
        return False
    return asked.stale < 0 or -left <= asked.stale
