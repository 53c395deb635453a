"""How one visit to the cache is answered: from what is kept, by another caller's answer, or by the handler.

    fresh                        serve it; now and then refresh it early
    stale, within its window     serve it, and refresh it in the background (RFC 5861 §3)
    another makes it             wait for that, and look again at what came of it
    nobody makes it              make it: others wait for this caller
    not kept here, lately        run, and keep nobody waiting

Callers of one process follow a flight; the first of a process that waits for another process asks the store again and
again for all of them. Nobody waits longer than `PATIENCE`.
"""

import asyncio
import logging
import math
import random
from typing import Literal

from forecourt.caching.flights import Flight, Landed, Landing
from forecourt.caching.spots import NOTHING, Found
from forecourt.core.caching import status
from forecourt.core.caching.entries import Entry
from forecourt.core.caching.freshness import satisfies
from forecourt.core.caching.keys import selected
from forecourt.exchange import Exchange
from forecourt.layers.cache_recording import Recording, Rules
from forecourt.layers.cache_serving import CONDITIONS, serve
from forecourt.layers.cache_visits import Visit
from forecourt.layers.credits import HIT
from forecourt.responses import Problem
from forecourt.types import SECOND, ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger("forecourt")

PATIENCE = 5.0
"""Seconds that a caller waits for another's answer."""

