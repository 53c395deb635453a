"""Who is at the other end."""

import logging
from ipaddress import ip_address

import pytest

from forecourt.clients import Clients
from forecourt.policies.clients import NO_ADDRESS
from forecourt.types import Scope


def scope(client: tuple[str, int] | None, *forwarded: str) -> Scope:
    """Build a scope as a server gives it."""
    return {"client": client, "headers": [(b"x-forwarded-for", hop.encode()) for hop in forwarded]}


@pytest.mark.parametrize(
    ("peer", "key"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("testclient", "testclient"),
    ],
)
def test_the_peer_is_the_client(peer: str, key: str) -> None:
    """IPv4 counts by address, also mapped into IPv6; IPv6 by prefix; a name by itself."""
    assert Clients().key(scope((peer, 1))) == key


def test_the_ipv6_prefix_is_the_operators() -> None:
    """Two hosts of one /56 are one client when the config says 56."""
    clients = Clients(ipv6_prefix=56)
    assert clients.key(scope(("2001:db8:0:aa01::1", 1))) == clients.key(scope(("2001:db8:0:aa02::1", 1)))


def test_no_address_has_a_bucket_of_its_own() -> None:
    """A caller on a Unix socket is not counted with any address."""
    assert Clients().key(scope(None)) == NO_ADDRESS


def test_forwarded_headers_of_strangers_are_ignored_with_one_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A forged header changes nothing; the operator is told once, with the fix."""
    clients = Clients(["10.0.0.0/8"])
    with caplog.at_level(logging.WARNING, "forecourt"):
        assert clients.key(scope(("192.0.2.7", 1), "203.0.113.1")) == "192.0.2.7"
        assert clients.key(scope(("192.0.2.7", 1), "203.0.113.2")) == "192.0.2.7"
    (record,) = caplog.records
    assert "trusted_proxies=['192.0.2.7']" in record.getMessage()


@pytest.mark.parametrize(
    ("forwarded", "key"),
    [
        (["203.0.113.9"], "203.0.113.9"),
        (["198.51.100.1, 203.0.113.9"], "203.0.113.9"),
        (["198.51.100.1", "203.0.113.9, 10.1.1.1"], "203.0.113.9"),
        (["203.0.113.9:4711"], "203.0.113.9"),
        (["[2001:db8::1]:4711"], "2001:db8::/64"),
        (["10.1.1.1, 10.1.1.2"], "10.1.1.1"),
        (["unknown"], "10.0.0.1"),
        (["203.0.113.9, _hidden"], "10.0.0.1"),
    ],
)
def test_hops_are_read_from_the_right(forwarded: list[str], key: str) -> None:
    """The first untrusted hop from the right is the client; what is no address ends the search at the last hop."""
    assert Clients(["10.0.0.0/8"]).key(scope(("10.0.0.1", 1), *forwarded)) == key


def test_a_proxy_on_a_unix_socket_can_be_trusted() -> None:
    """`unix` in trusted_proxies means the peer without an address; an address never matches it."""
    clients = Clients(["unix"])
    assert clients.key(scope(None, "203.0.113.9")) == "203.0.113.9"
    assert clients.key(scope(("192.0.2.7", 1), "203.0.113.9")) == "192.0.2.7"


def test_what_is_known_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Endless new addresses do not grow the table without end."""
    monkeypatch.setattr("forecourt.clients._MAX_KNOWN", 10)
    clients = Clients()
    for last in range(100):
        assert clients.key(scope((f"192.0.2.{last}", 1))) == f"192.0.2.{last}"
    assert len(clients._known) <= 10


def test_a_long_header_costs_no_more_than_a_short_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a caller writes left of what proxies appended, only the last hops are parsed."""
    parsed: list[str] = []

    def parse(text: str) -> object:
        parsed.append(text)
        return ip_address(text)

    monkeypatch.setattr("forecourt.clients.ip_address", parse)
    clients = Clients(["10.0.0.0/8"])
    assert clients.key(scope(("10.0.0.1", 1), ", ".join(["10.1.1.1"] * 20_000))) == "10.1.1.1"
    assert len(parsed) <= 3 * 32 + 3
