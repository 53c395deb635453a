"""Who is at the other end: the client's address, as a key that limits can count by.

The address is the peer's (`scope["client"]`). Forwarded headers count only when the peer is a trusted proxy; they are
then read from the right, skipping trusted ones, as each hop appended what it saw (RFC 7239 §7.4 says why the left is
not to be believed). IPv6 callers own whole networks, so they are counted by prefix; IPv4 mapped into IPv6 (RFC 4291
§2.5.5.2) is IPv4.
"""

import logging
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

from forecourt.policies.clients import NO_ADDRESS
from forecourt.types import Scope

logger = logging.getLogger("forecourt")

_MAX_KNOWN = 10_000
_MOST_HOPS = 32


class Clients:
    """Resolves client addresses; `trusted` are proxies' networks or addresses, or "unix" for a peer without one."""

    def __init__(self, trusted: Sequence[str] = (), *, ipv6_prefix: int = 64) -> None:
        self._networks = tuple(ip_network(each, strict=False) for each in trusted if each != NO_ADDRESS)
        self._trusts_unix = NO_ADDRESS in trusted
        self._ipv6_prefix = ipv6_prefix
        self._known: dict[str, str] = {}
        self._warned = False

    def key(self, scope: Scope) -> str:
        """Return the client's address or IPv6 network as text, or `NO_ADDRESS`."""
        address = self.address(scope)
        return self._known.get(address) or self._counted_as(address)

    def address(self, scope: Scope) -> str:
        """Return the client's own address as it was given, or `NO_ADDRESS`."""
        client = scope.get("client")
        peer = client[0] if client else NO_ADDRESS
        if b"x-forwarded-for" in dict(scope["headers"]):
            if self._trusts(peer):
                peer = self._first_untrusted(_forwarded(scope), peer)
            elif not self._warned:
                self._warn(peer)
        return str(peer)

    def counted_as(self, address: str) -> str:
        """Return what a client of this address is counted as: its IPv6 network, or the address in its usual form."""
        return self._network(address)

    def trusts(self, scope: Scope) -> bool:
        """Return whether the request comes from a trusted proxy itself."""
        client = scope.get("client")
        return self._trusts(client[0] if client else NO_ADDRESS)

    def _first_untrusted(self, forwarded: list[str], peer: str) -> str:
        for hop in reversed(forwarded):
            address = _bare(hop)
            if address is None:
                return peer
            peer = address
            if not self._trusts(peer):
                break
        return peer

    def _trusts(self, peer: str) -> bool:
        if peer == NO_ADDRESS:
            return self._trusts_unix
        address = parse(peer)
        return address is not None and any(address in network for network in self._networks)

    def _counted_as(self, peer: str) -> str:
        if len(self._known) >= _MAX_KNOWN:
            self._known.clear()
        known = self._known[peer] = self._network(peer)
        return known

    def _network(self, peer: str) -> str:
        address = parse(peer)
        if isinstance(address, IPv6Address):
            return str(IPv6Network((address, self._ipv6_prefix), strict=False))
        return str(address) if address else peer

    def _warn(self, peer: str) -> None:
        self._warned = True
        logger.warning(
            "forwarded headers come from %s, which is not in trusted_proxies: they are ignored, and if it is your "
            "proxy then all callers share its address; add it: trusted_proxies=[%r]",
            peer,
            peer,
        )


def _forwarded(scope: Scope) -> list[str]:
    """Return the last hops of X-Forwarded-For, left to right; repeated fields are one list."""
    values = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
    hops = b",".join(values).decode("latin-1").rsplit(",", _MOST_HOPS)
    return [hop.strip() for hop in hops[-_MOST_HOPS:]]


def _bare(hop: str) -> str | None:
    """Strip the port and brackets of a hop; None when it is no address (unknown, obfuscated, forged)."""
    if hop.startswith("["):
        hop = hop[1:].partition("]")[0]
    elif hop.count(":") == 1:
        hop = hop.partition(":")[0]
    return hop if parse(hop) is not None else None


def parse(text: str) -> IPv4Address | IPv6Address | None:
    """Return the address that this text spells, IPv4 mapped into IPv6 as IPv4; None where it spells none."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
