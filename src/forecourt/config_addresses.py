"""Addresses that an operator writes: of the store, and of the proxies whose word on the caller counts."""

import re
from collections.abc import Sequence
from ipaddress import IPv6Network, ip_network

from forecourt.entry_points import names_in
from forecourt.errors import ConfigError
from forecourt.policies.wording import Fault, nearest, not_allowed, refusal, refused, said, shown
from forecourt.stores.redis.urls import parse

_SERVERS = ("redis", "rediss", "valkey", "valkeys")
SCHEMES = (
    "memory",
    *_SERVERS,
    "unix",
    *(f"{server}+{form}" for form in ("cluster", "sentinel") for server in _SERVERS),
)
"""How a store's address may begin; the forms without +cluster or +sentinel are one primary."""

BROUGHT = "forecourt.stores"
"""The entry points that are asked for the store of an address whose scheme is not ours."""

_MAPPED = 96
"""The bits before an IPv4 address that is mapped into IPv6 (RFC 4291 §2.5.5.2)."""

_SCHEME = re.compile(r"[A-Za-z0-9+.-]{1,32}")


def store_address(value: object, also: Sequence[str] = ()) -> str:
    """Return an address whose scheme we or an installed package know; the error shows no more than the scheme.

    `also` are schemes that it may hint at.
    """
    if not isinstance(value, str):
        raise refused(value, "must be an address such as redis://localhost:6379/0")
    scheme, separator, rest = value.partition("://")
    if not separator or not _SCHEME.fullmatch(scheme):
        raise said("is not an address such as redis://localhost:6379/0")
    begun = f'"{scheme}://…"' if type(value) is str else shown(value)
    if scheme.lower() not in SCHEMES:
        brought = names_in(BROUGHT)
        if scheme in brought:
            return str(value)
        known = (*SCHEMES, *also, *brought)
        guess = nearest(scheme.lower(), known) or f": {', '.join(known)}"
        raise said(f"{begun} is not allowed: its scheme is unknown{guess}")
    if scheme.lower() == "memory" and rest:
        raise said(f"{begun} is not allowed: it must be memory:// alone, as this process has one memory")
    if scheme.lower() != "memory":
        _readable(value, begun)
    return str(value)


def _readable(address: str, begun: str) -> None:
    """Refuse at startup what would otherwise fail each request: a port, path or option that means nothing."""
    try:
        parse(address)
    except ConfigError as wrong:
        raise said(f"{begun} is not allowed: {str(wrong).removeprefix('store: ')}") from None


def redacted(address: str) -> str:
    """Return an address for people: without user, password and options."""
    scheme, separator, rest = address.partition("://")
    place, question, options = rest.partition("?")
    if "@" in options:
        return f"{scheme}{separator}***"
    _, at, where = place.rpartition("@")
    return f"{scheme}{separator}{'***@' if at else ''}{where}{'?…' if question else ''}"


def proxies(value: object) -> tuple[str, ...]:
    """Return the networks of trusted proxies as text, with "unix" for peers without an address."""
    if not isinstance(value, list | tuple):
        raise refused(value, "must be a list of addresses and networks")
    wrong: list[Fault] = []
    known: list[str] = []
    for position, each in enumerate(value):
        network = _network(each)
        if network is None:
            wrong.append(Fault((position,), each, not_allowed(each, _why_no_network(each))))
        else:
            known.append(network)
    if wrong:
        raise refusal("trusted_proxies", wrong)
    return tuple(known)


def _network(text: object) -> str | None:
    if text == "unix":
        return "unix"
    try:
        network = ip_network(text) if isinstance(text, str) else None
    except ValueError:
        return None
    mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    if mapped is not None and network is not None:
        return f"{mapped}/{network.prefixlen - _MAPPED}"
    return str(network) if network else None


def _why_no_network(value: object) -> str:
    if value == "*":
        return 'to trust every peer say "0.0.0.0/0" and "::/0"'
    reason = 'must be an address, a network such as 10.0.0.0/8, or "unix"'
    if type(value) is not str:
        return reason
    try:
        return f'its address reaches beyond its prefix; did you mean "{ip_network(value, strict=False)}"?'
    except ValueError:
        return reason + nearest(value, ["unix"])
