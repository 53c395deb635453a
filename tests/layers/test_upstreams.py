"""Handlers that call an upstream: what their callers hear when it fails, and how both sides' layers go together."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from examples.quotes.flaky import Flaky, Mood, heard
from forecourt import CircuitBreaker, EndpointPolicy, JobConfig, Retry, Timeout, Upstream
from forecourt.surroundings import NOTHING, around
from forecourt.testing import FakeClock
from tests.asgi import Answer, call, http
from tests.callers import Caller
from tests.services import starlette

BREAKER = CircuitBreaker(fail_max=2, reset_timeout=30, jitter=0, name="quotes")
RETRY = Retry(backoff=0)


class Shop:
    """An app whose one handler asks an upstream; `after` is how it goes on with the answer."""

    def __init__(self, server: Flaky, endpoint: EndpointPolicy, upstream: dict[str, object]) -> None:
        self.server = server
        self.clock = FakeClock()
        named = Upstream(base_url=server.url, **upstream)  # type: ignore[arg-type]  # the tests' own words
        self.config = JobConfig(endpoints={"price": endpoint}, upstreams={"quotes": named})
        route = Route("/price", self._price, name="price", methods=["GET", "POST"])
        self.app: ASGIApp = starlette(self.config, route, clock=self.clock)
        self.error: Exception | None = None
        self.later: asyncio.Task[httpx.Response] | None = None
        self.go_on = asyncio.Event()

    async def ask(self, method: str = "GET", headers: list[tuple[bytes, bytes]] | None = None) -> Answer:
        """Ask for the price."""
        done = {"type": "http.request", "body": b"", "more_body": False}
        return await call(self.app, http("/price", method, headers=headers or []), done)

    async def _price(self, _: Request) -> Response:
        if self.error is not None:
            raise self.error
        self.later = asyncio.ensure_future(self._later())
        answer = await self.config.upstream("quotes").get("/quotes/1")
        answer.raise_for_status()
        return PlainTextResponse(answer.text)

    async def _later(self) -> httpx.Response:
        await self.go_on.wait()
        return await self.config.upstream("quotes").get("/quotes/2")


@asynccontextmanager
async def shop(*script: Mood, endpoint: EndpointPolicy | None = None, **upstream: object) -> AsyncIterator[Shop]:
    """Run a server by this script, and an app that calls it."""
    async with Flaky(*script).running() as server:
        opened = Shop(server, endpoint or EndpointPolicy(), upstream)
        try:
            yield opened
        finally:
            await opened.config.outgoing.close()


@pytest.mark.parametrize(
    ("mood", "status", "kind"),
    [(500, 502, "upstream-failed"), ("reset", 502, "upstream-failed"), ("stall", 504, "upstream-late")],
)
async def test_callers_hear_who_failed(mood: Mood, status: int, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """A plain handler that catches nothing: 502 or 504, one line in the log, no traceback."""
    async with shop(mood, timeout=Timeout(seconds=0.2 if mood == "stall" else 60)) as opened:
        answer = await opened.ask()
        assert (answer.status, json.loads(answer.body)["type"]) == (status, f"https://forecourt.dev/problems/{kind}")
        lines = [record.getMessage() for record in caplog.records if "upstream" in record.getMessage()]
        assert len(lines) == 1
        assert all(record.exc_info is None for record in caplog.records)


async def test_other_errors_are_the_handlers_own() -> None:
    """An upstream's 404 that was raised for, and whatever else is raised."""
    async with shop(404) as opened:
        with pytest.raises(httpx.HTTPStatusError):
            await opened.ask()
        opened.error = ValueError("its own")
        with pytest.raises(ValueError, match="its own"):
            await opened.ask()


async def test_an_open_breaker_is_a_503() -> None:
    """With Retry-After, and nothing is sent."""
    async with shop(500, circuit_breaker=BREAKER) as opened:
        assert [(await opened.ask()).status for _ in range(3)] == [502, 502, 503]
        assert (await opened.ask()).headers["retry-after"] == "30"
        assert opened.server.calls == 2
        opened.server.says(200)
        opened.clock.advance(30)
        assert (await opened.ask()).status == 200


async def test_an_endpoint_may_share_the_upstreams_breaker() -> None:
    """Each failed call counts once, and the one probe passes both."""
    async with shop(500, endpoint=EndpointPolicy(circuit_breaker=BREAKER), circuit_breaker=BREAKER) as opened:
        assert [(await opened.ask()).status for _ in range(3)] == [502, 502, 503]
        opened.server.says(200)
        opened.clock.advance(30)
        assert (await opened.ask()).status == 200
        assert opened.config.breaker("quotes").state == "closed"


async def test_attempts_do_not_multiply() -> None:
    """Both sides say three: there are three, made by the endpoint; of a POST by the upstream; of a retry one."""
    async with shop(503, endpoint=EndpointPolicy(retry=RETRY), retry=RETRY) as opened:
        for method, marked, calls in (("GET", False, 3), ("POST", False, 3), ("POST", True, 1)):
            opened.server.heads.clear()
            assert (await opened.ask(method, [(b"retry-attempt", b"1")] if marked else None)).status == 502
            assert opened.server.calls == calls
            assert heard(opened.server.heads, "retry-attempt")[-1] == (
                "2" if (method, marked) == ("POST", False) else None
            )
    assert around.get() is NOTHING


async def test_a_task_that_outlives_its_call_stands_alone() -> None:
    """Nobody tries its call again any more, so the upstream does."""
    async with shop(200, endpoint=EndpointPolicy(retry=RETRY), retry=RETRY) as opened:
        assert (await opened.ask()).status == 200
        opened.server.says(503)
        opened.go_on.set()
        assert opened.later is not None
        assert (await opened.later).status_code == 503
        assert opened.server.calls == 4


async def test_the_deadline_of_the_endpoint_reaches_the_upstream() -> None:
    """Its timeout is what the host is told, whatever the upstream's own."""
    endpoint = EndpointPolicy(timeout=Timeout(seconds=2))
    async with shop(200, endpoint=endpoint, timeout=Timeout(seconds=60), deadline_hosts=["127.0.0.1"]) as opened:
        assert (await opened.ask()).status == 200
        assert heard(opened.server.heads, "x-request-timeout-ms") == ["2000"]


async def test_a_caller_that_leaves_frees_the_connection_and_counts_for_nothing() -> None:
    """Cancelled while the upstream stalls."""
    async with shop("stall", circuit_breaker=CircuitBreaker(fail_max=1)) as opened:
        caller = await Caller.begin(opened.app, "/price")
        while not opened.server.calls:
            await asyncio.sleep(0)
        await caller.cancel()
        await asyncio.wait([caller.task])
        assert opened.config.breaker("quotes").state == "closed"
