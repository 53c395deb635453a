"""What idempotency answers instead of the handler: problems, and replays."""

from collections.abc import Callable

from forecourt.core.idempotency_rules import Fingerprint, kept_fields
from forecourt.core.stored_response import StoredResponse
from forecourt.exchange import exchange_of
from forecourt.layers.idempotency_request import ReadRequest
from forecourt.responses import TYPES, Header, Problem, Refusal
from forecourt.types import ASGIApp, Receive, Scope, Send

BODY_NOT_KEPT = 1
"""The flag of a stored response that is a tombstone: its body was too large or a stream, so that it is not here."""

REPLAYED: Header = (b"idempotent-replayed", b"true")


def missing(header: str) -> Problem:
    """Build the problem of a call without a key."""
    return Problem(
        400,
        "Bad Request",
        TYPES + "idempotency-key-missing",
        f"This call needs a {header} field; nothing was done.",
    )


def malformed(header: str, reason: str) -> Problem:
    """Build the problem of a key that is none."""
    return Problem(
        400,
        "Bad Request",
        TYPES + "idempotency-key-malformed",
        f"The {header} field is wrong: {reason}; nothing was done.",
    )


REUSED = Problem(
    422,
    "Unprocessable Content",
    TYPES + "idempotency-key-reused",
    "This key belongs to a call with another payload; nothing was done.",
)
IN_PROGRESS = Problem(
    409,
    "Conflict",
    TYPES + "idempotency-in-progress",
    "The call of this key is still at work; ask again for its answer.",
)
UNKNOWN = Problem(
    409,
    "Conflict",
    TYPES + "idempotency-outcome-unknown",
    "Whether the call of this key was carried out is unknown. It is not carried out again: "
    "look whether it was, and use a new key if not.",
)
TOO_MANY = Problem(
    429,
    "Too Many Requests",
    TYPES + "idempotency-keys-used-up",
    "As many keys as a caller may have are kept; nothing was done.",
)
UNPREPARED = Problem(
    503,
    "Service Unavailable",
    TYPES + "idempotency-not-prepared",
    "The database of this endpoint is not ready to keep what it has done; nothing was done.",
)


def not_kept(status: int) -> Problem:
    """Build the body of an answer that was not kept: the call was carried out, with this status."""
    return Problem(
        status,
        "Carried Out Before",
        TYPES + "idempotency-answer-not-kept",
        "The call of this key was carried out; its answer was too large to keep.",
    )


class Replay:
    """An ASGI app that gives a kept answer again, to the payload that it belongs to; 422 to any other.

    `started` begins this request's fingerprint; None where both have been compared.
    """

    def __init__(
        self,
        kept: StoredResponse,
        fingerprint: bytes = b"",
        started: Callable[[Scope], Fingerprint] | None = None,
    ) -> None:
        self._kept = kept
        self._fingerprint = fingerprint
        self._started = started

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the request to its end, compare, and answer; a client that left gets nothing."""
        if self._fingerprint and self._started is not None:
            request = ReadRequest(receive, self._started(scope))
            if not await request.rest():
                return None
            if request.fingerprint != self._fingerprint:
                return await exchange_of(scope).refuse(REUSED)(scope, receive, send)
        if self._kept.flags & BODY_NOT_KEPT:
            return await self._tombstone(scope)(scope, receive, send)
        headers = [*self._kept.headers, REPLAYED]
        await send({"type": "http.response.start", "status": self._kept.status, "headers": headers})
        await send({"type": "http.response.body", "body": self._kept.body})

    def _tombstone(self, scope: Scope) -> ASGIApp:
        status = self._kept.status
        headers = (*kept_fields(self._kept.headers, body=False), REPLAYED)
        if status in (204, 205, 304):
            return _Bare(status, headers)
        return Refusal(not_kept(status), headers=headers, renderer=exchange_of(scope).runtime.renderer)


class _Bare:
    """A response without a body, as its status demands (RFC 9110 §15)."""

    def __init__(self, status: int, headers: tuple[Header, ...]) -> None:
        self._status = status
        self._headers = headers

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self._status, "headers": list(self._headers)})
        await send({"type": "http.response.body", "body": b""})
