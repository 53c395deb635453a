"""Entity tags, conditions and ranges, by the sections that say so."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecourt.core.caching.directives import Header
from forecourt.core.caching.validators import entity_tags, etag_of, not_modified, part_of

DATE = b"Sun, 06 Nov 1994 08:49:37 GMT"
LATER = b"Sun, 06 Nov 1994 08:50:37 GMT"
TAGGED: list[Header] = [(b"etag", b'"a"'), (b"last-modified", DATE)]


def test_equal_bodies_have_equal_tags() -> None:
    """RFC 9110 §8.8.3: opaque and quoted; the same in every process."""
    assert etag_of(b"one") == etag_of(b"one") == b'"4xFP8HMgmVsXs000"'
    assert etag_of(b"one") != etag_of(b"two")


@pytest.mark.parametrize(
    ("fields", "same"),
    [
        ({b"if-none-match": b'"a"'}, True),
        ({b"if-none-match": b'W/"a"'}, True),
        ({b"if-none-match": b'"b", "a"'}, True),
        ({b"if-none-match": b'"b"'}, False),
        ({b"if-none-match": b"*"}, True),
        ({b"if-none-match": b"a"}, False),
        ({b"if-none-match": b'"b"', b"if-modified-since": DATE}, False),
        ({b"if-modified-since": DATE}, True),
        ({b"if-modified-since": LATER}, True),
        ({b"if-modified-since": b"Sun, 06 Nov 1994 08:49:36 GMT"}, False),
        ({b"if-modified-since": b"yesterday"}, False),
        ({}, False),
    ],
)
def test_conditions(fields: dict[bytes, bytes], same: bool) -> None:
    """As RFC 9110 §13.1.2 says.

    RFC 9110 §13.1.2: weak comparison, `*` for anything; §13.1.3: If-Modified-Since is ignored beside If-None-Match,
    and when it is no date.
    """
    assert not_modified(fields, TAGGED) is same


def test_without_validators_nothing_is_unmodified() -> None:
    """Nothing to compare with."""
    assert not not_modified({b"if-none-match": b'"a"'}, [])
    assert not not_modified({b"if-modified-since": DATE}, [])
    assert entity_tags(b'"a", W/"b"') == [b'"a"', b'W/"b"']
    assert entity_tags(b'"a" "b"') == []


@pytest.mark.parametrize(
    ("asked", "part"),
    [
        (b"bytes=0-4", (0, 5)),
        (b"bytes=5-", (5, 10)),
        (b"bytes=-3", (7, 10)),
        (b"bytes=-99", (0, 10)),
        (b"bytes=8-99", (8, 10)),
        (b"bytes=10-", (0, 0)),
        (b"bytes=-0", (0, 0)),
        (b"bytes=4-2", None),
        (b"bytes=0-1,3-4", None),
        (b"lines=0-1", None),
        (b"bytes=-", None),
    ],
)
def test_ranges(asked: bytes, part: tuple[int, int] | None) -> None:
    """As RFC 9110 §14.1.2 says.

    RFC 9110 §14.1.2, §14.2: one range of bytes; an invalid or unknown one is ignored; one behind the end is not
    satisfiable. Ten bytes.
    """
    assert part_of({b"range": asked}, TAGGED, 10) == part


@pytest.mark.parametrize(
    ("condition", "holds"),
    [(b'"a"', True), (b'"b"', False), (b'W/"a"', False), (DATE, True), (LATER, False)],
)
def test_if_range(condition: bytes, holds: bool) -> None:
    """RFC 9110 §13.1.5: strong comparison, or the exact date; else the whole."""
    part = part_of({b"range": b"bytes=0-0", b"if-range": condition}, TAGGED, 10)
    assert part == ((0, 1) if holds else None)


@given(st.binary(max_size=40), st.integers(0, 50))
def test_no_range_reaches_beyond(asked: bytes, size: int) -> None:
    """Whatever is asked, what is given lies within."""
    part = part_of({b"range": b"bytes=" + asked}, [], size)
    assert part is None or 0 <= part[0] <= part[1] <= size
