"""A connection that redis-py made, taken over: bytes go out at once, and replies come without a task that waits.

redis-py connects, authenticates, speaks TLS and greets; from then on its own reading and writing would cost a task per
connection, two turns of the loop per command and a coroutine per reply. So the transport is given another protocol
(`asyncio.BaseTransport.set_protocol`), which reads whole replies out of what arrives and hands them over in order.
"""

import asyncio
from collections.abc import Callable

from forecourt.stores.redis.commands import Reply, ReplyError
from forecourt.stores.redis.connection import Connection, hang_up, reason, stream_of
from forecourt.stores.redis.replies import INCOMPLETE, new_reader

MOST_UNSENT = 1024 * 1024
"""Bytes beyond which the transport gets no more until the server has read some."""


class Line(asyncio.Protocol):
    """One open connection.

    `replied` is called with the replies that came together, oldest first; `ready` when the server reads again after
    `full` was True; `lost` with the reason, once, when the connection is of no more use (not after `close`).
    """

    def __init__(
        self,
        connection: Connection,
        *,
        replied: Callable[[list[Reply | ReplyError]], None],
        ready: Callable[[], None],
        lost: Callable[[str], None],
    ) -> None:
        self.full = False
        self._connection = connection
        self._reader = new_reader()
        self._replied = replied
        self._ready = ready
        self._lost = lost
        self._open = True
        stream = stream_of(connection)
        if stream is None:
            raise ConnectionError("there is no connection")
        self.transport = stream.transport
        self.transport.set_write_buffer_limits(high=MOST_UNSENT)
        self.transport.set_protocol(self)
        self.write = self.transport.write

    async def close(self) -> None:
        """Close at once; what was not sent is thrown away."""
        self._open = False
        await hang_up(self._connection)

    # What the transport tells.

    def data_received(self, data: bytes) -> None:
        """Hand over the replies that are whole by now."""
        if not self._open:
            return
        replies: list[Reply | ReplyError] = []
        reader, wrong = self._reader, None
        try:
            reader.feed(data)
            while (reply := reader.gets()) is not INCOMPLETE:
                replies.append(reply)
        except ConnectionError as error:
            wrong = reason(error)
        if replies:
            self._replied(replies)
        if wrong is not None:
            self._end(wrong)

    def pause_writing(self) -> None:
        """Hear that the server does not read what was sent."""
        self.full = True

    def resume_writing(self) -> None:
        """Hear that it does again."""
        self.full = False
        self._ready()

    def connection_lost(self, exc: Exception | None) -> None:
        """Hear that the connection is no more."""
        self._end("closed by the server" if exc is None else reason(exc))

    def _end(self, why: str) -> None:
        if self._open:
            self._open = False
            self._lost(why)
