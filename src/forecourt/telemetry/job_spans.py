"""The spans of jobs by OpenTelemetry: one where a job is published, and one for each attempt to run it.

A job carries the context of the span that published it. Its attempts are of that trace, so that what the sampler
decided for the caller holds for the job too, and each links to the span that published it, as the conventions for
messaging ask: however late it runs, it was caused there. A job of a caller who is not sampled has no span, and hands
that on.

Names and attributes are those of the messaging conventions. Without an SDK's tracer provider nothing is begun.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from opentelemetry import context, propagate, trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, SpanKind, Status, StatusCode

from forecourt.responses import Header
from forecourt.telemetry.otel import HEADERS, Attributes, Begun, Handler, SdkTracer, broke, outgoing
from forecourt.types import Scope


class JobSpans:
    """The spans of one stack's jobs; `words`: they say what exceptions say."""

    def __init__(self, *, words: bool) -> None:
        self._words = words
        self._tracer = SdkTracer()

    @contextmanager
    def publishing(self, name: str, attributes: Attributes, headers: Sequence[Header]) -> Iterator[Sequence[Header]]:
        """Have a publication's span current; yield the job's fields, with this context in place of the caller's."""
        tracer = self._tracer()
        if tracer is None:
            yield headers
        elif trace.get_current_span().is_recording():
            with Handler(tracer.start_span(name, kind=SpanKind.PRODUCER, attributes=attributes)):
                yield _carrying_on(headers)
        else:
            yield _carrying_on(headers)

    def attempt(self, name: str, attributes: Attributes, scope: Scope) -> "Attempt | None":
        """Begin an attempt's span, linked to the publication that the job's fields tell of; None without an SDK."""
        tracer = self._tracer()
        if tracer is None:
            return None
        parent = propagate.extract(scope, context=Context(), getter=HEADERS)
        published = trace.get_current_span(parent)
        told = published.get_span_context()
        if told.is_valid and not told.trace_flags.sampled:
            return Attempt(published, parent, words=self._words)
        links = [Link(told)] if told.is_valid else []
        span = tracer.start_span(name, context=parent, kind=SpanKind.CONSUMER, attributes=attributes, links=links)
        return Attempt(span, trace.set_span_in_context(span, parent), words=self._words)


class Attempt:
    """A context in which the span of an attempt is current; with it the span ends."""

    __slots__ = ("_context", "_token", "_words", "begun")

    def __init__(self, span: trace.Span, inside: Context, *, words: bool) -> None:
        self.begun = Begun(span, None, None)
        self._context = inside
        self._words = words

    def __enter__(self) -> Self:
        """Make it current."""
        self._token = context.attach(self._context)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        """Record how it broke, and make current again what was."""
        span = self.begun.span
        if isinstance(error, Exception):
            broke(span, error, words=self._words)
        elif kind is not None:
            span.set_attribute("error.type", kind.__qualname__)
            span.set_status(Status(StatusCode.ERROR, "stopped"))
        context.detach(self._token)
        span.end()

    def answered(self, status: int | None) -> None:
        """Note what the handler answered."""
        if status is None:
            return
        span = self.begun.span
        span.set_attribute("http.response.status_code", status)
        if status >= 500:
            span.set_attribute("error.type", str(status))
            span.set_status(Status(StatusCode.ERROR))


def _carrying_on(headers: Sequence[Header]) -> Sequence[Header]:
    """Return these fields with the current context; as they are where there is none."""
    carried = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in outgoing().items()]
    replaced = {name.encode("latin-1") for name in propagate.get_global_textmap().fields}
    return (*(field for field in headers if field[0] not in replaced), *carried) if carried else headers
