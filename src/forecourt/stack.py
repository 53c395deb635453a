"""The stack: which layers, in which order, and why; and the middleware that installs it.

Rows 1 and 2 are one object each per app. The rows below are compiled once per endpoint into a chain of only those
layers that its policy uses, so a layer that is off costs nothing. All layers of a chain ask the store together.
"""

import difflib
import logging
import weakref
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import NamedTuple

from forecourt.config import JobConfig, ResolvedPolicy
from forecourt.errors import ConfigError
from forecourt.exchange import KEY, Asks, Chain, Exchange, Runtime, Waits, exchange_of
from forecourt.jobs.running import JobRunner
from forecourt.layers.concurrency import ConcurrencyLayer
from forecourt.layers.credits import CreditsLayer
from forecourt.layers.endpoint import EndpointLayer
from forecourt.layers.errors import ErrorsLayer
from forecourt.layers.flood_guard import FloodGuardCounter, FloodGuardLayer
from forecourt.layers.handler import HandlerLayer
from forecourt.layers.offload import OffloadLayer
from forecourt.layers.rate_limit import RateLimitLayer
from forecourt.lifespan import Lifespan
from forecourt.responses import INTERNAL_ERROR, Renderer, render
from forecourt.routing import Endpoint, RouteTable
from forecourt.stores.contract import Store
from forecourt.stores.opening import store_at
from forecourt.types import ASGIApp, Clock, Receive, Scope, Send, SystemClock

logger = logging.getLogger("forecourt")


class Site(NamedTuple):
    """What a layer may be compiled from: one endpoint (None: what no route matches), its policy, and what it shares."""

    endpoint: Endpoint | None
    policy: ResolvedPolicy | None
    runtime: Runtime
    table: RouteTable
    flood: FloodGuardCounter | None
    jobs: JobRunner


class Row(NamedTuple):
    """One place in the stack: its layer's name, why it stands there, and how it is built (None: not needed here)."""

    name: str
    why: str
    build: Callable[[ASGIApp, Site], ASGIApp | None]


def _flood_guard(app: ASGIApp, site: Site) -> ASGIApp | None:
    return FloodGuardLayer(app, counter=site.flood) if site.flood else None


def _rate_limit(app: ASGIApp, site: Site) -> ASGIApp | None:
    if site.endpoint is None or site.policy is None or not site.policy.rate_limit:
        return None
    return RateLimitLayer(app, policy=site.policy.rate_limit, endpoint=site.endpoint, runtime=site.runtime)


def _concurrency(app: ASGIApp, site: Site) -> ASGIApp | None:
    if site.endpoint is None or site.policy is None or site.policy.concurrency is None:
        return None
    return ConcurrencyLayer(app, policy=site.policy.concurrency, endpoint=site.endpoint, runtime=site.runtime)


def _credits(app: ASGIApp, site: Site) -> ASGIApp | None:
    if site.endpoint is None or site.policy is None or site.policy.credits is None:
        return None
    return CreditsLayer(app, policy=site.policy.credits, endpoint=site.endpoint, runtime=site.runtime)


def _offload(app: ASGIApp, site: Site) -> ASGIApp | None:
    policy = site.policy
    if site.endpoint is None or policy is None or policy.offload is None or site.endpoint.protocol == "websocket":
        return None
    return OffloadLayer(
        app,
        policy=policy.offload,
        charges=policy.credits,
        endpoint=site.endpoint,
        runtime=site.runtime,
        queues=site.jobs.queues,
        location=site.jobs.location(site.table),
    )


ERRORS = "errors"
"""Row 1, outermost: one log line and one problem for what nobody handled, whichever layer it came from.
Row 2 is the endpoint layer, always there: everything below only looks up what it resolved."""

ROWS: tuple[Row, ...] = (
    Row(
        "flood_guard",
        "before anything costs, and for what no route matches; in this process, no trip",
        _flood_guard,
    ),
    Row("rate_limit", "below auth, as it counts principals; cheap refusals before costly work", _rate_limit),
    Row("concurrency", "stands or falls with the rate limits, in the same group of the one trip", _concurrency),
    Row("credits", "charged only for work that is new and was let in", _credits),
    Row("offload", "right above the handler, which a worker runs instead: below all that lets a call in", _offload),
)
"""The rows that are compiled per endpoint, outermost first; the handler's check is always innermost."""

