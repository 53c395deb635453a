"""Jobs are traced: a span where one is published, one for each attempt, linked across the queue."""

import asyncio
import json
import logging
from collections.abc import Iterator

import pytest
from opentelemetry import baggage, trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode
from starlette.requests import Request

from forecourt import (
    EndpointPolicy,
    JobConfig,
    Offload,
    OffloadMiddleware,
    Telemetry,
    TracingMiddleware,
)
from forecourt.errors import StoreDown
from forecourt.inspection import stack_of
from forecourt.jobs.envelope import JobRequest
from forecourt.jobs.memory import MemoryQueue
from forecourt.jobs.tracing import said_of
from tests.callers import settle_down
from tests.jobs.queues import job
from tests.jobs.services import Reports
from tests.observing import Seen, sdk

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-"
TRACE = int("0af7651916cd43dd8448eb211c80319c", 16)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[Seen]:
    """Return what an SDK that samples everything records."""
    with sdk(monkeypatch) as everything:
        yield everything


def named(seen: Seen, name: str) -> list[ReadableSpan]:
    """Return the spans of this name."""
    return [span for span in seen.all() if span.name == name]


def said(span: ReadableSpan) -> dict[str, object]:
    """Return its attributes."""
    return dict(span.attributes or {})


def context(span: ReadableSpan) -> trace.SpanContext:
    """Return its context."""
    found = span.get_span_context()
    assert found is not None
    return found


def field(request: Request, name: str) -> str:
    """Return a field of the job's request."""
    return request.headers.get(name, "")


async def test_an_attempt_is_linked_to_the_span_that_published_it(seen: Seen) -> None:
    """The publication is inside the call's span; the attempt is of the caller's trace, with a link across the queue."""
    service = Reports()
    answer = await service.post("/reports/a", None, (b"traceparent", f"{CALLER}01".encode()), (b"baggage", b"k=v"))
    await settle_down()
    (published,), (attempt,) = named(seen, "publish default"), named(seen, "process default")
    server = seen.server()
    name = json.loads(answer.body)["id"]
    assert (server.name, published.kind, attempt.kind) == (
        "POST /reports/{name}",
        SpanKind.PRODUCER,
        SpanKind.CONSUMER,
    )
    assert {context(each).trace_id for each in (server, published, attempt)} == {TRACE}
    assert published.parent is not None
    assert published.parent.span_id == context(server).span_id
    assert [link.context.span_id for link in attempt.links] == [context(published).span_id]
    assert said(published) == said_of("default", "memory://", name, "make_report", "send")
    assert said(attempt) == {
        **said_of("default", "memory://", name, "make_report", "process"),
        "http.route": "/reports/{name}",
        "forecourt.job.attempt": 1,
        "http.response.status_code": 200,
    }
    (request,) = service.seen
    assert field(request, "traceparent").split("-")[2] == f"{context(published).span_id:016x}"
    assert field(request, "baggage") == "k=v"


async def test_the_attempt_is_current_in_the_handler(seen: Seen) -> None:
    """What a handler calls is inside its attempt, with the caller's baggage; the call that published has ended."""
    service = Reports()
    inside: list[tuple[trace.Span, object]] = []

    class Waits(asyncio.Event):
        async def wait(self) -> bool:  # type: ignore[override]  # what the handler awaits
            inside.append((trace.get_current_span(), baggage.get_baggage("k")))
            return True

    service.go_on = Waits()
    await service.post("/reports/a", None, (b"baggage", b"k=v"))
    await settle_down()
    ((current, value),) = inside
    assert current.get_span_context() == context(named(seen, "process default")[0])
    assert value == "v"


async def test_each_attempt_has_a_span(seen: Seen, caplog: pytest.LogCaptureFixture) -> None:
    """One that failed says by which type, never what was said; all link to the one publication."""
    service = Reports(Offload(max_attempts=3))
    service.fails = 1
    await service.post()
    await settle_down()
    service.status = 503
    await service.advance(1)
    service.status = 200
    with caplog.at_level(logging.ERROR):
        await service.advance(2)
    first, second, third = named(seen, "process default")
    assert [said(each)["forecourt.job.attempt"] for each in (first, second, third)] == [1, 2, 3]
    assert (said(first)["error.type"], said(second)["error.type"]) == ("RuntimeError", "503")
    assert "error.type" not in said(third)
    assert [each.status.status_code for each in (first, second, third)] == [
        StatusCode.ERROR,
        StatusCode.ERROR,
        StatusCode.UNSET,
    ]
    (published,) = named(seen, "publish default")
    assert {link.context.span_id for each in (first, second, third) for link in each.links} == {
        context(published).span_id
    }
    assert first.status.description == "RuntimeError"


