"""Calls an ASGI app in process, message by message, as a server would."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from forecourt.types import ASGIApp, Message, Scope


@dataclass
class Answer:
    """What came back: every message, and what they say."""

    messages: list[Message] = field(default_factory=list)

    @property
    def starts(self) -> list[Message]:
        """The messages that begin a response."""
        return [message for message in self.messages if message["type"].endswith("response.start")]

    @property
    def status(self) -> int:
        """The status of the one response."""
        (start,) = self.starts
        status: int = start["status"]
        return status

    @property
    def headers(self) -> dict[str, str]:
        """The fields of the one response."""
        (start,) = self.starts
        return {name.decode(): value.decode() for name, value in start["headers"]}

    @property
    def body(self) -> bytes:
        """The whole body."""
        return b"".join(message.get("body", b"") for message in self.messages)

    @property
    def kinds(self) -> list[str]:
        """The types of all messages, in order."""
        return [message["type"] for message in self.messages]


def http(
    path: str, method: str = "GET", client: str = "192.0.2.1", headers: Sequence[tuple[bytes, bytes]] = ()
) -> Scope:
    """Build the scope of a request."""
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"test"), *headers],
        "client": (client, 1234),
        "server": ("test", 80),
    }


def websocket(path: str, client: str = "192.0.2.1", *, denial: bool = True) -> Scope:
    """Build the scope of a WebSocket; `denial`: the server can answer a handshake with a response."""
    extensions: dict[str, object] = {"websocket.http.response": {}} if denial else {}
    return {
        **http(path, client=client),
        "type": "websocket",
        "scheme": "ws",
        "subprotocols": [],
        "extensions": extensions,
    }


async def call(app: ASGIApp, scope: Scope, *received: Message) -> Answer:
    """Run one scope through an app; what it receives beyond `received` is a disconnect."""
    answer = Answer()
    first: Message = {"type": "websocket.connect"}
    if scope["type"] == "http":
        first = {"type": "http.request", "body": b"", "more_body": False}
    messages = iter((first, *received) if scope["type"] == "websocket" or not received else received)

    async def receive() -> Message:
        kind = "http.disconnect" if scope["type"] == "http" else "websocket.disconnect"
        return next(messages, {"type": kind, "code": 1001})

    async def send(message: Message) -> None:
        answer.messages.append(message)

    await app(scope, receive, send)
    return answer


async def get(app: ASGIApp, path: str, method: str = "GET", client: str = "192.0.2.1") -> Answer:
    """Request a path."""
    return await call(app, http(path, method, client))
