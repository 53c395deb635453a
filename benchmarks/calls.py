"""Calls an ASGI app as a server would: its lifespan, then requests with a scope and two callables of their own."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

Message = MutableMapping[str, Any]
ASGIApp = Callable[
    [MutableMapping[str, Any], Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]],
    Awaitable[object],
]

_HEADERS = (
    (b"host", b"127.0.0.1:8000"),
    (b"accept", b"*/*"),
    (b"accept-encoding", b"gzip, deflate"),
    (b"user-agent", b"benchmark/1"),
)


class Call(NamedTuple):
    """One request, made again and again.

    `unique` names a header that is different each time; `{}` in the path is a number that is.
    """

    method: str = "GET"
    path: str = "/records/7"
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""
    unique: bytes | None = None


class Caller:
    """Makes one call to one app; returns the status. `state` is what the app's lifespan left."""

    def __init__(self, app: ASGIApp, call: Call) -> None:
        self._app = app
        self._body = call.body
        self._unique = call.unique
        self._path = call.path if "{}" in call.path else ""
        self._numbers = itertools.count(1)
        self._headers = [*_HEADERS, *call.headers]
        if call.body:
            self._headers += [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(call.body))]
        self.state: dict[str, object] = {}
        self._scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": call.method,
            "scheme": "http",
            "path": call.path,
            "raw_path": call.path.encode(),
            "query_string": b"",
            "root_path": "",
            "client": ("127.0.0.1", 54321),
            "server": ("127.0.0.1", 8000),
        }

    async def __call__(self) -> int:
        """Make the call; return the status."""
        headers = self._headers.copy()
        if self._unique:
            headers.append((self._unique, b"%d-%d" % (id(self), next(self._numbers))))
        request = _Request(self._body)
        scope = {**self._scope, "headers": headers, "state": self.state.copy()}
        if self._path:
            scope["path"] = self._path.format(next(self._numbers))
            scope["raw_path"] = scope["path"].encode()
        await self._app(scope, request.receive, request.send)
        return request.status


class _Request:
    """The two callables of one request."""

    __slots__ = ("_body", "_received", "status")

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._received = False
        self.status = 0

    async def receive(self) -> Message:
        """Give the body; then wait, as for a client that stays."""
        if self._received:
            await asyncio.get_running_loop().create_future()
        self._received = True
        return {"type": "http.request", "body": self._body, "more_body": False}

    async def send(self, message: Message) -> None:
        """Note the status."""
        if message["type"] == "http.response.start":
            self.status = message["status"]


@asynccontextmanager
async def lifespan(app: ASGIApp, state: dict[str, object]) -> AsyncIterator[None]:
    """Start the app, and stop it at the end; an app that knows no lifespan is left alone."""
    to_app: asyncio.Queue[Message] = asyncio.Queue()
    to_server: asyncio.Queue[Message] = asyncio.Queue()
    scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": state}

    async def run() -> None:
        try:
            await app(scope, to_app.get, to_server.put)
            await to_server.put({"type": "lifespan.ended"})
        except Exception as error:
            await to_server.put({"type": "lifespan.unsupported", "message": repr(error)})

    task = asyncio.ensure_future(run())
    await to_app.put({"type": "lifespan.startup"})
    started = await to_server.get()
    if started["type"] == "lifespan.startup.failed":
        raise RuntimeError(started.get("message", "the app did not start"))
    yield
    if started["type"] == "lifespan.startup.complete":
        await to_app.put({"type": "lifespan.shutdown"})
        await to_server.get()
    await task
