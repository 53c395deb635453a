"""The stack: which layers, in which order, and why.

Rows 1 and 2 are one object each per app. The rows below are compiled once per endpoint into a chain of only those
layers that its policy uses, so a layer that is off costs nothing. All layers of a chain ask the store together.
"""

import difflib
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from forecourt.caching.caching import Caching
from forecourt.config import ResolvedPolicy
from forecourt.config_cache import cached_here
from forecourt.core.caching.keys import with_wildcards
from forecourt.database_opening import databases_of
from forecourt.entry_points import brought
from forecourt.errors import ConfigError
from forecourt.exchange import Asks, Chain, Waits
from forecourt.jobs.running import JobRunner
from forecourt.layers.audit import AuditLayer
from forecourt.layers.auth import AuthLayer
from forecourt.layers.authenticating import authentication_of
from forecourt.layers.cache import CacheLayer
from forecourt.layers.circuit_breaker import CircuitBreakerLayer
from forecourt.layers.clients import ClientsLayer
from forecourt.layers.concurrency import ConcurrencyLayer
from forecourt.layers.content import ContentLayer
from forecourt.layers.credits import CreditsLayer
from forecourt.layers.cross_origin import CrossOriginLayer
from forecourt.layers.deprecation import DeprecationLayer
from forecourt.layers.encryption import EncryptionLayer
from forecourt.layers.flood_guard import FloodGuardCounter, FloodGuardLayer
from forecourt.layers.handler import HandlerLayer
from forecourt.layers.idempotency import IdempotencyLayer
from forecourt.layers.invalidates import SAFE, InvalidatesLayer
from forecourt.layers.maintenance import maintenance
from forecourt.layers.max_body import MaxBodyLayer
from forecourt.layers.max_headers import MaxHeadersLayer
from forecourt.layers.offload import OffloadLayer
from forecourt.layers.rate_limit import RateLimitLayer
from forecourt.layers.retry import RetryLayer
from forecourt.layers.security_headers import SecurityHeadersLayer
from forecourt.layers.shedder import shedder_of
from forecourt.layers.shedding import SheddingLayer
from forecourt.layers.timeout import TimeoutLayer
from forecourt.layers.upstreams import UpstreamsLayer
from forecourt.layers.webhook import WebhookLayer
from forecourt.observers import NAMES, Observers
from forecourt.routing import Endpoint, RouteTable
from forecourt.runtime import Runtime
from forecourt.types import ASGIApp, Scope


class Site(NamedTuple):
    """What a layer may be compiled from: one endpoint (None: what no route matches), its policy, and what it shares."""

    endpoint: Endpoint | None
    policy: ResolvedPolicy | None
    runtime: Runtime
    table: RouteTable
    flood: FloodGuardCounter | None
    caching: Caching
    jobs: JobRunner


class Row(NamedTuple):
    """One place in the stack: its layer's name, why it stands there, and how it is built (None: not needed here)."""

    name: str
    why: str
    build: Callable[[ASGIApp, Site], ASGIApp | None]


class Extra(NamedTuple):
    """A layer of your own, right above the row called `above`; `build` returns None where it is not needed.

    It stands there whether or not that row is used by an endpoint. `above="handler"` is innermost.
    """

    above: str
    build: Callable[[ASGIApp, Site], ASGIApp | None]


def _flood_guard(app: ASGIApp, site: Site) -> ASGIApp | None:
    return FloodGuardLayer(app, counter=site.flood) if site.flood else None


def _auth(app: ASGIApp, site: Site) -> ASGIApp | None:
    if site.endpoint is None or site.policy is None or site.policy.security is None:
        return None
    authentication = authentication_of(site.runtime)
    return AuthLayer(app, policy=site.policy.security, runtime=site.runtime, authentication=authentication)


