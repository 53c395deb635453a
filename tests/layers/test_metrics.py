"""What is counted, under which few words."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client import REGISTRY, Counter
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute

from forecourt import (
    CircuitBreaker,
    Concurrency,
    Credits,
    EndpointPolicy,
    FixedWindow,
    JobConfig,
    Metrics,
    MetricsMiddleware,
    Quota,
    Retry,
    Telemetry,
)
from forecourt.policies import Accounts
from forecourt.telemetry.prometheus import Families
from forecourt.testing import FakeClock
from forecourt.types import ASGIApp, Message
from tests.asgi import call, get, http, websocket
from tests.callers import Caller
from tests.observing import samples, scraped
from tests.services import echo, starlette, text

QUIET = EndpointPolicy(tracing="off", logging="off")


async def answers(request: Request) -> Response:
    """Answer with the status that the path says."""
    return PlainTextResponse("said", int(request.path_params["status"]))


async def breaks(_: Request) -> Response:
    """Break."""
    raise RuntimeError("it broke")


async def test_requests_are_counted_by_endpoint_outcome_and_status() -> None:
    """Each end of a request is one word; what no route matches is counted as unrouted."""
    config = JobConfig(
        default=QUIET,
        endpoints={"few": EndpointPolicy(rate_limit=FixedWindow(limit=1, window=60), tracing="off", logging="off")},
    )
    app = starlette(
        config, Route("/said/{status:int}", answers, name="said"), Route("/few", text, name="few"), Route("/b", breaks)
    )
    for path in ("/said/200", "/said/304", "/said/404", "/said/503", "/few", "/few", "/nowhere"):
        await get(app, path)
    with pytest.raises(RuntimeError):
        await get(app, "/b")
    assert await samples(config, "forecourt_requests_total", "endpoint", "outcome", "status") == {
        ("said", "ok", "200"): 1,
        ("said", "ok", "304"): 1,
        ("said", "client_error", "404"): 1,
        ("said", "server_error", "503"): 1,
        ("few", "ok", "200"): 1,
        ("few", "refused", "429"): 1,
        ("unrouted", "client_error", "404"): 1,
        ("breaks", "failed", "500"): 1,
    }
    durations = await samples(config, "forecourt_request_duration_seconds_count", "endpoint", "outcome")
    assert durations[("said", "ok")] == 2
    assert durations[("breaks", "failed")] == 1
    assert set((await samples(config, "forecourt_requests_in_progress", "endpoint")).values()) == {0}


async def test_decisions_refusals_and_credits_are_counted_by_layer() -> None:
    """Which layer refused is a label, and so is what it let pass; credits are counted at what calls cost."""
    policy = EndpointPolicy(
        rate_limit=FixedWindow(limit=3, window=60),
        concurrency=Concurrency(limit=5),
        credits=Credits(amount=4),
        tracing="off",
        logging="off",
    )
    config = JobConfig(default=policy, accounts=Accounts(quota=Quota(amount=8, every="day")))
    app = starlette(config, Route("/", text, name="work"))
    assert [(await get(app, "/")).status for _ in range(4)] == [200, 200, 429, 429]
    assert await samples(config, "forecourt_decisions_total", "layer", "outcome") == {
        ("rate_limit", "allowed"): 3,
        ("rate_limit", "refused"): 1,
        ("concurrency", "allowed"): 3,
        ("credits", "allowed"): 2,
        ("credits", "refused"): 1,
        ("credits", "settled"): 2,
    }
    assert (await samples(config, "forecourt_credits_settled_total", "endpoint"))[("work",)] == 8


async def test_what_is_under_way_is_seen() -> None:
    """While a call is at work it is in progress and its lease is held; a call given up is counted as cancelled."""
    config = JobConfig(default=EndpointPolicy(concurrency=Concurrency(limit=5), tracing="off", logging="off"))

    async def waits(_: Request) -> Response:
        await asyncio.Event().wait()
        raise AssertionError

    app = starlette(config, Route("/", waits, name="waits"), clock=FakeClock())
    caller = await Caller.begin(app)
    assert (await samples(config, "forecourt_requests_in_progress", "endpoint"))[("waits",)] == 1
    assert await samples(config, "forecourt_leases_held") == {(): 1}
    await caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller.task
    assert (await samples(config, "forecourt_requests_in_progress", "endpoint"))[("waits",)] == 0
    ended = await samples(config, "forecourt_requests_total", "outcome", "status")
    assert ended == {("cancelled", "499"): 1}


@pytest.mark.parametrize(("sizes", "bytes_"), [(True, 4), (False, 0)])
async def test_sizes_are_those_of_the_bodies(sizes: bool, bytes_: int) -> None:
    """The bytes that the handler read and sent are counted, unless the policy says not to."""

    async def says_back(request: Request) -> Response:
        return PlainTextResponse(await request.body())

    config = JobConfig(default=EndpointPolicy(metrics=Metrics(sizes=sizes), tracing="off", logging="off"))
    app = starlette(config, Route("/", says_back, name="back", methods=["POST"]))
    body: Message = {"type": "http.request", "body": b"four", "more_body": False}
    answer = await call(app, http("/", "POST"), body)
    assert answer.body == b"four"
    for name in ("forecourt_request_body_bytes_total", "forecourt_response_body_bytes_total"):
        assert (await samples(config, name, "endpoint"))[("back",)] == bytes_


async def test_a_websocket_is_one_request() -> None:
    """A conversation is counted once, as 101."""
    config = JobConfig(default=QUIET)
    await call(starlette(config, WebSocketRoute("/echo", echo, name="echo")), websocket("/echo"))
    assert await samples(config, "forecourt_requests_total", "endpoint", "status") == {("echo", "101"): 1}


async def test_cardinality_does_not_depend_on_what_callers_send() -> None:
    """However many paths, callers and methods there are, the series are the same."""
    config = JobConfig(default=QUIET.model_copy(update={"rate_limit": (FixedWindow(limit=10, window=60),)}))
    app = starlette(config, Route("/records/{record_id}", text, name="record"))
    await get(app, "/records/0", client="198.51.100.1")
    for _ in range(11):
        await get(app, "/records/0")
    await get(app, "/nowhere")
    before = (await scraped(config)).count("\n")
    rounds = max(1, int(float(os.environ.get("FORECOURT_EXAMPLES", "1"))))
    for number in range(2_000 * min(rounds, 25)):
        client = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
        await get(app, f"/records/{number}", client=client)
        await get(app, f"/{number}/nowhere", method=f"M{number}", client=client)
    assert (await scraped(config)).count("\n") == before


async def test_the_endpoint_is_mounted_and_under_its_policy() -> None:
    """`config.metrics` is an app like any: a limit on it holds; it answers GET and HEAD, with the apps' own metrics."""
    own = Counter("an_apps_own", "Counted by the app itself.")
    limited = EndpointPolicy(rate_limit=FixedWindow(limit=4, window=60), tracing="off", logging="off")
    config = JobConfig(default=QUIET, endpoints={"metrics": limited})
    app = starlette(config, Mount("/metrics", config.metrics, name="metrics"))
    try:
        own.inc(3)
        read = await get(app, "/metrics/")
        assert read.status == 200
        assert read.headers["content-type"].startswith("text/plain")
        assert b"an_apps_own_total 3.0" in read.body
        head = await get(app, "/metrics/", "HEAD")
        assert (head.status, head.body) == (200, b"")
        wrong = await get(app, "/metrics/", "POST")
        assert (wrong.status, wrong.headers["allow"]) == (405, "GET, HEAD")
        open_metrics = await call(app, http("/metrics/", headers=[(b"accept", b"application/openmetrics-text")]))
        assert open_metrics.headers["content-type"].startswith("application/openmetrics-text")
        assert open_metrics.body.endswith(b"# EOF\n")
        assert (await get(app, "/metrics/")).status == 429
    finally:
        REGISTRY.unregister(own)


