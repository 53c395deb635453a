"""Answers that are no plain body behind the cache: streams, files by path, pushes, and those that end early."""

import asyncio

import pytest
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from forecourt import JobConfig, PolicyMiddleware
from forecourt.testing import FakeClock
from forecourt.types import Message, Receive, Scope, Send
from tests.asgi import get
from tests.callers import Caller, settle_down
from tests.layers.records import Records
from tests.layers.test_cache import caching

START = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"3")]}


async def test_streams_stay_streams() -> None:
    """Each part passes as it comes, is kept up to `max_body`, and given again as one."""
    parts = [b"one", b"two"]

    def stream(_: Request, __: int) -> Response:
        async def body() -> object:
            for part in parts:
                yield part

        return StreamingResponse(body())  # type: ignore[arg-type]  # an async generator

    records = Records(caching(max_body=6), answer=stream)
    first, second = await records.get(), await records.get()
    assert [message.get("body") for message in first.messages[1:]] == [b"one", b"two", b""]
    assert [message.get("body") for message in second.messages[1:]] == [b"onetwo"]
    assert second.headers["content-length"] == "6"
    parts.append(b"!")
    large = Records(caching(max_body=6), answer=stream)
    assert (await large.get()).body == (await large.get()).body == b"onetwo!"
    assert large.runs == 2


async def test_an_answer_that_ends_early_is_not_kept() -> None:
    """Its length is not what it said."""

    async def app(scope: object, receive: object, send: object) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"9")]})  # type: ignore[operator]  # ASGI
        await send({"type": "http.response.body", "body": b"short"})  # type: ignore[operator]  # ASGI

    class Short(Response):
        __call__ = staticmethod(app)

    records = Records(caching(), answer=lambda _, __: Short())
    await records.get()
    await records.get()
    assert records.runs == 2


async def test_a_refresh_has_an_empty_request_whose_client_stays() -> None:
    """A handler that reads its request, or listens for its client's leaving, does in the background as ever."""
    seen: list[tuple[bytes, bool]] = []

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        request = await receive()
        leaving = asyncio.ensure_future(receive())
        await settle_down()
        seen.append((request["body"], leaving.done()))
        leaving.cancel()
        await Response(f"run {len(seen)}")(_scope, receive, send)

    policy = caching(stale_while_revalidate=30)
    clock = FakeClock()
    config = JobConfig(endpoints={"get": policy}, routes={"get": "GET /"})
    guarded = PolicyMiddleware(app, config, clock=clock)
    bodies: list[bytes] = []
    for seconds in (0, 61, 0):
        clock.advance(seconds)
        caller = await Caller.begin(guarded)
        bodies.append((await caller.end()).body)
    assert (bodies, seen) == ([b"run 1", b"run 1", b"run 2"], [(b"", False)] * 2)


@pytest.mark.parametrize(
    "rest",
    [
        [],
        [{"type": "http.response.pathsend", "path": "/tmp/file"}],
        [{"type": "http.response.zerocopysend", "file": 3}],
        [{"type": "http.response.body", "body": b"abc", "more_body": True}, {"type": "http.response.trailers"}],
    ],
    ids=["nothing", "path", "descriptor", "trailers"],
)
async def test_what_is_no_whole_body_passes_and_is_not_kept(rest: list[Message]) -> None:
    """An answer without its body, a file that the server is to send, trailers: all as it was said, each time anew."""
    runs = 0

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        nonlocal runs
        runs += 1
        for message in (START, *rest):
            await send(message)

    guarded = PolicyMiddleware(app, JobConfig(endpoints={"get": caching()}, routes={"get": "GET /"}))
    for number in (1, 2):
        start, *others = (await get(guarded, "/")).messages
        assert (start["status"], others, runs) == (200, rest, number)


async def test_what_comes_beside_an_answer_passes_at_once() -> None:
    """A push (HTTP/2) is no part of what is kept, and does not keep it from being kept."""
    push: Message = {"type": "http.response.push", "path": "/style.css", "headers": []}

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        for message in (START, push, {"type": "http.response.body", "body": b"abc"}):
            await send(message)

    config = JobConfig(endpoints={"get": caching()}, routes={"get": "GET /"})
    guarded = PolicyMiddleware(app, config, clock=FakeClock())
    first, second = await get(guarded, "/"), await get(guarded, "/")
    assert (push in first.messages, first.body) == (True, b"abc")
    assert (len(second.messages), second.headers["cache-status"]) == (2, "forecourt; hit; ttl=60")
