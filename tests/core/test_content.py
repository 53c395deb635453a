"""Media types and ranges of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecourt.core.content import acceptable, media_type, within


@pytest.mark.parametrize(
    ("accept", "accepted"),
    [
        (b"*/*", True),
        (b"application/json", True),
        (b"Application/JSON; charset=utf-8", True),
        (b"application/*;q=0.1", True),
        (b"text/html", False),
        (b"text/html, */*;q=0.5", True),
        (b"*/*, application/json;q=0", False),
        (b"application/*;q=0, */*", False),
        (b"application/json;Q=0.0", False),
        (b"application/json;q=2", False),
        (b"application/json;q=x", False),
        (b",,", False),
    ],
)
def test_the_most_specific_range_decides(accept: bytes, accepted: bool) -> None:
    """RFC 9110 §12.5.1: a range with weight 0 is not acceptable, and media types outdo ranges."""
    assert acceptable(accept, ["application/json"]) is accepted


def test_one_of_several_is_enough() -> None:
    """The caller accepts one of what there is."""
    assert acceptable(b"text/csv", ["application/json", "text/csv"])


def test_a_content_type_has_parameters() -> None:
    """Which do not count, nor does the case."""
    assert media_type(b" Text/HTML ;charset=utf-8") == "text/html"
    assert within("image/png", {"image/*"})
    assert not within("imagery/png", {"image/*"})
    assert within("anything/else", {"*/*"})


@given(st.binary(max_size=200))
def test_whatever_callers_send_is_decided(accept: bytes) -> None:
    """No field makes it fail."""
    assert acceptable(accept, ["application/json"]) in (True, False)
