"""Callers, paths, hosts and methods without end, and how many series prometheus-client and OpenTelemetry keep."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from starlette.routing import Route

from forecourt import (
    Cache,
    CircuitBreaker,
    Concurrency,
    EndpointPolicy,
    FixedWindow,
    FloodGuard,
    JobConfig,
    Retry,
    Telemetry,
    Timeout,
)
from forecourt.types import ASGIApp
from tests.asgi import call, get, http
from tests.observing import scraped
from tests.services import starlette, text
from tests.soak.results import Result

_POLICY = EndpointPolicy(
    rate_limit=(FixedWindow(limit=5, window=60), FixedWindow(limit=2, window=60, key="header:x-api-key")),
    concurrency=Concurrency(limit=10),
    cache=Cache(ttl=60),
    circuit_breaker=CircuitBreaker(),
    retry=Retry(),
    timeout=Timeout(seconds=5),
    tracing="off",
    logging="off",
)


def cardinality(callers: int = 100_000) -> Iterator[Result]:
    """Each caller another address, key, path, host and method: as many series as after the first of them."""
    size = f"{callers:,} callers and paths"
    yield _result("prometheus-client", size, asyncio.run(_counted(callers, Telemetry())))
    with _meter() as series:
        counted = asyncio.run(_counted(callers, Telemetry(metrics_to="opentelemetry"), series))
    yield _result("OpenTelemetry", size, counted)


def _result(name: str, size: str, counted: tuple[int, int]) -> Result:
    before, after = counted
    return Result(f"series of {name}", size, f"{before} before, {after} after", before == after > 0)


@contextmanager
def _meter() -> Iterator[Callable[[], int]]:
    """Set a meter provider up as the process's; yields what tells how many series it has."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])

    def series() -> int:
        found = reader.get_metrics_data()
        scopes = [scope for each in (found.resource_metrics if found else ()) for scope in each.scope_metrics]
        return sum(len(metric.data.data_points) for scope in scopes for metric in scope.metrics)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("opentelemetry.metrics._internal._METER_PROVIDER", provider)
        yield series
    provider.shutdown()


async def _counted(callers: int, telemetry: Telemetry, series: Callable[[], int] | None = None) -> tuple[int, int]:
    """Return the number of series after the first callers, who met everything there is, and after all of them."""
    config = JobConfig(default=_POLICY, flood_guard=FloodGuard(limit=8, window=60), telemetry=telemetry)
    app = starlette(config, Route("/records/{record_id}", text, name="record"))

    async def count() -> int:
        return series() if series is not None else (await scraped(config)).count("\n")

    for _ in range(12):  # let in, from the cache, over each of the limits, over the guard's
        await _call(app, 0)
    await get(app, "/records/0", client="10.255.0.1")
    before = await count()
    for number in range(1, callers):
        await _call(app, number)
    return before, await count()


async def _call(app: ASGIApp, number: int) -> None:
    client = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
    headers = [(b"x-api-key", b"key %d" % number), (b"host", b"host-%d.example" % number)]
    await call(app, {**http(f"/records/{number}", client=client, headers=headers), "scheme": f"s{number}"})
    await call(app, http(f"/{number}/nowhere", f"M{number}", client=client, headers=headers))
