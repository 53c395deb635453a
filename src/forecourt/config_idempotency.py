"""Which endpoints can have idempotency: those that do things, for callers whom their keys tell apart."""

from collections.abc import Container, Iterator, Mapping
from typing import Protocol

from forecourt.policies.endpoint import EndpointPolicy
from forecourt.policies.idempotency import Idempotency
from forecourt.policies.wording import Place, shown, spelt

SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
"""Methods that change nothing (RFC 9110 §9.2.1): their keys are not looked at."""


class Said(Protocol):
    """What a field of an endpoint's policy is, and who said so."""

    @property
    def value(self) -> object | None:
        """None is off."""
        ...

    @property
    def source(self) -> str:
        """As in `endpoint "x"`."""
        ...


def nobodys_keys(fields: Mapping[str, Said]) -> bool:
    """Return whether keys of anonymous callers would belong to no one: anybody could read their answers."""
    policy = fields["idempotency"].value
    if not isinstance(policy, Idempotency) or policy.anonymous:
        return False
    security = fields["security"].value if "security" in fields else None
    return security is None or bool(getattr(security, "anonymous", False) or getattr(security, "public", False))


def impossible(fields: Mapping[str, Said], endpoint: str, route: str, methods: frozenset[str] | None) -> Iterator[str]:
    """Tell of an endpoint's own idempotency that it cannot have; `methods` None: any, or a WebSocket."""
    said = fields["idempotency"]
    if not isinstance(said.value, Idempotency) or not said.source.startswith("endpoint"):
        return
    place = spelt(("endpoints", endpoint, "idempotency"))
    if said.value.database is not None and "offload" in fields and fields["offload"].value is not None:
        yield f"{place}.database: the endpoint is a job, whose work and answer are apart: leave database out"
    if methods is not None and methods <= SAFE:
        yield f"{place}: {route} only reads: it may be asked for again as it is"
    if nobodys_keys(fields):
        yield (
            f"{place}: the endpoint lets in anonymous callers, so key must say to whom keys belong:"
            " client, header:NAME or a name in key_functions"
        )


def unknown_databases(
    endpoints: Mapping[str, EndpointPolicy], default: EndpointPolicy | None, databases: Container[str]
) -> Iterator[str]:
    """Tell of each idempotency whose database the config does not have."""
    policies: list[tuple[Place, EndpointPolicy]] = [(("default",), default)] if default else []
    policies += [(("endpoints", name), policy) for name, policy in endpoints.items()]
    for place, policy in policies:
        said = policy.idempotency
        if isinstance(said, Idempotency) and said.database is not None and said.database not in databases:
            yield f"{spelt((*place, 'idempotency', 'database'))}: {shown(said.database)} is not one of databases"
