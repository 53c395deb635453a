"""What answers while a breaker is open, in the whole stack: what the cache has, or a job."""

import json
import logging
from typing import Literal

import pytest
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from forecourt import Cache, CircuitBreaker, EndpointPolicy, JobConfig, Offload, PolicyMiddleware, Timeout
from forecourt.stores.memory import MemoryStore
from forecourt.testing import FakeClock
from forecourt.types import ASGIApp
from tests.asgi import Answer, call, get, http
from tests.callers import settle_down
from tests.services import starlette


async def test_a_stale_answer_is_given_while_the_breaker_is_open() -> None:
    """Without the handler, until `stale_if_error` is over; then 503, and the handler again after the reset."""
    clock = FakeClock()
    says, runs = [200], [0]

    async def quote(_: Request) -> Response:
        runs[0] += 1
        return PlainTextResponse(f"run {runs[0]}", says[0])

    breaker = CircuitBreaker(fail_max=1, reset_timeout=60, jitter=0, fallback="stale")
    policy = EndpointPolicy(circuit_breaker=breaker, cache=Cache(ttl=10, stale_if_error=30))
    config = JobConfig(endpoints={"quote": policy})
    app = starlette(config, Route("/", quote, name="quote"), clock=clock, store=MemoryStore(clock))
    assert (await get(app, "/")).body == b"run 1"
    clock.advance(11)
    says[0] = 503
    assert (await get(app, "/")).body == b"run 1", "the failure itself is covered"
    assert config.breaker("quote").state == "open"
    for _ in range(3):
        stale = await get(app, "/")
        assert (stale.status, stale.body) == (200, b"run 1")
        assert "hit" in stale.headers["cache-status"]
    assert runs[0] == 2, "an open breaker is not passed for it"
    clock.advance(30)
    refused = await get(app, "/")
    assert (refused.status, refused.headers["retry-after"]) == (503, "30")
    says[0] = 200
    clock.advance(30)
    assert (await get(app, "/")).body == b"run 3"


class Reports:
    """`POST /reports` runs at once, as no caller prefers otherwise; when its breaker is open it is a job."""

    def __init__(self, fallback: Literal["stale", "offload"] | None, **more: object) -> None:
        self.clock = FakeClock()
        self.says = 200
        self.runs = 0
        breaker = CircuitBreaker(fail_max=1, reset_timeout=60, jitter=0, fallback=fallback)
        policy = EndpointPolicy(circuit_breaker=breaker, offload=Offload(mode="prefer", max_attempts=1), **more)  # type: ignore[arg-type]  # the tests' own words
        self.config = JobConfig(default=EndpointPolicy(), endpoints={"report": policy})
        api = FastAPI()
        api.add_middleware(PolicyMiddleware, config=self.config, clock=self.clock, store=MemoryStore(self.clock))

        @api.post("/reports")
        async def report(body: dict[str, int]) -> Response:
            self.runs += 1
            return PlainTextResponse(f"run {self.runs} of {body['size']}", self.says)

        api.mount("/jobs", self.config.jobs, name="jobs")
        self.app: ASGIApp = api

    async def post(self, body: bytes = b'{"size": 3}') -> Answer:
        """Ask for a report."""
        scope = http("/reports", "POST", headers=[(b"content-type", b"application/json")])
        return await call(self.app, scope, {"type": "http.request", "body": body})


@pytest.mark.parametrize("between", [{}, {"timeout": Timeout(seconds=5)}], ids=["next", "apart"])
async def test_a_job_is_accepted_while_the_breaker_is_open(between: dict[str, object]) -> None:
    """202 and a place to look; the job runs below the breaker, and what is no job is still refused.

    Whatever stands between the breaker and the layer that makes jobs.
    """
    service = Reports("offload", **between)
    assert (await service.post()).body == b"run 1 of 3"
    service.says = 503
    assert (await service.post()).status == 503
    assert service.config.breaker("report").state == "open"
    service.says = 200
    accepted = await service.post()
    assert accepted.status == 202
    assert (await service.post(b"{")).status == 422
    await settle_down()
    result = await get(service.app, f"{accepted.headers['location']}/result")
    assert (result.status, result.body) == (200, b"run 3 of 3")
    assert json.loads((await get(service.app, accepted.headers["location"])).body)["status"] == "succeeded"
    assert service.config.breaker("report").state == "open", "a job says nothing of it"
    service.clock.advance(60)
    assert (await service.post()).status == 200
    assert service.config.breaker("report").state == "closed"


async def test_without_the_fallback_there_is_no_job() -> None:
    """The same endpoint refuses where its breaker does not say `offload`."""
    service = Reports(None)
    service.says = 503
    await service.post()
    refused = await service.post()
    assert (refused.status, json.loads(refused.body)["type"].rpartition("/")[2]) == (503, "circuit-open")
    assert service.runs == 1


@pytest.mark.parametrize(("shared", "told"), [(True, True), (False, False)])
async def test_a_shared_breaker_in_memory_is_told_of(
    caplog: pytest.LogCaptureFixture, *, shared: bool, told: bool
) -> None:
    """No other process hears of it there."""
    policy = EndpointPolicy(circuit_breaker=CircuitBreaker(name="dependency", shared=shared))
    config = JobConfig(endpoints={"quote": policy})

    async def quote(_: Request) -> Response:
        return PlainTextResponse("here")

    with caplog.at_level(logging.WARNING, "forecourt"):
        await get(starlette(config, Route("/", quote, name="quote")), "/")
    assert ("shared" in caplog.text) is told