async def test_an_attempt_that_is_stopped_says_so(seen: Seen) -> None:
    """By its timeout, or as its owner cancelled it."""
    service = Reports(Offload(timeout=5, max_attempts=1))
    service.go_on.clear()
    await service.post()
    await settle_down()
    (worker,) = stack_of(service.api, "offload").jobs.queues._workers
    (at_work,) = worker._work.values()
    at_work.lose()
    await settle_down()
    (attempt,) = named(seen, "process default")
    assert (said(attempt)["error.type"], attempt.status.description) == ("CancelledError", "stopped")
    assert "http.response.status_code" not in said(attempt)


async def test_words_are_recorded_where_the_config_wants_them(seen: Seen) -> None:
    """As in the spans of requests."""
    service = Reports(Offload(max_attempts=1), telemetry=Telemetry(exception_messages=True))
    service.fails = 1
    await service.post()
    await settle_down()
    assert named(seen, "process default")[0].status.description == "RuntimeError: it failed"


@pytest.mark.parametrize("flags", ["00", ""])
async def test_a_job_of_a_call_that_is_not_sampled_has_no_span(monkeypatch: pytest.MonkeyPatch, flags: str) -> None:
    """Neither caller nor sampler wanted it; the job hands on that it is not sampled, and its worker begins nothing."""
    with sdk(monkeypatch, None if flags else ALWAYS_OFF) as seen:
        service = Reports()
        fields = [(b"traceparent", f"{CALLER}{flags}".encode())] if flags else []
        await service.post("/reports/a", None, *fields)
        monkeypatch.setattr(trace.get_tracer_provider(), "sampler", None)
        await settle_down()
        (request,) = service.seen
        assert int(field(request, "traceparent").rpartition("-")[2], 16) & 1 == 0
        assert seen.all() == []


async def test_without_an_sdk_nothing_is_begun() -> None:
    """The caller's context travels on as it came."""
    service = Reports()
    await service.post("/reports/a", None, (b"traceparent", f"{CALLER}01".encode()))
    await settle_down()
    (request,) = service.seen
    assert field(request, "traceparent") == f"{CALLER}01"


@pytest.mark.parametrize("off", ["policy", "layers"])
async def test_what_is_not_traced_is_not_traced_at_the_worker(seen: Seen, off: str) -> None:
    """By the endpoint's policy, or as the stack has no such layer; the caller's context travels on as it came."""
    service = Reports()
    if off == "policy":
        quiet = EndpointPolicy(offload=Offload(), tracing="off")
        service.config = JobConfig(default=EndpointPolicy(), endpoints={"make_report": quiet})
        service.app = service.api = service._api()
    else:
        service.api.user_middleware[0].kwargs["layers"] = ["offload"]
    await service.post("/reports/a", None, (b"traceparent", f"{CALLER}01".encode()))
    await settle_down()
    (request,) = service.seen
    assert field(request, "traceparent") == f"{CALLER}01"
    assert named(seen, "publish default") == named(seen, "process default") == []


async def test_layers_installed_one_by_one_trace_jobs_too(seen: Seen) -> None:
    """The span of the call is of one, the job of the other."""
    service = Reports()
    service.api.user_middleware.pop(0)
    service.api.add_middleware(OffloadMiddleware, config=service.config, clock=service.clock)
    service.api.add_middleware(TracingMiddleware, config=service.config, clock=service.clock)
    await service.post()
    await settle_down()
    assert [len(named(seen, name)) for name in ("publish default", "process default")] == [1, 1]


async def test_a_job_that_no_span_published_begins_a_trace(seen: Seen) -> None:
    """One published by an app that does not trace: its attempt has no link, and its own trace."""
    service = Reports()
    await service.ask("GET", "/jobs/none")
    queues = stack_of(service.api, "offload").jobs.queues
    headers = ((b"content-type", b"application/json"),)
    request = JobRequest("make_report", "POST", "/reports/a", b"", "", "http", headers, b'{"size": 3}')
    envelope = queues.envelopes("default").seal("default.a", request)
    await queues.queue("default").publish(job("default.a")._replace(envelope=envelope))
    await settle_down()
    (attempt,) = named(seen, "process default")
    assert (attempt.parent, list(attempt.links)) == (None, [])


async def test_a_publication_that_fails_says_so(seen: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    """The queue is down: the span says by which type."""
    service = Reports()

    async def down(_: object, __: object) -> None:
        raise StoreDown("gone")

    monkeypatch.setattr(MemoryQueue, "publish", down)
    assert (await service.post()).status == 503
    (published,) = named(seen, "publish default")
    assert (said(published)["error.type"], published.status.status_code) == ("StoreDown", StatusCode.ERROR)


@pytest.mark.parametrize(
    ("address", "system"),
    [
        ("memory://", "memory"),
        ("sqlite:///jobs.db", "sqlite"),
        ("rediss://x", "redis"),
        ("unix:///x", "redis"),
        ("pulsar+ssl://x", "pulsar"),
    ],
)
def test_spans_name_the_system_by_its_protocol(address: str, system: str) -> None:
    """As the conventions spell it."""
    assert said_of("q", address, "q.a", "work", "send")["messaging.system"] == system
