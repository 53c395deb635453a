"""Upstreams: tells calls to other servers under which layers they are made, and callers when such a server failed.

It is there where the config names `upstreams`, innermost but for the handler's check; it has no policy field and asks
no store. What a handler does not catch becomes 502 with the type `upstream-failed` (the connection failed, or
`raise_for_status` met a 5xx) or 504 with `upstream-late`. The layers above see the status, so a breaker counts it and
a retry tries it again; it is an answer of the handler's, no refusal.
"""

import logging

from forecourt.core.retrying import IDEMPOTENT, MARK
from forecourt.exchange import exchange_of
from forecourt.policies.retry import Retry
from forecourt.responses import TYPES, Problem, Refusal
from forecourt.surroundings import around
from forecourt.types import ASGIApp, Receive, Scope, Send

logger = logging.getLogger("forecourt")

FAILED = Problem(502, "Bad Gateway", TYPES + "upstream-failed", "A server that this endpoint needs has failed.")
LATE = Problem(504, "Gateway Timeout", TYPES + "upstream-late", "A server that this endpoint needs is too slow.")


class UpstreamsLayer:
    """Stands around one endpoint's handler: `guards` are the breakers above it, `retry` how its calls are retried."""

    def __init__(self, app: ASGIApp, *, guards: tuple[str, ...], retry: Retry | None) -> None:
        self.app = app
        self._guards = guards
        self._retry = retry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call on; answer for an upstream that failed."""
        surroundings = around.get().within(self._guards, retried=self._is_retried(scope))
        token = around.set(surroundings)
        try:
            await self.app(scope, receive, send)
        except Exception as error:
            exchange = exchange_of(scope)
            failure = exchange.runtime.config.outgoing.failure(error)
            if failure is None or exchange.status is not None:
                raise
            logger.warning("upstream %r failed: %s", failure.upstream, type(error).__name__)
            answer = Refusal(LATE if failure.late else FAILED, renderer=exchange.runtime.renderer)
            await answer(scope, receive, send)
        finally:
            surroundings.end()
            around.reset(token)

    def _is_retried(self, scope: Scope) -> bool:
        if any(name == MARK for name, _ in scope["headers"]):
            return True
        if self._retry is None or scope["type"] != "http":
            return False
        return self._retry.unsafe or scope["method"] in IDEMPOTENT
