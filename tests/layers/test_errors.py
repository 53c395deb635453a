"""What nobody handled: one problem, one line."""

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest
from fastapi import FastAPI, HTTPException
from fastapi.responses import StreamingResponse
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from forecourt import (
    JobConfig,
    PolicyMiddleware,
)
from forecourt.types import Message
from tests.asgi import get, http
from tests.services import TWO_A_MINUTE, starlette


async def test_an_exception_is_one_problem_and_one_line(caplog: pytest.LogCaptureFixture) -> None:
    """The caller gets a 500 problem without detail; the log one line with the traceback; tests the exception."""

    async def broken(_: Request) -> Response:
        raise ValueError("a secret")

    app = starlette(JobConfig(default=TWO_A_MINUTE), Route("/", broken, name="broken"))
    with pytest.raises(ValueError, match="a secret"):
        TestClient(app).get("/")
    response = TestClient(app, raise_server_exceptions=False).get("/")
    assert (response.status_code, response.headers["content-type"]) == (500, "application/problem+json")
    assert "ratelimit" in response.headers
    assert "secret" not in response.text
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert [record.getMessage() for record in errors] == ["endpoint 'broken' failed: ValueError"] * 2
    assert all(record.exc_info for record in errors)


async def test_the_servers_log_does_not_repeat_ours() -> None:
    """A record about an exception that we logged is filtered; any other passes."""
    seen: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = seen.append  # type: ignore[assignment]  # the smallest handler there is
    server = logging.getLogger("uvicorn.error")
    server.addHandler(handler)

    async def broken(_: Request) -> Response:
        raise ValueError

    app = starlette(JobConfig(default=TWO_A_MINUTE), Route("/", broken, name="broken"))
    try:
        await get(app, "/")
    except ValueError:
        server.exception("Exception in ASGI application")
    server.error("something else")
    server.removeHandler(handler)
    assert [record.getMessage() for record in seen] == ["something else"]


@pytest.mark.parametrize("debug", [False, True])
async def test_the_apps_own_answer_to_an_exception_stands(debug: bool) -> None:
    """An app with a handler for Exception, or in debug mode, answers by itself."""

    async def broken(_: Request) -> Response:
        raise ValueError

    def handle(_: Request, __: Exception) -> Response:
        return PlainTextResponse("the app's own", 500)

    app = Starlette(
        debug=debug,
        routes=[Route("/", broken, name="broken")],
        middleware=[Middleware(PolicyMiddleware, config=JobConfig(default=TWO_A_MINUTE))],
        exception_handlers={} if debug else {Exception: handle},
    )
    response = TestClient(app, raise_server_exceptions=False).get("/")
    assert response.status_code == 500
    assert ("Traceback" if debug else "the app's own") in response.text


async def test_an_exception_after_the_first_byte_is_not_answered_twice() -> None:
    """A response that has begun is cut off, as it would be without us."""

    async def breaking(_: Request) -> Response:
        async def chunks() -> AsyncIterator[bytes]:
            yield b"1"
            raise ValueError

        return StreamingResponse(chunks())

    app = starlette(JobConfig(default=TWO_A_MINUTE), Route("/", breaking, name="breaking"))
    sent: list[str] = []

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message["type"])

    with pytest.raises(ValueError):  # noqa: PT011  # the app's own
        await app(http("/"), receive, send)
    assert sent == ["http.response.start", "http.response.body"]


async def test_a_5xx_of_the_handler_is_an_error_too(caplog: pytest.LogCaptureFixture) -> None:
    """`raise HTTPException(500)` is answered by the framework and logged once by us; a refusal of ours is not."""
    app = FastAPI()

    @app.get("/")
    async def fails() -> None:
        raise HTTPException(503)

    app.add_middleware(PolicyMiddleware, config=JobConfig(default=TWO_A_MINUTE))
    assert [(await get(app, "/")).status for _ in range(3)] == [503, 503, 429]
    assert [record.getMessage() for record in caplog.records] == ["endpoint 'fails' answered 503"] * 2


class Frozen(Exception):  # what it is, not what went wrong
    """An exception that takes no attributes but those of its raising."""

    def __setattr__(self, name: str, value: object) -> None:
        """Refuse what is not the interpreter's."""
        if not name.startswith("__") or "forecourt" in name:
            raise AttributeError(name)
        super().__setattr__(name, value)


@pytest.mark.parametrize("error", [ValueError("kept"), Frozen("kept")], ids=["plain", "frozen"])
async def test_one_exception_object_raised_twice_is_logged_twice(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """Each call that fails is a line, also where the app keeps one exception and raises it again and again."""

    async def broken(_: Request) -> Response:
        raise error

    app = starlette(JobConfig(default=TWO_A_MINUTE), Route("/", broken, name="broken"))
    for _ in range(2):
        with pytest.raises(type(error), match="kept"):
            await get(app, "/")
    assert [record.getMessage() for record in caplog.records] == [
        f"endpoint 'broken' failed: {type(error).__name__}"
    ] * 2


@pytest.mark.parametrize("same", [True, False])
async def test_an_exception_through_two_stacks_is_one_line(same: bool, caplog: pytest.LogCaptureFixture) -> None:
    """One of two stacks logs it, and the other not again, be they of the same config or not."""

    async def broken(_: Request) -> Response:
        raise ValueError

    outer, inner = JobConfig(default=TWO_A_MINUTE), JobConfig(default=TWO_A_MINUTE)
    installed = [Middleware(PolicyMiddleware, config=config) for config in (outer, inner)]
    if same:
        installed = [Middleware(PolicyMiddleware, config=outer, layers=[layer]) for layer in ("errors", "rate_limit")]
    app = Starlette(routes=[Route("/", broken, name="broken")], middleware=installed)
    with pytest.raises(ValueError):  # noqa: PT011  # the app's own
        await get(app, "/")
    assert len(caplog.records) == 1
