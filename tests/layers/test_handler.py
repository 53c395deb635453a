"""The endpoint that ran is the one whose policies were enforced."""

import contextlib
from collections.abc import AsyncIterator

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from forecourt import EndpointPolicy, FloodGuard, JobConfig, PolicyMiddleware
from forecourt.errors import CircuitOpen
from forecourt.types import ASGIApp, Receive, Scope, Send
from tests.asgi import get
from tests.callers import Caller
from tests.services import TWO_A_MINUTE, starlette, text


async def test_the_endpoint_that_ran_is_checked(caplog: pytest.LogCaptureFixture) -> None:
    """A middleware below that rewrites the path would run another endpoint: its answer is withheld, with 500."""

    class Rewriting:
        def __init__(self, app: ASGIApp) -> None:
            self.app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            scope["path"] = scope["raw_path"] = "/admin"
            await self.app(scope, receive, send)

    async def admin(_: Request) -> Response:
        return PlainTextResponse("done")

    config = JobConfig(default=TWO_A_MINUTE)
    app = Starlette(
        routes=[Route("/", text, name="open"), Route("/admin", admin, name="admin")],
        middleware=[Middleware(PolicyMiddleware, config=config), Middleware(Rewriting)],
    )
    answer = await get(app, "/")
    assert (answer.status, b"done" in answer.body) == (500, False)
    (record,) = caplog.records
    assert "'open' was resolved but another one ran" in record.getMessage()


class Rewriting:
    """A middleware below the stack that leads every request to /admin."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Rewrite and pass on."""
        scope["path"] = scope["raw_path"] = "/admin"
        await self.app(scope, receive, send)


@pytest.mark.parametrize("path", ["/unprotected", "/nowhere"])
async def test_no_rewritten_path_leads_around_a_policy(path: str) -> None:
    """What resolved to an endpoint without policies, or to none, must not run a protected one either."""

    async def admin(_: Request) -> Response:
        return PlainTextResponse("done")

    config = JobConfig(default=EndpointPolicy(), endpoints={"admin": TWO_A_MINUTE})
    app = Starlette(
        routes=[Route("/unprotected", text, name="open"), Route("/admin", admin, name="admin")],
        middleware=[Middleware(PolicyMiddleware, config=config), Middleware(Rewriting)],
    )
    answer = await get(app, path)
    assert (answer.status, b"done" in answer.body) == (500, False)


async def test_a_path_that_a_convertor_cannot_bear_is_counted() -> None:
    """Resolving raises what the router will raise; the flood guard counts it all the same."""
    config = JobConfig(default=EndpointPolicy(), flood_guard=FloodGuard(limit=2, window=60))
    app = Starlette(
        routes=[Route("/r/{number:int}", text, name="r")], middleware=[Middleware(PolicyMiddleware, config=config)]
    )
    statuses = []
    for _ in range(3):
        with contextlib.suppress(ValueError):
            statuses.append((await get(app, "/r/" + "9" * 5000)).status)
    assert statuses[-1:] == [429]


async def test_a_breaker_that_opens_in_the_middle_of_an_answer_breaks_it_off() -> None:
    """Nobody is answered twice: what the handler raises goes on to the server, and no 503 follows what has begun."""

    async def parts() -> AsyncIterator[bytes]:
        yield b"one"
        raise CircuitOpen("payments", 7)

    async def late(_: Request) -> Response:
        return StreamingResponse(parts())

    app = starlette(JobConfig(default=EndpointPolicy()), Route("/", late, name="late"))
    caller = await Caller.begin(app)
    with pytest.raises(CircuitOpen):
        await caller.end()
    assert (caller.status, caller.answer.messages[1:]) == (
        200,
        [{"type": "http.response.body", "body": b"one", "more_body": True}],
    )
