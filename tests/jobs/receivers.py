"""A receiver of webhooks on this machine, which answers as it is told."""

import asyncio
import base64
import json
import ssl
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from standardwebhooks import Webhook

SECRET = bytes(range(32))
SPELT = "whsec_" + base64.b64encode(SECRET).decode()


class Receiver:
    """Keeps each request; answers with the statuses in `answers` in turn, then 204, or with the raw bytes of `says`."""

    def __init__(
        self,
        *answers: int,
        says: bytes | None = None,
        tls: ssl.SSLContext | None = None,
        location: str = "/elsewhere",
    ) -> None:
        self.answers = list(answers)
        self.heads: list[dict[str, str]] = []
        self.lines: list[str] = []
        self.bodies: list[bytes] = []
        self.hold = asyncio.Event()
        self.hold.set()
        self.says = says
        self._location = location
        self._tls = tls
        self.port = 0

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}/hooks?a=b"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, _t: type | None, _e: BaseException | None, _b: TracebackType | None) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            fields = dict(line.split(": ", 1) for line in head[1:] if line)
            self.bodies.append(await reader.readexactly(int(fields["content-length"])))
            self.heads.append(fields)
            self.lines.append(head[0])
            await self.hold.wait()
            status = self.answers.pop(0) if self.answers else 204
            writer.write(self.says or f"HTTP/1.1 {status} Said\r\nlocation: {self._location}\r\n\r\n".encode())
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def messages(self) -> list[dict[str, object]]:
        """Return the messages that came."""
        return [json.loads(body) for body in self.bodies]

    def verify(self, place: int, secret: bytes = SECRET) -> None:
        """Check a message as the reference does, but for its age; raises where it is forged."""
        hook = Webhook(base64.b64encode(secret).decode())
        head = self.heads[place]
        made = head["webhook-signature"].split(" ")
        when = datetime.fromtimestamp(int(head["webhook-timestamp"]), UTC)
        assert hook.sign(head["webhook-id"], when, self.bodies[place].decode()) in made
