"""The request as idempotency sees it: hashed as it streams, and whole however little of it the handler reads."""

import asyncio
from collections import deque
from collections.abc import Callable

from forecourt.core.idempotency_rules import Fingerprint
from forecourt.types import Message, Receive


class ReadRequest:
    """Receives for the handler and hashes the body; `fingerprint` is empty until all of it has come.

    `on_end` is told the fingerprint when the body has ended. One reads at a time: a handler may listen for the end of
    its client while the rest of the body is read for it.
    """

    __slots__ = ("_ahead", "_hash", "_on_end", "_one", "_receive", "fingerprint", "gone")

    def __init__(
        self, receive: Receive, fingerprint: Fingerprint, on_end: Callable[[bytes], None] = lambda _: None
    ) -> None:
        self._receive = receive
        self._hash = fingerprint
        self._on_end = on_end
        self._one = asyncio.Lock()
        self._ahead: deque[Message] = deque()
        self.fingerprint = b""
        self.gone = False
        """Whether the client has left."""

    async def __call__(self) -> Message:
        """Return the next message, read ahead or new."""
        return self._ahead.popleft() if self._ahead else await self._next()

    async def rest(self) -> bool:
        """Read and hash what has not been read of the body, and forget it; False when the client left before."""
        while not self._over():
            async with self._one:
                if not self._over():
                    await self._read()
        return bool(self.fingerprint)

    async def ahead(self, most: int) -> bool:
        """Read the whole body and keep it for the handler; False when it is larger, or the client left before."""
        size = 0
        while not self._over() and size <= most:
            self._ahead.append(message := await self._next())
            size += len(message.get("body", b""))
        return bool(self.fingerprint) and size <= most

    def to_come(self) -> bool:
        """Whether the handler has not been given all of the request."""
        return bool(self._ahead) or not self.fingerprint

    def _over(self) -> bool:
        return bool(self.fingerprint) or self.gone

    async def _next(self) -> Message:
        async with self._one:
            return await self._read()

    async def _read(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self.gone = True
        elif not self.fingerprint:
            self._hash.feed(message.get("body", b""))
            if not message.get("more_body", False):
                self.fingerprint = self._hash.digest()
                self._on_end(self.fingerprint)
        return message
