"""Flood guard: counts every request per client address, before anything costs.

`JobConfig(flood_guard=FloodGuard(limit=…, window=…))` turns it on for all endpoints; it is off by default. It stands
before auth and decides in this process without a trip, so that unknown paths, wrong methods and CORS preflights are
counted too and are no way around a limit. Refuses with 429 and Retry-After (503 when its table of addresses is full).
It asks no store, so a dead store changes nothing.
"""

from forecourt.errors import StoreOverloaded
from forecourt.exchange import exchange_of
from forecourt.policies.flood_guard import FloodGuard
from forecourt.responses import OVERLOADED, limit_exceeded
from forecourt.runtime import Runtime
from forecourt.stores.contract import Question
from forecourt.stores.memory import MemoryStore
from forecourt.types import SECOND, ASGIApp, Receive, Scope, Send

_MAX_ADDRESSES = 200_000


class FloodGuardCounter:
    """The counts of one process; shared by the chains of all its endpoints."""

    def __init__(self, policy: FloodGuard, runtime: Runtime) -> None:
        self._counts = MemoryStore(runtime.clock, max_keys=_MAX_ADDRESSES)
        self.policy = policy
        self._args = policy.args()

    def wait(self, client: str) -> int:
        """Count one request; return 0, or the µs until this address may call again."""
        (answer,) = self._counts.decide_at_once([Question("fixed_window", client, self._args)])
        return 0 if answer.verdict == "go" else int(answer.values[1])


def flood_counter_of(
    policy: FloodGuard | None, before: FloodGuardCounter | None, runtime: Runtime
) -> FloodGuardCounter | None:
    """Return what counts by this policy: the one before, where its policy is the same."""
    if policy is None or (before is not None and before.policy == policy):
        return before if policy else None
    return FloodGuardCounter(policy, runtime)


class FloodGuardLayer:
    """Refuses a client address that calls too often."""

    def __init__(self, app: ASGIApp, *, counter: FloodGuardCounter) -> None:
        self.app = app
        self._counter = counter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count; refuse or pass on."""
        exchange = exchange_of(scope)
        try:
            wait = self._counter.wait(exchange.client)
        except StoreOverloaded:
            exchange.decided("flood_guard", "unavailable")
            return await exchange.refuse(OVERLOADED, 1)(scope, receive, send)
        if wait:
            exchange.decided("flood_guard", "refused")
            refusal = exchange.refuse(limit_exceeded(["flood_guard"]), -(-wait // SECOND))
            return await refusal(scope, receive, send)
        await self.app(scope, receive, send)
