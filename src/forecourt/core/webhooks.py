"""Webhooks: how a message is signed, when it is tried again, and which addresses may be called.

Signatures are those of Standard Webhooks 1.0: HMAC-SHA256 of `id.timestamp.body`, `v1,` and base64, one for each
secret, so that a receiver who knows the old or the new one verifies during a rotation. A caller who names an address
has a secret of their own, derived from the service's by HMAC: what one receiver knows does not let it forge messages
to another.

Addresses. A callback makes this server call whatever its caller names (server-side request forgery), so only public
unicast addresses are called. That is asked of the address that the name resolved to, and of every IPv4 address that an
IPv6 one carries in it: mapped (RFC 4291 §2.5.5.2), compatible, NAT64 (RFC 6052), 6to4 (RFC 3056). Some public
addresses answer as the host itself in a cloud; they are named here. Networks that the operator allows come first.
"""

import base64
import hmac
import re
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import NamedTuple
from urllib.parse import urlsplit

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

PAUSES = (5, 30, 120, 600, 1800, 3600, 7200, 14_400, 14_400, 21_600, 21_600)
"""Seconds between a failed attempt and the next, a day in all."""

LONGEST_URL = 2048

_VISIBLE = re.compile(r"[\x21-\x7E]+")
_NAT64 = (ip_network("64:ff9b::/96"), ip_network("::/96"))
_SIX_TO_FOUR = ip_network("2002::/16")
_NEVER = tuple(
    ip_network(each)
    for each in (
        "0.0.0.0/8",
        "100.64.0.0/10",  # shared by carriers, and a cloud's metadata
        "168.63.129.16/32",  # a cloud's host, though the address is public
        "192.0.0.0/24",
        "192.88.99.0/24",
        "198.18.0.0/15",
        "64:ff9b:1::/48",
        "100::/64",
        "2001::/23",  # Teredo, ORCHID and other addresses that carry others
        "fc00::/7",
        "fec0::/10",
    )
)


class Rules(NamedTuple):
    """Which addresses may be called besides public ones, and whether without TLS."""

    allow: tuple[Network, ...] = ()
    plain_http: bool = False


EVERYWHERE = Rules((ip_network("0.0.0.0/0"), ip_network("::/0")), plain_http=True)
"""Every address that could be one, for configs; what may be called is asked again when it is."""


class Target(NamedTuple):
    """Where a message goes: host and port, whether by TLS, the path with its query, and the field `Host`."""

    host: str
    port: int
    tls: bool
    path: str
    authority: str


def target_of(url: str, rules: Rules) -> Target:
    """Take an address apart; ValueError, which never holds the address, where it may not be called at all."""
    if len(url) > LONGEST_URL or not _VISIBLE.fullmatch(url):
        raise ValueError(f"must be at most {LONGEST_URL} visible ASCII characters")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError("must be an address such as https://receiver.example/hooks") from None
    if parts.scheme != "https" and not (rules.plain_http and parts.scheme == "http"):
        raise ValueError("must begin with https://")
    if not host:
        raise ValueError("must be an address such as https://receiver.example/hooks")
    if "@" in parts.netloc:
        raise ValueError("must not carry a user or a password")
    if parts.fragment:
        raise ValueError("must not have a fragment")
    if (literal := _literal(host)) is not None and not callable_address(literal, rules.allow):
        raise ValueError("must be a public address")
    tls = parts.scheme == "https"
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(host, port or (443 if tls else 80), tls, path, parts.netloc)


def callable_address(address: Address, allow: Sequence[Network] = ()) -> bool:
    """Tell whether a message may go to this address."""
    carried = _carried(address)
    if any(each in network for network in allow for each in (address, *carried) if each.version == network.version):
        return True
    return all(_public(each) for each in carried or (address,))


def signature(message: str, timestamp: int, body: bytes, secrets: Sequence[bytes]) -> str:
    """Return the field `webhook-signature`: one signature for each secret."""
    signed = f"{message}.{timestamp}.".encode() + body
    made = (hmac.digest(secret, signed, "sha256") for secret in secrets)
    return " ".join("v1," + base64.b64encode(each).decode() for each in made)


def secrets_for(owner: str, secrets: Sequence[bytes]) -> list[bytes]:
    """Return the secrets of one caller's receivers; without an owner the service's own."""
    if not owner:
        return list(secrets)
    return [hmac.digest(secret, b"forecourt webhook of " + owner.encode(), "sha256") for secret in secrets]


def pause(attempt: int, spread: float) -> int | None:
    """Return the µs until the next attempt, once so many have failed; None: there is none.

    `spread`, from 0 to 1 at random, makes it a fifth shorter to a fifth longer.
    """
    if attempt > len(PAUSES):
        return None
    return round(PAUSES[attempt - 1] * 1_000_000 * (0.8 + 0.4 * spread))


def _literal(host: str) -> Address | None:
    try:
        return ip_address(host.partition("%")[0])
    except ValueError:
        return None


def _carried(address: Address) -> tuple[IPv4Address, ...]:
    """Return the IPv4 address inside of an IPv6 one that leads to it."""
    if isinstance(address, IPv4Address):
        return ()
    if address.ipv4_mapped is not None:
        return (address.ipv4_mapped,)
    if address in _SIX_TO_FOUR:
        return (IPv4Address(int(address) >> 80 & 0xFFFFFFFF),)
    if any(address in network for network in _NAT64):
        return (IPv4Address(int(address) & 0xFFFFFFFF),)
    return ()


def _public(address: Address) -> bool:
    if address.is_multicast or address.is_reserved or address.is_unspecified or not address.is_global:
        return False
    return not any(address in network for network in _NEVER if network.version == address.version)