REFRESHING = 60.0
"""Seconds that a refresh in the background may take."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.005, 0.05
_MOST_LOOKS = 4
_MOST_ROUNDS = 3
_OF_CLIENT = CONDITIONS | {b"if-range"}
_ROUTING = ("endpoint", "path_params", "route", "router")

GATEWAY_TIMEOUT = Problem(
    504, "Gateway Timeout", detail="The request asked for a kept answer only (only-if-cached), and there is none."
)
"""RFC 9111 §5.2.1.7."""

Use = Literal["fresh", "stale", "none"]


def use_of(entry: Entry | None, visit: Visit, now: int) -> Use:
    """Return whether an entry may be served as it is, served while it is refreshed, or not without asking."""
    if entry is None:
        return "none"
    demand = visit.demand
    age, stale_for = entry.age(now), entry.stale_for(now)
    fresh = min(entry.life.fresh, age) if entry.softened else entry.life.fresh
    if satisfies(demand, age, fresh, stale_allowed=not entry.firm):
        return "fresh"
    if demand.revalidated or demand.fresh or (demand.age is not None and age > demand.age):
        return "none"
    return "stale" if 0 <= stale_for < entry.life.while_revalidate else "none"


class Answering:
    """One visit under way: `app` is what stands below the cache."""

    def __init__(  # noqa: PLR0917  # three of them are ASGI's
        self, rules: Rules, app: ASGIApp, exchange: Exchange, visit: Visit, scope: Scope, receive: Receive, send: Send
    ) -> None:
        self._rules = rules
        self._caching = rules.caching
        self._app = app
        self._exchange = exchange
        self._visit = visit
        self._scope = scope
        self._receive = receive
        self._send = send

    async def answer(self) -> None:
        """Answer the visit."""
        visit = self._visit
        if visit.asked:
            await self._complete()
        for _ in range(_MOST_ROUNDS):
            if await self._from_kept():
                return None
            if visit.demand.only_cached:
                return await self._only_cached()
            if not self._shared():
                return await self._run_apart()
            flight = self._caching.flights.get(visit.spot.place)
            if visit.found.leads or flight is None:
                return await self._in_turn()
            if await self._follow(flight):
                return None
        await self._run_apart()

    async def _complete(self, *, unwanted: int = 0) -> None:
        """Look again while the store says by which fields, or that what it has is not valid."""
        visit, found = self._visit, self._visit.found
        for _ in range(_MOST_LOOKS):
            if found.names is not None:
                names = self._rules.visits.learn(found.names)
                names = found.names if set(found.names) == set(names) else names
                visit.spot.select(names, selected(names, visit.fields))
            elif found.unwanted:
                unwanted = found.unwanted
            else:
                break
            found = await self._caching.look(visit.spot, self._exchange.id, unwanted)
        self._note(found)

    def _note(self, found: Found) -> None:
        self._visit.found = found
        if found.entry is not None:
            self._visit.entry = found.entry
            self._caching.keep(self._visit.spot, found.entry)

    async def _from_kept(self) -> bool:
        """Serve what is kept, where that may be."""
        visit, now = self._visit, self._caching.clock.now()
        entry = visit.entry
        use = use_of(entry, visit, now)
        if use == "none" or entry is None:
            return False
        if use == "stale" or self._early(entry, now):
            self._refresh(entry)
        else:
            self._give_lead_back()  # stale for the store, but not for this caller
        self._exchange.notes[HIT] = True
        self._exchange.decided("cache", "stale" if use == "stale" else "hit")
        await serve(entry, now, visit.method, visit.fields, self._send)
        return True

    def _early(self, entry: Entry, now: int) -> bool:
        """Tell whether to refresh before the end: Vattani, Chierichetti, Lowenstein, VLDB 2015."""
        beta = float(self._rules.policy.early_refresh)  # type: ignore[arg-type]  # seconds, as it is kept
        if not beta:
            return False
        early = entry.took * beta * -math.log(1 - random.random())  # noqa: S311  # no secret
        return early >= -entry.stale_for(now)

    def _shared(self) -> bool:
        """Return whether this caller's answer can be another's: a whole one, that may be kept."""
        visit = self._visit
        whole = visit.method == "GET" and b"range" not in visit.fields
        return whole and visit.demand.stored and not visit.demand.revalidated and not self._passes()

    def _passes(self) -> bool:
        visit = self._visit
        if visit.found.leads or visit.found.waits:
            return False
        return visit.found.passes or self._caching.tier.passes(visit.spot.place, self._caching.clock.now())

    async def _only_cached(self) -> None:
        self._give_lead_back()
        self._exchange.decided("cache", "refused")
        refusal = self._exchange.refuse(GATEWAY_TIMEOUT)
        await refusal(self._scope, self._receive, self._send)

    def _give_lead_back(self) -> None:
        if self._visit.found.leads:
            self._caching.release(self._visit.spot, self._exchange.id)

    # Waiting.

    async def _follow(self, flight: Flight) -> bool:
        """Wait for another caller of this process; tell whether that answered this one."""
        visit, caching = self._visit, self._caching
        came = caching.clock.now()
        outcome = await flight.follow(caching.clock, PATIENCE)
        if outcome is Landing.APART:
            await self._run_apart()
            return True
        if isinstance(outcome, Landed):
            entry = outcome.entry
            selection = selected(entry.names, visit.fields)
            tags = (*visit.spot.tags, *entry.groups)
            valid = caching.tier.valid(entry.seen, tags) and caching.shares(flight, came)
            if selection == outcome.selection and valid:
                await self._serve_collapsed(entry)
                return True
            visit.spot.select(entry.names, selection)
        tier = caching.tier
        visit.spot.seen = tier.position
        visit.found = NOTHING
        serves = caching.tier_serves(caching.clock.now())
        spot = visit.spot
        visit.entry = tier.get(spot.parts, spot.selection, spot.names) if serves else None
        if visit.entry is None and caching.store is not None:
            self._note(await caching.look(visit.spot, self._exchange.id))
            await self._complete()
        return False

    async def _serve_collapsed(self, entry: Entry) -> None:
        self._exchange.notes[HIT] = True
        self._exchange.decided("cache", "collapsed")
        said = status.forwarded("miss", collapsed=True)
        now = self._caching.clock.now()
        await serve(entry, now, self._visit.method, self._visit.fields, self._send, said=said)

    async def _in_turn(self) -> None:
        """Go ahead for this process: wait until another process has the answer, or make it."""
        place = self._visit.spot.place
        flight = self._caching.flights.begin(place, self._caching.clock.now())
        try:
            if self._visit.found.waits and await self._polled(flight):
                return None
            if self._visit.found.waits or self._visit.found.passes:
                flight.land(Landing.APART)
                return await self._run_apart()
            await self._lead(flight)
        finally:
            self._caching.flights.end(place, flight)

    async def _polled(self, flight: Flight) -> bool:
        """Ask the store again until the one who leads has filled it; tell whether that answered this caller."""
        visit, clock = self._visit, self._caching.clock
        late, pause = clock.now() + round(PATIENCE * SECOND), _FIRST_PAUSE
        while visit.found.waits and clock.now() < late:
            await clock.sleep(pause * random.uniform(0.5, 1))  # noqa: S311  # jitter
            pause = min(2 * pause, _LONGEST_PAUSE)
            known = visit.entry.filled if visit.entry is not None else 0
            visit.found = await self._caching.look(visit.spot, self._exchange.id, known)
            await self._complete(unwanted=known)
            entry = visit.found.entry
            if entry is not None and use_of(entry, visit, clock.now()) == "fresh":
                flight.land(Landed(entry, visit.spot.selection))
                await self._serve_collapsed(entry)
                return True
        return False

    # Running the handler.

    def _why(self) -> status.Forwarded:
        if self._visit.demand.revalidated or not self._visit.demand.stored:
            return "request"
        return "miss" if self._visit.entry is None else "stale"

    def _tell(self) -> None:
        """Tell that the handler runs: nothing was found, or the request wants nothing that is kept."""
        self._exchange.decided("cache", "bypassed" if self._why() == "request" else "miss")

    async def _run_apart(self) -> None:
        """Run for this caller alone; a whole answer is kept all the same."""
        visit = self._visit
        self._give_lead_back()
        if visit.method != "GET" or b"range" in visit.fields:
            self._tell()
            self._exchange.headers.append((status.FIELD, status.forwarded(self._why())))
            return await self._app(self._scope, self._receive, self._send)
        recording = Recording(self._rules, self._exchange, visit, self._send, why=self._why())
        await self._run(recording, validates=False)

    async def _lead(self, flight: Flight) -> None:
        """Run while others wait."""
        visit, exchange = self._visit, self._exchange
        own = exchange.id if visit.found.leads else ""
        recording = Recording(
            self._rules,
            exchange,
            visit,
            self._send,
            why=self._why(),
            leads=True,
            own=own,
            flight=flight,
            validates=True,
        )
        await self._held(recording, own)

    async def _held(self, recording: Recording, own: str) -> None:
        spot = self._visit.spot
        variant_at_start = (spot.names, spot.selection)
        if own:
            self._caching.hold(spot, own)
        try:
            await self._run(recording, validates=True)
        finally:
            if own:
                now = (spot.names, spot.selection)
                spot.select(*variant_at_start)
                self._caching.let_go(spot, own)
                spot.select(*now)

    async def _run(self, recording: Recording, *, validates: bool) -> None:
        self._tell()
        scope = self._whole_scope(validates=validates)
        try:
            await recording.run(self._app, scope, self._receive)
        finally:
            if scope is not self._scope:
                self._scope.update({key: scope[key] for key in _ROUTING if key in scope})

    def _whole_scope(self, *, validates: bool) -> Scope:
        """Return the scope of a request for the whole answer; with what is kept to be validated, where it can be.

        The client's own conditions are answered from what is kept (RFC 9111 §4.3.2); the handler's 304 would be no
        answer to anybody else. What is kept is validated by its own validators (§4.3.1).
        """
        entry = self._visit.entry if validates else None
        mine = [] if entry is None else _conditions(entry)
        if not mine and _OF_CLIENT.isdisjoint(self._visit.fields):
            return self._scope
        headers = [header for header in self._scope["headers"] if header[0] not in _OF_CLIENT]
        return {**self._scope, "headers": [*headers, *mine]}

    # Refreshing in the background.

    def _refresh(self, entry: Entry) -> None:
        """Make a new answer that outlives this caller, unless somebody does already."""
        place = self._visit.spot.place
        if self._caching.flights.get(place) is None:
            flight = self._caching.flights.begin(place, self._caching.clock.now())
            _ = self._caching.spawn(self._refreshed(entry, flight), "forecourt cache refresh")
        else:
            self._give_lead_back()

    async def _refreshed(self, entry: Entry, flight: Flight) -> None:
        place, spot = self._visit.spot.place, self._visit.spot
        spot.seen = self._caching.tier.position
        other = self._detached()
        try:
            if self._caching.store is not None and not self._visit.found.leads:
                found = await self._caching.look(spot, self._exchange.id, entry.filled)
                if not found.leads:
                    if found.entry is not None:
                        self._caching.keep(spot, found.entry)
                    return
                other._visit.found = found
            async with asyncio.timeout(REFRESHING):
                await other._exchange.run(other._leading(flight), other._receive, _nowhere)
        except Exception as error:  # noqa: BLE001  # whatever a handler raises; nobody waits for it
            logger.warning("a refresh in the background failed: %s", type(error).__name__)
        finally:
            self._caching.flights.end(place, flight)

    def _leading(self, flight: Flight) -> ASGIApp:
        async def lead(_scope: Scope, _receive: Receive, send: Send) -> None:
            self._send = send
            await self._lead(flight)

        return lead

    def _detached(self) -> "Answering":
        """Return the same visit in an exchange of its own, of which no client hears."""
        exchange = self._exchange
        scope: Scope = {**self._scope, "method": "GET"}
        other = Exchange(exchange.runtime, scope)
        other.endpoint, other.params, other.principal = exchange.endpoint, exchange.params, exchange.principal
        other._id = exchange.id
        scope["state"] = dict(self._scope.get("state") or {})
        fields = {name: value for name, value in self._visit.fields.items() if name not in _OF_CLIENT}
        visit = Visit(
            self._visit.spot,
            fields,
            self._visit.demand,
            "GET",
            self._visit.apart,
            self._visit.entry,
            self._visit.found,
        )
        return Answering(self._rules, self._app, other, visit, scope, _nothing(), _nowhere)


def _conditions(entry: Entry) -> list[tuple[bytes, bytes]]:
    """Return what validates an entry (RFC 9111 §4.3.1), where the handler gave it its validators."""
    fields = dict(entry.headers)
    named = ((b"if-none-match", b"etag"), (b"if-modified-since", b"last-modified"))
    return [(condition, fields[field]) for condition, field in named if field in fields]


def _nothing() -> Receive:
    """Return a receive of an empty request whose client stays."""
    received = False

    async def receive() -> Message:
        nonlocal received
        if received:
            await asyncio.get_running_loop().create_future()
        received = True
        return {"type": "http.request", "body": b"", "more_body": False}

    return receive


async def _nowhere(_message: Message) -> None:
    """Send to nobody."""
