"""Spans by OpenTelemetry: the server's from opentelemetry-instrumentation-asgi, the handler's, and the store's trips.

**One server span.** The instrumentation's own middleware stands in the stack, so that tools which look for it find it.
The span is begun here, with the endpoint's name and route, and made current; the middleware then takes it instead of
beginning one: it asks its tracer for a span, and that tracer is `_Begun`, which gives the current one. So a request
need not pass through the middleware where that would only cost: one that is not sampled, and one whose span says no
more than the attributes of its request and response, which are set here as the middleware sets them, in a third of the
time. It is passed for the spans of messages, for captured headers and for response propagators. Where a server span is
current already (another instrumentation's, or a stack's around this one), that span is taken, and none is begun.

**Nothing secret.** The query is left out (names, too, may be secret), and an exception is recorded by its type and
traceback, without what it says, unless the config wants it. Headers are captured only where the instrumentation's own
environment variables name them.

Without an SDK's tracer provider nothing is begun. Attributes are those of the stable HTTP semantic conventions.
"""

import traceback
from collections.abc import Awaitable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import Token
from typing import NamedTuple

from opentelemetry import context, propagate, trace
from opentelemetry.context import Context
from opentelemetry.instrumentation._semconv import _StabilityMode
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.instrumentation.propagators import get_global_response_propagator
from opentelemetry.instrumentation.utils import is_http_instrumentation_enabled
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.propagators.textmap import Getter
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.util.http import ExcludeList, get_excluded_urls
from opentelemetry.util.types import AttributeValue

from forecourt.config_databases import Spent
from forecourt.decisions import Decision
from forecourt.redaction import without_words
from forecourt.stores.observed import Trip
from forecourt.types import ASGIApp, Message, Scope, Send

Attributes = Mapping[str, AttributeValue]

_NAME = "forecourt"
_ROUTE = "http.route"
_SCOPE = "forecourt.span"
"""Where a request's span is, for a stack inside: scopes of mounted apps have what the outer scope has."""


class Headers(Getter[Scope]):
    """Reads a request's headers for propagators."""

    def get(self, carrier: Scope, key: str) -> list[str] | None:
        """Return the values of a header, None when there is none."""
        name = key.lower().encode("latin-1")
        values = [value.decode("latin-1") for field, value in carrier["headers"] if field == name]
        return [",".join(values)] if values and name == b"baggage" else values or None

    def keys(self, carrier: Scope) -> list[str]:
        """Return the names of all headers."""
        return [field.decode("latin-1") for field, _ in carrier["headers"]]


HEADERS = Headers()
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"})
"""Those that the conventions know."""


class Begun(NamedTuple):
    """A span, and, where it was begun here, what makes current again what was, and the scope that has it."""

    span: Span
    token: Token[Context] | None
    scope: Scope | None

    @property
    def ours(self) -> bool:
        """Whether it was begun here."""
        return self.scope is not None

    @property
    def recorded(self) -> bool:
        """Whether anybody will see it."""
        return self.span.is_recording()

    @property
    def trace_id(self) -> str:
        """The trace's id: 32 hexadecimal digits."""
        return trace.format_trace_id(self.span.get_span_context().trace_id)

    def sending(self, send: Send) -> Send:
        """Return what sends, and notes on the span what is sent."""
        return Sending(self.span, send)

    def decided(self, decision: Decision) -> None:
        """Add what a layer decided to the span as an event."""
        attributes: dict[str, AttributeValue] = {
            "forecourt.layer": decision.layer,
            "forecourt.outcome": decision.outcome,
        }
        if decision.detail:
            attributes["forecourt.detail"] = decision.detail
        if decision.amount:
            attributes["forecourt.amount"] = decision.amount
        self.span.add_event(f"{decision.layer} {decision.outcome}", attributes, timestamp=decision.at * 1000)

    def end(self) -> None:
        """Make current again what was; a span that the middleware has not ended ends."""
        if self.scope is None or self.token is None:
            return
        context.detach(self.token)
        del self.scope[_SCOPE]
        if self.span.is_recording():
            self.span.end()


