"""Compressed bodies, piece by piece."""

import contextlib
import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecourt.core.unpacking import CorruptError, TooLargeError, Unpacking


@given(st.binary(max_size=5000), st.integers(1, 500), st.sampled_from(["gzip", "deflate"]))
def test_what_was_packed_comes_out(body: bytes, size: int, encoding: str) -> None:
    """However it is cut; exactly as much as allowed is allowed."""
    packed = gzip.compress(body) if encoding == "gzip" else zlib.compress(body)
    unpacking = Unpacking(encoding, len(body))  # type: ignore[arg-type]  # one of both
    cuts = range(0, len(packed), size)
    assert b"".join(unpacking.more(packed[at : at + size], last=at == cuts[-1]) for at in cuts) == body


@given(st.integers(1, 200_000), st.integers(1, 100))
def test_no_more_comes_out_than_allowed(size: int, over: int) -> None:
    """A body that would be larger is refused, whatever it was packed to."""
    with pytest.raises(TooLargeError):
        Unpacking("gzip", size).more(gzip.compress(b"\0" * (size + over)), last=True)


def test_a_bomb_is_never_unpacked() -> None:
    """Of 100 MB in 100 kB no more is made than one byte over what is allowed."""
    bomb = zlib.compress(b"\0" * 100_000_000)
    unpacking = Unpacking("deflate", 1000)
    with pytest.raises(TooLargeError):
        unpacking.more(bomb, last=True)


@pytest.mark.parametrize(
    "body", [b"not packed", gzip.compress(b"cut short", mtime=0)[:-1], gzip.compress(b"one", mtime=0) + b"more"]
)
def test_what_is_broken_is_told(body: bytes) -> None:
    """No end, no beginning, or something behind the end."""
    with pytest.raises(CorruptError):
        Unpacking("gzip", 1000).more(body, last=True)


@given(st.binary(max_size=300))
def test_whatever_is_sent_is_decided(body: bytes) -> None:
    """Nothing else is raised."""
    with contextlib.suppress(CorruptError, TooLargeError):
        Unpacking("gzip", 100).more(body, last=True)
