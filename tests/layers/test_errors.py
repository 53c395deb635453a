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
