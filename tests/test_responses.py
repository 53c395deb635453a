"""Refusals as HTTP and WebSocket responses."""

import json

import pytest

from forecourt.responses import INTERNAL_ERROR, Problem, Refusal, limit_exceeded
from forecourt.types import Message, Scope


async def sent(refusal: Refusal, scope: Scope) -> list[Message]:
    """Run a refusal and return what it sent."""
    messages: list[Message] = []

    async def receive() -> Message:
        raise AssertionError("a refusal reads nothing")

    async def send(message: Message) -> None:
        messages.append(message)

    await refusal(scope, receive, send)
    return messages


async def test_a_refusal_is_a_problem_document() -> None:
    """RFC 9457: media type, members, extensions; never stored by caches (RFC 6585 §4); Retry-After in seconds."""
    start, body = await sent(Refusal(limit_exceeded(["burst"]), 3, ((b"x-more", b"1"),)), {"type": "http"})
    assert start["status"] == 429
    assert dict(start["headers"]) == {
        b"content-type": b"application/problem+json",
        b"content-length": str(len(body["body"])).encode(),
        b"cache-control": b"no-store",
        b"retry-after": b"3",
        b"x-more": b"1",
    }
    assert json.loads(body["body"]) == {
        "type": "https://iana.org/assignments/http-problem-types#quota-exceeded",
        "title": "Too Many Requests",
        "status": 429,
        "detail": "The limit for this call is used up; nothing was done.",
        "violated-policies": ["burst"],
    }


async def test_a_head_request_gets_no_body() -> None:
    """RFC 9110 §9.3.2: the fields of the GET, without its content."""
    start, body = await sent(Refusal(INTERNAL_ERROR), {"type": "http", "method": "HEAD"})
    assert int(dict(start["headers"])[b"content-length"]) > 0
    assert body["body"] == b""


async def test_empty_members_are_left_out() -> None:
    """A problem without detail has no `detail` member."""
    _, body = await sent(Refusal(Problem(400, "Bad Request")), {"type": "http"})
    assert json.loads(body["body"]) == {"type": "about:blank", "title": "Bad Request", "status": 400}


async def test_the_app_may_word_its_problems() -> None:
    """A renderer chooses media type and body; status and fields stay."""
    refusal = Refusal(Problem(429, "Slow down"), 1, renderer=lambda _, problem: ("text/plain", problem.title.encode()))
    start, body = await sent(refusal, {"type": "http"})
    assert (b"content-type", b"text/plain") in start["headers"]
    assert body["body"] == b"Slow down"


async def test_a_websocket_is_denied_with_the_status_where_the_server_can() -> None:
    """ASGI's denial response carries the same status and body as HTTP."""
    scope = {"type": "websocket", "extensions": {"websocket.http.response": {}}}
    start, body = await sent(Refusal(limit_exceeded([])), scope)
    assert (start["type"], start["status"]) == ("websocket.http.response.start", 429)
    assert body["type"] == "websocket.http.response.body"


@pytest.mark.parametrize(("status", "code"), [(429, 1013), (503, 1013), (500, 1011), (403, 1008)])
async def test_a_websocket_is_closed_where_the_server_cannot(status: int, code: int) -> None:
    """Without the extension the handshake ends with a close code that says what kind of refusal it is."""
    assert await sent(Refusal(Problem(status, "No")), {"type": "websocket"}) == [
        {"type": "websocket.close", "code": code, "reason": "No"}
    ]
