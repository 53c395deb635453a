"""Ends event streams and WebSockets whose caller does not count any longer: the token has expired or was revoked.

Other responses go on to their end: they were asked for in time. Revocations are asked for every `EVERY` seconds while a
stream is open, in a trip of their own; when the store does not answer the stream goes on and is asked for again. An
event stream is ended like one that is complete, a WebSocket is closed with 1008; the app sees a cancellation.
"""

import asyncio
from collections.abc import Awaitable, Callable

from forecourt.errors import StoreError
from forecourt.exchange import Exchange
from forecourt.responses import CLOSE_POLICY
from forecourt.types import SECOND, ASGIApp, Clock, Message, Receive, Scope, Send

EVERY = 10
"""Seconds between two questions for a revocation."""

_LONGEST_SLEEP = 3600

IsRevoked = Callable[[], Awaitable[bool]]


class Ending:
    """One call that may become a stream; `expires` in µs, `revoked` asks the store (None: nobody revokes).

    What is sent is wrapped only once a stream begins.
    """

    _earlier: Callable[[Message], object] | None = None
    _last: Message | None = None
    _ended = False
    _watcher: asyncio.Task[None] | None = None

    def __init__(self, exchange: Exchange, clock: Clock, expires: int | None, revoked: IsRevoked | None) -> None:
        self._exchange = exchange
        self._clock = clock
        self._expires = expires
        self._revoked = revoked

    async def run(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the app, and end it once its caller does not count any longer."""
        self._task = asyncio.current_task()
        self._earlier = self._exchange.begins
        self._exchange.begins = self._begins
        try:
            await app(scope, receive, send)
        except asyncio.CancelledError:
            if not self._ended or (self._task is not None and self._task.uncancel() > 0):
                raise
        finally:
            self._exchange.begins = self._earlier
            del self._exchange  # neither keeps the other, nor does the watcher: the garbage collector is left nothing
            if self._watcher is not None:
                self._watcher.cancel()
                self._watcher = None
        if self._ended and self._last is not None:
            self._ended = False  # what is sent passes again
            await send(self._last)

    def _begins(self, message: Message) -> None:
        if self._earlier is not None:
            self._earlier(message)
        kind = message["type"]
        if kind == "http.response.start":
            if _is_event_stream(message):
                self._watch({"type": "http.response.body", "body": b"", "more_body": False})
        elif kind == "websocket.accept":
            self._watch({"type": "websocket.close", "code": CLOSE_POLICY, "reason": "Not Authenticated"})

    def _watch(self, last: Message) -> None:
        self._last = last
        self._exchange.wrap(self._around)
        self._watcher = asyncio.get_running_loop().create_task(self._wait())

    def _around(self, send: Send) -> Send:
        self._send = send
        return self._watched

    async def _watched(self, message: Message) -> None:
        if self._ended:
            return
        if self._last is not None and _is_last(message):
            self._last = None
        await self._send(message)

    async def _wait(self) -> None:
        while not await self._is_over():
            await self._clock.sleep(self._pause())
        if self._last is not None and self._task is not None:
            self._ended = True
            self._task.cancel()

    def _pause(self) -> float:
        left = _LONGEST_SLEEP if self._expires is None else (self._expires - self._clock.now()) / SECOND
        return min(left, EVERY if self._revoked else _LONGEST_SLEEP)

    async def _is_over(self) -> bool:
        if self._expires is not None and self._clock.now() >= self._expires:
            return True
        try:
            return self._revoked is not None and await self._revoked()
        except StoreError:
            return False


def _is_last(message: Message) -> bool:
    kind = message["type"]
    return kind == "websocket.close" or (kind == "http.response.body" and not message.get("more_body", False))


def _is_event_stream(message: Message) -> bool:
    for name, value in message.get("headers") or ():
        if len(name) == 12 and name.lower() == b"content-type" and value.lstrip()[:17].lower() == b"text/event-stream":
            return True
    return False
