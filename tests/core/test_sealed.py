"""The form of a sealed record, and what it is bound to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecourt.core.sealed import KEY_ID, NONCE, OVERHEAD, TAG, Sealed, Unopened, associated, place, read, written

KEYS = st.binary(min_size=KEY_ID, max_size=KEY_ID)
NONCES = st.binary(min_size=NONCE, max_size=NONCE)


@given(KEYS, NONCES, st.binary(min_size=TAG, max_size=100))
def test_a_record_is_read_as_it_was_written(key: bytes, nonce: bytes, text: bytes) -> None:
    """Its parts come back, and it is as much longer than its text as is said."""
    record = written(Sealed(key, nonce, text))
    assert read(record) == (key, nonce, text)
    assert len(record) - len(text) + TAG == OVERHEAD


@given(st.binary(max_size=100))
def test_what_is_no_record_is_not_read(record: bytes) -> None:
    """Whatever is too short or of another version is refused, in one and the same sentence."""
    if len(record) >= OVERHEAD and record[:1] == b"\x01":
        return
    with pytest.raises(Unopened, match=r"^a record that cannot be opened$"):
        read(record)


@given(st.lists(st.tuples(*[st.text(max_size=3)] * 3, st.none() | st.text(max_size=3)), min_size=2, max_size=2))
def test_no_two_places_are_spelt_alike(places: list[tuple[str, str, str, str | None]]) -> None:
    """Layer, endpoint, key and tenant: where one differs, what is authenticated differs."""
    one, two = (associated(place(*each[:2]), b"keys", *each[2:]) for each in places)
    assert (one == two) == (places[0] == places[1])


def test_no_tenant_is_another_than_an_empty_one() -> None:
    """None and "" are two."""
    assert associated(b"", b"keys", "k", None) != associated(b"", b"keys", "k", "")
