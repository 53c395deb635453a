"""The same counts through an OpenTelemetry meter, under the names of the semantic conventions where they have one."""

import asyncio
import gc
import sys
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader, Metric, NumberDataPoint
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute

from forecourt import (
    Accounts,
    CircuitBreaker,
    Concurrency,
    ConfigError,
    Credits,
    EndpointPolicy,
    FixedWindow,
    JobConfig,
    Metrics,
    PolicyMiddleware,
    Quota,
    Retry,
    Telemetry,
    observers,
)
from forecourt.config_databases import Spent
from forecourt.stores.observed import Trip
from forecourt.telemetry import extras
from forecourt.telemetry.meter import Metered
from tests.asgi import call, get, http, websocket
from tests.layers.test_observers import SECRET, breaks, told
from tests.observing import sdk
from tests.services import echo, starlette, text

QUIET = EndpointPolicy(tracing="off", logging="off")
OTEL = Telemetry(metrics_to="opentelemetry")

Point = dict[str, object]


class Collected:
    """What the SDK collects."""

    def __init__(self, reader: InMemoryMetricReader) -> None:
        self.reader = reader

    def points(self, name: str) -> list[tuple[Point, float]]:
        """Return the attributes and values of a metric's points; of a histogram the sums."""
        return [
            (dict(point.attributes or {}), point.value if isinstance(point, NumberDataPoint) else point.sum)
            for metric in self._metrics()
            if metric.name == name
            for point in metric.data.data_points
        ]

    def count(self, name: str) -> int:
        """Return how many values a histogram has seen."""
        points = [point for metric in self._metrics() if metric.name == name for point in metric.data.data_points]
        return sum(point.count for point in points if isinstance(point, HistogramDataPoint))

    def size(self) -> int:
        """Return the number of series."""
        return sum(len(list(metric.data.data_points)) for metric in self._metrics())

    def traces(self, name: str) -> set[int]:
        """Return the traces of a metric's exemplars."""
        points = [point for metric in self._metrics() if metric.name == name for point in metric.data.data_points]
        return {each.trace_id or 0 for point in points for each in point.exemplars}

    def text(self) -> str:
        """Return everything that is collected."""
        found = self.reader.get_metrics_data()
        return found.to_json() if found else ""

    def _metrics(self) -> Iterator[Metric]:
        found = self.reader.get_metrics_data()
        for resource in found.resource_metrics if found else ():
            for scope in resource.scope_metrics:
                yield from scope.metrics


