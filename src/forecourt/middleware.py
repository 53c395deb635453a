"""The middleware that installs the stack: `app.add_middleware(PolicyMiddleware, config=config)`.

It opens an exchange around each request and the store around a lifespan, follows the app's routes, and compiles the
chain of each endpoint from the rows of `stack`. `single_layers` has the stack with one layer, for each of them.
"""

import logging
import os
from collections.abc import Callable, Sequence
from typing import ClassVar

from forecourt.caching.values import CacheOfConfig
from forecourt.config import JobConfig, ResolvedPolicy
from forecourt.config_live import Watch, watched
from forecourt.console.opening import open_console
from forecourt.database_opening import databases_of, with_sessions
from forecourt.dispatch import Compiled, Dispatch
from forecourt.errors import ConfigError
from forecourt.exchange import KEY, Exchange
from forecourt.health import Health
from forecourt.jobs.running import JobRunner
from forecourt.layers.endpoint import EndpointLayer
from forecourt.layers.errors import ErrorsLayer
from forecourt.layers.flood_guard import flood_counter_of
from forecourt.lifespan import Lifespan
from forecourt.live import Epoch
from forecourt.observers import Observers
from forecourt.responses import Renderer, render
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

    `extra`: layers of your own, each where it says; those of installed packages by their names.

    `layers` names those to install, in the order of `LAYERS` (default: all). Without a config it is read from the file
    that FORECOURT_CONFIG names. `store` and `clock` replace what the config says, for tests and for stores of your own;
    `renderer` words the refusals; stacks of one config share all three. `watch`: the stacks of this config go over to
    another while the service runs, when its file changes ("file") or when operators push one to the store ("store").
    ConfigError at startup (or on the first request, where the server sends no lifespan) when the config does not fit
    the app.
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
        extra: Sequence[Extra | str] = (),
        watch: Watch | None = None,
    ) -> None:
        self._extra = placed(extra)
        self.config = config if config is not None else _of_the_environment()
        self.layers = in_order(self.installs if layers is None else tuple(layers))
        self._guarded = app
        self._shared = shared_by(self.config, store, clock, renderer)
        self._runtime, self._caching = self._shared.runtime, self._shared.caching
        self._databases = databases_of(self._runtime, self._caching) if self.config.databases else None
        self._live = self._shared.live
        alone = store is None and self.config.store.startswith("memory:")
        self._live.join(self, watched(watch, self.config.origin, alone=alone))
        self._table: RouteTable | None = None
        self._enforced: tuple[str, ...] = ()
        self._built: Compiled | None = None
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
        if self._live.pins:
            exchange.notes[Epoch] = self._live.epoch
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
            await self._shared.follow()
        if first and self._table is None:  # whoever waited beside us may have done the rest
            self._bind()
            self.config.health.bind(Health(self._runtime, self.config.health))
            self._compile(scope, strict=True)
            await self._live.begin()
        elif not first:
            self._compile(scope, strict=False)
        if OFFLOAD in self.layers:
            await self.jobs.open(scope)

    async def _start(self, _scope: Scope) -> None:
        await self._runtime.start()
        await self._shared.follow()
        self._bind()

    def _bind(self) -> None:
        """Have code find the cache and the databases."""
        self.config.cache.bind(CacheOfConfig(self._caching))
        if self._databases is not None:
            self._databases.open()

    async def _ready(self, scope: Scope) -> None:
        self._compile(scope, strict=True)
        if self._databases is not None:
            await self._databases.check()
        await self._live.begin()
        if OFFLOAD in self.layers:
            await self.jobs.open(scope)
        self.config.health.bind(Health(self._runtime, self.config.health))

    async def _stop(self, _scope: Scope) -> None:
        self.config.health.bind(None)
        self.config.console.bind(None)
        self._table = None
        if OFFLOAD in self.layers:
            await self.jobs.close()
        self._observers.stop()
        await self._caching.stop()
        await self._runtime.stop()

    def _compile(self, scope: Scope, *, strict: bool) -> None:
        """Build all chains; what does not fit stops a start, later it is logged and its endpoint refused."""
        table = RouteTable.compile(self._guarded, self.config.routes, scope)
        self._enforced = self._installed(scope)
        self.jobs.spans = self._observers.job_spans(self._enforced)
        problems = self.config.check(table.endpoints, self._enforced)
        if problems and strict:
            raise ConfigError(*problems)
        for problem in problems:
            logger.error("the app's routes have changed: %s", problem)
        self._put_in_force(table, self._compiled(table))

    @property
    def guarded_endpoints(self) -> Sequence[Endpoint]:
        """The app's endpoints; none before the start."""
        return self._table.endpoints if self._table else ()

    def rebuild(self) -> Callable[[], None]:
        """Compile for what the config says now; return what puts that in force. ConfigError where it does not fit."""
        table = self._table
        if table is None:
            return lambda: None  # its start compiles
        if problems := [*self.config.check(table.endpoints, self._enforced), *self._observers.unbuilt()]:
            raise ConfigError(*problems)
        compiled, epoch = self._compiled(table), self._live.epoch

        def go_over() -> None:
            if self._live.pins:
                self._dispatch.older[epoch] = self._dispatch.chains
            self._put_in_force(table, compiled)

        return go_over

    def _put_in_force(self, table: RouteTable, compiled: Compiled) -> None:
        self._built = compiled
        open_console(self._runtime, self._shared.trips, table.endpoints)  # of what holds now
        self._dispatch.chains = compiled.chains
        observed = self._observed(table)
        self._observers.observe(observed)
        self.jobs.trace(observed)
        switched = (each.name for each, policy in observed if each and policy.said("maintenance"))
        self.config.maintenance.endpoints = frozenset(switched)
        self._endpoint.resolve = table.resolve
        self.jobs.table = table
        self._table = table

    def _compiled(self, table: RouteTable) -> Compiled:
        """Compile the chains of all endpoints that are named; one whose grounds are as they were stays."""
        config, before = self.config, self._built
        flood = flood_counter_of(config.flood_guard, before.flood if before else None, self._runtime)
        policies = {each: config.policy_for(each.name, each.protocol) for each in table.endpoints}
        kept = [(policy.cache, policy.invalidates) for policy in policies.values() if policy]
        shared = (table, flood, kept, config.networks, config.limit_headers, config.tell_scopes)
        compiled = Compiled(flood)
        console = open_console(self._runtime, self._shared.trips, table.endpoints)
        for endpoint, policy in ((None, None), *policies.items()):
            if endpoint is not None and policy is None:
                continue  # nobody names it: refused
            grounds = (policy, config.overridden.of(endpoint.name) if endpoint else (), shared)
            chain = before.chain_on(endpoint, grounds) if before else None
            if chain is None:
                site = Site(endpoint, policy, self._runtime, table, flood, self._caching, self.jobs)
                chain = chain_of(self._guarded, site, self.layers, self._observers, self._extra)
                chain = console.around(chain, endpoint) if console else chain
            compiled.add(endpoint, chain, grounds)
        return compiled

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


def _of_the_environment() -> JobConfig:
    """Return the config of a stack that is given none; one from a file knows the file."""
    path = os.environ.get("FORECOURT_CONFIG")
    return JobConfig.from_file(path) if path else JobConfig()
