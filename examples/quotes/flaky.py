"""A server on loopback that does what its script says: answers, errors, stalls, resets, bodies that break off.

`GET /quotes/…` is a call, and so are `PUT` and `GET /files/…`, of files that it keeps; `PUT /script` with a list of
moods in JSON says what the next ones meet, the last mood for ever; `GET /calls` says how many there were, and how many
bytes of files have come.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

Mood = int | str
"""A status; or `stall` (no answer), `reset`, `half` (a body that breaks off), `drip` (one that stalls), `events`."""

PRICE = b'{"price": 42}'
_PIECE = 65_536

MOODS = frozenset({"stall", "reset", "half", "drip", "events"})


class Flaky:
    """The server, its script, and what it was asked."""

    def __init__(self, *script: Mood) -> None:
        self.script: list[Mood] = list(script) or [200]
        self.heads: list[str] = []
        self.fields: dict[str, str] = {}
        self.go_on = asyncio.Event()
        self.url = ""
        self.received = 0
        self._files: dict[str, bytes] = {}
        self._open: dict[asyncio.Task[None] | None, asyncio.StreamWriter] = {}

    @property
    def calls(self) -> int:
        """How often it was called."""
        return len(self.heads)

    @asynccontextmanager
    async def running(self, port: int = 0) -> AsyncIterator["Flaky"]:
        """Listen until left; `url` says where."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            self.go_on.set()
            server.close()
            serving = [task for task in self._open if task is not None]
            for writer in self._open.values():
                writer.transport.abort()
            await asyncio.gather(*serving)

    def says(self, *script: Mood) -> None:
        """Go on by this script."""
        self.script = list(script)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open[asyncio.current_task()] = writer
        try:
            while head := (await reader.readuntil(b"\r\n\r\n")).decode("latin-1"):
                body = await self._body(head.lower(), reader)
                if not await self._answer(head, body, writer):
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            del self._open[asyncio.current_task()]
            writer.close()

    async def _body(self, head: str, reader: asyncio.StreamReader) -> bytes:
        """Read a request's body, and count what comes of files as it does."""
        pieces: list[bytes] = []
        lengths = [line for line in head.split("\r\n") if line.startswith("content-length:")]
        left = int(lengths[0].partition(":")[2]) if lengths else 0
        chunked = "transfer-encoding: chunked" in head
        while left or chunked:
            if chunked and not left:
                left = int((await reader.readuntil(b"\r\n")).split(b";")[0], 16)
                chunked = left > 0
            pieces.append(await reader.readexactly(min(left, _PIECE)))
            left -= len(pieces[-1])
            self.received += len(pieces[-1]) if "put /files/" in head else 0
            if "transfer-encoding: chunked" in head and not left:
                await reader.readexactly(2)
        return b"".join(pieces)

    async def _answer(self, head: str, body: bytes, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; return whether the connection may be used again."""
        method, path, _ = head.split(" ", 2)
        if (method, path) == ("PUT", "/script"):
            return await self._told(body, writer)
        if path == "/calls":
            return await _write(writer, 200, json.dumps({"calls": self.calls, "received": self.received}).encode())
        self.heads.append(head.lower())
        mood = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        content = PRICE
        if path.startswith("/files/"):
            if method == "PUT":
                self._files[path] = body
            content = b"{}" if method == "PUT" else self._files.get(path, b"")
            mood = 404 if not content and mood == 200 else mood
        if isinstance(mood, int):
            return await _write(writer, mood, content if mood < 400 else b'{"error": "by script"}', self.fields)
        if mood == "reset":
            writer.transport.abort()
            return False
        if mood != "stall":
            kind = b"text/event-stream" if mood == "events" else b"application/json"
            length = b"\r\ncontent-length: %d\r\n\r\n" % len(content)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: " + kind + length + content[: len(content) // 2 - 1])
            await writer.drain()
        if mood != "half":
            await self.go_on.wait()
        return False

    async def _told(self, body: bytes, writer: asyncio.StreamWriter) -> bool:
        try:
            script = json.loads(body)
        except ValueError:
            script = None
        if script is None or not _is_script(script):
            return await _write(writer, 400, b'{"error": "a list of statuses and moods"}')
        self.says(*script)
        return await _write(writer, 200, b"{}")


def _is_script(script: object) -> bool:
    if not isinstance(script, list) or not script:
        return False
    return all(mood in MOODS or (type(mood) is int and 200 <= mood < 600) for mood in script)


async def _write(writer: asyncio.StreamWriter, status: int, body: bytes, fields: dict[str, str] | None = None) -> bool:
    more = "".join(f"{name}: {value}\r\n" for name, value in (fields or {}).items())
    head = f"HTTP/1.1 {status} By Script\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n{more}\r\n"
    writer.write(head.encode() + body)
    await writer.drain()
    return True


def heard(calls: Sequence[str], field: str) -> list[str | None]:
    """Return what each of these calls said in a field."""
    found = []
    for head in calls:
        values = [line.partition(":")[2].strip() for line in head.split("\r\n") if line.startswith(f"{field}:")]
        found.append(values[0] if values else None)
    return found
