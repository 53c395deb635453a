"""Whether the groups of networks that policies name exist."""

from collections.abc import Collection, Iterator, Mapping

from forecourt.policies.clients import ClientNetworks
from forecourt.policies.endpoint import EndpointPolicy
from forecourt.policies.wording import Place, nearest, not_allowed, spelt


def unknown_groups(
    endpoints: Mapping[str, EndpointPolicy], default: EndpointPolicy | None, groups: Collection[str]
) -> Iterator[str]:
    """Tell of each group of networks that a policy names and `networks` does not have."""
    policies: list[tuple[Place, EndpointPolicy]] = [(("default",), default)] if default else []
    policies += [(("endpoints", name), policy) for name, policy in endpoints.items()]
    for place, policy in policies:
        if isinstance(policy.clients, ClientNetworks):
            for name in sorted(policy.clients.groups - set(groups)):
                hint = nearest(name, groups) or "; add it, or write a network such as 192.0.2.0/24"
                yield f"{spelt((*place, 'clients'))}: {not_allowed(name, f'networks has no such group{hint}')}"
