"""An identity provider on loopback that does what a test says: publishes keys, stalls, talks garbage, is gone."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Literal

from forecourt.testing import FakeIssuer

Mood = Literal["good", "stalling", "garbage", "not a set", "empty", "failing", "gone", "huge", "redirecting"]

BODIES = {"garbage": b"\xff<html>", "not a set": b"[]", "empty": b'{"keys":[]}', "huge": b"[" + b"1," * 400_000 + b"1]"}


class Provider:
    """Serves `/keys`, `/.well-known/openid-configuration` and `/introspect`; counts how often each is asked."""

    def __init__(self) -> None:
        self.mood: Mood = "good"
        self.published: list[dict[str, object]] = []
        self.fields: dict[str, str] = {}
        self.asked: dict[str, int] = {}
        self.requests: list[str] = []
        self.issuer: str | None = None
        self.introspect: Callable[[str], dict[str, object]] = lambda _: {"active": False}
        self.go_on = asyncio.Event()
        self.url = ""

    def publish(self, *issuers: FakeIssuer) -> None:
        """Publish these keys instead of those before."""
        self.published = [issuer.key.jwk() for issuer in issuers]

    @property
    def total(self) -> int:
        """How often it was asked for keys."""
        return self.asked.get("/keys", 0)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request and hang up."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = next(
                (int(line.split(":")[1]) for line in head.split("\r\n") if line.lower().startswith("content-length")), 0
            )
            body = (await reader.readexactly(length)).decode()
            path = head.split(" ")[1]
            self.requests.append(head + body)
            self.asked[path] = self.asked.get(path, 0) + 1
            if self.mood == "stalling":
                await self.go_on.wait()
            if self.mood != "gone":
                writer.write(self._answer(path, head, body))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def _answer(self, path: str, head: str, body: str) -> bytes:
        status, said = "200 OK", b""
        if self.mood == "failing":
            status = "500 Internal Server Error"
        elif self.mood == "redirecting":
            return b"HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        elif self.mood in BODIES:
            said = BODIES[self.mood]
        elif path == "/introspect":
            said = json.dumps(self.introspect(body)).encode()
        elif path == "/keys":
            if "etag" in self.fields and f"if-none-match: {self.fields['etag']}" in head.lower():
                status = "304 Not Modified"
            else:
                said = json.dumps({"keys": self.published}).encode()
        else:
            said = json.dumps({"issuer": self.issuer or self.url, "jwks_uri": f"{self.url}/keys"}).encode()
        fields = "".join(f"{name}: {value}\r\n" for name, value in self.fields.items())
        return f"HTTP/1.1 {status}\r\n{fields}content-length: {len(said)}\r\nconnection: close\r\n\r\n".encode() + said


@asynccontextmanager
async def providing() -> AsyncIterator[Provider]:
    """Run a provider on a free port."""
    provider = Provider()
    server = await asyncio.start_server(provider.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    provider.url = f"http://127.0.0.1:{port}"
    try:
        yield provider
    finally:
        provider.go_on.set()
        server.close()
        await server.wait_closed()


async def until(true: Callable[[], bool | Awaitable[bool]]) -> None:
    """Let the network do its work until something is so."""
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.002)
