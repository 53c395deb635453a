"""Circuit breaker: refuses calls with 503 while what their endpoint needs has failed.

`EndpointPolicy(circuit_breaker=CircuitBreaker(…))` turns it on. It stands below the cache, so that a hit needs no
breaker, and above retry and timeout, so that it sees one outcome for a whole series of attempts. Endpoints whose
policies say one `name` share a breaker, as does code by `async with config.breaker(name)`.

A call has failed when the handler raised, when its status is one of `failures`, or when its response broke off. That
is known at the end of the response; of event streams and WebSockets, which may never end, at their first byte. Nothing
is learnt from a client that left, from a call that was cancelled, and from what a layer below refused (our own timeout
excepted). Open, it answers 503 with Retry-After and the type `circuit-open`, or has `instead` answer. It asks no store,
so a store that is down is no matter; a `shared` one asks before a probe (`fleet` says how), and is each process's own
while the store is down.
Leaves the note `OPEN` on the exchange, for a cache above that has a stale answer.
"""

from forecourt.breakers import Breaker, whole_seconds
from forecourt.core.breaker import Ended, Permit, Refused
from forecourt.exchange import Exchange, exchange_of
from forecourt.layers.messages import GONE, STARTS, is_event_stream, is_last
from forecourt.responses import UNAVAILABLE
from forecourt.types import ASGIApp, Message, Receive, Scope, Send

OPEN = "circuit open"
"""The note that a breaker refused: `exchange.notes[OPEN]` is its policy's `fallback`, or None."""


class CircuitBreakerLayer:
    """Guards one endpoint with a breaker; see the module for what it answers."""

    def __init__(self, app: ASGIApp, *, breaker: Breaker, instead: ASGIApp | None = None) -> None:
        self.app = app
        self._instead = instead
        self._breaker = breaker
        self._fallback = breaker.policy.fallback

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse and return, or call on and see how it ends."""
        permit = self._breaker.admit()
        if self._breaker.fleet is not None:
            permit = await self._breaker.confirmed(permit)
        if type(permit) is Refused:
            exchange = exchange_of(scope)
            exchange.notes[OPEN] = self._fallback
            exchange.decided("circuit_breaker", "open")
            if self._instead is not None:
                return await self._instead(scope, receive, send)
            return await exchange.refuse(UNAVAILABLE, whole_seconds(permit.wait))(scope, receive, send)
        assert permit is None or type(permit) is Permit
        call = _Call(self._breaker, permit, exchange_of(scope), receive, send)
        try:
            await self.app(scope, call.receive, call.send)
        except Exception as error:
            call.end("ignored" if call.gone else "failure", error)
            raise
        except BaseException:
            call.end("ignored")
            raise
        call.end("ignored" if call.gone else "failure")


class _Call:
    """One call under way: what was seen of it, until it is settled."""

    __slots__ = (
        "_breaker",
        "_endless",
        "_exchange",
        "_failures",
        "_permit",
        "_receive",
        "_send",
        "_settled",
        "_trailers",
        "gone",
        "status",
    )

    def __init__(
        self,
        breaker: Breaker,
        permit: Permit | None,
        exchange: Exchange,
        receive: Receive,
        send: Send,
    ) -> None:
        self._breaker = breaker
        self._permit = permit
        self._failures = breaker.policy.failures
        self._exchange = exchange
        self._receive = receive
        self._send = send
        self._settled = self._endless = self._trailers = False
        self.gone = False
        self.status = 0

    async def receive(self) -> Message:
        """Receive, and see whether the client has left."""
        message = await self._receive()
        if message["type"] in GONE:
            self.gone = True
        return message

    async def send(self, message: Message) -> None:
        """Send, and settle once enough was sent."""
        kind = message["type"]
        if kind in STARTS:
            self.status = message["status"]
            self._trailers = bool(message.get("trailers"))
            self._endless = is_event_stream(message)
        try:
            await self._send(message)
        except OSError:
            self.gone = True
            raise
        if kind == "websocket.accept":
            self.end("success")
        elif kind not in STARTS and (self._endless or is_last(message, trailers=self._trailers)):
            self.end(self.by_status())

    def by_status(self) -> Ended:
        """Judge by the status; from a refusal of a layer below, or a WebSocket denied by closing, nothing is learnt."""
        refused = self._exchange.refused
        if not self.status or (refused is not None and refused.status != 504):
            return "ignored"
        return "failure" if self.status in self._failures else "success"

    def end(self, ended: Ended, error: Exception | None = None) -> None:
        """Settle, once."""
        if not self._settled:
            self._settled = True
            self._breaker.settle(self._permit, ended, error)
