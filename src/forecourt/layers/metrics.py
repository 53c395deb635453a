"""Metrics: counts every request and its outcome, refusals included, under its endpoint's name.

`EndpointPolicy(metrics=…)`, on by default where prometheus-client is installed (extra `metrics`). Stands above all that
may refuse, below tracing, so that its durations carry their trace's id. It refuses nothing and asks no store; what it
counts of the store are its trips. What it sees is never a label: endpoints, outcomes and layers are.

One object per app; what it increments for an endpoint is looked up when the route table is compiled.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from forecourt.exchange import KEY, Exchange
from forecourt.layers.outcomes import Became, became
from forecourt.routing import Endpoint
from forecourt.telemetry.counting import Counts
from forecourt.types import ASGIApp, Message, Receive, Scope, Send

_BARE = frozenset({"GET", "HEAD"})
"""Methods without a body."""

UNROUTED = "unrouted"
"""What requests that no route matches are counted under."""


@dataclass(frozen=True, slots=True)
class Counted:
    """How an endpoint is counted: by whom, with sizes or without, and with exemplars or without."""

    counts: Counts
    sizes: bool
    exemplars: bool


class MetricsLayer:
    """Counts; endpoints that are not in `endpoints` pass by."""

    def __init__(self, app: ASGIApp, refresh: Callable[[], None] | None = None) -> None:
        self.app = app
        self._refresh = refresh
        self.endpoints: Mapping[Endpoint | None, Counted] = {}
        """Set by the stack when the routes are compiled."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count what begins; call on; count how it ended."""
        exchange: Exchange = scope[KEY]
        counted = self.endpoints.get(exchange.endpoint)
        if counted is None:
            return await self.app(scope, receive, send)
        counts = counted.counts
        exchange.listeners.append(counts.decided)
        sizes, received, before = counted.sizes, None, 0
        if sizes:
            before = exchange.sent = exchange.sent or 0
            if scope.get("method") not in _BARE:
                received = _Received(receive)
                receive = received.receive
        started = time.perf_counter()
        counts.began(scope)
        outcome: Became = "failed"
        try:
            await self.app(scope, receive, send)
            outcome = became(exchange)
        except asyncio.CancelledError:
            outcome = "cancelled"
            raise
        finally:
            status = exchange.status or _status(outcome)
            counts.ended(
                scope,
                outcome,
                status,
                time.perf_counter() - started,
                exchange.trace_id if counted.exemplars else None,
            )
            if exchange.left is not None or exchange.balance is not None:
                counts.leaves(exchange.left, exchange.balance)
            if sizes:
                counts.carried(scope, received.bytes if received else 0, (exchange.sent or 0) - before)
            if self._refresh is not None:
                self._refresh()


class _Received:
    """Counts the bytes of a request's body as it is read."""

    __slots__ = ("_receive", "bytes")

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.bytes = 0

    async def receive(self) -> Message:
        message = await self._receive()
        if body := message.get("body"):
            self.bytes += len(body)
        return message


def _status(outcome: Became) -> int:
    """Return the status of what answered nothing; 499, as logs have it, where the caller saw none."""
    return 500 if outcome == "failed" else 499
