"""The breakers that a config names: one of each name, wherever it stands."""

from collections.abc import Iterator, Mapping

from forecourt.policies.circuit_breaker import CircuitBreaker
from forecourt.policies.endpoint import EndpointPolicy
from forecourt.policies.upstream import Upstream
from forecourt.policies.wording import Place, shown, spelt

_WILD = frozenset("*?[")


def breakers_of(
    endpoints: Mapping[str, EndpointPolicy],
    default: EndpointPolicy | None,
    upstreams: Mapping[str, Upstream],
) -> tuple[dict[str, CircuitBreaker], list[str]]:
    """Return the breakers that have names, and a line for each name that is described in two ways.

    An endpoint's own breaker that says no name has the endpoint's, an upstream's the upstream's.
    """
    named: dict[str, CircuitBreaker] = {}
    places: dict[str, Place] = {}
    wrong: list[str] = []
    for place, name, policy in (*_found(endpoints, default), *_called(upstreams)):
        there = places.setdefault(name, place)
        if named.setdefault(name, policy) != policy:
            field = next(each for each in type(policy).model_fields if _differs(policy, named[name], each))
            wrong.append(
                f"{spelt((*place, 'name'))}: {shown(name)} is also the name of {spelt(there)}, whose {field} differs;"
                " breakers of one name are one"
            )
    return named, wrong


def _found(
    endpoints: Mapping[str, EndpointPolicy], default: EndpointPolicy | None
) -> Iterator[tuple[Place, str, CircuitBreaker]]:
    policies: list[tuple[Place, EndpointPolicy]] = [(("default",), default)] if default else []
    policies += [(("endpoints", name), policy) for name, policy in endpoints.items()]
    for place, policy in policies:
        breaker = policy.circuit_breaker
        if not isinstance(breaker, CircuitBreaker):
            continue
        own = str(place[-1]) if len(place) == 2 and _WILD.isdisjoint(str(place[-1])) else None
        if name := breaker.name or own:
            yield (*place, "circuit_breaker"), name, breaker


def _called(upstreams: Mapping[str, Upstream]) -> Iterator[tuple[Place, str, CircuitBreaker]]:
    for name, upstream in upstreams.items():
        if (breaker := upstream.breaker) is not None:
            yield ("upstreams", name, "circuit_breaker"), breaker.name or name, breaker


def _differs(policy: CircuitBreaker, other: CircuitBreaker, field: str) -> bool:
    return bool(getattr(policy, field) != getattr(other, field))
