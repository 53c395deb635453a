"""Tracing: one server span for each request, with what layers decided as its events, and the handler's span innermost.

`EndpointPolicy(tracing=…)`, on by default where opentelemetry-instrumentation-asgi is installed (extra `otel`) and an
SDK is set up. Stands above all that may refuse, below errors and endpoint: refusals are traced, and the span is named
after the route from its beginning, so that samplers can go by it. The caller's W3C trace context and baggage are
current inside. A request that is not sampled passes by all that only a recorded one needs.

An exception is recorded without what it says, and raised again around the middleware: it would record it in full.
Refuses nothing and asks no store.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

from forecourt.decisions import Decision
from forecourt.exchange import Exchange, exchange_of
from forecourt.layers.logs import METHODS
from forecourt.routing import Endpoint
from forecourt.types import ASGIApp, Receive, Scope, Send


class Begun(Protocol):
    """A span that has begun."""

    @property
    def recorded(self) -> bool:
        """Whether anybody will see it."""
        ...

    @property
    def ours(self) -> bool:
        """Whether it was begun here, and not by somebody outside."""
        ...

    @property
    def trace_id(self) -> str:
        """The trace's id."""
        ...

    def decided(self, decision: Decision) -> None:
        """Add what a layer decided."""
        ...

    def sending(self, send: Send) -> Send:
        """Return what sends, and notes on the span what is sent."""
        ...

    def end(self) -> None:
        """End it, where it was begun here, and make current again what was."""
        ...


class Traced(NamedTuple):
    """What the spans of an endpoint say: its path template (None: no route matches) and attributes."""

    path: str | None
    attributes: Mapping[str, str]

    def name(self, method: str) -> str:
        """Return the span's name: method and route."""
        return f"{method} {self.path}" if self.path else method


class Spans(Protocol):
    """Where spans come from."""

    def begin(self, name: str, attributes: Mapping[str, str], scope: Scope) -> Begun | None:
        """Begin a server span, or take the one that is there."""
        ...

    def captures(self) -> bool:
        """Whether OpenTelemetry's middleware has more to do than the span says by itself."""
        ...

    def handler(self, name: str) -> AbstractContextManager[None]:
        """Have a span of the handler's own."""
        ...


class Failed(Protocol):
    """Records in the current span that the request broke."""

    def __call__(self, error: Exception, *, answered: bool) -> None:
        """Record it; `answered`: the response had begun."""
        ...


class TracingLayer:
    """Begins and ends the span; endpoints that are not in `endpoints` pass by.

    `app` is OpenTelemetry's middleware, which stands around `inside`.
    """

    def __init__(self, app: ASGIApp, *, inside: "Inside", spans: Spans) -> None:
        self.app = app
        self.inside = inside
        self.spans = spans
        self.endpoints: Mapping[Endpoint | None, Traced] = {}
        """Set by the stack when the routes are compiled."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Begin a span; call on, through the middleware where that has something to do; end it."""
        exchange = exchange_of(scope)
        traced = self.endpoints.get(exchange.endpoint)
        begun = self._begin(traced, scope) if traced is not None else None
        if begun is None:
            return await self.inside.app(scope, receive, send)
        try:
            if not begun.recorded:
                return await self.inside.app(scope, receive, send)
            exchange.trace_id = begun.trace_id
            exchange.listeners.append(begun.decided)
            if begun.ours and self.spans.captures():
                await self.app(scope, receive, send)
            else:
                await self.inside(scope, receive, begun.sending(send) if begun.ours else send)
            if error := exchange.notes.pop(self.inside, None):
                raise error
        finally:
            begun.end()

    def _begin(self, traced: Traced, scope: Scope) -> Begun | None:
        method = str(scope.get("method", "GET"))
        known = method if method in METHODS else "HTTP"
        return self.spans.begin(traced.name(known), traced.attributes, scope)


class Inside:
    """Keeps what the app raises from OpenTelemetry's middleware, for the layer around it to raise again.

    It is recorded here, by `failed`: the middleware would record all that it says.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.failed: Failed
        """Set once the spans are there, which need this app."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call on; note what comes back as an exception."""
        try:
            await self.app(scope, receive, send)
        except Exception as error:  # noqa: BLE001  # raised again by the layer
            exchange = exchange_of(scope)
            exchange.notes[self] = error
            self.failed(error, answered=exchange.status is not None)


class HandlerSpanLayer:
    """Innermost: a span of the handler's own, where the request's is recorded."""

    def __init__(self, app: ASGIApp, *, name: str, spans: Spans) -> None:
        self.app = app
        self._name = name
        self._spans = spans

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the handler."""
        exchange: Exchange = exchange_of(scope)
        if exchange.trace_id is None:
            return await self.app(scope, receive, send)
        with self._spans.handler(self._name):
            await self.app(scope, receive, send)
