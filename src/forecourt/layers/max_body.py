"""Largest body: receives no more of a request than its endpoint has use for.

`EndpointPolicy(max_body=1_048_576)` turns it on. It stands below the limits, which count such calls, and above all that
reads a body. What Content-Length says is refused before anything is read; what comes is counted as it comes, chunked or
not, so memory stays bounded whatever is sent. Refuses with 413 and, over HTTP/1, closes the connection, on which the
rest would follow. Too much after the response has begun looks to the handler as if the client had left.

`MaxBody(size, encodings={"gzip"})` unpacks compressed bodies, piece by piece, to at most `decoded` bytes (413) and
refuses other codings (415, RFC 9110 §15.5.16) and broken ones (400). WebSockets pass: servers limit their messages.
It asks no store.
"""

from forecourt.core.caching.keys import combined
from forecourt.core.unpacking import CorruptError, TooLargeError, Unpacking
from forecourt.exchange import exchange_of
from forecourt.layers.messages import BEGINNINGS
from forecourt.policies.max_body import Encoding, MaxBody
from forecourt.responses import TYPES, Problem
from forecourt.routing import Endpoint
from forecourt.runtime import Runtime
from forecourt.types import ASGIApp, Message, Receive, Scope, Send

TOO_LARGE = Problem(
    413, "Content Too Large", TYPES + "content-too-large", "The content is larger than this endpoint allows."
)
UNSUPPORTED = Problem(
    415,
    "Unsupported Media Type",
    TYPES + "unsupported-encoding",
    "This endpoint does not take content in this encoding; nothing was done.",
)
CORRUPT = Problem(400, "Bad Request", TYPES + "corrupt-content", "The content is not in the encoding that it names.")

_ENCODED = (b"content-encoding", b"content-length")


class MaxBodyLayer:
    """Refuses larger bodies."""

    def __init__(self, app: ASGIApp, *, policy: MaxBody, endpoint: Endpoint, runtime: Runtime) -> None:
        self.app = app
        self._size = policy.size
        self._decoded = policy.most_decoded
        self._encodings: dict[bytes, Encoding] = {each.encode(): each for each in policy.encodings}
        self._accepted = (b"accept-encoding", ", ".join(policy.encodings).encode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse what is said to be larger; count what comes."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        fields = combined(scope["headers"])
        call = _Call(scope, receive, send, self._size)
        length = fields.get(b"content-length", b"")
        if length.isdigit() and int(length[:20]) > self._size:
            return await call.refuse(TOO_LARGE)
        encoding = fields.get(b"content-encoding", b"identity").strip().lower()
        if self._encodings and encoding != b"identity":
            if encoding not in self._encodings:
                exchange_of(scope).headers.append(self._accepted)
                return await call.refuse(UNSUPPORTED)
            call.unpacking = Unpacking(self._encodings[encoding], self._decoded)
            scope["headers"] = [each for each in scope["headers"] if each[0] not in _ENCODED]
        try:
            await self.app(scope, call.receive, call.send)
        except Exception:
            if not call.refused:
                raise


class _Call:
    """One call, whose body is counted; once it is refused, nothing else is answered."""

    __slots__ = ("_left", "_receive", "_scope", "_send", "_started", "gone", "refused", "unpacking")

    def __init__(self, scope: Scope, receive: Receive, send: Send, most: int) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._left = most
        self._started = False
        self.unpacking: Unpacking | None = None
        self.refused = self.gone = False

    async def receive(self) -> Message:
        """Return the next message; a disconnect instead of what is too much."""
        if self.gone:
            return {"type": "http.disconnect"}
        message = await self._receive()
        if message["type"] != "http.request":
            return message
        try:
            return {**message, "body": self._body(message)}
        except TooLargeError:
            await self._end(TOO_LARGE)
        except CorruptError:
            await self._end(CORRUPT)
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """Send, unless we have answered."""
        if not self.refused:
            self._started = self._started or message["type"] in BEGINNINGS
            await self._send(message)

    async def refuse(self, problem: Problem) -> None:
        """Answer instead of the handler."""
        exchange = exchange_of(self._scope)
        exchange.decided("max_body", "refused")
        if self._scope.get("http_version", "1.1").startswith("1"):
            exchange.headers.append((b"connection", b"close"))
        self.refused = True
        await exchange.refuse(problem)(self._scope, self._receive, self._send)

    def _body(self, message: Message) -> bytes:
        """Return what the handler is given; raises TooLargeError, CorruptError."""
        body: bytes = message.get("body", b"")
        self._left -= len(body)
        if self._left < 0:
            raise TooLargeError
        if self.unpacking is None:
            return body
        return self.unpacking.more(body, last=not message.get("more_body", False))

    async def _end(self, problem: Problem) -> None:
        self.gone = True
        if not self._started:
            await self.refuse(problem)
