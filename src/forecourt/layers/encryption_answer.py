"""One answer on its way to be sealed: held until it is whole, within a bound, and sealed for its caller.

What leaves as it is: forecourt's own refusals, known by their bytes, so that nothing of anybody else passes for one.
An answer that cannot be held is not given: an event stream, which may never end, and one that is too large. Trailers
are left out. What is sealed is for one caller and one moment: nobody is to store it.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

from forecourt.core.payload import Call, Header, of_answer
from forecourt.exchange import Exchange
from forecourt.layers.messages import is_event_stream
from forecourt.payload.contents import Contents
from forecourt.payload.keys import Seals
from forecourt.responses import TYPES, Problem, Refusal
from forecourt.responses import Header as ByteHeader
from forecourt.types import SECOND, Clock, Message, Receive, Send

LARGE = 64 * 1024
"""Bytes from which a message is sealed or opened in a thread: it takes about a millisecond."""

NOT_SEALABLE = Problem(
    500,
    "Internal Server Error",
    TYPES + "answer-not-sealable",
    "The call was carried out; its answer cannot be sealed and is withheld.",
)

_BODILESS = frozenset({204, 205, 304})
_OF_CONTENT = frozenset({b"content-type", b"content-length", b"content-encoding"})
_OF_CACHES = frozenset({b"cache-control", b"expires", b"pragma", b"cdn-cache-control", b"surrogate-control"})
_OF_BYTES = frozenset({b"accept-ranges", b"content-range", b"content-md5", b"content-digest", b"repr-digest"})
_DROPPED = _OF_CONTENT | _OF_CACHES | _OF_BYTES
_NO_STORE = (b"cache-control", b"no-store")

Result = TypeVar("Result")


async def worked(size: int, work: Callable[[], Result]) -> Result:
    """Return what `work` returns; in a thread where so many bytes would keep the loop too long."""
    return work() if size < LARGE else await asyncio.to_thread(work)


class Sealed(NamedTuple):
    """How one answer is sealed: in which way, for whom, and as the answer to which call and request id."""

    contents: Contents
    seals: Seals
    call: Call
    id: str | None
    clock: Clock
    most: int


class Answering:
    """Holds one answer and sends it sealed."""

    def __init__(self, sealed: Sealed, exchange: Exchange, receive: Receive, send: Send) -> None:
        self._sealed = sealed
        self._exchange = exchange
        self._receive = receive
        self._send = send
        self._start: Message = {}
        self._parts: list[bytes] = []
        self._size = 0
        self._done = False
        self.given_up = False
        """Whether something else was answered instead; raising OSError tells the handler that nobody listens."""

    async def send(self, message: Message) -> None:
        """Hold what is answered; send it all at its end."""
        kind = message["type"]
        if self.given_up:
            raise OSError("the answer is withheld")
        if kind == "http.response.start":
            await self._begin(message)
        elif kind == "http.response.body":
            await self._add(message.get("body", b""), last=not message.get("more_body", False))
        elif kind in ("http.response.pathsend", "http.response.zerocopysend"):
            await self._give_up()
        elif kind != "http.response.trailers":
            await self._send(message)

    async def _begin(self, message: Message) -> None:
        self._start = {name: value for name, value in message.items() if name != "trailers"}
        if is_event_stream(message):
            await self._give_up()

    async def _add(self, body: bytes, *, last: bool) -> None:
        self._parts.append(bytes(body))
        self._size += len(body)
        if self._size > self._sealed.most:
            await self._give_up()
        elif last and not self._done:
            self._done = True
            await self._end(b"".join(self._parts))

    async def _end(self, content: bytes) -> None:
        headers, status = self._start.get("headers") or (), self._start["status"]
        if status in _BODILESS or self._exchange.scope["method"] == "HEAD":
            return await self._give({**self._start, "headers": self._marked(headers, None)}, b"")
        if self._is_refusal(status, content):
            return await self._give(self._start, content)
        try:
            body, kind = await worked(len(content), lambda: self._seal(headers, status, content))
        except ValueError:
            return await self._give_up()
        await self._give({**self._start, "headers": self._marked(headers, (kind, len(body)))}, body)

    def _seal(self, headers: Sequence[ByteHeader], status: int, content: bytes) -> tuple[bytes, str]:
        sealed, fields = self._sealed, dict(headers)
        coding = fields.get(b"content-encoding", b"").decode("latin-1")

        def say(kind: str, pointer: str | None) -> Header:
            now = sealed.clock.now() // SECOND
            said = of_answer(sealed.call, now, sealed.id, status, kind, pointer=pointer)
            return {**said, "ce": coding} if coding else said

        kind = fields.get(b"content-type", b"").decode("latin-1")
        return sealed.contents.seal(sealed.seals, content, kind, say)

    def _is_refusal(self, status: int, content: bytes) -> bool:
        """Return whether this is a refusal of our own, word for word: that is nobody's content."""
        refused = self._exchange.refused
        if refused is None or refused.status != status:
            return False
        return self._exchange.runtime.renderer(self._exchange.scope, refused)[1] == content

    def _marked(self, headers: Sequence[ByteHeader], kind: tuple[str, int] | None) -> list[ByteHeader]:
        """Return an answer's fields for what is sealed; None: it has no content."""
        kept = [each for each in headers if each[0].lower() not in _DROPPED]
        if kind is not None:
            kept += [(b"content-type", kind[0].encode("latin-1")), (b"content-length", b"%d" % kind[1])]
        return [*kept, _NO_STORE]

    async def _give(self, start: Message, body: bytes) -> None:
        await self._send(start)
        await self._send({"type": "http.response.body", "body": body})

    async def _give_up(self) -> None:
        """Answer that there is an answer which is withheld; it is none of the refusals that undo what was granted."""
        self.given_up = True
        self._parts.clear()
        self._exchange.decided("encryption", "failed")
        refusal = Refusal(NOT_SEALABLE, renderer=self._exchange.runtime.renderer)
        await refusal(self._exchange.scope, self._receive, self._send)