class Sending:
    """Sends, and notes on the span what the response's messages say; the span ends with the last of them."""

    __slots__ = ("_send", "_span", "_trailers")

    def __init__(self, span: Span, send: Send) -> None:
        self._span = span
        self._send = send
        self._trailers = False

    def __call__(self, message: Message) -> Awaitable[None]:
        """Send a message."""
        kind = message["type"]
        if kind == "http.response.start":
            self._trailers = message.get("trailers", False)
            status = message["status"]
            self._span.set_attribute("http.response.status_code", status)
            if status >= 500:
                self._span.set_attribute("error.type", str(status))
                self._span.set_status(Status(StatusCode.ERROR))
        elif (kind == "http.response.body" and not self._trailers and not message.get("more_body", False)) or (
            kind == "http.response.trailers" and not message.get("more_trailers", False)
        ):
            return self._send_last(message)
        return self._send(message)

    async def _send_last(self, message: Message) -> None:
        await self._send(message)
        self._span.end()


class Handler:
    """A context in which a handler's span is current; what breaks is recorded by its type."""

    __slots__ = ("_span", "_token")

    def __init__(self, span: Span) -> None:
        self._span = span

    def __enter__(self) -> None:
        self._token = context.attach(trace.set_span_in_context(self._span))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if kind is not None and isinstance(error, Exception):
            self._span.set_attribute("error.type", kind.__qualname__)
            self._span.set_status(Status(StatusCode.ERROR, kind.__qualname__))
        context.detach(self._token)
        self._span.end()


class SdkTracer:
    """The SDK's tracer, from when there is one."""

    def __init__(self) -> None:
        self._tracer: trace.Tracer | None = None

    def __call__(self) -> trace.Tracer | None:
        """Return it; None while no SDK is set up."""
        if self._tracer is None:
            provider = trace.get_tracer_provider()
            if isinstance(provider, trace.ProxyTracerProvider | trace.NoOpTracerProvider):
                return None
            self._tracer = provider.get_tracer(_NAME)
        return self._tracer


class Spans:
    """The spans of one stack; `inside` is the app below."""

    def __init__(self, inside: ASGIApp, *, message_spans: bool, words: bool) -> None:
        self._words = words
        self._excluded: ExcludeList = get_excluded_urls("ASGI")
        self.tracer = SdkTracer()
        middleware = OpenTelemetryMiddleware(
            inside,
            default_span_details=_details,
            tracer=_Begun(self),
            meter_provider=NoOpMeterProvider(),
            exclude_spans=None if message_spans else ["receive", "send"],
        )
        # The stable conventions whatever the environment opts in to: dashboards must find one set of names.
        middleware._sem_conv_opt_in_mode = _StabilityMode.HTTP
        self.middleware: ASGIApp = middleware
        self._captures = bool(
            message_spans
            or middleware.http_capture_headers_server_request
            or middleware.http_capture_headers_server_response
        )

    def begin(self, name: str, attributes: Attributes, scope: Scope) -> Begun | None:
        """Begin this request's server span and make it current; None where there is to be none."""
        tracer = self.tracer()
        if tracer is None or not is_http_instrumentation_enabled() or self._is_excluded(scope):
            return None
        current = scope.get(_SCOPE) or trace.get_current_span()
        if current is not trace.INVALID_SPAN and _is_server(current):
            if current.is_recording() and _ROUTE not in (getattr(current, "attributes", None) or {}):
                current.update_name(name)
            current.set_attributes({key: value for key, value in attributes.items() if key.startswith("forecourt.")})
            return Begun(current, None, None)
        parent = _parent(scope)
        span = tracer.start_span(name, context=parent, kind=SpanKind.SERVER, attributes=attributes)
        token = context.attach(trace.set_span_in_context(span, parent))
        scope[_SCOPE] = span
        if span.is_recording():
            span.set_attributes(_request_attributes(scope))
        return Begun(span, token, scope)

    def captures(self) -> bool:
        """Tell whether the middleware has to be passed through: for spans of messages, headers, or response fields."""
        propagator = get_global_response_propagator()  # type: ignore[no-untyped-call]  # theirs has no types
        return self._captures or propagator is not None

    def failed(self, error: Exception, *, answered: bool) -> None:
        """Record in the current span that the request broke, without what the exception says."""
        span = trace.get_current_span()
        if not answered:
            span.set_attribute("http.response.status_code", 500)
        broke(span, error, words=self._words)

    def handler(self, name: str) -> "Handler":
        """Return what has a span of the handler's own current."""
        tracer = self.tracer()
        return Handler((tracer or trace.NoOpTracer()).start_span(name))

    def trip(self, trip: Trip) -> None:
        """Record a trip to the store inside the current span, where that is sampled."""
        if not trace.get_current_span().get_span_context().trace_flags.sampled or (tracer := self.tracer()) is None:
            return
        attributes: Attributes = {"forecourt.store.operations": trip.size, "forecourt.outcome": trip.end}
        span = tracer.start_span(
            f"store {trip.operation}", kind=SpanKind.CLIENT, attributes=attributes, start_time=trip.began
        )
        if trip.end != "ok":
            span.set_status(Status(StatusCode.ERROR, trip.end))
        span.end(trip.began + trip.took)

    def spent(self, spent: Spent) -> None:
        """Record time that was spent on a database inside the current span, where that is sampled; no values."""
        if not trace.get_current_span().get_span_context().trace_flags.sampled or (tracer := self.tracer()) is None:
            return
        attributes: dict[str, AttributeValue] = {
            "db.namespace": spent.database,
            "db.operation.name": spent.operation,
        }
        if spent.text:
            attributes["db.query.text"] = spent.text
        span = tracer.start_span(
            f"{spent.operation} {spent.database}", kind=SpanKind.CLIENT, attributes=attributes, start_time=spent.began
        )
        if spent.end != "ok":
            span.set_status(Status(StatusCode.ERROR, spent.end))
        span.end(spent.began + spent.took)

    def _is_excluded(self, scope: Scope) -> bool:
        """Tell whether the instrumentation's own variables exclude this URL (OTEL_PYTHON_EXCLUDED_URLS)."""
        return bool(self._excluded._excluded_urls) and self._excluded.url_disabled(_url(scope))


