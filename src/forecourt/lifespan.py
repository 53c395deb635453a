"""The server's lifespan, with room around the app's own: open before it starts, check once it has, close after.

An app that knows no lifespan (a bare function, some frameworks) raises or returns at once; the protocol is then
answered for it, so that its store still opens and closes with the server.
"""

from collections.abc import Awaitable, Callable

from forecourt.errors import ConfigError
from forecourt.types import ASGIApp, Message, Receive, Scope, Send

Step = Callable[[Scope], Awaitable[None]]


class Lifespan:
    """Passes one lifespan on to `app`; `start` before its startup, `ready` after it, `stop` after its shutdown.

    An error of ours becomes `lifespan.startup.failed` with its text, so that the server stops and says why.
    """

    def __init__(self, app: ASGIApp, start: Step, ready: Step, stop: Step) -> None:
        self._app = app
        self._start = start
        self._ready = ready
        self._stop = stop

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the whole lifespan."""
        await _Passage(self, scope, receive, send).run()


class _Passage:
    """One lifespan under way: what the app has received and answered so far."""

    def __init__(self, steps: Lifespan, scope: Scope, receive: Receive, send: Send) -> None:
        self._steps = steps
        self._scope = scope
        self._server_receive = receive
        self._server_send = send
        self._received = self._started = self._answered = self._ended = False

    async def run(self) -> None:
        try:
            await self._steps._app(self._scope, self._receive, self._send)
        except Exception:
            if self._received or self._ended:
                await self._stop_once()
                raise
        if not self._answered and not self._ended:
            await self._answer_for_the_app()

    async def _receive(self) -> Message:
        message = await self._server_receive()
        if message["type"] == "lifespan.startup":
            await self._guarded(self._steps._start)
            self._received = self._started = True
        return message

    async def _send(self, message: Message) -> None:
        kind = message["type"]
        if kind == "lifespan.startup.complete":
            await self._guarded(self._steps._ready)
            self._answered = True
        elif kind in ("lifespan.shutdown.complete", "lifespan.shutdown.failed"):
            await self._stop_once()
        elif kind == "lifespan.startup.failed":
            if self._ended:
                return
            self._ended = True
            await self._stop_once()
        await self._server_send(message)

    async def _guarded(self, step: Step) -> None:
        """Take a step of ours; where it fails, tell the server in our words and raise."""
        try:
            await step(self._scope)
        except Exception as error:
            self._ended = True
            await self._stop_once()
            message = str(error) if isinstance(error, ConfigError) else f"{type(error).__name__}: {error}"
            await self._server_send({"type": "lifespan.startup.failed", "message": message})
            raise

    async def _stop_once(self) -> None:
        if self._started:
            self._started = False
            await self._steps._stop(self._scope)

    async def _answer_for_the_app(self) -> None:
        """Go through the protocol without the app."""
        if not self._received:
            await self._receive()
        await self._send({"type": "lifespan.startup.complete"})
        await self._receive()
        await self._send({"type": "lifespan.shutdown.complete"})