async def test_without_the_layer_there_is_nothing_to_read() -> None:
    """An endpoint whose config counts nothing says so."""
    config = JobConfig(default=EndpointPolicy(metrics="off"))
    app = starlette(config, Mount("/metrics", config.metrics, name="metrics"))
    assert (await get(app, "/metrics/")).status == 503


async def test_an_endpoint_that_is_off_is_not_counted() -> None:
    """`metrics="off"` on one endpoint leaves the others counted."""
    config = JobConfig(default=QUIET, endpoints={"quiet": EndpointPolicy(metrics="off")})
    app = starlette(config, Route("/quiet", text, name="quiet"), Route("/seen", text, name="seen"))
    await get(app, "/quiet")
    await get(app, "/seen")
    assert await samples(config, "forecourt_requests_total", "endpoint") == {("seen",): 1}


async def test_alone_and_under_another_name() -> None:
    """The layer works by itself, with its own prefix and buckets; two apps of one config add up."""
    config = JobConfig(default=EndpointPolicy(), telemetry=Telemetry(prefix="shop", buckets=[0.5, 1]))

    async def bare(_scope: object, _receive: object, send: object) -> None:
        await send({"type": "http.response.start", "status": 204})  # type: ignore[operator]  # the smallest app
        await send({"type": "http.response.body"})  # type: ignore[operator]

    for _ in range(2):
        app: ASGIApp = MetricsMiddleware(bare, config)
        await get(app, "/")
    assert await samples(config, "shop_requests_total", "endpoint", "status") == {("unrouted", "204"): 2}
    buckets = await samples(config, "shop_request_duration_seconds_bucket", "endpoint", "outcome", "le")
    assert [le for name, outcome, le in buckets if outcome == "ok"] == ["0.5", "1.0", "+Inf"]


