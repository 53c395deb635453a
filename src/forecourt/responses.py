"""Refusals: the responses that forecourt gives instead of the handler's.

Bodies are problem details (RFC 9457, `application/problem+json`) with stable `type` URIs. A refusal is an ASGI app,
so that a layer answers with `await refusal(scope, receive, send)`; on a WebSocket it denies the handshake with the same
status where the server can (ASGI extension `websocket.http.response`), else it closes with a code.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from forecourt.types import Message, Receive, Scope, Send

Header = tuple[bytes, bytes]

TYPES = "https://forecourt.dev/problems/"
"""Prefix of our own problem types."""

IANA_TYPES = "https://iana.org/assignments/http-problem-types#"
"""Prefix of registered problem types."""

CLOSE_POLICY, CLOSE_ERROR, CLOSE_LATER = 1008, 1011, 1013
"""WebSocket close codes (RFC 6455 §7.4.1, IANA registry): policy violation, internal error, try again later."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem detail: what went wrong, in the five members of RFC 9457 and our extensions to them."""

    status: int
    title: str
    type: str = "about:blank"
    detail: str = ""
    extensions: Mapping[str, object] = field(default_factory=dict)

    def members(self) -> dict[str, object]:
        """Return the members of the JSON object, empty ones left out."""
        stated = {"type": self.type, "title": self.title, "status": self.status, "detail": self.detail}
        return {**{name: value for name, value in stated.items() if value != ""}, **self.extensions}


_encode = json.JSONEncoder(separators=(",", ":")).encode

Renderer = Callable[[Scope, Problem], tuple[str, bytes]]
"""How an app words its problems: (scope, problem) → (media type, body)."""


def render(_scope: Scope, problem: Problem) -> tuple[str, bytes]:
    """Render as problem+json, the way of every refusal unless the app gives its own renderer."""
    return "application/problem+json", _encode(problem.members()).encode()


@dataclass(frozen=True, slots=True)
class Refusal:
    """An ASGI app that answers with a problem; `retry_after` in whole seconds, `headers` besides the usual ones."""

    problem: Problem
    retry_after: int | None = None
    headers: tuple[Header, ...] = ()
    renderer: Renderer = render

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Send the whole answer at once."""
        if scope["type"] == "websocket" and "websocket.http.response" not in (scope.get("extensions") or {}):
            await send({"type": "websocket.close", "code": self._code(), "reason": self.problem.title})
            return
        prefix: Literal["http", "websocket.http"] = "http" if scope["type"] == "http" else "websocket.http"
        media_type, body = self.renderer(scope, self.problem)
        await send(self._start(prefix, media_type, body))
        await send({"type": f"{prefix}.response.body", "body": b"" if scope.get("method") == "HEAD" else body})

    def _code(self) -> int:
        if self.problem.status in (429, 503):
            return CLOSE_LATER
        return CLOSE_ERROR if self.problem.status >= 500 else CLOSE_POLICY

    def _start(self, prefix: str, media_type: str, body: bytes) -> Message:
        headers = [
            (b"content-type", media_type.encode("latin-1")),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
        ]
        if self.retry_after is not None:
            headers.append((b"retry-after", str(self.retry_after).encode()))
        return {
            "type": f"{prefix}.response.start",
            "status": self.problem.status,
            "headers": [*headers, *self.headers],
        }


INTERNAL_ERROR = Problem(500, "Internal Server Error", TYPES + "internal-error")
FORBIDDEN = Problem(403, "Forbidden", TYPES + "forbidden", "The caller may not do this; nothing was done.")
STORE_UNAVAILABLE = Problem(
    503,
    "Service Unavailable",
    TYPES + "store-unavailable",
    "A service that this endpoint's policies depend on does not answer; nothing was done.",
)
UNAVAILABLE = Problem(
    503,
    "Service Unavailable",
    TYPES + "circuit-open",
    "What this endpoint needs has failed, and is left alone for a while; nothing was done.",
)
OVERLOADED = Problem(
    503,
    "Service Unavailable",
    IANA_TYPES + "temporary-reduced-capacity",
    "This server has more work than it can decide on now; nothing was done.",
)


def limit_exceeded(policies: Sequence[str]) -> Problem:
    """Build the problem of a call over its limits, which it names."""
    return Problem(
        429,
        "Too Many Requests",
        IANA_TYPES + "quota-exceeded",
        "The limit for this call is used up; nothing was done.",
        {"violated-policies": list(policies)},
    )
