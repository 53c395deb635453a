"""Does a config fit the app and the stack it is for? Each thing that does not is one line."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from forecourt.config_cache import cache_misfits
from forecourt.config_encryption import sealed_for_nobody
from forecourt.config_idempotency import impossible
from forecourt.config_policies import (
    DOCS_ROUTES,
    WEBSOCKET_COUNTS,
    EndpointProtocol,
    Policies,
    ResolvedPolicy,
)
from forecourt.core.retrying import IDEMPOTENT
from forecourt.errors import ConfigError
from forecourt.policies.encryption import Encryption
from forecourt.policies.wording import nearest, not_allowed, spelt
from forecourt.telemetry.extras import counter, installed, missing

_MOST_LISTED = 8


class EndpointLike(Protocol):
    """What a check needs to know of an endpoint of the app."""

    @property
    def name(self) -> str:
        """The route's name as `url_for` knows it."""
        ...

    @property
    def path(self) -> str:
        """The full path template."""
        ...

    @property
    def methods(self) -> frozenset[str] | None:
        """The methods it answers; None: any, or a WebSocket."""
        ...

    @property
    def protocol(self) -> EndpointProtocol:
        """Which scopes it answers."""
        ...

    @property
    def handler(self) -> object | None:
        """What runs; None where that cannot be known."""
        ...


def misfits(
    policies: Policies, endpoints: Sequence[EndpointLike], layers: Sequence[str], *, flood_guard: bool
) -> list[str]:
    """Return a line for each thing in the config that does not fit these endpoints and layers."""
    found = [*_absent(policies, endpoints), *_ambiguous(policies, endpoints)]
    resolved: list[ResolvedPolicy] = []
    for endpoint in endpoints:
        if not policies.name(endpoint.name) and not _is_docs_route(endpoint):
            found.append(_named_by_no_one(endpoint))
            continue
        try:
            policy = policies.of(endpoint.name, endpoint.protocol)
        except ConfigError as error:
            found += error.problems
            continue
        assert policy is not None
        resolved.append(policy)
        found += _for_websockets_only(policy, endpoint)
        found += impossible(policy.fields, endpoint.name, _route(endpoint), endpoint.methods)
        found += cache_misfits(policy, endpoint.path, endpoint.methods, endpoint.protocol)
        found += sealed_for_nobody(policy, endpoint.protocol)
        found += _without_fallback(policy)
        found += _unsafe_retry(policy, endpoint)
        found += _idle_priority(policy)
    found += _different_limits(resolved)
    found += _without_layer(resolved, layers, flood_guard=flood_guard)
    found += _without_extra(resolved)
    return list(dict.fromkeys(found))


def _absent(policies: Policies, endpoints: Sequence[EndpointLike]) -> Iterator[str]:
    """Tell of names and globs in the config that mean no endpoint."""
    names = sorted({endpoint.name for endpoint in endpoints})
    listed = ", ".join(names[:_MOST_LISTED]) + (", …" if len(names) > _MOST_LISTED else "")
    has = f"; it has {listed}" if names else "; it has none"
    for name in policies.endpoints:
        if name not in names:
            hint = nearest(name, names, most=3) or has
            yield f"{spelt(('endpoints', name))}: the app has no endpoint of this name{hint}"
    for glob in policies.globs:
        if not any(glob.pattern.fullmatch(name) for name in names):
            hint = nearest(glob.text, names, most=3) or has
            yield f"{spelt(('endpoints', glob.text))}: the app has no endpoint that matches{hint}"


def _ambiguous(policies: Policies, endpoints: Sequence[EndpointLike]) -> Iterator[str]:
    """Tell of names in the config that mean several handlers."""
    for name in policies.endpoints:
        different: list[EndpointLike] = []
        for endpoint in endpoints:
            if endpoint.name == name and all(_handler(endpoint) != _handler(other) for other in different):
                different.append(endpoint)
        if len(different) > 1:
            routes = " and ".join(_route(endpoint) for endpoint in different)
            last = different[-1]
            yield (
                f"{spelt(('endpoints', name))}: {len(different)} different handlers have this name, {routes};"
                f' give one a name of its own, as in routes={{"{_another_name(last)}": "{_route(last)}"}}'
            )


def _is_docs_route(endpoint: EndpointLike) -> bool:
    """Return whether this is the framework's own documentation, not the app's endpoint of the same name."""
    module = getattr(endpoint.handler, "__module__", None) or ""
    return endpoint.name in DOCS_ROUTES and module.partition(".")[0] == "fastapi"


def _named_by_no_one(endpoint: EndpointLike) -> str:
    name = spelt(("endpoints", endpoint.name))
    return (
        f'endpoint "{endpoint.name}" ({_route(endpoint)}) is named by no one and there is no default:'
        f" add {name}, or a default for all"
    )


