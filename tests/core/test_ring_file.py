"""A key ring in one file: what it holds, and the steps of a rotation."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecourt.core.ring_file import added, read, retired, used, written

SECRETS = st.lists(
    st.binary(min_size=1).filter(lambda each: len(each.split()) == 1 and each.split()[0] == each), max_size=5
)


@given(SECRETS)
def test_what_is_written_is_read(secrets: list[bytes]) -> None:
    """In order."""
    assert read(written(secrets)) == tuple(secrets)


def test_what_is_no_ring_is_a_secret() -> None:
    """Only the first line tells; blank lines are nothing."""
    assert read(b"") is None
    assert read(b"a secret\nof two lines") is None
    assert read(b"forecourt key ring 1") == ()
    assert read(b"forecourt key ring 1\r\n\r\n one \r\n\ntwo") == (b"one", b"two")


def test_the_steps() -> None:
    """A new key comes last, goes first, and only one that does not seal goes."""
    ring = added((b"old",), b"new")
    assert ring == (b"old", b"new")
    assert used(ring) == (b"new", b"old")
    assert retired(used(ring), "old", bytes.decode) == (b"new",)


@pytest.mark.parametrize(
    ("step", "sentence"),
    [
        (lambda: used((b"one",)), "there is one key, which seals already; add a new one first"),
        (lambda: used(()), "there is one key, which seals already; add a new one first"),
        (lambda: retired((b"one", b"two"), "one", bytes.decode), "one is the one that seals; use another first"),
        (lambda: retired((b"one", b"two"), "three", bytes.decode), "there is no key three; there are one, two"),
        (lambda: retired((), "one", bytes.decode), "there is no key one; there are none"),
    ],
)
def test_steps_that_would_lose_something(step: object, sentence: str) -> None:
    """They are refused, with what to do."""
    with pytest.raises(ValueError, match=sentence):
        step()  # type: ignore[operator]  # a function
