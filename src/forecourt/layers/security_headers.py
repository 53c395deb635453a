"""Security headers: tells browsers to be careful with an endpoint's answers, refusals included.

`EndpointPolicy(headers=SecurityHeaders(profile="api"))` turns it on. It stands outermost, so that whatever answers has
the fields; a field that a handler sets is left as it is. The app's own `Server` and `X-Powered-By` are removed (a
server's banner is added outside: `uvicorn --no-server-header`). It refuses nothing and asks no store.
"""

from collections.abc import Awaitable

from forecourt.exchange import exchange_of
from forecourt.layers.messages import BEGINNINGS
from forecourt.policies.security_headers import SecurityHeaders
from forecourt.routing import Endpoint
from forecourt.runtime import Runtime
from forecourt.types import ASGIApp, Message, Receive, Scope, Send

_BANNERS = frozenset({b"server", b"x-powered-by"})
_SECURE = frozenset({"https", "wss"})


class SecurityHeadersLayer:
    """Adds one endpoint's fields."""

    def __init__(self, app: ASGIApp, *, policy: SecurityHeaders, endpoint: Endpoint, runtime: Runtime) -> None:
        self.app = app
        self._fields = [(name.encode(), text.encode()) for name, text in policy.said().items()]
        transport = policy.transport().encode()
        self._secure = [*self._fields, *([(b"strict-transport-security", transport)] if transport else [])]
        self._banners = policy.banners

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Leave the fields for whatever answers, and call on."""
        exchange_of(scope).headers += self._secure if scope["scheme"] in _SECURE else self._fields
        if self._banners:
            return await self.app(scope, receive, send)

        def without_banners(message: Message) -> Awaitable[None]:
            if message["type"] in BEGINNINGS:
                headers = [each for each in message.get("headers") or () if bytes(each[0]).lower() not in _BANNERS]
                message = {**message, "headers": headers}
            return send(message)

        await self.app(scope, receive, without_banners)