def _for_websockets_only(policy: ResolvedPolicy, endpoint: EndpointLike) -> Iterator[str]:
    """Tell of what an endpoint's own limits count and only WebSockets have; of others' they are skipped."""
    if endpoint.protocol != "http":
        return
    for limit in policy.rate_limit:
        if limit.count in WEBSOCKET_COUNTS:
            place = spelt(("endpoints", endpoint.name, "rate_limit", "count"))
            reason = f"it is for WebSockets, and {_route(endpoint)} is a plain HTTP endpoint"
            yield f"{place}: {not_allowed(limit.count, reason)}"


def _unsafe_retry(policy: ResolvedPolicy, endpoint: EndpointLike) -> Iterator[str]:
    """Tell of an endpoint's own retry where no method may be carried out twice; others' it has no use of."""
    retry = policy.retry
    source = policy.fields["retry"].source
    if retry is None or retry.unsafe or not source.startswith("endpoint"):
        return
    if endpoint.methods is not None and endpoint.methods.isdisjoint(IDEMPOTENT):
        yield (
            f"retry of {source}: {_route(endpoint)} is not idempotent, so it would never be tried again;"
            " say unsafe=True if it may be carried out twice"
        )


def _without_fallback(policy: ResolvedPolicy) -> Iterator[str]:
    """Tell of a breaker whose fallback another policy of the endpoint would have to give, and there is none."""
    breaker = policy.circuit_breaker
    if breaker is None or breaker.fallback is None:
        return
    field = {"stale": "cache", "offload": "offload"}[breaker.fallback]
    said = policy.fields.get(field)
    gives = said is not None and said.value is not None
    if field == "cache":
        gives = policy.cache is not None and bool(policy.cache.stale_if_error)
    if not gives:
        needed = "cache policy with stale_if_error" if field == "cache" else "offload policy"
        reason = f'endpoint "{policy.endpoint}" has no {needed} that could answer instead'
        source = policy.fields["circuit_breaker"].source
        yield f"circuit_breaker.fallback of {source}: {not_allowed(breaker.fallback, reason)}"


def _idle_priority(policy: ResolvedPolicy) -> Iterator[str]:
    """Tell of an endpoint's own priority where nothing sheds its calls; others' it has no use of."""
    said = policy.fields["priority"]
    if said.value is not None and said.source.startswith("endpoint") and policy.adaptive is None:
        reason = "nothing sheds calls of this endpoint; give it concurrency=Adaptive(…), or the default"
        yield f"priority of {said.source}: {not_allowed(said.value, reason)}"


def _different_limits(policies: Sequence[ResolvedPolicy]) -> Iterator[str]:
    """Tell of adaptive limits that have one name and are described in two ways."""
    first: dict[str, ResolvedPolicy] = {}
    for policy in policies:
        own = policy.adaptive
        if own is None or own.name is None:
            continue
        other = first.setdefault(own.name, policy)
        if other.adaptive != own:
            yield (
                f'concurrency.name of {policy.fields["concurrency"].source}: "{own.name}" is also the name of that of'
                f" {other.fields['concurrency'].source}, which differs; limits of one name are one"
            )


def _without_layer(policies: Sequence[ResolvedPolicy], layers: Sequence[str], *, flood_guard: bool) -> Iterator[str]:
    """Tell of policies that nothing in the stack would enforce, once for each place in the config."""
    used = [("flood_guard", "flood_guard")] if flood_guard else []
    for policy in policies:
        used += [
            (field, f"{field} of {said.source}")
            for field, said in policy.fields.items()
            if said.value is not None and field != "priority" and not _at_rest_only(said.value)
        ]
    for layer, what in used:
        if layer not in layers:
            yield f"{what}: the stack has no {layer} layer; it has {', '.join(layers) or 'none'}"


def _at_rest_only(said: object) -> bool:
    """Return whether this seals at rest only: whoever stores does it, idempotency, cache and offload."""
    return isinstance(said, Encryption) and not said.end_to_end


def _without_extra(policies: Sequence[ResolvedPolicy]) -> Iterator[str]:
    """Tell of observers that are asked for and whose package is not installed."""
    for policy in policies:
        for field in ("tracing", "metrics", "logging"):
            said = policy.fields[field]
            needed = counter(field, policy.metrics_to)
            if said.value is not None and not installed(needed):
                yield f"{field} of {said.source}: {missing(needed)}"


def _handler(endpoint: EndpointLike) -> object:
    return endpoint.path if endpoint.handler is None else endpoint.handler


def _route(endpoint: EndpointLike) -> str:
    method = _method(endpoint)
    return f"{method} {endpoint.path}" if method else endpoint.path


def _method(endpoint: EndpointLike) -> str:
    """Return the method to write in a route's pattern; empty where it answers any."""
    methods = sorted((endpoint.methods or frozenset()) - {"HEAD"}) or sorted(endpoint.methods or ())
    return methods[0] if methods else ""


def _another_name(endpoint: EndpointLike) -> str:
    """Suggest a name for the second of two endpoints: `v2_get` for `GET /v2/records`."""
    first = endpoint.path.strip("/").partition("/")[0]
    prefix = first if first.isidentifier() else _method(endpoint).lower() or "other"
    return f"{prefix}_{endpoint.name}"