class _Begun:
    """The tracer that the middleware gets: the span it asks for has begun and is current; others are the SDK's."""

    def __init__(self, spans: Spans) -> None:
        self._spans = spans

    def start_span(self, name: str, **_: object) -> Span:
        """Return the span that was begun."""
        return trace.get_current_span()

    @contextmanager
    def start_as_current_span(self, name: str) -> Iterator[Span]:
        """Begin the span of an ASGI message, where these are wanted."""
        tracer = self._spans.tracer() or trace.NoOpTracer()
        with tracer.start_as_current_span(name) as span:
            yield span


def broke(span: Span, error: Exception, *, words: bool) -> None:
    """Record an exception in a span; without `words`, not what it says."""
    kind = type(error).__qualname__
    span.set_attribute("error.type", kind)
    if words:
        span.record_exception(error)
        span.set_status(Status(StatusCode.ERROR, f"{kind}: {error}"))
        return
    stack = "".join(traceback.format_exception(without_words(error)))
    span.add_event("exception", {"exception.type": kind, "exception.stacktrace": stack})
    span.set_status(Status(StatusCode.ERROR, kind))


def outgoing() -> dict[str, str]:
    """Return the fields that carry the current trace and baggage on, to another service or with a job."""
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return carrier


def _parent(scope: Scope) -> Context:
    """Return the context that the caller's headers tell of, else the current one."""
    wanted = {name.encode("latin-1") for name in propagate.get_global_textmap().fields}
    if any(name in wanted for name, _ in scope["headers"]):
        return propagate.extract(scope, getter=HEADERS)
    return context.get_current()


def _is_server(span: Span) -> bool:
    """Tell whether this is a request's span; of one that is not recorded nothing is known, and none is begun inside."""
    if not span.get_span_context().is_valid:
        return False
    return not span.is_recording() or getattr(span, "kind", None) is SpanKind.SERVER


def _details(scope: Scope) -> tuple[str, dict[str, str]]:
    """Say of the middleware's span what must not be said: its name and route it has."""
    query = {"url.query": "REDACTED"} if scope.get("query_string") else {}
    return str(getattr(trace.get_current_span(), "name", "")), query


def _request_attributes(scope: Scope) -> dict[str, AttributeValue]:
    """Return what the middleware says of a request, without the query; a test holds them together."""
    method = scope.get("method", "GET")
    server = scope.get("server") or ("0.0.0.0", 80)  # noqa: S104  # what the middleware says where nobody knows
    attributes: dict[str, AttributeValue] = {
        "url.scheme": scope.get("scheme", "http"),
        "url.path": scope.get("path", ""),
        "server.address": server[0],
        "network.protocol.version": scope.get("http_version", "1.1"),
        "http.request.method": method if method in _METHODS else "_OTHER",
    }
    if server[1] is not None:
        attributes["server.port"] = server[1]
    if scope.get("query_string"):
        attributes["url.query"] = "REDACTED"
    if client := scope.get("client"):
        attributes["client.address"], attributes["client.port"] = client
    for name, value in scope["headers"]:
        if name == b"user-agent":
            attributes["user_agent.original"] = value.decode("latin-1")
            break
    return attributes


def _url(scope: Scope) -> str:
    host = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "")
    return f"{scope.get('scheme', 'http')}://{host}{scope.get('path', '')}"
