"""A way to a server that a test can cut, or on which it can keep replies back."""

import asyncio
import ssl
from contextlib import suppress
from types import TracebackType
from typing import Self

from tests.servers import HOST, Valkey, free_port


class Proxy:
    """Passes bytes between clients and a server, on the event loop of the test; with `tls` it speaks TLS to clients.

    Every reply is passed on after `latency` seconds, one after the other.

    `hold()` keeps replies back while commands still reach the server; `cut()` ends every connection with whatever is on
    its way, and new ones are accepted, unless `refusing`.
    """

    def __init__(self, server: Valkey, tls: ssl.SSLContext | None = None, *, latency: float = 0) -> None:
        self.port = free_port()
        self.accepted = 0
        self.refusing = False
        self._server = server
        self._tls = tls
        self._latency = latency
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._listening: asyncio.Server | None = None
        self._pumps: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def __aenter__(self) -> Self:
        self._listening = await asyncio.start_server(self._accept, HOST, self.port, ssl=self._tls)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._listening is not None:
            self._listening.close()
        pumps = list(self._pumps)
        self.cut()
        await asyncio.gather(*pumps, return_exceptions=True)

    @property
    def url(self) -> str:
        """The store's URL through the proxy."""
        return f"{'rediss' if self._tls else 'redis'}://{HOST}:{self.port}"

    def hold(self) -> None:
        """Keep replies back."""
        self._flowing.clear()

    def release(self) -> None:
        """Pass replies on, those kept back first."""
        self._flowing.set()

    def cut(self) -> None:
        """End every connection."""
        for pump, writer in self._pumps.items():
            writer.transport.abort()
            pump.cancel()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refusing:
            writer.transport.abort()
            return
        self.accepted += 1
        try:
            replies, commands = await asyncio.open_unix_connection(str(self._server.socket))
        except OSError:
            writer.transport.abort()
            return
        for source, sink, held in ((reader, commands, False), (replies, writer, True)):
            pump = asyncio.create_task(self._pass(source, sink, held=held))
            self._pumps[pump] = sink
            pump.add_done_callback(self._pumps.pop)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, held: bool) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                if held:
                    await self._flowing.wait()
                    await asyncio.sleep(self._latency)
                writer.write(data)
                await writer.drain()
        writer.transport.abort()
