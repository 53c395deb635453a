"""Records sealed and opened: where they were put, by the keys that there are, and nowhere else."""

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from forecourt.ciphers import RingSeal
from forecourt.core.sealed import OVERHEAD, Unopened, read
from forecourt.policies.keys import KeyRing

OLD, NEW = b"o" * 32, b"n" * 32
PLACE = ("fc:{x}:idempotency:k", "acme")


def seal(*secrets: bytes, layer: str = "cache", endpoint: str = "pay") -> RingSeal:
    """Build what seals for one layer and endpoint."""
    return RingSeal(KeyRing(secrets or (NEW,)), layer, endpoint)


@given(st.binary(max_size=1000), st.text(), st.none() | st.text())
def test_what_is_sealed_opens_in_its_place(record: bytes, stored: str, tenant: str | None) -> None:
    """Whatever the record and its place."""
    sealed = seal().seal(record, stored, tenant)
    assert seal().open(sealed, stored, tenant) == record
    assert len(sealed) == len(record) + OVERHEAD


def test_every_bit_flipped_and_every_length_stays_shut() -> None:
    """No byte of a record is without meaning, and none may be missing or too many."""
    one = seal(NEW, OLD)
    sealed = one.seal(b"what nobody may read", *PLACE)
    changed = [
        sealed[:at] + bytes([sealed[at] ^ 1 << bit]) + sealed[at + 1 :] for at in range(len(sealed)) for bit in range(8)
    ]
    cut = [*(sealed[:at] for at in range(len(sealed))), *(sealed[at:] for at in range(1, len(sealed))), sealed + b"\0"]
    for broken in changed + cut:
        with pytest.raises(Unopened, match=r"^a record that cannot be opened$"):
            one.open(broken, *PLACE)
    assert one.open(sealed, *PLACE) == b"what nobody may read"


@pytest.mark.parametrize(
    ("opening", "stored", "tenant"),
    [
        (seal(layer="idempotency"), *PLACE),
        (seal(endpoint="refund"), *PLACE),
        (seal(layer="cachepay", endpoint=""), *PLACE),
        (seal(), "fc:{y}:idempotency:k", "acme"),
        (seal(), PLACE[0], "other"),
        (seal(), PLACE[0], None),
        (seal(b"x" * 32), *PLACE),
    ],
    ids=["layer", "endpoint", "both", "key", "tenant", "no tenant", "secret"],
)
def test_a_record_elsewhere_stays_shut(opening: RingSeal, stored: str, tenant: str | None) -> None:
    """Of another layer, endpoint, key, tenant, or ring."""
    sealed = seal().seal(b"what nobody may read", *PLACE)
    with pytest.raises(Unopened):
        opening.open(sealed, stored, tenant)


def test_the_place_is_bound_by_more_than_the_key() -> None:
    """A record of one endpoint has another key than one of another endpoint, and is bound to it besides."""
    ring = KeyRing([NEW])
    assert ring.derived(b"a") != ring.derived(b"b")
    assert list(ring.derived(b"a")) == list(ring.derived(b"b"))


def test_rotation() -> None:
    """The first key seals; an old one behind it still opens; retired, it opens no more."""
    before = seal(OLD).seal(b"x", *PLACE)
    both = seal(NEW, OLD)
    assert both.open(before, *PLACE) == b"x"
    after = both.seal(b"x", *PLACE)
    assert seal(NEW).open(after, *PLACE) == b"x"
    for retired, record in ((seal(NEW), before), (seal(OLD), after)):
        with pytest.raises(Unopened):
            retired.open(record, *PLACE)


def test_no_nonce_comes_twice() -> None:
    """Each record has its own, so the same text is never sealed alike."""
    one = seal()
    nonces = {read(one.seal(b"x", *PLACE)).nonce for _ in range(10_000)}
    assert len(nonces) == 10_000


def test_keys_are_derived_as_rfc_5869_says() -> None:
    """HKDF-SHA256 with the salt `forecourt`; what is sealed is AES-256-GCM as others do it."""
    ((name, key),) = KeyRing([NEW]).derived(b"purpose").items()
    assert key == HKDF(SHA256(), 32, salt=b"forecourt", info=b"purpose").derive(NEW)
    assert name == HKDF(SHA256(), 32, salt=b"forecourt", info=b"id").derive(NEW)[:4]
    sealed = seal().seal(b"text", "k")
    purpose = b"seal \0\0\0\x05cache\0\0\0\x03pay"
    bound = b"\x01" + name + purpose.removeprefix(b"seal ") + b"\0\0\0\x01k-"
    own = AESGCM(HKDF(SHA256(), 32, salt=b"forecourt", info=purpose).derive(NEW))
    assert own.decrypt(sealed[5:17], sealed[17:], bound) == b"text"


def test_nothing_shows_a_secret() -> None:
    """Neither the ring nor its ids."""
    ring = KeyRing([NEW, OLD])
    assert ring.ids() == tuple(key.hex() for key in ring.derived(b"anything"))
    assert repr(ring) == "<KeyRing of 2>"
    assert len(set(ring.ids())) == 2
