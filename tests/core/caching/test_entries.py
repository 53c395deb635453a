"""A kept response in its two values, keys, and Cache-Status."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecourt.core.caching import status
from forecourt.core.caching.entries import Entry, Head, decode_head, encode_head
from forecourt.core.caching.freshness import Life
from forecourt.core.caching.keys import combined, digest, selected

ENTRY = Entry(
    200, ((b"link", b"a"), (b"link", b"b")), b"body", Life(60, 5, 9), zero=1000, took=7, stamps=("s.s", "t.u")
)

numbers = st.integers(0, 2**53)
headers = st.lists(st.tuples(st.binary(max_size=9), st.binary(max_size=9)), max_size=4).map(tuple)


@given(headers, st.integers(100, 999), numbers, st.booleans(), st.lists(st.text("ab.", max_size=9), max_size=3))
def test_a_head_comes_back(
    fields: tuple[tuple[bytes, bytes], ...], code: int, number: int, flag: bool, stamps: list[str]
) -> None:
    """Fields in order, repetitions included, times and stamps: all as it was."""
    life = Life(number, number // 2, 3)
    entry = Entry(code, fields, b"", life, zero=0, took=number, firm=flag, stamps=tuple(stamps))
    head = Head(code, fields, life, 11, number, flag, tuple(stamps), flag)
    assert decode_head(encode_head(entry, 11, compressed=flag)) == head


@given(st.integers(0, 200), st.binary(max_size=8))
def test_what_is_damaged_is_an_error(at: int, other: bytes) -> None:
    """Cut off or written over, it is no head or another one, and never anything worse than a ValueError."""
    kept = encode_head(ENTRY, 0, compressed=False)
    for damaged in (kept[:at], other, kept[:at] + other):
        try:
            decode_head(damaged)
        except ValueError:
            continue
    with pytest.raises(ValueError, match="version"):
        decode_head(b"\2" + kept[1:])


@pytest.mark.parametrize("missing", [1, 3])
def test_a_head_that_ends_within_its_stamps_is_an_error(missing: int) -> None:
    """Whether the stamp's own bytes or its length are what is missing."""
    kept = encode_head(replace(ENTRY, status=200, headers=()), 0, compressed=False)
    stamps = b"".join(bytes([len(stamp)]) + stamp.encode() for stamp in ENTRY.stamps)
    end = kept.index(stamps) + len(stamps)
    with pytest.raises(ValueError, match="cut off"):
        decode_head(kept[: end - missing])
    with pytest.raises(ValueError, match="cut off"):
        decode_head(kept[: end - len(stamps)])


def test_age_and_staleness() -> None:
    """RFC 9111 §4.2.3; a soft purge makes what is fresh stale from then on."""
    assert (ENTRY.age(1030), ENTRY.age(900)) == (30, 0)
    assert (ENTRY.stale_for(1030), ENTRY.stale_for(1070)) == (-30, 10)
    soft = replace(ENTRY, softened=True)
    assert (soft.stale_for(1030), soft.stale_for(1070)) == (0, 10)
    assert ENTRY.weight > len(ENTRY.body)


def test_no_part_of_a_key_pretends_to_be_two() -> None:
    """Parts carry their lengths; nothing is joined, and nothing is like None."""
    keys = [("a", "b"), ("ab",), ("ab", ""), ("a", None, "b"), ("a", "-:", "b"), ("1:a",), ("a",)]
    assert len({digest(parts) for parts in keys}) == len(keys)
    assert digest(("a", b"b")) == digest(("a", "b"))


def test_what_a_request_selects() -> None:
    """RFC 9111 §4.1: white space around list members and the number of lines do not matter; absence does."""
    one = combined([(b"accept", b"a"), (b"accept", b"b")])
    two = combined([(b"accept", b"a ,b")])
    names = (b"accept", b"cookie")
    assert selected(names, one) == selected(names, two) == (b"a,b", None)
    assert selected((), one) == ()
    assert selected((b"accept",), {b"accept": b""}) != selected((b"accept",), {})


def test_cache_status() -> None:
    """RFC 9211 §2: hit with ttl, negative when stale; fwd with its reason, stored, collapsed, detail."""
    assert status.hit(61_500_000) == b"forecourt; hit; ttl=61"
    assert status.hit(-1_500_000, "error") == b"forecourt; hit; ttl=-2; detail=error"
    assert status.forwarded("miss", stored=True) == b"forecourt; fwd=miss; stored"
    assert status.forwarded("miss", collapsed=True, detail="x") == b"forecourt; fwd=miss; collapsed; detail=x"
