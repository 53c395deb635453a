"""Handler: innermost, the check that the endpoint which ran is the one whose policies were enforced.

The endpoint layer resolves before the router does. Should the two ever disagree, the caller would have passed under the
wrong policies: the answer is then 500, logged and counted, and nothing of the handler's answer leaves. Where the router
names no endpoint (other frameworks, opaque mounts) there is nothing to compare.
Part of every chain, also of endpoints without policies and of what no route matches: a path that is rewritten below
the stack must not lead around it. It has no policy field and asks no store.
"""

import logging
from collections.abc import Awaitable, Callable

from forecourt.errors import CircuitOpen
from forecourt.exchange import exchange_of
from forecourt.responses import INTERNAL_ERROR, UNAVAILABLE
from forecourt.routing import Endpoint
from forecourt.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger("forecourt")

_BEGINNINGS = frozenset({"http.response.start", "websocket.accept", "websocket.http.response.start"})


class HandlerLayer:
    """Calls the app and compares; `ran` tells from the scope whether what ran is `endpoint` (None: none we know)."""

    def __init__(self, app: ASGIApp, *, endpoint: Endpoint | None, ran: Callable[[Scope], bool]) -> None:
        self.app = app
        self._endpoint = endpoint
        self._handler = endpoint.handler if endpoint else None
        self._ran = ran

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call on; at the response's beginning the router has named what runs."""
        right: bool | None = None

        def checked_send(message: Message) -> Awaitable[None]:
            nonlocal right
            if not right:
                if right is None and message["type"] in _BEGINNINGS:
                    right = scope.get("endpoint", self) is self._handler or self._is_right(message, scope)
                    if not right:
                        return self._answer_mismatch(scope, receive, send)
                if right is False:
                    return _withheld()
            return send(message)

        try:
            await self.app(scope, receive, checked_send)
        except CircuitOpen as error:
            exchange = exchange_of(scope)
            if exchange.status is not None:
                raise
            await exchange.refuse(UNAVAILABLE, error.retry_after)(scope, receive, send)

    def _is_right(self, message: Message, scope: Scope) -> bool:
        if self._endpoint is None and message.get("status") == 405:
            return True  # the router names the route whose method did not match, and answers by itself
        return self._ran(scope)

    async def _answer_mismatch(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = exchange_of(scope)
        exchange.runtime.mismatches += 1
        exchange.decided("handler", "mismatched")
        logger.error(
            "endpoint %r was resolved but another one ran: its answer is withheld. "
            "Does a middleware below forecourt rewrite the path, or does a route override `matches`?",
            self._endpoint.name if self._endpoint else "no endpoint",
        )
        await exchange.refuse(INTERNAL_ERROR)(scope, receive, send)


async def _withheld() -> None:
    """Send nothing."""
