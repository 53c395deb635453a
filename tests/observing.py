"""Services whose spans, metrics and lines a test reads."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import Sampler
from opentelemetry.trace import SpanKind
from prometheus_client.parser import text_string_to_metric_families

from forecourt import JobConfig
from forecourt.types import ASGIApp
from tests.asgi import get

Samples = dict[tuple[str, ...], float]


class Seen:
    """The spans that ended."""

    def __init__(self, exporter: InMemorySpanExporter) -> None:
        self._exporter = exporter

    def all(self) -> list[ReadableSpan]:
        """Return them in the order of their ends."""
        return list(self._exporter.get_finished_spans())

    def servers(self) -> list[ReadableSpan]:
        """Return those of kind SERVER."""
        return [span for span in self.all() if span.kind is SpanKind.SERVER]

    def server(self) -> ReadableSpan:
        """Return the only one of kind SERVER."""
        (span,) = self.servers()
        return span

    def text(self) -> str:
        """Return everything they say."""
        return "\n".join(span.to_json() for span in self.all())


@contextmanager
def sdk(monkeypatch: pytest.MonkeyPatch, sampler: Sampler | None = None) -> Iterator[Seen]:
    """Set an SDK up as the global one; what it records is in memory."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(sampler=sampler) if sampler else TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with monkeypatch.context() as patched:
        patched.setattr(trace, "_TRACER_PROVIDER", provider)
        yield Seen(exporter)
    provider.shutdown()


async def scraped(config: JobConfig) -> str:
    """Return what Prometheus would be told."""
    app: ASGIApp = config.metrics
    return (await get(app, "/metrics")).body.decode()


async def samples(config: JobConfig, name: str, *labels: str) -> Samples:
    """Return the samples of this name by the values of these labels."""
    families = text_string_to_metric_families(await scraped(config))
    return {
        tuple(sample.labels[label] for label in labels): sample.value
        for family in families
        for sample in family.samples
        if sample.name == name
    }


def lines(path: Path) -> list[dict[str, object]]:
    """Return the events of a log."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []
