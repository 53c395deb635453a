"""Largest header: refuses a request whose fields weigh more than an endpoint has use for.

`EndpointPolicy(max_headers=8192)` turns it on, in bytes of names and values. It stands before auth, so that nothing
reads them. Refuses with 431 (RFC 6585 §5). Servers have a limit of their own (64 KiB in uvicorn), for all endpoints.
It asks no store.
"""

from forecourt.exchange import exchange_of
from forecourt.responses import TYPES, Problem
from forecourt.routing import Endpoint
from forecourt.runtime import Runtime
from forecourt.types import ASGIApp, Receive, Scope, Send

TOO_LARGE = Problem(
    431,
    "Request Header Fields Too Large",
    TYPES + "header-too-large",
    "The request's header fields are larger than this endpoint allows; nothing was done.",
)


class MaxHeadersLayer:
    """Refuses larger headers; `policy` in bytes."""

    def __init__(self, app: ASGIApp, *, policy: int, endpoint: Endpoint, runtime: Runtime) -> None:
        self.app = app
        self._most = policy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Weigh; refuse or pass on."""
        if sum([len(name) + len(value) for name, value in scope["headers"]]) > self._most:
            exchange = exchange_of(scope)
            exchange.decided("max_headers", "refused")
            return await exchange.refuse(TOO_LARGE)(scope, receive, send)
        await self.app(scope, receive, send)
