"""Cache: gives a kept answer again instead of running the handler (RFC 9111, as a shared cache at the handler's door).

`EndpointPolicy(cache=Cache(ttl=…))` turns it on for GET and HEAD. It stands below credits, so that a hit is charged
unless `refund_on` says "hit", and above the circuit breaker, retry and timeout, which a hit has no need of. It looks in
this process first, which costs no trip; else its look-up leaves together with the questions of the layers above, on a
lane of its own. A miss is filled in one more trip, when the answer has passed.

It refuses nothing, but for `only-if-cached` (504, RFC 9111 §5.2.1.7). It answers with the kept response and Age, with
304 or a part where the request asks so, and adds Cache-Status (RFC 9211) and, for callers who are known,
`Cache-Control: private` where the handler says nothing. With the store down it finds nothing, and handlers run.
"""

from collections.abc import Awaitable, Iterable, Sequence

from forecourt.caching.caching import Caching
from forecourt.core.caching import status
from forecourt.exchange import KEY, Exchange
from forecourt.layers.cache_answering import Answering, use_of
from forecourt.layers.cache_recording import rules_of
from forecourt.layers.cache_serving import serve_as_it_is
from forecourt.layers.cache_visits import NOT_CACHED, Hit, Visit, Visits
from forecourt.layers.credits import HIT
from forecourt.policies import Cache
from forecourt.responses import Header
from forecourt.routing import Endpoint
from forecourt.runtime import Runtime
from forecourt.sealing import seal_of
from forecourt.stores.contract import Answer, Question, Settlement
from forecourt.types import ASGIApp, Receive, Scope, Send

PRIVATE: Header = (b"cache-control", b"private")
"""For answers to callers who are known: RFC 9111 §3.5 guards Authorization, not an API key in another header."""

_BYPASSED: Header = (status.FIELD, status.forwarded("bypass"))


class CacheLayer:
    """The cache of one endpoint; see the module. `uri`: unsafe methods of its path invalidate it."""

    settles = True

    def __init__(
        self, app: ASGIApp, *, policy: Cache, endpoint: Endpoint, runtime: Runtime, caching: Caching, uri: bool
    ) -> None:
        self.app = app
        self._caching = caching
        self._clock = runtime.clock
        if (seal := seal_of(runtime.config, "cache", endpoint.name)) is not None:
            caching.seals[endpoint.name] = seal
        self._visits = Visits(policy, endpoint, caching, uri=uri)
        self._rules = rules_of(policy, caching, self._visits)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Ask; refuse and return, or answer from the cache, or have the handler answer."""
        exchange: Exchange = scope[KEY]
        at_once = exchange.chain.at_once
        if at_once is None:
            return self._call(exchange, scope, receive, send)
        refused = exchange.ask_at_once(self, at_once)
        return refused(scope, receive, send) if refused else self._answered(exchange, scope, receive, send)

    async def _call(self, exchange: Exchange, scope: Scope, receive: Receive, send: Send) -> None:
        """Ask a store that is waited for, and go on."""
        refused = await exchange.ask(self)
        await (refused(scope, receive, send) if refused else self._answered(exchange, scope, receive, send))

    def _answered(self, exchange: Exchange, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Answer from the cache, or have the handler answer."""
        if exchange.principal is not None:
            exchange.headers.append(PRIVATE)
        visit = exchange.notes.get(self)
        if type(visit) is Hit:
            exchange.notes[HIT] = True
            exchange.decided("cache", "hit")
            return serve_as_it_is(visit.entry, visit.now, visit.method, send)
        if not isinstance(visit, Visit):
            if visit is not NOT_CACHED:
                exchange.decided("cache", "bypassed")
            if scope["type"] == "http" and scope["method"] == "GET":
                exchange.headers.append(_BYPASSED)
            return self.app(scope, receive, send)
        visit.reached = True
        return Answering(self._rules, self.app, exchange, visit, scope, receive, send).answer()

    def questions(self, exchange: Exchange) -> Sequence[Question]:
        """Look in the process; ask the store where that has nothing, unless a caller of this process does already."""
        visit = exchange.notes[self] = self._visits.visit(exchange)
        caching = self._caching
        if caching.store is None or not isinstance(visit, Visit):
            return ()
        spot = visit.spot
        if use_of(visit.entry, visit, self._clock.now()) != "none":
            return ()
        if visit.demand.revalidated or not visit.demand.stored or caching.flights.get(spot.place) is not None:
            return ()
        visit.asked = True
        return caching.questions(spot, exchange.id)

    def answered(self, exchange: Exchange, answers: Sequence[Answer]) -> None:
        """Note what the store found."""
        visit = exchange.notes[self]
        assert isinstance(visit, Visit)
        visit.found = self._caching.read(visit.spot, answers)
        if self._caching.down:
            exchange.decided("cache", "degraded")
        if visit.found.entry is not None:
            visit.entry = visit.found.entry
            self._caching.keep(visit.spot, visit.found.entry)

    def settlements(self, exchange: Exchange, _answers: Sequence[Answer]) -> Iterable[Settlement]:
        """Give back a lead that was taken for a call that did not come as far as here."""
        visit = exchange.notes[self]
        if isinstance(visit, Visit) and visit.found.leads and not visit.reached:
            yield self._caching.released(visit.spot, exchange.id)
