"""Tracing, metrics and logs of peers. Spans and lines are made in full and thrown away, so that no disk is measured."""

import logging
import os
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import orjson
import structlog
from fastapi import FastAPI
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON
from prometheus_client import CollectorRegistry
from prometheus_fastapi_instrumentator import Instrumentator
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import Response
from starlette_exporter import PrometheusMiddleware

from benchmarks.calls import ASGIApp
from benchmarks.peers.parts import Part


class Discard(SpanExporter):
    """An exporter to nowhere."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return SpanExportResult.SUCCESS


def otel(*, sampled: bool = True, all_spans: bool = True) -> Part:
    """Return OpenTelemetry's ASGI middleware with an SDK provider."""
    provider = TracerProvider(sampler=ALWAYS_ON if sampled else ALWAYS_OFF)
    provider.add_span_processor(BatchSpanProcessor(Discard()))
    options: dict[str, Any] = {"tracer_provider": provider}
    if not all_spans:
        options["exclude_spans"] = ["receive", "send"]
    what = "defaults" if sampled and all_spans else "without send and receive spans" if sampled else "sampled off"
    return Part(
        f"OpenTelemetry ASGI, {what}",
        "OpenTelemetryMiddleware, SDK TracerProvider, BatchSpanProcessor to an exporter that discards",
        install=lambda app: app.add_middleware(OpenTelemetryMiddleware, **options),
    )


def instrumentator() -> Part:
    """Return prometheus-fastapi-instrumentator."""
    return Part(
        "prometheus-fastapi-instrumentator",
        "Instrumentator().instrument(app), default metrics, a registry of its own",
        install=lambda app: Instrumentator(registry=CollectorRegistry()).instrument(app),
    )


def starlette_exporter(name: str = "bench") -> Part:
    """Return starlette-exporter."""
    return Part(
        "starlette-exporter",
        "PrometheusMiddleware with its defaults",
        install=lambda app: app.add_middleware(PrometheusMiddleware, app_name=name, prefix=name),
    )


def _logger(serializer: Any = None, *, stdlib: bool = False) -> Any:
    """Return a logger as structlog's documentation sets it up for speed, writing to nowhere."""
    renderer = (
        structlog.processors.JSONRenderer(serializer=serializer) if serializer else structlog.processors.JSONRenderer()
    )
    if stdlib:
        target: Any = logging.Logger("bench-access", logging.INFO)
        target.addHandler(logging.StreamHandler(open(os.devnull, "w")))  # noqa: SIM115, PTH123  # open as long as the process
        target.manager = logging.Manager(logging.RootLogger(logging.CRITICAL))
    elif serializer:
        target = structlog.BytesLogger(open(os.devnull, "wb"))  # noqa: SIM115, PTH123
    else:
        target = structlog.WriteLogger(open(os.devnull, "w"))  # noqa: SIM115, PTH123
    return structlog.wrap_logger(
        target,
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        cache_logger_on_first_use=True,
    ).bind()


class AccessLog:
    """One JSON line per request, as a pure ASGI middleware."""

    def __init__(self, app: ASGIApp, logger: Any) -> None:
        self.app = app
        self.logger = logger

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status = time.perf_counter(), 500

        async def noting(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(method=scope["method"], path=scope["path"])
        await self.app(scope, receive, noting)
        self.logger.info("request", status=status, duration=time.perf_counter() - started, client=scope["client"][0])


class BaseHTTPAccessLog(BaseHTTPMiddleware):
    """The same line from a BaseHTTPMiddleware, as most examples do it."""

    def __init__(self, app: Any, logger: Any) -> None:
        super().__init__(app)
        self.logger = logger

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        started = time.perf_counter()
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(method=request.method, path=request.url.path)
        response = await call_next(request)
        client = request.client.host if request.client else ""
        self.logger.info("request", status=response.status_code, duration=time.perf_counter() - started, client=client)
        return response


def structlog_part(way: str = "orjson") -> Part:
    """Return structlog by way of: json, orjson, stdlib (through logging) or BaseHTTPMiddleware."""
    logger = _logger(None if way in ("json", "stdlib") else orjson.dumps, stdlib=way == "stdlib")
    middleware: Any = BaseHTTPAccessLog if way == "BaseHTTPMiddleware" else AccessLog

    def install(app: FastAPI, middleware: Any, logger: Any) -> None:
        app.add_middleware(middleware, logger=logger)

    kind = {"json": "pure ASGI, json", "orjson": "pure ASGI, orjson", "stdlib": "pure ASGI, through logging"}
    return Part(
        f"structlog, {kind.get(way, 'BaseHTTPMiddleware, orjson')}",
        "one JSON line per request with method, path, status, duration and client; written to the null device",
        install=partial(install, middleware=middleware, logger=logger),
    )
