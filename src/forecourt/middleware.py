"""The middleware that installs the stack: `app.add_middleware(PolicyMiddleware, config=config)`.

It opens an exchange around each request and the store around a lifespan, follows the app's routes, and compiles the
chain of each endpoint from the rows of `stack`. Each layer is also a middleware of its own: the stack with that one.
"""

import logging
from collections.abc import Awaitable, Sequence
from typing import ClassVar

from forecourt.caching.values import CacheOfConfig
from forecourt.config import JobConfig, ResolvedPolicy
from forecourt.database_opening import databases_of, with_sessions
from forecourt.errors import ConfigError
from forecourt.exchange import KEY, Chain, Exchange
from forecourt.health import Health
from forecourt.jobs.running import JobRunner
from forecourt.layers.endpoint import EndpointLayer
from forecourt.layers.errors import ErrorsLayer
from forecourt.layers.flood_guard import FloodGuardCounter
from forecourt.lifespan import Lifespan
from forecourt.observers import Observers
from forecourt.responses import INTERNAL_ERROR, Renderer, render
from forecourt.routing import Endpoint, RouteTable
from forecourt.shared import shared_by
from forecourt.stack import ERRORS, LAYERS, OFFLOAD, Extra, Site, chain_of, in_order, placed
from forecourt.stores.contract import Store
from forecourt.types import ASGIApp, Clock, Receive, Scope, Send

logger = logging.getLogger("forecourt")

_OUTER = "forecourt.outer"
"""In a scope: the stacks that it already passed, outermost first."""