def _invalidates(app: ASGIApp, site: Site) -> ASGIApp | None:
    if site.endpoint is None or site.policy is None or site.endpoint.protocol == "websocket":
        return None
    uri = _unsafe(site.endpoint) and any(_keeps(each, site) for each in _of_path(site.endpoint, site.table))
    groups = _unsafe(site.endpoint) and any(_keeps(each, site) for each in site.table.endpoints)
    if not site.policy.invalidates and not uri and not groups:
        return None
    return InvalidatesLayer(app, tags=site.policy.invalidates, caching=site.caching, uri=uri)


def _cache(app: ASGIApp, site: Site) -> ASGIApp | None:
    if site.endpoint is None or site.policy is None or not _keeps(site.endpoint, site):
        return None
    policy = site.policy.cache
    assert policy is not None
    if site.runtime.config.databases:  # whose statements may change rows without naming them
        policy = policy.model_copy(update={"tags": with_wildcards(policy.tags)})
    uri = any(_unsafe(each) for each in _of_path(site.endpoint, site.table))
    return CacheLayer(
        app,
        policy=policy,
        endpoint=site.endpoint,
        runtime=site.runtime,
        caching=site.caching,
        uri=uri,
    )


def _keeps(endpoint: Endpoint, site: Site) -> bool:
    """Return whether the cache keeps answers of this endpoint."""
    policy = site.runtime.config.policy_for(endpoint.name, endpoint.protocol)
    return policy is not None and policy.cache is not None and cached_here(endpoint.methods, endpoint.protocol)


def _unsafe(endpoint: Endpoint) -> bool:
    return endpoint.methods is None or bool(endpoint.methods - SAFE)


def _of_path(endpoint: Endpoint, table: RouteTable) -> list[Endpoint]:
    return [each for each in table.endpoints if each.path == endpoint.path]


def _where(field: str, layer: Callable[..., ASGIApp]) -> Callable[[ASGIApp, Site], ASGIApp | None]:
    """Return what builds `layer` where an endpoint's policy says something in `field`."""

    def build(app: ASGIApp, site: Site) -> ASGIApp | None:
        said = site.policy.said(field) if site.policy else None
        if site.endpoint is None or said is None:
            return None
        return layer(app, policy=said, endpoint=site.endpoint, runtime=site.runtime)

    return build


def _rate_limit(app: ASGIApp, site: Site) -> ASGIApp | None:
    if site.endpoint is None or site.policy is None or not site.policy.rate_limit:
        return None
    return RateLimitLayer(app, policy=site.policy.rate_limit, endpoint=site.endpoint, runtime=site.runtime)


def _concurrency(app: ASGIApp, site: Site) -> ASGIApp | None:
    if site.endpoint is None or site.policy is None:
        return None
    if (policy := site.policy.adaptive) is not None:
        shedder = shedder_of(policy, site.endpoint.name, site.runtime)
        return SheddingLayer(app, shedder=shedder, priority=site.policy.priority, shadow=policy.shadow)
    return _where("concurrency", ConcurrencyLayer)(app, site)


def _webhook(app: ASGIApp, site: Site) -> ASGIApp | None:
    return (
        _where("webhook", WebhookLayer)(app, site) if site.endpoint and site.endpoint.protocol != "websocket" else None
    )


def _encryption(app: ASGIApp, site: Site) -> ASGIApp | None:
    sealed = site.policy is not None and site.policy.encryption is not None and site.policy.encryption.end_to_end
    is_socket = site.endpoint is not None and site.endpoint.protocol == "websocket"
    return _where("encryption", EncryptionLayer)(app, site) if sealed and not is_socket else None


def _circuit_breaker(app: ASGIApp, site: Site) -> ASGIApp | None:
    if site.endpoint is None or site.policy is None or site.policy.circuit_breaker is None:
        return None
    breaker = site.runtime.config.breakers.of(site.policy.circuit_breaker, site.endpoint.name)
    jobs = _jobs_of(app) if breaker.policy.fallback == "offload" else None
    return CircuitBreakerLayer(app, breaker=breaker, instead=jobs.publish if jobs else None)


