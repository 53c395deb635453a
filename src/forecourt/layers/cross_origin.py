"""Cross-origin protection: pages of other sites cannot have a user's browser change anything.

`EndpointPolicy(cross_origin=CrossOrigin())` turns it on for methods that change something and for WebSockets;
`origins` names other sites whose pages may. It stands before auth: cookies that a browser sends along by itself must
not be believed. It needs no tokens and no session; what decides is in `core/cross_origin.py`.

Refuses with 403. It is no CORS: CORSMiddleware tells browsers which pages may read answers, this one which may call.
It asks no store.
"""

from forecourt.core.caching.keys import combined
from forecourt.core.cross_origin import let_in
from forecourt.exchange import exchange_of
from forecourt.policies.cross_origin import CrossOrigin
from forecourt.responses import TYPES, Problem
from forecourt.routing import Endpoint
from forecourt.runtime import Runtime
from forecourt.types import ASGIApp, Receive, Scope, Send

CROSS_ORIGIN = Problem(
    403,
    "Forbidden",
    TYPES + "cross-origin",
    "A page of another site has sent this; nothing was done.",
)

_SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "QUERY"})


class CrossOriginLayer:
    """Refuses what other sites' pages send."""

    def __init__(self, app: ASGIApp, *, policy: CrossOrigin, endpoint: Endpoint, runtime: Runtime) -> None:
        self.app = app
        self._trusted = frozenset(origin.encode("latin-1") for origin in policy.origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse or pass on."""
        safe = scope["type"] == "http" and scope["method"] in _SAFE
        if not safe and not let_in(combined(scope["headers"]), self._trusted):
            exchange = exchange_of(scope)
            exchange.decided("cross_origin", "refused")
            return await exchange.refuse(CROSS_ORIGIN)(scope, receive, send)
        await self.app(scope, receive, send)