class PolicyMiddleware:
    """Enforces what `config` says of each endpoint: `app.add_middleware(PolicyMiddleware, config=config)`.

    `extra`: layers of your own, each where it says.

    `layers` names those to install, in the order of `LAYERS` (default: all). Without a config it is read from the file
    that FORECOURT_CONFIG names. `store` and `clock` replace what the config says, for tests and for stores of your own;
    `renderer` words the refusals; stacks of one config share all three. ConfigError at startup (or on the first
    request, where the server sends no lifespan) when the config does not fit the app.
    """

    installs: ClassVar[tuple[str, ...]] = LAYERS
    """Its layers, where `layers` does not say."""

    def __init__(
        self,
        app: ASGIApp,
        config: JobConfig | None = None,
        *,
        layers: Sequence[str] | None = None,
        store: Store | None = None,
        clock: Clock | None = None,
        renderer: Renderer = render,
        extra: Sequence[Extra] = (),
    ) -> None:
        self._extra = placed(extra)
        self.config = config if config is not None else JobConfig()
        self.layers = in_order(self.installs if layers is None else tuple(layers))
        self._guarded = app
        self._shared = shared_by(self.config, store, clock, renderer)
        self._runtime, self._caching = self._shared.runtime, self._shared.caching
        self._databases = databases_of(self._runtime, self._caching) if self.config.databases else None
        self._table: RouteTable | None = None
        self._flood = FloodGuardCounter(self.config.flood_guard, self._runtime) if self.config.flood_guard else None
        self.jobs = JobRunner(self._runtime, with_sessions(app, self._databases))
        """What runs the jobs of this app, in a worker too."""
        self._dispatch = Dispatch(app)
        self._observers = Observers(self._dispatch, self._runtime, self._shared.trips, self.layers)
        self._hook = self.config.on_decision is not None or self._shared.listening
        self._endpoint = EndpointLayer(self._observers.app)
        self.app: ASGIApp = ErrorsLayer(self._endpoint) if ERRORS in self.layers else self._endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Open an exchange around a request; open and close the store around a lifespan."""
        kind = scope["type"]
        if kind not in ("http", "websocket"):
            return await self._around_no_call(scope, receive, send)
        outer: Exchange | None = scope.get(KEY)
        shared = outer is not None and outer.runtime is self._runtime and self not in outer.entered
        table = self._table
        if table is None or not table.current():
            scope[_OUTER] = tuple(outer.entered) if outer is not None and shared else ()
            await self._open(scope)
        if outer is not None and shared and outer.entered:
            outer.entered.append(self)
            return await self.app(scope, receive, send)
        exchange = Exchange(self._runtime, scope)
        if self._hook:
            self._observers.hear(exchange)
        exchange.entered.append(self)
        await exchange.run(self.app, receive, send)

    async def _around_no_call(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Open and close the store around a lifespan; pass on what we do not know."""
        if scope["type"] != "lifespan":
            return await self._guarded(scope, receive, send)
        outer_stacks = scope.get(_OUTER, ())
        scope[_OUTER] = (*outer_stacks, self)
        await Lifespan(self._guarded, self._start, self._ready, self._stop)(scope, receive, send)

    async def _open(self, scope: Scope) -> None:
        """Start where no lifespan did, or follow the app's routes where they have changed."""
        first = self._table is None
        if first:
            await self._runtime.open()
        if first and self._table is None:  # whoever waited beside us may have done the rest
            self._bind()
            self.config.health.bind(Health(self._runtime, self.config.health))
            self._compile(scope, strict=True)
        elif not first:
            self._compile(scope, strict=False)
        if OFFLOAD in self.layers:
            await self.jobs.open(scope)

    async def _start(self, _scope: Scope) -> None:
        await self._runtime.start()
        self._bind()

    def _bind(self) -> None:
        """Have code find the cache and the databases."""
        self.config.cache.bind(CacheOfConfig(self._caching))
        if self._databases is not None:
            self._databases.open()

    async def _ready(self, scope: Scope) -> None:
        self._compile(scope, strict=True)
        if OFFLOAD in self.layers:
            await self.jobs.open(scope)
        self.config.health.bind(Health(self._runtime, self.config.health))

    async def _stop(self, _scope: Scope) -> None:
        self.config.health.bind(None)
        self._table = None
        if OFFLOAD in self.layers:
            await self.jobs.close()
        self._observers.stop()
        await self._caching.stop()
        await self._runtime.stop()

    def _compile(self, scope: Scope, *, strict: bool) -> None:
        """Build all chains; what does not fit stops a start, later it is logged and its endpoint refused."""
        table = RouteTable.compile(self._guarded, self.config.routes, scope)
        installed = self._installed(scope)
        problems = self.config.check(table.endpoints, installed)
        if problems and strict:
            raise ConfigError(*problems)
        for problem in problems:
            logger.error("the app's routes have changed: %s", problem)
        observed = self._observed(table)
        self.jobs.trace(self._observers.job_spans(installed), observed)
        chains = [self._compiled(endpoint, table) for endpoint in (None, *table.endpoints)]
        self._dispatch.chains = {
            endpoint: chain for endpoint, chain in zip((None, *table.endpoints), chains, strict=True) if chain
        }
        self._observers.observe(observed)
        self._endpoint.resolve = table.resolve
        self.jobs.table = table
        self._table = table

    def _compiled(self, endpoint: Endpoint | None, table: RouteTable) -> Chain | None:
        """Compile the chain of an endpoint, or of what no route matches; None for an endpoint that no one names."""
        policy = self.config.policy_for(endpoint.name, endpoint.protocol) if endpoint else None
        if endpoint and policy is None:
            return None
        site = Site(endpoint, policy, self._runtime, table, self._flood, self._caching, self.jobs)
        return chain_of(self._guarded, site, self.layers, self._observers, self._extra)

    def _observed(self, table: RouteTable) -> list[tuple[Endpoint | None, ResolvedPolicy]]:
        """Return what is observed of each endpoint, and of what no route matches."""
        policies = [(each, self.config.policy_for(each.name, each.protocol)) for each in table.endpoints]
        return [(None, self.config.unrouted()), *((each, policy) for each, policy in policies if policy)]

    def _installed(self, scope: Scope) -> tuple[str, ...]:
        """Return the layers of this config on the way of a request: those outside of us, ours, those inside."""
        layers: list[str] = []
        for outer in scope[_OUTER]:
            if outer is self:
                break
            if outer.config is self.config:
                layers += outer.layers
        app: object = self
        while app is not None:
            if isinstance(app, PolicyMiddleware) and app.config is self.config:
                layers += app.layers
            app = getattr(app, "app", None)
        return in_order(tuple(layers))


