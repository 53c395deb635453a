"""Envelopes: what was sealed comes out; what was not, or for another job or queue, does not."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecourt import Principal
from forecourt.jobs.envelope import Envelopes, Forged, JobRequest, Refund, carried
from forecourt.policies.keys import KeyRing

OLD, NEW = b"o" * 32, b"n" * 32
WHO = Principal("https://issuer", "ali", "acme", "gold", frozenset({"read"}), frozenset({"admin"}))
REFUND = Refund("fc:{x}:credits:account", 3, frozenset({"5xx"}), 100)
FULL = JobRequest(
    "make", "POST", "/réports", b"a=%20", "/api", "https", ((b"x", b"\xff"),), b"\x00b", WHO, "::1", 5, 9, REFUND
)
PLAIN = JobRequest("make", "GET", "/", b"", "", "http", (), b"")


@pytest.mark.parametrize("request_", [FULL, PLAIN])
def test_what_was_sealed_comes_out(request_: JobRequest) -> None:
    """Every field, bytes and principal included; also after a new key was put in front."""
    sealed = Envelopes(KeyRing([OLD]), "q").seal("id", request_)
    assert Envelopes(KeyRing([NEW, OLD]), "q").open("id", sealed) == request_


@given(at=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_no_changed_bit_is_accepted(at: int, bit: int) -> None:
    """Whoever writes to the queue cannot change who is said to call."""
    envelopes = Envelopes(KeyRing([OLD]), "q")
    sealed = bytearray(envelopes.seal("id", FULL))
    sealed[at % len(sealed)] ^= 1 << bit
    with pytest.raises(Forged):
        envelopes.open("id", bytes(sealed))


def test_an_envelope_is_for_its_job_and_queue() -> None:
    """It opens under no other id, in no other queue, with no other ring."""
    sealed = Envelopes(KeyRing([OLD]), "q").seal("id", FULL)
    for ring, queue, name in (([OLD], "q", "other"), ([OLD], "other", "id"), ([NEW], "q", "id")):
        with pytest.raises(Forged):
            Envelopes(KeyRing(ring), queue).open(name, sealed)
    with pytest.raises(Forged):
        Envelopes(KeyRing([OLD]), "q").open("id", b"2.x.y")


def test_fields_travel_by_an_allow_list() -> None:
    """Those of every job and those of the policy; nothing else."""
    given_ = [(b"accept", b"a"), (b"authorization", b"b"), (b"cookie", b"c"), (b"x-kind", b"d"), (b"x-other", b"e")]
    assert carried(given_, frozenset({"x-kind"})) == ((b"accept", b"a"), (b"x-kind", b"d"))


def test_envelopes_of_endpoints_that_never_were_take_no_memory() -> None:
    """Each names another endpoint: none opens, and no more of them are remembered than there is room for."""
    envelopes = Envelopes(KeyRing([b"k" * 32]), "q")
    for number in range(1_002):
        named = base64.urlsafe_b64encode(b"e%d" % number)
        with pytest.raises(Forged, match="no key of the ring sealed this for this job"):
            envelopes.open("q.a", b"2." + named + b"." + bytes([1]) * 60)
    assert len(envelopes._seals) == 1_000
