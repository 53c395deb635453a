"""Signatures of webhooks, by their schemes' own examples and by every byte changed."""

import base64
import hashlib
import hmac
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook as Peer

from forecourt.core.inbound import Scheme, read

NOW = 1_614_265_330

STANDARD = (
    "standard",
    base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
    {
        b"webhook-id": b"msg_p5jXN8AQM9LWM0D4loKWxJek",
        b"webhook-timestamp": b"1614265330",
        b"webhook-signature": b"v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    },
    b'{"test": 2432232314}',
)
"""The example of the specification's reference implementations."""

GITHUB = (
    "github",
    b"It's a Secret to Everybody",
    {b"x-hub-signature-256": b"sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"},
    b"Hello, World!",
)
"""The example of GitHub's page on validating deliveries."""


def stripe(secret: bytes = b"whsec_test", at: int = NOW, body: bytes = b"{}") -> bytes:
    """Return the field that Stripe's page on verifying manually describes."""
    signature = hmac.new(secret, b"%d." % at + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={signature},v0=6ffbb59b2300aae63f272406069a9788598b792a944a07aba816edb039989a39".encode()


STRIPE = ("stripe", b"whsec_test", {b"stripe-signature": stripe()}, b"{}")
EXAMPLES = [STANDARD, GITHUB, STRIPE]

Example = tuple[Scheme, bytes, dict[bytes, bytes], bytes]


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_schemes_examples_verify(example: Example) -> None:
    """By the right secret, alone or beside others; not by another."""
    scheme, secret, fields, body = example
    signed = read(scheme, fields)
    assert signed is not None
    assert signed.by([secret], body)
    assert signed.by([b"older", secret], body)
    assert not signed.by([b"older"], body)
    assert not signed.by([], body)


@pytest.mark.parametrize("example", EXAMPLES)
def test_each_byte_counts(example: Example) -> None:
    """Of the body and of every field that signs it: changed, it is not what was signed, or cannot be read."""
    scheme, secret, fields, body = example
    for at in range(len(body)):
        changed = body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]
        signed = read(scheme, fields)
        assert signed is not None
        assert not signed.by([secret], changed)
    for name, value in fields.items():
        end = value.find(b",v0=") if b",v0=" in value else len(value)
        for at in range(end):
            other = value[:at] + bytes([value[at] ^ 1]) + value[at + 1 :]
            signed = read(scheme, {**fields, name: other})
            same = signed is not None and signed.by([secret], body)
            assert not same, (name, at)


def test_several_signatures_may_stand_beside_each_other() -> None:
    """While a sender rotates its secret, one of them is right."""
    scheme, secret, fields, body = STANDARD
    right = fields[b"webhook-signature"]
    both = b"v1a,c2ln v1," + base64.b64encode(b"x" * 32) + b" " + right
    signed = read(scheme, {**fields, b"webhook-signature": both})  # type: ignore[arg-type]  # one of three words
    assert signed is not None
    assert signed.by([secret], body)


@pytest.mark.parametrize(
    ("scheme", "fields"),
    [
        ("standard", {}),
        ("standard", {**STANDARD[2], b"webhook-id": b""}),
        ("standard", {**STANDARD[2], b"webhook-id": b"x" * 201}),
        ("standard", {**STANDARD[2], b"webhook-timestamp": b"-1"}),
        ("standard", {**STANDARD[2], b"webhook-timestamp": b"1" * 13}),
        ("standard", {**STANDARD[2], b"webhook-signature": b"v1,???"}),
        ("standard", {**STANDARD[2], b"webhook-signature": b"v1,c2hvcnQ="}),
        ("standard", {**STANDARD[2], b"webhook-signature": b"v2,c2hvcnQ="}),
        ("github", {}),
        ("github", {b"x-hub-signature-256": b"sha1=00"}),
        ("github", {b"x-hub-signature-256": b"sha256=zz"}),
        ("github", {b"x-hub-signature-256": b"sha256=00"}),
        ("stripe", {}),
        ("stripe", {b"stripe-signature": b"t=1"}),
        ("stripe", {b"stripe-signature": b"t=now,v1=" + b"00" * 32}),
        ("stripe", {b"stripe-signature": b"t=1,t=2,v1=" + b"00" * 32}),
    ],
)
def test_what_cannot_be_read_is_none(scheme: Scheme, fields: dict[bytes, bytes]) -> None:
    """Missing, empty, of another scheme, too long, or no signature of SHA-256."""
    assert read(scheme, fields) is None


@pytest.mark.parametrize(
    ("now", "fresh"), [(NOW - 300, True), (NOW + 300, True), (NOW - 301, False), (NOW + 301, False)]
)
def test_a_signature_has_its_time(now: int, fresh: bool) -> None:
    """Both ways, as clocks differ; GitHub's has none."""
    for scheme, _, fields, _ in (STANDARD, STRIPE):
        signed = read(scheme, fields)  # type: ignore[arg-type]  # one of three words
        assert signed is not None
        assert signed.fresh(now, 300) is fresh
    github = read("github", GITHUB[2])
    assert github is not None
    assert github.fresh(now, 0)


@given(st.binary(min_size=24, max_size=64), st.text(), st.integers(0, 2**31))
def test_it_agrees_with_the_peer(secret: bytes, body: str, at: int) -> None:
    """What the library of Standard Webhooks signs is right here."""
    peer = Peer(base64.b64encode(secret).decode())
    encoded = body.encode("utf-8", "replace").decode()
    told = peer.sign("msg_1", datetime.fromtimestamp(at, UTC), encoded)
    fields = {b"webhook-id": b"msg_1", b"webhook-timestamp": b"%d" % at, b"webhook-signature": told.encode()}
    signed = read("standard", fields)
    assert signed is not None
    assert signed.by([secret], encoded.encode())


@given(st.sampled_from(["standard", "github", "stripe"]), st.binary(max_size=200), st.binary(max_size=50))
def test_whatever_is_sent_is_decided(scheme: Scheme, value: bytes, other: bytes) -> None:
    """No field makes it fail, and nothing made up is signed."""
    names = (b"webhook-id", b"webhook-signature", b"x-hub-signature-256", b"stripe-signature")
    fields = dict.fromkeys(names, value) | {b"webhook-timestamp": other}
    signed = read(scheme, fields)
    assert signed is None or not signed.by([b"secret"], b"body")
