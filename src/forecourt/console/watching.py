"""What this process remembers of its calls for the console: the last five minutes, by endpoint.

It is told at the end of each call, by a layer that stands around an endpoint's chain where the console is mounted, and
nowhere else. What a layer took is the time from the decision before it (or the call's arrival) to its own: where all
layers of a chain ask the store in one trip, that trip is the first asker's. What is left after the last of them is the
handler's, with what stands around it.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

from forecourt.config import ResolvedPolicy
from forecourt.config_cache import cached_here
from forecourt.core.recent import Recent, bucket
from forecourt.decisions import Decision
from forecourt.exchange import KEY, Exchange
from forecourt.layers.identities import Identity, KeyFunction, identity_of
from forecourt.layers.limits import named, state_of
from forecourt.layers.outcomes import Became, became
from forecourt.principals import digest
from forecourt.routing import Endpoint
from forecourt.stores.observed import Trip
from forecourt.types import SECOND, ASGIApp, Clock, Receive, Scope, Send

SLOT = 5 * SECOND
SLOTS = 60
_CALLERS = 200
"""How many limited callers are told apart in one slot; a flood of addresses must not fill memory."""

UNROUTED = "unrouted"
HANDLER = "handler"

CALLS, ERRORS, REFUSED, CLIENT, CANCELLED = "calls", "errors", "refused", "client_errors", "cancelled"
TOOK, LAYER, WHY, CACHE, CREDITS, TRIP, TRIP_END = "took", "layer", "why", "cache", "credits", "trip", "trip_end"

_REFUSING = frozenset({"refused", "unavailable", "challenged", "forbidden", "conflict", "open", "timed_out"})
_REFUSING |= {"exhausted"}
_ON_THE_WAY_IN = frozenset({"allowed", "refused", "shadowed", "degraded", "unavailable", "waited", "anonymous"})
_ON_THE_WAY_IN |= {"challenged", "forbidden", "claimed", "replayed", "conflict", "hit", "stale", "miss", "bypassed"}
_HITS = frozenset({"hit", "stale", "collapsed"})

What = Literal["ok", "errors", "refused", "client_errors", "cancelled"]


class Limited(NamedTuple):
    """How a limit of an endpoint counts: its caller's identity, and where the store keeps it."""

    identity: Callable[[Exchange], Identity]
    state: str
    bucket: str


class Watching:
    """The counts of one config in this process."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.began = clock.now()
        self.calls = Recent(SLOT, SLOTS)
        self.callers = Recent(SLOT, SLOTS, _CALLERS)
        self.running: dict[str, int] = {}
        self.limits: dict[tuple[str, str], Limited] = {}
        """By endpoint and limit: what `callers` counts for."""
        self.cached: set[str] = set()
        """The endpoints whose answers may come from the cache."""

    def trip(self, trip: Trip) -> None:
        """Count a trip to the store."""
        now = self.clock.now()
        self.calls.add(now, (TRIP, bucket(trip.took // 1000)))
        self.calls.add(now, (TRIP_END, trip.end))

    def knows(self, endpoint: Endpoint, policy: ResolvedPolicy | None, functions: Mapping[str, KeyFunction]) -> None:
        """Know what of an endpoint is counted: hits, and callers whom its limits refuse."""
        if policy and policy.cache and cached_here(endpoint.methods, endpoint.protocol):
            self.cached.add(endpoint.name)
        for limit, shown, spot in named(policy.rate_limit if policy else (), endpoint.name):
            identity = identity_of(limit.key, endpoint, functions, limit.name)
            self.limits[endpoint.name, shown] = Limited(identity, state_of(limit.operation(None)[0]), spot)

    def ended(self, name: str, exchange: Exchange, outcome: Became, began: int, decisions: Sequence[Decision]) -> None:
        """Count a call that is over."""
        now, calls = self.clock.now(), self.calls
        calls.add(now, (CALLS, name))
        if (what := _what(exchange, outcome)) != "ok":
            calls.add(now, (what, name))
        if exchange.scope["type"] == "http":
            calls.add(now, (TOOK, name, bucket(now - began)))
        if name in self.cached and what in ("ok", "client_errors"):
            hit = any(each.layer == "cache" and each.outcome in _HITS for each in decisions)
            calls.add(now, (CACHE, name, "hits" if hit else "misses"))
        if decisions or exchange.refused:
            self._decided(name, exchange, began, now, decisions)

    def _decided(self, name: str, exchange: Exchange, began: int, now: int, decisions: Sequence[Decision]) -> None:
        calls = self.calls
        before, seen, why = began, set(), None
        for layer, outcome, at, detail, amount in decisions:
            if outcome in _ON_THE_WAY_IN and layer not in seen:
                seen.add(layer)
                calls.add(now, (LAYER, name, layer, bucket(at - before)))
                before = at
            if outcome in _REFUSING:
                why = (layer, outcome, detail)
                if layer == "rate_limit":
                    self._limited(name, exchange, now, detail)
            elif outcome == "settled" and amount:
                calls.add(now, (CREDITS, name), amount)
        problem = exchange.refused
        if problem is None:
            calls.add(now, (LAYER, name, HANDLER, bucket(now - before)))
        else:
            told = why or ("", problem.type.rpartition("/")[2], "")
            calls.add(now, (WHY, name, *told, problem.status))

    def _limited(self, name: str, exchange: Exchange, now: int, limits: str) -> None:
        known = {shown: self.limits[name, shown] for shown in limits.split(",") if (name, shown) in self.limits}
        for shown, limited in known.items():
            identity = limited.identity(exchange)
            self.callers.add(now, (name, shown, identity[0], digest(*identity)))


class WatchLayer:
    """Tells `watching` of each call of one endpoint; the outermost of several stacks tells."""

    def __init__(self, app: ASGIApp, watching: Watching, name: str) -> None:
        self.app = app
        self._watching = watching
        self._name = name

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Listen; call on; tell how it ended."""
        exchange: Exchange = scope[KEY]
        watching, name = self._watching, self._name
        if watching in exchange.notes:
            return await self.app(scope, receive, send)
        exchange.notes[watching] = True
        decisions: list[Decision] = []
        exchange.listeners.append(decisions.append)
        began = watching.clock.now()
        running = watching.running
        running[name] = running.get(name, 0) + 1
        outcome: Became = "failed"
        try:
            await self.app(scope, receive, send)
            outcome = became(exchange)
        except asyncio.CancelledError:
            outcome = "cancelled"
            raise
        finally:
            running[name] -= 1
            watching.ended(name, exchange, outcome, began, decisions)


def _what(exchange: Exchange, outcome: Became) -> What:
    """Return what a call counts as: what callers see as broken is an error, whoever answered it."""
    problem = exchange.refused
    if outcome in ("failed", "server_error") or (problem is not None and problem.status >= 500):
        return "errors"
    match outcome:
        case "refused":
            return "refused"
        case "client_error":
            return "client_errors"
        case "cancelled":
            return "cancelled"
        case _:
            return "ok"