_OUTER = "forecourt.outer"
"""In a scope: the stacks that it already passed, outermost first."""

LAYERS: tuple[str, ...] = (ERRORS, *(row.name for row in ROWS))

OFFLOAD = "offload"
"""The stack with this layer is the one that runs jobs."""

_runtimes: weakref.WeakKeyDictionary[JobConfig, Runtime] = weakref.WeakKeyDictionary()


class PolicyMiddleware:
    """Enforces what `config` says of each endpoint: `app.add_middleware(PolicyMiddleware, config=config)`.

    `layers` names those to install, in the order of `LAYERS` (default: all). Without a config it is read from the file
    that FORECOURT_CONFIG names. `store` and `clock` replace what the config says, for tests and for stores of your own;
    `renderer` words the refusals. ConfigError at startup (or on the first request, where the server sends no lifespan)
    when the config does not fit the app.
    """

    def __init__(
        self,
        app: ASGIApp,
        config: JobConfig | None = None,
        *,
        layers: Sequence[str] | None = None,
        store: Store | None = None,
        clock: Clock | None = None,
        renderer: Renderer = render,
    ) -> None:
        self.config = config if config is not None else JobConfig()
        self.layers = in_order(LAYERS if layers is None else tuple(layers))
        self._guarded = app
        self._runtime = _runtime(self.config, store, clock, renderer)
        self._table: RouteTable | None = None
        self._flood = FloodGuardCounter(self.config.flood_guard, self._runtime) if self.config.flood_guard else None
        self.jobs = JobRunner(self._runtime, app)
        """What runs the jobs of this app, in a worker too."""
        self._dispatch = Dispatch(app)
        self._endpoint = EndpointLayer(self._dispatch)
        self.app: ASGIApp = ErrorsLayer(self._endpoint) if ERRORS in self.layers else self._endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Open an exchange around a request; open and close the store around a lifespan."""
        if scope["type"] == "lifespan":
            outer_stacks = scope.get(_OUTER, ())
            scope[_OUTER] = (*outer_stacks, self)
            return await Lifespan(self._guarded, self._start, self._ready, self._stop)(scope, receive, send)
        if scope["type"] not in ("http", "websocket"):
            return await self._guarded(scope, receive, send)
        outer: Exchange | None = scope.get(KEY)
        shared = outer is not None and outer.runtime is self._runtime and self not in outer.entered
        if self._table is None or not self._table.current():
            scope[_OUTER] = tuple(outer.entered) if outer is not None and shared else ()
            await self._open(scope)
        if outer is not None and shared and outer.entered:
            outer.entered.append(self)
            return await self.app(scope, receive, send)
        exchange = Exchange(self._runtime, scope)
        exchange.entered.append(self)
        await exchange.run(self.app, receive, send)

    async def _open(self, scope: Scope) -> None:
        """Start where no lifespan did, or follow the app's routes where they have changed."""
        first = self._table is None
        if first:
            await self._runtime.open()
        self._compile(scope, strict=first)
        if OFFLOAD in self.layers:
            await self.jobs.open(scope)

    async def _start(self, _scope: Scope) -> None:
        await self._runtime.start()

    async def _ready(self, scope: Scope) -> None:
        self._compile(scope, strict=True)
        if OFFLOAD in self.layers:
            await self.jobs.open(scope)

    async def _stop(self, _scope: Scope) -> None:
        self._table = None
        if OFFLOAD in self.layers:
            await self.jobs.close()
        await self._runtime.stop()

    def _compile(self, scope: Scope, *, strict: bool) -> None:
        """Build all chains; what does not fit stops a start, later it is logged and its endpoint refused."""
        table = RouteTable.compile(self._guarded, self.config.routes, scope)
        problems = self.config.check(table.endpoints, self._installed(scope))
        if problems and strict:
            raise ConfigError(*problems)
        for problem in problems:
            logger.error("the app's routes have changed: %s", problem)
        chains = [self._compiled(endpoint, table) for endpoint in (None, *table.endpoints)]
        self._dispatch.chains = {
            endpoint: chain for endpoint, chain in zip((None, *table.endpoints), chains, strict=True) if chain
        }
        self._endpoint.resolve = table.resolve
        self.jobs.table = table
        self._table = table

    def _compiled(self, endpoint: Endpoint | None, table: RouteTable) -> Chain | None:
        """Compile the chain of an endpoint, or of what no route matches; None for an endpoint that no one names."""
        policy = self.config.policy_for(endpoint.name, endpoint.protocol) if endpoint else None
        if endpoint and policy is None:
            return None
        site = Site(endpoint, policy, self._runtime, table, self._flood, self.jobs)
        app = HandlerLayer(self._guarded, endpoint=endpoint, ran=_check(endpoint, table))
        layers: list[ASGIApp] = []
        for row in reversed(ROWS):
            layer = row.build(layers[-1] if layers else app, site) if row.name in self.layers else None
            if layer is not None:
                layers.append(layer)
        if not layers:
            return Chain(app)
        built: list[object] = list(reversed(layers))
        askers = tuple(layer for layer in built if isinstance(layer, Asks))
        return Chain(layers[-1], askers, waits=any(isinstance(layer, Waits) for layer in askers))

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
        exchange = exchange_of(scope)
        chain = self.chains.get(exchange.endpoint)
        if chain is None:
            return exchange.refuse(INTERNAL_ERROR)(scope, receive, send)
        exchange.enter(chain)
        return chain.app(scope, receive, send)