def _jobs_of(app: ASGIApp | None) -> OffloadLayer | None:
    """Return the layer of this chain that makes calls jobs; None where it is not installed here."""
    while app is not None and not isinstance(app, OffloadLayer):
        app = getattr(app, "app", None)
    return app


def _timeout(app: ASGIApp, site: Site) -> ASGIApp | None:
    if site.endpoint is None or site.policy is None or (policy := site.policy.timeout) is None:
        return None
    limit = policy.limit() if site.policy.retry else min(policy.limit(), policy.attempt() or policy.limit())
    return TimeoutLayer(app, limit=limit, runtime=site.runtime, until_start=policy.until == "start")


def _retry(app: ASGIApp, site: Site) -> ASGIApp | None:
    if site.endpoint is None or site.policy is None or (policy := site.policy.retry) is None:
        return None
    timeout = site.policy.timeout
    if timeout is not None and (limit := timeout.attempt()) is not None:
        until_start = timeout.until == "start"
        app = TimeoutLayer(app, limit=limit, runtime=site.runtime, until_start=until_start, attempt=True)
    return RetryLayer(app, policy=policy, runtime=site.runtime, name=site.endpoint.name)


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
        deliveries=site.jobs.deliveries,
        spans=site.jobs.spans if policy.tracing else None,
    )


OFFLOAD = "offload"
"""The stack with this layer is the one that runs jobs."""

ERRORS = "errors"
"""Row 1, outermost: one log line and one problem for what nobody handled, whichever layer it came from.
Row 2 is the endpoint layer, always there: everything below only looks up what it resolved. Rows 3 and 4 are the
observers: below errors and endpoint, whose work they need, and above all that may refuse, as refusals are seen too."""

ROWS: tuple[Row, ...] = (
    Row("headers", "outermost, so that whatever answers carries the fields", _where("headers", SecurityHeadersLayer)),
    Row(
        "flood_guard",
        "before anything costs, and for what no route matches; in this process, no trip",
        _flood_guard,
    ),
    Row("max_headers", "before anything reads the fields", _where("max_headers", MaxHeadersLayer)),
    Row("clients", "from elsewhere not even credentials are looked at", _where("clients", ClientsLayer)),
    Row(
        "cross_origin",
        "before auth: what a browser sends along by itself must not be believed",
        _where("cross_origin", CrossOriginLayer),
    ),
    Row("security", "everything below keys on the principal; its checks go first in the one trip", _auth),
    Row(
        "maintenance",
        "below auth, as a role may pass; above all that counts, so that a call refused here takes nothing",
        _where("maintenance", maintenance),
    ),
    Row(
        "deprecation",
        "below auth, so that it is known who still calls; above all that costs",
        _where("deprecation", DeprecationLayer),
    ),
    Row(
        "rate_limit",
        "below auth, as it counts principals; cheap refusals before costly work",
        _rate_limit,
    ),
    Row(
        "concurrency",
        "stands or falls with the rate limits, in the same group of the one trip",
        _concurrency,
    ),
    Row(
        "max_body",
        "below the limits, which count such calls; above all that reads a body",
        _where("max_body", MaxBodyLayer),
    ),
    Row(
        "encryption",
        "opens only what was let in; below it all is plain, above it the answer is sealed for its caller",
        _encryption,
    ),
    Row("content", "refused before it costs anything or is claimed", _where("content", ContentLayer)),
    Row("webhook", "reads the whole body, within its bound; above all that costs", _webhook),
    Row(
        "audit",
        "below all that refuses callers; above all that may answer, replays included",
        _where("audit", AuditLayer),
    ),
    Row(
        "idempotency",
        "below the limits, which every call meets; a replay costs no credits",
        _where("idempotency", IdempotencyLayer),
    ),
    Row("credits", "charged only for work that is new and was let in", _where("credits", CreditsLayer)),
    Row("invalidates", "below all that refuses, so that only handlers invalidate what is kept", _invalidates),
    Row("cache", "a hit skips all below, and costs what a call costs", _cache),
    Row("circuit_breaker", "sees one outcome for a whole series of attempts; a hit needs none", _circuit_breaker),
    Row("timeout", "around all attempts; the breaker sees its 504 as a failure", _timeout),
    Row("retry", "attempts, each with a limit of its own, all within the deadline", _retry),
    Row(OFFLOAD, "right above the handler, which a worker runs instead: below all that lets a call in", _offload),
)
"""The rows that are compiled per endpoint, outermost first; the handler's check is always innermost."""

