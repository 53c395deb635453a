"""Audit: writes down who did what to which resource, with what outcome.

`EndpointPolicy(audit=Audit())` turns it on; `audit_log` of the config says where, `keys` sign. It stands below all that
refuses a caller for being who or how often they are, and above everything that may answer, replays and kept answers
included. Two records for each call: `begun` before anything is done, `ended` with status and outcome. Nothing of
headers, query or body is written, only path parameters.

Where a record of a `required` audit cannot be kept, nothing is done: 503. An end that cannot be kept is logged as an
error, once. It asks no store.
"""

import asyncio
from collections.abc import Mapping

from forecourt.audit import trail_of
from forecourt.exchange import Exchange, exchange_of
from forecourt.layers.outcomes import became
from forecourt.policies.audit import Audit
from forecourt.responses import TYPES, Problem
from forecourt.routing import Endpoint
from forecourt.runtime import Runtime
from forecourt.types import ASGIApp, Receive, Scope, Send

NOT_KEPT = Problem(
    503,
    "Service Unavailable",
    TYPES + "audit-unavailable",
    "This call must be written down, and cannot be now; nothing was done.",
)

_LONGEST = 200


class AuditLayer:
    """Writes down the calls of one endpoint."""

    def __init__(self, app: ASGIApp, *, policy: Audit, endpoint: Endpoint, runtime: Runtime) -> None:
        self.app = app
        self._trail = trail_of(runtime)
        self._clock = runtime.clock
        self._required = policy.required
        self._resource = policy.resource
        self._fixed = {"endpoint": endpoint.name, "action": policy.action or endpoint.name}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Write down that it begins; call on; write down how it ended."""
        exchange = exchange_of(scope)
        record = self._record(exchange)
        if not await self._kept({"event": "begun", "at": self._clock.now(), **record}) and self._required:
            exchange.decided("audit", "unavailable")
            return await exchange.refuse(NOT_KEPT, 1)(scope, receive, send)
        outcome: str = "failed"
        try:
            await self.app(scope, receive, send)
            outcome = became(exchange)
        except asyncio.CancelledError:
            outcome = "cancelled"
            raise
        finally:
            ended = {"event": "ended", "at": self._clock.now(), "status": exchange.status, "outcome": outcome}
            await self._kept({**ended, "id": exchange.id})

    async def _kept(self, record: Mapping[str, object]) -> bool:
        try:
            await self._trail.write(record)
        except Exception:  # noqa: BLE001  # the trail has logged it; a sink may fail in any way
            return False
        return True

    def _record(self, exchange: Exchange) -> dict[str, object]:
        principal = exchange.principal
        who = {"issuer": principal.issuer, "subject": principal.subject} if principal else None
        return {
            "id": exchange.id,
            **self._fixed,
            "method": exchange.scope.get("method", "WEBSOCKET"),
            "resource": self._named(exchange.params),
            "principal": who,
            "client": exchange.client,
        }

    def _named(self, params: Mapping[str, object]) -> object:
        known = {name: str(value)[:_LONGEST] for name, value in params.items()}
        if self._resource is None:
            return known
        try:
            return self._resource.format_map(known)
        except KeyError:
            return self._resource
