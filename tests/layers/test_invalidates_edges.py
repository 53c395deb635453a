"""Invalidates at its edges: WebSockets, trailers, and files sent by path."""

import pytest

from forecourt.caching.caching import Caching
from forecourt.layers.invalidates import InvalidatesLayer
from forecourt.testing import FakeClock
from forecourt.types import ASGIApp, Message, Receive, Scope, Send
from tests.asgi import http


class Watched(Caching):
    """A cache that counts what was cut before each message left."""

    def __init__(self) -> None:
        super().__init__(FakeClock(), "fc", 1000)
        self.cuts = 0

    async def cut(self, ids: object, *, soft: bool = False) -> None:
        """Count."""
        self.cuts += 1


class _Exchange:
    params: dict[str, object] = {}  # noqa: RUF012  # never changed

    def decided(self, layer: str, outcome: str) -> None:
        assert (layer, outcome) == ("invalidates", "invalidated")


def app_of(*messages: Message) -> ASGIApp:
    """Return an app that sends these."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)

    return app


START: Message = {"type": "http.response.start", "status": 200, "headers": []}
BODY: Message = {"type": "http.response.body", "body": b"x"}


@pytest.mark.parametrize(
    ("messages", "cuts"),
    [
        ([START, BODY], [0, 1]),
        ([{**START, "trailers": True}, BODY, {"type": "http.response.trailers", "headers": []}], [0, 0, 1]),
        (
            [
                {**START, "trailers": True},
                BODY,
                {"type": "http.response.trailers", "headers": [], "more_trailers": True},
                {"type": "http.response.trailers", "headers": []},
            ],
            [0, 0, 0, 1],
        ),
        ([START, {"type": "http.response.pathsend", "path": "/f"}], [0, 1]),
        ([START, {"type": "http.response.debug", "info": {}}, BODY], [0, 0, 1]),
        ([{**START, "status": 400}, BODY], [0, 0]),
    ],
)
async def test_it_takes_effect_before_the_last_message(messages: list[Message], cuts: list[int]) -> None:
    """Whatever the last message of an answer is, and once."""
    caching, seen = Watched(), list[int]()
    layer = InvalidatesLayer(app_of(*messages), tags=frozenset({"t"}), caching=caching, uri=False)

    async def send(_: Message) -> None:
        seen.append(caching.cuts)

    scope = {**http("/", "GET"), "forecourt.exchange": _Exchange()}
    await layer(scope, lambda: None, send)  # type: ignore[arg-type, return-value]  # nothing is received
    assert seen == cuts


async def test_websockets_pass_by() -> None:
    """They have no answer that says what was changed."""
    caching, sent = Watched(), list[Message]()

    async def send(message: Message) -> None:
        sent.append(message)

    layer = InvalidatesLayer(app_of({"type": "websocket.accept"}), tags=frozenset({"t"}), caching=caching, uri=True)
    await layer({"type": "websocket"}, lambda: None, send)  # type: ignore[arg-type, return-value]  # nothing is received
    assert (sent, caching.cuts) == ([{"type": "websocket.accept"}], 0)