LAYERS: tuple[str, ...] = (ERRORS, *NAMES, *(row.name for row in ROWS))


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


INNERMOST = "handler"
"""Where a layer of your own stands below all rows."""


BROUGHT = "forecourt.layers"
"""The entry points that are asked for a layer of which an app says only the name."""


def placed(extra: Sequence[Extra | str]) -> tuple[Extra, ...]:
    """Return an app's own layers, if each stands above a row that there is; ConfigError otherwise.

    One that is only named is that of an installed package.
    """
    layers = tuple(brought(BROUGHT, each, Extra) if isinstance(each, str) else each for each in extra)
    places = (*(row.name for row in ROWS), INNERMOST)
    for each in layers:
        if each.above not in places:
            near = difflib.get_close_matches(each.above, places, 1, 0)
            raise ConfigError(f"extra: there is no row {each.above!r}; the nearest is {near[0]!r}, all are {places}")
    return layers


def chain_of(
    guarded: ASGIApp, site: Site, installed: Sequence[str], observers: Observers, extra: Sequence[Extra] = ()
) -> Chain:
    """Return the chain of the layers that this site needs, of those installed, around its handler's check."""
    app: ASGIApp = HandlerLayer(guarded, endpoint=site.endpoint, ran=_check(site.endpoint, site.table))
    if site.runtime.config.databases:
        app = _databases(app, site)
    if site.runtime.config.upstreams:
        app = _upstreams(app, site, installed)
    app = observers.around_handler(app, site.endpoint, site.policy)
    layers: list[object] = []
    builds: list[Callable[[ASGIApp, Site], ASGIApp | None]] = [each.build for each in extra if each.above == INNERMOST]
    for row in reversed(ROWS):
        builds[:0] = [
            *(each.build for each in extra if each.above == row.name),
            *([row.build] if row.name in installed else []),
        ]
    for build in reversed(builds):
        layer = build(app, site)
        if layer is not None:
            app = layer
            layers.insert(0, layer)
    askers = tuple(layer for layer in layers if isinstance(layer, Asks))
    waits = any(isinstance(layer, Waits) for layer in askers)
    return Chain(app, askers, waits, None if waits else site.runtime.at_once)


def _databases(app: ASGIApp, site: Site) -> ASGIApp:
    """Return what gives the handler its sessions; what is kept of its answers is never made from a replica."""
    from forecourt.db.layer import DatabasesLayer  # noqa: PLC0415  # the extra `db` is optional

    keeps = site.endpoint is not None and _keeps(site.endpoint, site)
    name = site.endpoint.name if site.endpoint else ""
    return DatabasesLayer(app, endpoint=name, databases=databases_of(site.runtime, site.caching), replicas=not keeps)


def _upstreams(app: ASGIApp, site: Site, installed: Sequence[str]) -> ASGIApp:
    """Return what tells calls to upstreams which of this chain's layers stand around them."""
    policy = site.policy if site.endpoint else None
    breaker = policy.circuit_breaker if policy and "circuit_breaker" in installed else None
    name = (breaker.name or policy.endpoint) if breaker and policy else None
    retry = policy.retry if policy and "retry" in installed else None
    return UpstreamsLayer(app, guards=(name,) if name else (), retry=retry)


def _check(endpoint: Endpoint | None, table: RouteTable) -> Callable[[Scope], bool]:
    """Return what tells whether the endpoint that ran was this one; for what no route matches, that none ran."""
    if endpoint is not None:
        return partial(table.ran, endpoint)
    handlers = {id(each.handler) for each in table.endpoints if each.handler is not None}
    return lambda scope: id(scope.get("endpoint")) not in handlers
