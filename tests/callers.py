"""Callers who are at work for a while: each a task, whose response is there message by message, and who may leave."""

import asyncio

from forecourt.types import ASGIApp, Message, Scope
from tests.asgi import Answer, http


async def settle_down() -> None:
    """Let every task run until it waits for something that only a test or the network will do."""
    for _ in range(30):
        await asyncio.sleep(0)


class Caller:
    """One call under way; `begin` it, look at its answer as it comes, and end it one way or another."""

    def __init__(self, app: ASGIApp, scope: Scope) -> None:
        self.answer = Answer()
        self._is_socket = scope["type"] == "websocket"
        self._gone = asyncio.Event()
        self._received = False
        self.task = asyncio.get_running_loop().create_task(self._call(app, scope))

    @classmethod
    async def begin(cls, app: ASGIApp, path: str = "/", client: str = "192.0.2.1") -> "Caller":
        """Begin a request, and let it come as far as it can."""
        caller = cls(app, http(path, client=client))
        await settle_down()
        return caller

    @property
    def status(self) -> int | None:
        """The status, once the response has begun."""
        return self.answer.status if self.answer.starts else None

    async def leave(self) -> None:
        """Disconnect, as a client does that is not interested any more."""
        self._gone.set()
        await settle_down()

    async def cancel(self) -> None:
        """Cancel the call, as a server does that gives it up."""
        self.task.cancel()
        await settle_down()

    async def end(self) -> Answer:
        """Wait for the end of the call and return what came back."""
        await self.task
        await settle_down()
        return self.answer

    async def _call(self, app: ASGIApp, scope: Scope) -> None:
        await app(scope, self._receive, self._send)

    async def _receive(self) -> Message:
        if not self._received:
            self._received = True
            if self._is_socket:
                return {"type": "websocket.connect"}
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._gone.wait()
        return {"type": "websocket.disconnect" if self._is_socket else "http.disconnect", "code": 1001}

    async def _send(self, message: Message) -> None:
        self.answer.messages.append(message)
