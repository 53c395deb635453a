"""A service under test answers as it would, without a server, a store or waiting, and says what was decided."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from forecourt import ConfigError, EndpointPolicy, FixedWindow, Idempotency, JobConfig, PolicyMiddleware, Security
from forecourt.testing import FakeClock, FakeIssuer, UnderTest, decisions
from forecourt.types import ASGIApp, Receive, Scope, Send


async def echo(request: Request) -> Response:
    """Say what came, with a repeated field."""
    answer = JSONResponse({"body": (await request.body()).decode(), "query": str(request.query_params)})
    answer.headers.append("X-Twice", "a")
    answer.headers.append("X-Twice", "b")
    return answer


async def stream(_request: Request) -> Response:
    """Answer in pieces."""

    async def pieces() -> AsyncIterator[bytes]:
        yield b"a"
        yield b"b"

    return StreamingResponse(pieces())


async def broken(_request: Request) -> Response:
    """Break."""
    raise ValueError("broken")


def service(config: JobConfig, *events: list[str]) -> ASGIApp:
    """Build the app that is tested; `events` hears of its lifespan."""

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        for each in events:
            each.append("started")
        yield
        for each in events:
            each.append("stopped")

    routes = [Route("/", echo, methods=["GET", "POST"]), Route("/stream", stream), Route("/broken", broken)]
    app = Starlette(routes=routes, lifespan=lifespan)
    app.add_middleware(PolicyMiddleware, config=config)
    return app


def limited() -> JobConfig:
    """One call a minute."""
    return JobConfig(default=EndpointPolicy(rate_limit=FixedWindow(limit=1, window=60)))


async def test_time_passes_by_the_clock_alone() -> None:
    """A limit holds until the clock is advanced, and each answer says what was decided of it."""
    config = limited()
    async with UnderTest(service(config), config) as tested:
        first, second = await tested.get("/"), await tested.get("/")
        assert (first.status, decisions(first)["rate_limit"]) == (200, "allowed")
        assert (second.status, decisions(second)["rate_limit"]) == (429, "refused")
        assert second.headers["content-type"] == "application/problem+json"
        tested.clock.advance(60)
        assert (await tested.get("/")).status == 200


async def test_what_is_off_decides_nothing() -> None:
    """A layer that was not reached, or that is off, is not among the decisions."""
    config = JobConfig(default=EndpointPolicy())
    async with UnderTest(service(config), config) as tested:
        assert "rate_limit" not in decisions(await tested.get("/"))


async def test_calls_are_those_of_a_client() -> None:
    """Body, JSON, query, streams and repeated fields come through; callers may have addresses of their own."""
    config = limited()
    async with UnderTest(service(config), config) as tested:
        told = await tested.post("/?a=1", json={"n": 1})
        assert told.json() == {"body": '{"n": 1}', "query": "a=1"}
        assert told.headers["x-twice"] == "a, b"
        other = await tested.call("POST", "/", body=b"raw", client="192.0.2.2")
        assert other.json() == {"body": "raw", "query": ""}
        assert (await tested.get("/stream")).body == b"ab"


async def test_what_the_app_raises_is_raised() -> None:
    """An exception reaches the test, as it would reach the server."""
    config = JobConfig(default=EndpointPolicy())
    async with UnderTest(service(config), config) as tested:
        with pytest.raises(ValueError, match="broken"):
            await tested.get("/broken")


async def test_the_app_starts_and_stops() -> None:
    """The lifespan runs around the calls."""
    events: list[str] = []
    config = limited()
    async with UnderTest(service(config, events), config):
        assert events == ["started"]
    assert events == ["started", "stopped"]


async def test_a_config_that_does_not_fit_says_so() -> None:
    """A start that is refused raises what the server would say."""
    config = JobConfig(default=EndpointPolicy(), endpoints={"ecko": EndpointPolicy()})
    with pytest.raises(ConfigError, match="ecko"):
        async with UnderTest(service(config), config):
            pass


async def test_an_app_without_a_lifespan_is_called_all_the_same() -> None:
    """A bare app answers; whether it returns from its lifespan at once is its own affair."""

    async def bare(scope: Scope, _receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body"})

    async with UnderTest(bare, limited()) as tested:
        assert (await tested.get("/")).status == 204


async def test_an_app_that_will_not_start_says_why() -> None:
    """What an app answers to its startup is raised; other messages of an answer than its start and body pass by."""

    async def unwilling(scope: Scope, receive: Receive, send: Send) -> None:
        assert (await receive())["type"] == "lifespan.startup", scope
        await send({"type": "lifespan.startup.failed", "message": "no licence"})

    with pytest.raises(ConfigError, match="no licence"):
        async with UnderTest(unwilling, limited()):
            pass

    async def hinting(scope: Scope, _receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await send({"type": "http.response.debug", "info": {}})
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body"})

    async with UnderTest(hinting, limited()) as tested:
        assert (await tested.get("/")).status == 204


async def test_a_config_in_use_is_not_taken_over() -> None:
    """Two tests cannot have one config with two clocks at the same time."""
    config = limited()
    first = UnderTest(service(config), config)
    with pytest.raises(ConfigError, match="a config of its own"):
        UnderTest(service(config), config)
    assert first.clock.now() > 0


async def test_the_plugins_fixtures_go_together(forecourt_clock: FakeClock, forecourt_issuer: FakeIssuer) -> None:
    """Tokens are signed by the test's clock, and expire by it."""
    policy = EndpointPolicy(security=Security(), idempotency=Idempotency())
    config = JobConfig(issuers=[forecourt_issuer.policy], default=policy)
    async with UnderTest(service(config), config, clock=forecourt_clock) as tested:
        shown = {**forecourt_issuer.headers(), "Idempotency-Key": "a"}
        first, again = [await tested.post("/", headers=shown) for _ in range(2)]
        assert (decisions(first)["security"], decisions(first)["idempotency"]) == ("allowed", "claimed")
        assert decisions(again)["idempotency"] == "replayed"
        forecourt_clock.advance(4000)
        assert decisions(await tested.post("/", headers=shown))["security"] == "challenged"
