"""What the limits of one config must agree on: the names of their keys, and of the buckets they share."""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from forecourt.config_policies import limits
from forecourt.policies.concurrency import Concurrency
from forecourt.policies.endpoint import EndpointPolicy
from forecourt.policies.idempotency import Idempotency
from forecourt.policies.limit import KEY_REASON, KEYS
from forecourt.policies.rate_limit import RateLimit
from forecourt.policies.wording import Place, nearest, not_allowed, shown, spelt

OF_EACH = frozenset({"name", "cost", "count", "on_store_error", "shadow"})
"""Fields in which limits that share a bucket may differ: what a call takes, not what the bucket holds."""


class Placed(NamedTuple):
    """A limit, and where in the config it stands."""

    place: Place
    limit: RateLimit


def disagreements(
    endpoints: Mapping[str, EndpointPolicy], default: EndpointPolicy | None, key_functions: Iterable[str]
) -> list[str]:
    """Return a line for each key without a function, and for each bucket that is described in two ways."""
    placed = list(_placed(endpoints, default))
    keys = [*((each.place, each.limit.key) for each in placed), *_keys_of_others(endpoints, default)]
    return [*_unknown_keys(keys, set(key_functions)), *_described_twice(placed)]


def _placed(endpoints: Mapping[str, EndpointPolicy], default: EndpointPolicy | None) -> Iterator[Placed]:
    for place, policy in _policies(endpoints, default):
        several = isinstance(policy.rate_limit, tuple)
        for position, limit in enumerate(limits(policy.rate_limit)):
            yield Placed((*place, "rate_limit", position) if several else (*place, "rate_limit"), limit)


def _keys_of_others(
    endpoints: Mapping[str, EndpointPolicy], default: EndpointPolicy | None
) -> Iterator[tuple[Place, str]]:
    for place, policy in _policies(endpoints, default):
        if isinstance(policy.concurrency, Concurrency):
            yield (*place, "concurrency"), policy.concurrency.key
        if isinstance(policy.idempotency, Idempotency) and policy.idempotency.key is not None:
            yield (*place, "idempotency"), policy.idempotency.key


def _policies(
    endpoints: Mapping[str, EndpointPolicy], default: EndpointPolicy | None
) -> list[tuple[Place, EndpointPolicy]]:
    policies: list[tuple[Place, EndpointPolicy]] = [(("default",), default)] if default else []
    return policies + [(("endpoints", name), policy) for name, policy in endpoints.items()]


def _unknown_keys(keys: Iterable[tuple[Place, str]], functions: set[str]) -> Iterator[str]:
    known = {*KEYS, *functions}
    for place, key in keys:
        if key not in known and not key.startswith("header:"):
            yield f"{spelt((*place, 'key'))}: {not_allowed(key, KEY_REASON + nearest(key, known))}"


def _described_twice(placed: Iterable[Placed]) -> Iterator[str]:
    first: dict[str, Placed] = {}
    for each in placed:
        if each.limit.name is None:
            continue
        other = first.setdefault(each.limit.name, each)
        if difference := _difference(other.limit, each.limit):
            yield (
                f"{spelt((*each.place, 'name'))}: {shown(each.limit.name)} is also the name of"
                f" {spelt(other.place)}, {difference}; limits of one name share one bucket"
            )


def _difference(other: RateLimit, limit: RateLimit) -> str | None:
    """Return the first difference between two limits that makes them different buckets."""
    if other.type != limit.type:
        return f"which is a {other.type}, not a {limit.type}"
    for field in type(limit).model_fields:
        there, here = getattr(other, field), getattr(limit, field)
        if field in OF_EACH or there == here:
            continue
        return "which has other tiers" if field == "tiers" else f"where {field} is {shown(there)}, not {shown(here)}"
    return None
