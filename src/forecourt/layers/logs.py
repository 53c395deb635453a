"""Logging: one line for each request, and the context that a handler's own lines carry.

`EndpointPolicy(logging=…)`, on by default where structlog is installed (extra `logs`). Stands above all that may
refuse, so that refusals are logged, at info as all that went as it should. What broke is told by the errors layer,
once. Takes the request's id from its `X-Request-ID` where that is well formed, else makes one, and sends it back.

A line names the endpoint, never the path; headers are logged only where the policy names them. Asks no store.
"""

import asyncio
import logging
import random
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from forecourt.decisions import Decision
from forecourt.exchange import KEY, Exchange
from forecourt.layers.outcomes import Became, became
from forecourt.policies import Telemetry
from forecourt.principals import known_digest
from forecourt.redaction import logged_headers
from forecourt.routing import Endpoint
from forecourt.types import ASGIApp, Receive, Scope, Send

logger = logging.getLogger("forecourt")

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "QUERY"})
"""Methods that are told by name; a caller may send any word."""

_WELL_FORMED = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._:+/=@-]{0,127}")


Bound = TypeVar("Bound")
"""What binding gives and unbinding takes."""


class Log(Protocol):
    """Where the lines go, and what is bound for others' lines meanwhile."""

    def write(self, now: int, fields: Mapping[str, object]) -> None:
        """Log a request that ended at `now`, in µs since the epoch."""
        ...


@dataclass(frozen=True, slots=True)
class Logged:
    """How an endpoint is logged: its name, the share of successes, and the headers."""

    name: str | None
    sample: float
    headers: frozenset[bytes]


class LogsLayer(Generic[Bound]):
    """Logs; endpoints that are not in `endpoints` pass by."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        telemetry: Telemetry,
        log: Log,
        bind: Callable[[str, str, str | None], Bound],
        unbind: Callable[[Bound], None],
    ) -> None:
        self.app = app
        self._log = log
        self._bind = bind
        self._unbind = unbind
        self._field = telemetry.request_id_header.lower().encode()
        self._principals = telemetry.principals
        self.endpoints: Mapping[Endpoint | None, Logged] = {}
        """Set by the stack when the routes are compiled."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Name the request; call on; log how it ended."""
        exchange: Exchange = scope[KEY]
        logged = self.endpoints.get(exchange.endpoint)
        if logged is None:
            return await self.app(scope, receive, send)
        request_id = self._request_id(scope) or exchange.id
        exchange.headers.append((self._field, request_id.encode()))
        decisions: list[Decision] = []
        exchange.listeners.append(decisions.append)
        began, started = exchange.runtime.clock.now(), time.perf_counter()
        tokens = self._bind(request_id, logged.name or "", exchange.trace_id)
        outcome: Became = "failed"
        try:
            await self.app(scope, receive, send)
            outcome = became(exchange)
        except asyncio.CancelledError:
            outcome = "cancelled"
            raise
        finally:
            self._unbind(tokens)
            if outcome != "ok" or logged.sample >= 1 or random.random() < logged.sample:  # noqa: S311  # a sample
                fields = self._fields(exchange, logged, request_id, outcome, time.perf_counter() - started)
                if decisions:
                    fields |= _told(decisions, began)
                self._write(exchange, fields)

    def _request_id(self, scope: Scope) -> str | None:
        if self._field not in dict(scope["headers"]):
            return None
        value: bytes = next(value for name, value in scope["headers"] if name == self._field)
        return value.decode() if _WELL_FORMED.fullmatch(value) else None

    def _fields(
        self, exchange: Exchange, logged: Logged, request_id: str, outcome: Became, seconds: float
    ) -> dict[str, object]:
        scope = exchange.scope
        method = "WEBSOCKET" if scope["type"] == "websocket" else _method(scope["method"])
        fields: dict[str, object] = {
            "endpoint": logged.name,
            "method": method,
            "status": exchange.status if exchange.status is not None or outcome != "failed" else 500,
            "outcome": outcome,
            "duration_ms": round(seconds * 1000, 3),
            "request_id": request_id,
        }
        if exchange.trace_id:
            fields["trace_id"] = exchange.trace_id
        principal = exchange.principal
        if principal is not None and self._principals != "off":
            who = (principal.issuer, principal.subject)
            fields["principal"] = known_digest(*who) if self._principals == "hashed" else " ".join(who)
        if logged.headers and (headers := logged_headers(scope["headers"], logged.headers)):
            fields["headers"] = headers
        return fields

    def _write(self, exchange: Exchange, fields: Mapping[str, object]) -> None:
        """Log it; where that cannot be done the request is none the worse."""
        try:
            self._log.write(exchange.runtime.clock.now(), fields)
        except Exception as error:  # noqa: BLE001  # a full disk or a closed stream must not fail a request
            logger.warning("the access log cannot be written: %s", type(error).__name__)


def _method(sent: str) -> str:
    return sent if sent in METHODS else "OTHER"


def _told(decisions: list[Decision], began: int) -> dict[str, object]:
    """Return what layers decided, and after how many milliseconds."""
    outcomes: dict[str, str] = {}
    times: dict[str, float] = {}
    for layer, outcome, at, _, _ in decisions:
        if outcome != "settled":
            outcomes[layer] = outcome
            times[layer] = (at - began) / 1000
    return {"decisions": outcomes, "decided_ms": times}
