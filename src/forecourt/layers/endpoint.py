"""Endpoint: resolves which endpoint this is, once; everything below only looks up.

Stands right under errors, before all that labels or decides by endpoint. It asks no store and refuses nothing: what no
route matches goes on without an endpoint, to be counted by the flood guard and answered by the app's router.
"""

from collections.abc import Callable

from forecourt.exchange import exchange_of
from forecourt.routing import Resolution
from forecourt.types import ASGIApp, Receive, Scope, Send


class EndpointLayer:
    """Notes the endpoint and its path parameters on the exchange; `resolve` is the route table's."""

    def __init__(self, app: ASGIApp, *, resolve: Callable[[Scope], Resolution]) -> None:
        self.app = app
        self._resolve = resolve

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Resolve and pass on."""
        exchange = exchange_of(scope)
        try:
            exchange.endpoint, exchange.params = self._resolve(scope)
        except Exception:  # noqa: BLE001  # a convertor of the app's own: the router will raise it again, counted
            exchange.endpoint = None
        await self.app(scope, receive, send)
