"""The handler at work under a claim: what it answers is recorded, and a client that leaves does not stop it.

The handler runs in a task of its own. A client that leaves is hidden from it once its request has come whole, and a
cancelled call leaves the task behind, owned by the runtime, whose exchange ends when the work does. Only a stream that
is not kept anyway hears that nobody listens any more: it might never end.

What is recorded is bounded by `most` bytes of body; beyond, and for event streams, files sent by path and trailers,
only status and fields are kept.

The exchange settles before it sends the last message. But a response of known length is whole for its client with its
last byte, and that may come in a message that says more follows: such a message waits for the next one and leaves
with it.
"""

import asyncio
from contextlib import suppress

from forecourt.exchange import Exchange
from forecourt.layers.idempotency_request import ReadRequest
from forecourt.types import ASGIApp, Message, Scope, Send

_BODIES = frozenset({"http.response.body", "http.response.zerocopysend", "http.response.pathsend"})


class Recorder:
    """What the handler answered so far."""

    __slots__ = ("_left", "_most", "_size", "_trailers", "finished", "headers", "parts", "status", "whole")

    def __init__(self, most: int) -> None:
        self._most = most
        self._size = 0
        self._left: int | None = None
        self._trailers = False
        self.status: int | None = None
        self.headers: list[tuple[bytes, bytes]] = []
        self.parts: list[bytes] = []
        self.whole = True
        """Whether all of the body that came is here."""
        self.finished = False

    def see(self, message: Message) -> None:
        """Take note of a message."""
        kind = message["type"]
        if kind == "http.response.start":
            self._start(message)
        elif kind in _BODIES:
            if kind == "http.response.body":
                self._add(message.get("body", b""))
            else:
                self._drop()
            self.finished = not self._trailers and not message.get("more_body", False)
        elif kind == "http.response.trailers":
            self.finished = not message.get("more_trailers", False)

    def is_last_byte(self, message: Message) -> bool:
        """Whether the client has the whole response with this message, though it says that more follows."""
        return not self.finished and self._left == 0 and message["type"] == "http.response.body"

    def _start(self, message: Message) -> None:
        self.status = message["status"]
        self.headers = [(bytes(name), bytes(value)) for name, value in message.get("headers", ())]
        self._trailers = bool(message.get("trailers"))
        for name, value in self.headers:
            lower = name.lower()
            if lower == b"content-length" and value.isdigit():
                self._left = int(value)
            elif lower == b"content-type" and value.lower().startswith(b"text/event-stream"):
                self._drop()
        if self._trailers or (self._left or 0) > self._most:
            self._drop()

    def _add(self, body: bytes) -> None:
        if self._left is not None:
            self._left -= len(body)
        self._size += len(body)
        if self._size > self._most:
            self._drop()
        elif self.whole and body:
            self.parts.append(bytes(body))

    def _drop(self) -> None:
        self.whole = False
        self.parts.clear()


class Work:
    """One handler at work: its request, its answer, and whether its caller is still there."""

    __slots__ = ("_client", "_exchange", "_hear", "_held", "_listening", "recorder", "request")

    def __init__(self, exchange: Exchange, request: ReadRequest, send: Send, most: int) -> None:
        self._exchange = exchange
        self._client: Send | None = send
        self._held: Message | None = None
        self._hear = asyncio.Event()
        self._listening: asyncio.Future[Message] | None = None
        self.request = request
        self.recorder = Recorder(most)

    async def run(self, app: ASGIApp, scope: Scope) -> None:
        """Return when the handler has; cancelled, leave it at work."""
        exchange = self._exchange
        named = exchange.endpoint.name if exchange.endpoint else "?"
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        task = exchange.runtime.works.start(self._work(app, scope, done), f"endpoint {named!r}")
        task.add_done_callback(lambda _: _wake(done))  # should it be cancelled before it began
        try:
            await done
        except asyncio.CancelledError:
            if not task.done():
                self._client = None
                self.request.gone = True
                if self._listening is not None:
                    self._listening.cancel()
                exchange.work = task
                exchange.runtime.works.leave(task)
                self._listen()
            raise
        task.result()

    async def _work(self, app: ASGIApp, scope: Scope, done: asyncio.Future[None]) -> None:
        """Have the handler work; its caller is woken before the task ends, a turn of the loop earlier."""
        try:
            await app(scope, self._receive, self._send)
            await self._let_go()
        finally:
            _wake(done)
        if self._hear.is_set() and self.recorder.status is not None:
            self.recorder.finished = True  # it ended because nobody listened: that it was carried out is kept

    async def _receive(self) -> Message:
        """Give the handler its request; that the client left it hears only when it need not go on."""
        if self.request.to_come():
            message = await self.request()
            if message["type"] != "http.disconnect" or not self.request.fingerprint:
                return message
        if not self.request.gone:
            await self._left()
        self._listen()
        await self._hear.wait()
        return {"type": "http.disconnect"}

    async def _left(self) -> None:
        """Return when the client has left, or the call was cancelled."""
        self._listening = asyncio.ensure_future(self.request())
        try:
            await asyncio.wait({self._listening})
        finally:
            self._listening.cancel()

    async def _send(self, message: Message) -> None:
        recorder = self.recorder
        recorder.see(message)
        self._listen()
        if recorder.finished and not self.request.gone:
            await self.request.rest()
        if self._held is not None and message["type"] == "http.response.body":
            message = {**message, "body": self._held["body"] + message.get("body", b"")}
            self._held = None
        await self._let_go()
        if recorder.is_last_byte(message):
            self._held = message
        else:
            await self._pass(message)
        if recorder.finished:
            self._hear.set()  # ASGI: once the response is complete, whoever still receives is told of a disconnect

    async def _let_go(self) -> None:
        if self._held is not None:
            message, self._held = self._held, None
            await self._pass(message)

    async def _pass(self, message: Message) -> None:
        """Send to the client, if there is one; the exchange is to know the status all the same."""
        if self._client is not None:
            with suppress(OSError):  # ASGI 2.4: the client has left
                return await self._client(message)
            self._client = None
        if message["type"] == "http.response.start":
            self._exchange.status = message["status"]

    def _listen(self) -> None:
        """Let a stream end that nobody listens to and that is not kept."""
        if self.request.gone and not self.recorder.whole:
            self._hear.set()


def _wake(done: asyncio.Future[None]) -> None:
    if not done.done():
        done.set_result(None)