class Dispatch:
    """Sends an exchange through the chain of its endpoint; an endpoint without one is refused."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.chains: dict[Endpoint | None, Chain] = {}
        """Compiled by the stack, anew when the app's routes have changed; None: what no route matches."""

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Enter the chain."""
        exchange: Exchange = scope[KEY]
        chain = self.chains.get(exchange.endpoint)
        if chain is None:
            return exchange.refuse(INTERNAL_ERROR)(scope, receive, send)
        exchange.enter(chain)
        return chain.app(scope, receive, send)


class SecurityMiddleware(PolicyMiddleware):
    """The stack with authentication and permissions alone."""

    installs = ("security",)


class RateLimitMiddleware(PolicyMiddleware):
    """The stack with the rate limits alone."""

    installs = ("rate_limit",)


class ConcurrencyMiddleware(PolicyMiddleware):
    """The stack with the concurrency limits alone."""

    installs = ("concurrency",)


class IdempotencyMiddleware(PolicyMiddleware):
    """The stack with idempotency alone."""

    installs = ("idempotency",)


class CreditsMiddleware(PolicyMiddleware):
    """The stack with the credits alone."""

    installs = ("credits",)


class CacheMiddleware(PolicyMiddleware):
    """The stack with the cache alone, and what invalidates it."""

    installs = ("invalidates", "cache")


class CircuitBreakerMiddleware(PolicyMiddleware):
    """The stack with the circuit breakers alone."""

    installs = ("circuit_breaker",)


class RetryMiddleware(PolicyMiddleware):
    """The stack with the retries alone."""

    installs = ("retry",)


class TimeoutMiddleware(PolicyMiddleware):
    """The stack with the timeouts alone."""

    installs = ("timeout",)


class OffloadMiddleware(PolicyMiddleware):
    """The stack with offloading alone."""

    installs = (OFFLOAD,)


class TracingMiddleware(PolicyMiddleware):
    """The stack with the spans alone."""

    installs = ("tracing",)


class MetricsMiddleware(PolicyMiddleware):
    """The stack with the metrics alone."""

    installs = ("metrics",)


class LoggingMiddleware(PolicyMiddleware):
    """The stack with the access log alone."""

    installs = ("logging",)


class FloodGuardMiddleware(PolicyMiddleware):
    """The stack with the flood guard alone."""

    installs = ("flood_guard",)


class ContentMiddleware(PolicyMiddleware):
    """The stack with the media types alone."""

    installs = ("content",)


class MaxBodyMiddleware(PolicyMiddleware):
    """The stack with the largest body alone."""

    installs = ("max_body",)


class DeprecationMiddleware(PolicyMiddleware):
    """The stack with the deprecations alone."""

    installs = ("deprecation",)


class CrossOriginMiddleware(PolicyMiddleware):
    """The stack with the cross-origin protection alone."""

    installs = ("cross_origin",)


class ClientsMiddleware(PolicyMiddleware):
    """The stack with the networks of clients alone."""

    installs = ("clients",)


class MaxHeadersMiddleware(PolicyMiddleware):
    """The stack with the largest header alone."""

    installs = ("max_headers",)


class SecurityHeadersMiddleware(PolicyMiddleware):
    """The stack with the security headers alone."""

    installs = ("headers",)


class AuditMiddleware(PolicyMiddleware):
    """The stack with the audit trail alone."""

    installs = ("audit",)


class WebhookMiddleware(PolicyMiddleware):
    """The stack with the signatures of webhooks alone."""

    installs = ("webhook",)
