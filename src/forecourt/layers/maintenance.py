"""Maintenance: answers 503 instead of an endpoint that operators have taken out of service.

`EndpointPolicy(maintenance=Maintenance(…))` turns it on: the endpoint can then be switched while the service runs, by
`config.maintenance.on(…)` or `forecourt maintenance on`, or is in maintenance because the config says so. It stands
below auth, because a role may pass and who has it is known only there: a caller without good credentials is told so,
maintenance or not. It stands above all that counts: a call in maintenance takes nothing of its limits. Where auth
itself asks the store (revocation, proofs of possession) it asks for all layers at once, so maintenance refuses there,
before anything is asked.

Refuses with 503 and Retry-After: the seconds to the end where that is known, else the policy's `retry_after`. The
endpoints of `config.health` pass, unless their own policy says otherwise. It asks no store: this
process reads operators' orders beside its requests, and keeps to the last it read while the store is down.
"""

from collections.abc import Awaitable, Sequence
from dataclasses import replace

from forecourt.config import JobConfig
from forecourt.core.maintenance import Switch, longest
from forecourt.exchange import Exchange, exchange_of
from forecourt.policies.maintenance import Maintenance
from forecourt.policies.quantities import microseconds
from forecourt.responses import TYPES, Problem, Refusal
from forecourt.routing import Endpoint
from forecourt.runtime import Runtime
from forecourt.stores.contract import Answer, Question, Settlement
from forecourt.types import SECOND, ASGIApp, Receive, Scope, Send

IN_MAINTENANCE = Problem(
    503, "Service Unavailable", TYPES + "maintenance", "This endpoint is in maintenance; nothing was done."
)


class MaintenanceLayer:
    """Refuses the calls of one endpoint while it is in maintenance."""

    def __init__(self, app: ASGIApp, *, policy: Maintenance, endpoint: Endpoint, runtime: Runtime) -> None:
        self.app = app
        self._gate = _Gate(policy, endpoint, runtime)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Refuse or pass on."""
        return (self._gate.refusal(scope) or self.app)(scope, receive, send)


class AskedMaintenanceLayer:
    """The same below an auth that asks the store: refuses before anything is asked."""

    settles = False

    def __init__(self, app: ASGIApp, *, policy: Maintenance, endpoint: Endpoint, runtime: Runtime) -> None:
        self.app = app
        self._gate = _Gate(policy, endpoint, runtime)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Refuse or pass on."""
        return (self._gate.refusal(scope) or self.app)(scope, receive, send)

    def questions(self, exchange: Exchange) -> Sequence[Question] | ASGIApp:
        """Ask nothing; refuse before anybody else asks."""
        return self._gate.refusal(exchange.scope) or ()

    def answered(self, exchange: Exchange, answers: Sequence[Answer]) -> ASGIApp | None:
        """Pass: nothing was asked."""

    def settlements(self, exchange: Exchange, answers: Sequence[Answer]) -> Sequence[Settlement]:
        """Settle nothing."""
        return ()


def maintenance(
    app: ASGIApp, *, policy: Maintenance, endpoint: Endpoint, runtime: Runtime
) -> MaintenanceLayer | AskedMaintenanceLayer:
    """Return the layer, as this config's auth needs it."""
    asks = runtime.config.revocation or runtime.config.dpop is not None
    layer = AskedMaintenanceLayer if asks else MaintenanceLayer
    return layer(app, policy=policy, endpoint=endpoint, runtime=runtime)


class _Gate:
    """Says whether a call is refused: what is switched is looked through once, whenever it differs."""

    def __init__(self, policy: Maintenance, endpoint: Endpoint, runtime: Runtime) -> None:
        self._switch = runtime.config.maintenance
        self._clock = runtime.clock
        self._roles = frozenset(policy.roles)
        self._retry_after = -(-microseconds(policy.retry_after) // SECOND)
        self._name = endpoint.name
        self._passes = _tells_of_the_service(endpoint, runtime.config)
        until = int(policy.until.timestamp() * SECOND) if policy.until else None
        self._own = (Switch(endpoint.name, until, policy.why),) if policy.on else ()
        self._seen: tuple[Switch, ...] = ()
        self._mine = () if self._passes else self._own

    def refusal(self, scope: Scope) -> Refusal | None:
        """Return the answer of a call in maintenance; None where it goes on."""
        if self._switch.switches is not self._seen:
            self._look()
        if not self._mine:
            return None
        now = self._clock.now()
        switch = longest(self._mine, now)
        if switch is None:
            return None
        exchange = exchange_of(scope)
        if exchange.principal is not None and exchange.principal.roles & self._roles:
            return None
        exchange.decided("maintenance", "refused")
        problem = replace(IN_MAINTENANCE, detail=f"In maintenance: {switch.why}") if switch.why else IN_MAINTENANCE
        return exchange.refuse(problem, -(-(switch.until - now) // SECOND) if switch.until else self._retry_after)

    def _look(self) -> None:
        self._seen = self._switch.switches
        if not self._passes:
            self._mine = (*self._own, *(each for each in self._seen if each.means(self._name)))


def _tells_of_the_service(endpoint: Endpoint, config: JobConfig) -> bool:
    """Return whether health answers here, and no policy of the endpoint's own says that it can be switched."""
    policy = config.policy_for(endpoint.name, endpoint.protocol)
    if policy is not None and policy.fields["maintenance"].source.startswith("endpoint"):
        return False
    return getattr(endpoint.handler, "__self__", None) is config.health
