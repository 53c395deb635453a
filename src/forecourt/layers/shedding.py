"""Shedding: refuses calls while this process has more of them than it can carry.

`EndpointPolicy(concurrency=Adaptive(…))` turns it on, in the place of a fixed limit. The limit of calls at work moves
with how long they take (`core.shedding` says how); the lag of the event loop is a sign of its own. `priority` on the
endpoint says who is refused first; `critical` never is. A call that finds no room where its endpoint's questions are
asked is refused before anything is: it has consumed no limit, no credits and no trip. With a `queue` it waits for a
place first; one that waits in vain has passed its limits, and gets back what it reserved.

It answers 503 with Retry-After and the type `temporary-reduced-capacity`. A place is held to the end of the response;
of event streams to the first byte, of WebSockets to the handshake. How long a call took is learnt where it was
answered: not from what raised, was cancelled or was refused below (our own 504 excepted), nor from 5xx, which come
sooner than answers do. It asks no store, so a store that is down is no matter.
"""

from collections.abc import Sequence

from forecourt.core.shedding import Priority, Usual
from forecourt.exchange import Exchange, exchange_of
from forecourt.layers.messages import STARTS, is_event_stream, is_last
from forecourt.layers.shedder import Shedder
from forecourt.responses import IANA_TYPES, Problem, Refusal
from forecourt.stores.contract import Answer, Question, Settlement
from forecourt.types import ASGIApp, Message, Receive, Scope, Send

SHED = Problem(
    503,
    "Service Unavailable",
    IANA_TYPES + "temporary-reduced-capacity",
    "This server has more calls at work than it can carry; nothing was done.",
)

_LATER = 1
"""Seconds that callers are asked to wait: overload lasts nobody knows how long."""


class SheddingLayer:
    """Lets the calls of one endpoint in while there is room; see the module for what it answers."""

    settles = False

    def __init__(self, app: ASGIApp, *, shedder: Shedder, priority: Priority, shadow: bool) -> None:
        self.app = app
        self._shedder = shedder
        self._priority: Priority = "critical" if shadow else priority
        self._told: Priority | None = priority if shadow else None
        self._usual = Usual()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse and return, or call on in a place of one's own."""
        exchange = exchange_of(scope)
        if refused := await exchange.ask(self):
            return await refused(scope, receive, send)
        if self._told is not None and self._shedder.sheds(self._told):
            exchange.decided("concurrency", "shadowed")
        if not await self._shedder.enter(self._priority):
            return await self._refusal(exchange)(scope, receive, send)
        call = _Call(self._shedder, self._usual, exchange, send)
        try:
            await self.app(scope, receive, call.send)
        finally:
            call.end(learn=False)

    def questions(self, exchange: Exchange) -> Sequence[Question] | ASGIApp:
        """Ask nothing; refuse where there is no room, before anybody else asks."""
        return self._refusal(exchange) if self._shedder.sheds(self._priority) else ()

    def answered(self, exchange: Exchange, answers: Sequence[Answer]) -> ASGIApp | None:
        """Pass: nothing was asked."""

    def settlements(self, exchange: Exchange, answers: Sequence[Answer]) -> Sequence[Settlement]:
        """Settle nothing."""
        return ()

    def _refusal(self, exchange: Exchange) -> Refusal:
        exchange.decided("concurrency", "refused")
        return exchange.refuse(SHED, _LATER)


class _Call:
    """One call at work, until it gives its place back."""

    __slots__ = ("_began", "_ended", "_endless", "_exchange", "_send", "_shedder", "_status", "_trailers", "_usual")

    def __init__(self, shedder: Shedder, usual: Usual, exchange: Exchange, send: Send) -> None:
        self._shedder = shedder
        self._usual = usual
        self._exchange = exchange
        self._send = send
        self._began = exchange.runtime.clock.now()
        self._ended = self._endless = self._trailers = False
        self._status = 0

    async def send(self, message: Message) -> None:
        """Send, and give the place back once enough was sent."""
        kind = message["type"]
        if kind in STARTS:
            self._status = message["status"]
            self._trailers = bool(message.get("trailers"))
            self._endless = is_event_stream(message)
        await self._send(message)
        if kind == "websocket.accept":
            self.end(learn=True)
        elif kind not in STARTS and (self._endless or is_last(message, trailers=self._trailers)):
            self.end(learn=self._status < 500 or self._status == 504)

    def end(self, *, learn: bool) -> None:
        """Give the place back, once; `learn` how long the call took."""
        if not self._ended:
            self._ended = True
            refused = self._exchange.refused
            told = learn and (refused is None or refused.status == 504)
            self._shedder.leave(self._usual, self._began if told else None)
