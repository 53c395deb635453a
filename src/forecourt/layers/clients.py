"""Clients: lets an endpoint be called from some networks only.

`EndpointPolicy(clients=ClientNetworks(allow={"office"}))` turns it on; `JobConfig(networks={"office": […]})` names
groups. It stands before auth: from elsewhere not even credentials are looked at. The address is the peer's own, or
what trusted proxies say of it (`trusted_proxies`).

Refuses with 403 and no word of why. An address that cannot be read is nobody's: it is refused, whether networks are
allowed or denied. It asks no store.
"""

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet

from forecourt.clients import parse
from forecourt.exchange import exchange_of
from forecourt.policies.clients import NO_ADDRESS, ClientNetworks, network
from forecourt.responses import FORBIDDEN
from forecourt.routing import Endpoint
from forecourt.runtime import Runtime
from forecourt.types import ASGIApp, Receive, Scope, Send

_MOST_KNOWN = 10_000


class ClientsLayer:
    """Refuses clients of other networks."""

    def __init__(self, app: ASGIApp, *, policy: ClientNetworks, endpoint: Endpoint, runtime: Runtime) -> None:
        self.app = app
        groups = runtime.config.networks
        self._allow = None if policy.allow is None else _spelt_out(policy.allow, groups)
        self._deny = _spelt_out(policy.deny, groups)
        self._clients = runtime.clients
        self._known: dict[str, bool] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse or pass on."""
        address = self._clients.address(scope)
        let_in = self._known.get(address)
        if let_in is None:
            let_in = self._remember(address)
        if not let_in:
            exchange = exchange_of(scope)
            exchange.decided("clients", "refused")
            return await exchange.refuse(FORBIDDEN)(scope, receive, send)
        await self.app(scope, receive, send)

    def _remember(self, address: str) -> bool:
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        let_in = self._known[address] = self._lets_in(address)
        return let_in

    def _lets_in(self, address: str) -> bool:
        if address != NO_ADDRESS and parse(address) is None:
            return False
        return not _within(address, self._deny) and (self._allow is None or _within(address, self._allow))


def _spelt_out(names: AbstractSet[str], groups: Mapping[str, AbstractSet[str]]) -> frozenset[str]:
    """Return networks, addresses and `unix`, groups replaced by what they hold."""
    return frozenset(each for name in names for each in groups.get(name, (name,)))


def _within(address: str, networks: Iterable[str]) -> bool:
    if address == NO_ADDRESS:
        return NO_ADDRESS in networks
    found = parse(address)
    return any(found in each for each in map(network, networks) if each is not None)
