"""Tracing, metrics and logs beside their peers, each alone on one FastAPI route; and the whole stack, recorded."""

from typing import Any

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON

from benchmarks import ours
from benchmarks.apps import fastapi
from benchmarks.bench import Bench
from benchmarks.harness import Variant
from benchmarks.peers import telemetry
from benchmarks.peers.parts import alone
from benchmarks.results import Table
from forecourt.layers.tracing import TracingLayer

TITLE = "Tracing, metrics and logs"
ABOUT = (
    "Each alone on one FastAPI route that answers 1 KB. Spans and lines are made in full and thrown away. "
    "`sampled off` is an SDK whose sampler drops every trace. The whole stack is one rate limit in memory "
    "with a recorded span, metrics and the access log."
)

FLOOR = "FastAPI alone"


async def run(bench: Bench) -> list[Table]:
    """Measure all tables."""
    tracing = await bench.measure("tracing", [_floor(), *_tracing()])
    metrics = await bench.measure("metrics", [_floor(), *_metrics("one", 1)])
    fifty = await bench.measure("metrics, 50 routes", [_floor(50), *_metrics("fifty", 50)])
    logs = await bench.measure("logs", [_floor(), *_logs()])
    return [
        Table("tracing", "Tracing", tracing, floor=FLOOR, reference="OpenTelemetry ASGI, defaults"),
        Table("metrics", "Metrics", metrics, floor=FLOOR),
        Table("metrics_50", "Metrics, last of 50 routes", fifty, floor=FLOOR),
        Table("logs", "Logs", logs, floor=FLOOR),
    ]


def _floor(routes: int = 1) -> Variant:
    return Variant(FLOOR, fastapi(routes), side="base")


def _nothing(routes: int = 1) -> Variant:
    """Return the stack that every layer stands in: what a layer itself adds is what it is above this."""
    app = ours.protected(ours.config(), fastapi(routes), layers=())
    return Variant("forecourt, no layer", app, config="layers=(): the exchange, the endpoint, its check", side="ours")


def _tracing() -> list[Variant]:
    parts = (telemetry.otel(), telemetry.otel(all_spans=False), telemetry.otel(sampled=False))
    return [
        *(alone(part) for part in parts),
        _nothing(),
        Variant("forecourt, tracing", _traced(), config='layers=("tracing",), sampled', side="ours"),
        Variant("forecourt, tracing, sampled off", _traced(sampled=False), config='layers=("tracing",)', side="ours"),
        Variant(
            "forecourt, the whole stack, sampled", _traced(whole=True), config="every layer, one limit", side="ours"
        ),
        Variant(
            "forecourt, the whole stack, sampled off",
            _traced(whole=True, sampled=False),
            config="every layer, one limit",
            side="ours",
        ),
    ]


def _metrics(name: str, routes: int) -> list[Variant]:
    mine = ours.protected(ours.config(), fastapi(routes), layers=("metrics",))
    return [
        *(alone(part, routes=routes) for part in (telemetry.instrumentator(), telemetry.starlette_exporter(name))),
        _nothing(routes),
        Variant("forecourt, metrics", mine, config='layers=("metrics",)', side="ours"),
    ]


def _logs() -> list[Variant]:
    mine = ours.protected(ours.config(), layers=("logging",))
    return [
        *(alone(telemetry.structlog_part(way)) for way in ("json", "orjson", "stdlib", "BaseHTTPMiddleware")),
        _nothing(),
        Variant("forecourt, logging", mine, config='layers=("logging",), JSON to the null device', side="ours"),
    ]


def _traced(*, sampled: bool = True, whole: bool = False) -> Any:
    """Return an app whose tracing layer has an SDK of its own: a global one would trace the other variants too."""
    provider = TracerProvider(sampler=ALWAYS_ON if sampled else ALWAYS_OFF)
    provider.add_span_processor(BatchSpanProcessor(telemetry.Discard()))
    limits = ours.admitting(1) if whole else None
    app: Any = ours.protected(ours.config(limits), layers=None if whole else ("tracing",))
    app.middleware_stack = layer = app.build_middleware_stack()
    while not isinstance(layer, TracingLayer):
        layer = layer.app
    layer.spans._tracer = provider.get_tracer("forecourt")
    return app
