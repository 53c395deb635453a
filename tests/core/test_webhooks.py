"""Webhooks: signatures that the reference verifies, addresses that are never called, and pauses of a day in all."""

import base64
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from forecourt.core.webhooks import PAUSES, Rules, callable_address, pause, secrets_for, signature, target_of

SECRETS = [bytes(range(32)), bytes(range(40))]


@given(st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=1000), max_size=40))
def test_the_reference_verifies_each_signature(text: str) -> None:
    """A receiver with either secret of a rotation verifies the message; one with a third does not."""
    now = int(datetime.now(UTC).timestamp())
    body = f'{{"text": {text!r}}}'.encode()
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(now),
        "webhook-signature": signature("msg_1", now, body, SECRETS),
    }
    for secret in SECRETS:
        Webhook(base64.b64encode(secret).decode()).verify(body, headers, json_parse=False)
    with pytest.raises(Exception, match="No matching signature"):
        Webhook(base64.b64encode(b"x" * 24).decode()).verify(body, headers, json_parse=False)


def test_a_callers_secret_is_not_the_services_nor_anothers() -> None:
    """What one receiver knows does not sign for another."""
    assert secrets_for("", SECRETS) == SECRETS
    ali, bob = secrets_for("ali", SECRETS), secrets_for("bob", SECRETS)
    assert len({*SECRETS, *ali, *bob}) == 6
    assert secrets_for("ali", SECRETS) == ali


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.8.9.1",
        "::1",
        "0.0.0.0",
        "::",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.0.1",
        "169.254.169.254",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "198.18.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "240.0.0.1",
        "fe80::1",
        "fd00:ec2::254",
        "fec0::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "::127.0.0.1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::1",
        "2002:7f00:1::1",
        "2001:0:7f00:1::1",
        "2001:db8::1",
    ],
)
def test_no_message_goes_inside(address: str) -> None:
    """Private, local, link-local, multicast, reserved and metadata addresses, and those that carry them."""
    assert not callable_address(ip_address(address))
    assert callable_address(ip_address(address), [ip_network("0.0.0.0/0"), ip_network("::/0")])


@pytest.mark.parametrize("address", ["93.184.215.14", "2606:2800::1", "::ffff:93.184.215.14", "64:ff9b::808:808"])
def test_public_addresses_are_called(address: str) -> None:
    """Also those that an IPv6 address carries."""
    assert callable_address(ip_address(address))


@given(st.integers(0, 2**32 - 1))
def test_an_ipv4_address_is_judged_the_same_in_every_form(number: int) -> None:
    """Mapped, compatible, NAT64 and 6to4 forms open no way that the address itself has not."""
    plain = IPv4Address(number)
    forms = [0xFFFF << 32 | number, 0x64FF9B << 96 | number, 0x2002 << 112 | number << 80 | 1]
    for form in forms:
        assert callable_address(IPv6Address(form)) == callable_address(plain)
    if plain.is_private or plain.is_link_local or plain.is_loopback or plain.is_multicast:
        assert not callable_address(plain)


def test_what_the_operator_allows_is_called_in_every_form() -> None:
    """An allowed network holds for mapped addresses too, and for no other network."""
    allow = [ip_network("127.0.0.0/8")]
    assert callable_address(ip_address("127.0.0.1"), allow)
    assert callable_address(ip_address("::ffff:127.0.0.1"), allow)
    assert not callable_address(ip_address("10.0.0.1"), allow)
    assert not callable_address(ip_address("::1"), allow)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://receiver.example/", "https"),
        ("ftp://receiver.example/", "https"),
        ("https://", "an address such as"),
        ("https://[::1", "an address such as"),
        ("https://receiver.example:99999/", "an address such as"),
        ("https://user:word@receiver.example/", "a user"),
        ("https://receiver.example/#part", "a fragment"),
        ("https://receiver.example/\r\nx: y", "visible"),
        ("https://receiver.example/" + "a" * 2048, "2048"),
        ("https://127.0.0.1/", "public"),
        ("https://[::ffff:10.0.0.1]/", "public"),
    ],
)
def test_addresses_that_are_none_are_refused(url: str, says: str) -> None:
    """The error says why, and never what was given."""
    with pytest.raises(ValueError, match=says) as caught:
        target_of(url, Rules())
    assert "receiver" not in str(caught.value).replace("https://receiver.example/hooks", "")


def test_an_address_is_taken_apart() -> None:
    """Ports default by scheme; path and query stay as they are."""
    target = target_of("https://receiver.example/a%20b?c=d", Rules())
    assert target == ("receiver.example", 443, True, "/a%20b?c=d", "receiver.example")
    plain = target_of("http://receiver.example:8080", Rules(plain_http=True))
    assert plain == ("receiver.example", 8080, False, "/", "receiver.example:8080")


def test_attempts_go_on_for_about_a_day() -> None:
    """Eleven pauses, each longer or as long, spread by a fifth to both sides; then none."""
    assert 0.9 * 86_400 <= sum(PAUSES) <= 86_400
    assert [pause(attempt, 0.5) for attempt in (1, 2, 12)] == [5_000_000, 30_000_000, None]
    assert (pause(1, 0), pause(1, 1)) == (4_000_000, 6_000_000)
    assert list(PAUSES) == sorted(PAUSES)