async def test_where_breakers_stand_is_read_when_somebody_asks() -> None:
    """A breaker is its name and a number; no request is needed for it to change."""
    policy = EndpointPolicy(circuit_breaker=CircuitBreaker(name="bank"), tracing="off", logging="off")
    config = JobConfig(endpoints={"pay": policy})
    await get(starlette(config, Route("/", text, name="pay")), "/")
    found = []
    for change in (config.breaker("bank").close, config.breaker("bank").open, config.breaker("bank").close):
        change()
        found.append(await samples(config, "forecourt_breaker_state", "breaker"))
    assert found == [{("bank",): 0}, {("bank",): 2}, {("bank",): 0}]
    moved = await samples(config, "forecourt_breaker_transitions_total", "breaker", "state")
    assert moved == {("bank", "open"): 1, ("bank", "closed"): 2}


async def test_what_is_left_is_counted() -> None:
    """The least share of a call's limits, the caller's credits after it, and the retries of an endpoint."""
    policy = EndpointPolicy(
        rate_limit=(FixedWindow(limit=4, window=60), FixedWindow(limit=100, window=60, name="wide")),
        credits=Credits(amount=4),
        retry=Retry(max_attempts=2, backoff=0.001, on=frozenset({503})),
        tracing="off",
        logging="off",
    )
    config = JobConfig(default=policy, accounts=Accounts(quota=Quota(amount=80, every="day")))
    app = starlette(config, Route("/said/{status:int}", answers, name="said"))
    for _ in range(5):
        await get(app, "/said/200")
    assert (await samples(config, "forecourt_limit_remaining_ratio_sum", "endpoint"))[("said",)] == pytest.approx(1.5)
    assert (await samples(config, "forecourt_limit_remaining_ratio_count", "endpoint"))[("said",)] == 5
    assert (await samples(config, "forecourt_credits_remaining_sum", "endpoint"))[("said",)] == 76 + 72 + 68 + 64
    assert await samples(config, "forecourt_retry_budget", "endpoint") == {("said",): 10}