class RateLimitMiddleware(PolicyMiddleware):
    """The stack with the rate limits alone."""

    def __init__(self, app: ASGIApp, config: JobConfig | None = None) -> None:
        super().__init__(app, config, layers=("rate_limit",))


class ConcurrencyMiddleware(PolicyMiddleware):
    """The stack with the concurrency limits alone."""

    def __init__(self, app: ASGIApp, config: JobConfig | None = None) -> None:
        super().__init__(app, config, layers=("concurrency",))


class CreditsMiddleware(PolicyMiddleware):
    """The stack with the credits alone."""

    def __init__(self, app: ASGIApp, config: JobConfig | None = None) -> None:
        super().__init__(app, config, layers=("credits",))


class OffloadMiddleware(PolicyMiddleware):
    """The stack with offloading alone."""

    def __init__(self, app: ASGIApp, config: JobConfig | None = None) -> None:
        super().__init__(app, config, layers=("offload",))


class FloodGuardMiddleware(PolicyMiddleware):
    """The stack with the flood guard alone."""

    def __init__(self, app: ASGIApp, config: JobConfig | None = None) -> None:
        super().__init__(app, config, layers=("flood_guard",))


def _check(endpoint: Endpoint | None, table: RouteTable) -> Callable[[Scope], bool]:
    """Return what tells whether the endpoint that ran was this one; for what no route matches, that none ran."""
    if endpoint is not None:
        return partial(table.ran, endpoint)
    handlers = {id(each.handler) for each in table.endpoints if each.handler is not None}
    return lambda scope: id(scope.get("endpoint")) not in handlers


def in_order(layers: tuple[str, ...]) -> tuple[str, ...]:
    """Return a config's layers, if they are known and in the stack's order; ConfigError otherwise."""
    for name in layers:
        if name not in LAYERS:
            near = difflib.get_close_matches(name, LAYERS, 1, 0)
            raise ConfigError(
                f"layers: there is no layer {name!r}; the nearest is {near[0]!r}, all are {', '.join(LAYERS)}"
            )
    places = [LAYERS.index(name) for name in layers]
    for at in range(1, len(places)):
        if places[at] == places[at - 1]:
            raise ConfigError(f"layers: {layers[at]!r} is installed twice with the same config")
        if places[at] < places[at - 1]:
            raise ConfigError(
                f"layers: {layers[at]!r} stands inside {layers[at - 1]!r}, but the stack's order is {', '.join(LAYERS)}"
            )
    return layers


def _runtime(config: JobConfig, store: Store | None, clock: Clock | None, renderer: Renderer) -> Runtime:
    """Return what all stacks of this config share in this process."""
    runtime = _runtimes.get(config)
    if runtime is None:
        clock = clock or SystemClock()
        runtime = Runtime(config, store_at(config.store, clock) if store is None else store, clock, renderer)
        _runtimes[config] = runtime
    return runtime