@contextmanager
def meter(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collected]:
    """Set a meter provider up as the global one; what it collects is in memory."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    with monkeypatch.context() as patched:
        patched.setattr("opentelemetry.metrics._internal._METER_PROVIDER", provider)
        yield Collected(reader)
    provider.shutdown()


@pytest.fixture
def collected(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collected]:
    """Return what the SDK collects."""
    with meter(monkeypatch) as found:
        yield found


async def answers(request: Request) -> Response:
    """Answer with the status that the path says, what was sent."""
    return PlainTextResponse(await request.body(), int(request.path_params["status"]))


async def test_requests_have_the_names_of_the_conventions(collected: Collected) -> None:
    """Duration, sizes and requests under way are as the conventions say, with the endpoint and outcome beside."""
    config = JobConfig(default=QUIET, telemetry=OTEL)
    app = starlette(config, Route("/said/{status:int}", answers, name="said", methods=["POST"]))
    await call(app, http("/said/201", "POST"), {"type": "http.request", "body": b"four", "more_body": False})
    await call(app, http("/said/503", "POST"), {"type": "http.request", "body": b"", "more_body": False})
    asked = {"http.request.method": "POST", "url.scheme": "http"}
    route = {"http.route": "/said/{status}", "forecourt.endpoint": "said"}
    found = {
        str(said["http.response.status_code"]): said for said, _ in collected.points("http.server.request.duration")
    }
    assert found["201"] == {**asked, **route, "http.response.status_code": 201, "forecourt.outcome": "ok"}
    assert found["503"] == {
        **asked,
        **route,
        "http.response.status_code": 503,
        "forecourt.outcome": "server_error",
        "error.type": "503",
    }
    assert collected.points("http.server.request.body.size") == [({**asked, **route}, 4)]
    assert collected.points("http.server.response.body.size") == [({**asked, **route}, 4)]
    assert collected.points("http.server.active_requests") == [(asked, 0)]
    assert sum(value for _, value in collected.points("forecourt.requests")) == 2


async def test_nothing_is_exposed_where_nobody_scrapes(collected: Collected) -> None:
    """`config.metrics` says that nothing is to be read there."""
    config = JobConfig(default=QUIET, telemetry=OTEL)
    app = starlette(config, Mount("/metrics", config.metrics, name="metrics"))
    assert (await get(app, "/metrics/")).status == 503


async def test_decisions_and_what_is_left_are_counted(collected: Collected) -> None:
    """Refusals by layer, credits, the least share of a limit that is left, and the balance."""
    policy = EndpointPolicy(
        rate_limit=(FixedWindow(limit=4, window=60), FixedWindow(limit=100, window=60, name="wide")),
        concurrency=Concurrency(limit=5),
        credits=Credits(amount=4),
        tracing="off",
        logging="off",
    )
    config = JobConfig(default=policy, accounts=Accounts(quota=Quota(amount=8, every="day")), telemetry=OTEL)
    app = starlette(config, Route("/", text, name="work"))
    assert [(await get(app, "/")).status for _ in range(5)] == [200, 200, 429, 429, 429]
    decided = {
        (said["forecourt.layer"], said["forecourt.outcome"]): n for said, n in collected.points("forecourt.decisions")
    }
    assert decided["rate_limit", "refused"] == 1
    assert decided["credits", "refused"] == 2
    assert collected.points("forecourt.credits.settled") == [({"forecourt.endpoint": "work"}, 8)]
    ((_, left),) = collected.points("forecourt.limit.remaining")
    assert left == pytest.approx(0.75 + 0.5 + 0.25 + 0 + 0)
    ((_, balances),) = collected.points("forecourt.credits.remaining")
    assert balances == 4 + 0 + 0 + 0


async def test_what_stands_somehow_is_read_at_the_collection(collected: Collected) -> None:
    """Breakers, their transitions, retry budgets, leases and mismatches."""
    policy = EndpointPolicy(
        circuit_breaker=CircuitBreaker(name="bank"), retry=Retry(max_attempts=2), tracing="off", logging="off"
    )
    config = JobConfig(endpoints={"pay": policy}, telemetry=OTEL)
    await get(starlette(config, Route("/", text, name="pay")), "/")
    config.breaker("bank").open()
    assert collected.points("forecourt.breaker.state") == [({"forecourt.breaker": "bank"}, 2)]
    assert collected.points("forecourt.breaker.transitions") == [
        ({"forecourt.breaker": "bank", "forecourt.state": "open"}, 1)
    ]
    assert collected.points("forecourt.retry.budget") == [({"forecourt.endpoint": "pay"}, 10)]
    assert collected.points("forecourt.leases.held") == [({}, 0)]
    assert collected.points("forecourt.endpoint.mismatches") == [({}, 0)]


def test_what_is_gone_is_not_read(collected: Collected) -> None:
    """The SDK keeps nothing alive that counted, and reads it no more."""
    counts = Metered("forecourt", (1.0,))
    counts.stands("bank", "half-open")
    assert collected.points("forecourt.breaker.state") == [({"forecourt.breaker": "bank"}, 1)]
    gone = weakref.ref(counts)
    del counts
    gc.collect()
    assert gone() is None
    assert not collected.points("forecourt.breaker.state")


def test_trips_jobs_and_statements(collected: Collected) -> None:
    """Trips with their sizes and the store's state; jobs with their queues; statements by the conventions' name."""
    counts = Metered("shop", (1.0,))
    counts.trip(Trip("decide", "down", 0, 2_000_000, 3))
    assert collected.points("shop.store.degraded") == [({}, 1)]
    counts.trip(Trip("settle", "ok", 0, 2_000_000, 1))
    counts.trip(Trip("decide", "ok", 0, 2_000_000, 1))
    assert collected.points("shop.store.degraded") == [({}, 0)]
    assert collected.count("shop.store.trip.duration") == collected.count("shop.store.trip.size") == 3
    counts.spent(Spent("work", "main", "select", "ok", 0, 1_000_000_000))
    counts.spent(Spent("", "main", "select", "failed", 0, 1_000_000_000))
    said = {"db.namespace": "main", "db.operation.name": "select"}
    assert collected.points("db.client.operation.duration") == [
        ({**said, "forecourt.endpoint": "work"}, 1),
        ({**said, "forecourt.endpoint": "none", "error.type": "failed"}, 1),
    ]
    counts.queue_stands("default", {"waiting": 3}, None)
    counts.queue_stands("default", {"waiting": 4}, 2.5)
    assert collected.points("shop.jobs") == [({"forecourt.queue": "default", "forecourt.state": "waiting"}, 4)]
    assert collected.points("shop.jobs.oldest") == [({"forecourt.queue": "default"}, 2.5)]
    counts.job_ended("report", "done", 2, 1.5)
    assert collected.points("shop.job.duration")[0][1] == 1.5
    assert collected.points("shop.job.attempts") == [({"forecourt.endpoint": "report"}, 2)]
    counts.config_came("adopted")
    assert collected.points("shop.configs.came") == [({"forecourt.outcome": "adopted"}, 1)]
    counts.forget_process()


def test_an_account_without_limits_has_a_balance_only(collected: Collected) -> None:
    """What is not known is not counted."""
    Metered("forecourt", (1.0,)).endpoint("work", "/", ()).leaves(None, 7)
    assert collected.points("forecourt.credits.remaining") == [({"forecourt.endpoint": "work"}, 7)]
    assert not collected.points("forecourt.limit.remaining")


async def test_queues_are_asked_on_the_requests_loop(collected: Collected, monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK's thread has them asked and waits, not for ever; on the loop itself nobody is, or it would stand."""
    counts = Metered("forecourt", (1.0,))
    stuck = False

    async def ask() -> None:
        if stuck:
            await asyncio.Event().wait()
        counts.queue_stands("default", {"waiting": 3}, 1.0)

    counts.read_through(lambda: None, {"jobs": ask})
    assert not await asyncio.to_thread(collected.points, "forecourt.jobs")
    counts.endpoint("work", "/", ()).began({"type": "http", "method": "GET"})
    assert not collected.points("forecourt.jobs")
    assert len(await asyncio.to_thread(collected.points, "forecourt.jobs")) == 1
    stuck = True
    monkeypatch.setattr("forecourt.telemetry.meter._ANSWER", 0.01)
    assert len(await asyncio.to_thread(collected.points, "forecourt.jobs")) == 1


