"""Endpoint: resolves which endpoint this is, once; everything below only looks up.

Stands right under errors, before all that labels or decides by endpoint. It asks no store and refuses nothing: what no
route matches goes on without an endpoint, to be counted by the flood guard and answered by the app's router.
"""

from collections.abc import Awaitable, Callable

from forecourt.exchange import KEY, Exchange
from forecourt.routing import UNROUTED, Resolution
from forecourt.types import ASGIApp, Receive, Scope, Send


class EndpointLayer:
    """Notes the endpoint and its path parameters on the exchange."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.resolve: Callable[[Scope], Resolution] = _nothing
        """The route table's; the stack sets it anew when the app's routes have changed."""

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Resolve and pass on; no coroutine of its own, as there is nothing to await."""
        exchange: Exchange = scope[KEY]
        try:
            exchange.endpoint, exchange.params = self.resolve(scope)
        except Exception:  # noqa: BLE001  # a convertor of the app's own: the router will raise it again, counted
            exchange.endpoint = None
        return self.app(scope, receive, send)


def _nothing(_scope: Scope) -> Resolution:
    return UNROUTED