def test_what_is_not_known_is_not_counted() -> None:
    """A queue that cannot say how old its jobs are leaves no age, an account without limits no share of any."""
    counts = Families("forecourt", (1.0,))
    counts.queue_stands("default", {"waiting": 3}, None)
    counts.endpoint("work", "/", ()).leaves(None, 7)
    text = counts.render("")[0].decode()
    assert 'forecourt_jobs{queue="default",state="waiting"} 3.0' in text
    assert "forecourt_jobs_oldest_seconds{" not in text
    assert "forecourt_limit_remaining_ratio_count{" not in text
    assert 'forecourt_credits_remaining_count{endpoint="work"} 1.0' in text


def test_a_process_that_ends_leaves_no_gauges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its files of what only lives with it go; without a directory for workers' files there are none."""
    families = Families("forecourt", (1.0,))
    families.forget_process()
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    mine, others = (tmp_path / f"gauge_livesum_{pid}.db" for pid in (os.getpid(), 1))
    mine.touch()
    others.touch()
    families.forget_process()
    assert (mine.exists(), others.exists()) == (False, True)


def test_of_two_metrics_of_one_name_ours_is_exposed() -> None:
    """An app that counts under our words in prometheus-client's registry does not have Prometheus see them twice."""
    theirs = Counter("forecourt_decisions", "Somebody else's.")
    try:
        text = Families("forecourt", (1.0,)).render("")[0].decode()
    finally:
        REGISTRY.unregister(theirs)
    assert text.count("# TYPE forecourt_decisions_total counter") == 1
    assert "Somebody else's." not in text


async def test_a_retry_budget_runs_out() -> None:
    """Each retry takes one; a call that finds none is decided as exhausted."""
    policy = EndpointPolicy(
        retry=Retry(max_attempts=10, backoff=0.001, budget=0.001, on=frozenset({503})), tracing="off", logging="off"
    )
    config = JobConfig(default=policy)
    app = starlette(config, Route("/said/{status:int}", answers, name="said"))
    assert [(await get(app, "/said/503")).status for _ in range(2)] == [503, 503]
    ((_, left),) = (await samples(config, "forecourt_retry_budget", "endpoint")).items()
    assert 0 <= left < 1
    decided = await samples(config, "forecourt_decisions_total", "layer", "outcome")
    assert decided == {("retry", "attempt"): 10, ("retry", "exhausted"): 1}


WORKER = """
import asyncio, sys
from starlette.routing import Route
from forecourt import CircuitBreaker, EndpointPolicy, JobConfig, Retry
from tests.asgi import get
from tests.observing import samples
from tests.services import starlette, text

async def main():
    policy = EndpointPolicy(
        circuit_breaker=CircuitBreaker(name="bank"), retry=Retry(max_attempts=2), tracing="off", logging="off"
    )
    config = JobConfig(default=policy)
    app = starlette(config, Route("/", text, name="work"))
    for _ in range(int(sys.argv[1])):
        await get(app, "/")
    if sys.argv[2] == "open":
        config.breaker("bank").open()
    counted = await samples(config, "forecourt_requests_total", "outcome")
    print(int(sum(counted.values())))
    print(await samples(config, "forecourt_breaker_state", "breaker"))
    print(await samples(config, "forecourt_breaker_transitions_total", "breaker", "state"))
    print(await samples(config, "forecourt_retry_budget", "endpoint"))
    if sys.argv[2] == "ask":
        return
    print("done", flush=True)
    sys.stdin.read()

asyncio.run(main())
"""


def test_workers_add_up(tmp_path: Path) -> None:
    """With PROMETHEUS_MULTIPROC_DIR set, any worker tells of all: counts added up, of breakers the worst that lives."""
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    worker = [sys.executable, "-c", WORKER]
    with subprocess.Popen(
        [*worker, "2", "open"], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as first:
        assert first.stdout is not None
        own = [first.stdout.readline() for _ in range(5)]
        told = subprocess.run([*worker, "3", "ask"], env=environment, capture_output=True, text=True, check=True)
        first.communicate()
    assert own[:2] == ["2\n", "{('bank',): 2.0}\n"]
    assert told.stdout.splitlines() == [
        "5",
        "{('bank',): 2.0}",
        "{('bank', 'open'): 1.0}",
        "{('work',): 10.0}",
    ]
    assert first.returncode == 0