async def test_series_do_not_depend_on_what_callers_send(collected: Collected) -> None:
    """However many paths, callers, methods and schemes there are, the series are the same."""
    config = JobConfig(
        default=QUIET.model_copy(update={"rate_limit": (FixedWindow(limit=10, window=60),)}), telemetry=OTEL
    )
    app = starlette(config, Route("/records/{record_id}", text, name="record"))

    async def call_from(number: int) -> None:
        client = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
        await get(app, f"/records/{number}", client=client)
        await call(app, {**http(f"/{number}/nowhere", f"M{number}"), "scheme": f"s{number}"})

    for _ in range(11):
        await get(app, "/records/0")
    for _ in range(11):
        await call_from(0)
    before = collected.size()
    for number in range(1, 200):
        await call_from(number)
    assert collected.size() == before


async def test_durations_know_their_trace(collected: Collected, monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK's exemplars carry the id of the trace in which a request was counted."""
    with sdk(monkeypatch) as seen:
        config = JobConfig(default=EndpointPolicy(logging="off"), telemetry=OTEL)
        await get(starlette(config, Route("/", text, name="work")), "/")
        trace_id = seen.server().context.trace_id
    assert collected.traces("http.server.request.duration") == {trace_id}


async def test_a_websocket_is_no_request_of_http(collected: Collected) -> None:
    """A conversation of an hour says nothing of how fast answers are: only our own metrics count it."""
    config = JobConfig(default=QUIET, telemetry=OTEL)
    app = starlette(config, WebSocketRoute("/ws", echo, name="talk"))
    await call(app, websocket("/ws"))
    said = {"forecourt.endpoint": "talk", "forecourt.outcome": "ok", "http.response.status_code": 101}
    assert collected.points("forecourt.requests") == [(said, 1)]
    assert "http.server" not in collected.text()


async def test_a_secret_is_seen_nowhere(collected: Collected) -> None:
    """Planted wherever a caller can put one, and in what exceptions say, it is in no metric."""
    policy = EndpointPolicy(rate_limit=FixedWindow(limit=2, window=60, key="header:x-api-key"), logging="off")
    config = JobConfig(default=policy, telemetry=OTEL)
    app = starlette(config, Route("/break", breaks, name="breaks", methods=["POST"]))
    assert (await told(app, secret=SECRET)).status == 500
    await call(app, http(f"/{SECRET}", SECRET))
    assert "breaks" in collected.text()
    assert SECRET not in collected.text()


async def test_the_sdk_keeps_no_config_alive(collected: Collected) -> None:
    """A stack that has counted goes with its config, though the SDK's meter lives on."""
    config = JobConfig(default=QUIET, telemetry=OTEL)
    app = starlette(config, Route("/", text, name="work"))
    await get(app, "/")
    assert collected.size() > 0
    gone = weakref.ref(config)
    del config, app
    for _ in range(3):  # what only weak references led to goes in a later round
        gc.collect()
    assert gone() is None


async def test_it_needs_nothing_of_prometheus(collected: Collected, monkeypatch: pytest.MonkeyPatch) -> None:
    """With OpenTelemetry's API and no prometheus-client, requests are counted: unsaid, and where it is asked for."""
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    extras.installed.cache_clear()
    try:
        assert not extras.installed("metrics")
        for policy in (QUIET, QUIET.model_copy(update={"metrics": Metrics(sizes=False)})):
            config = JobConfig(default=policy, telemetry=OTEL)
            await get(starlette(config, Route("/", text, name="work")), "/")
    finally:
        extras.installed.cache_clear()
    assert [value for _, value in collected.points("forecourt.requests")] == [2]


def test_without_opentelemetry_the_start_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the setting and the extra."""
    monkeypatch.setattr(observers, "installed", lambda _: False)
    config = JobConfig(default=EndpointPolicy(), telemetry=OTEL)
    with pytest.raises(ConfigError, match=r"telemetry\.metrics_to.*forecourt\[otel\]"):
        PolicyMiddleware(Starlette(), config=config)
