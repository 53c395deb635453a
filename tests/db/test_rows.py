"""Rows are kept as JSON, and come back as the plain, immutable values that they were."""

import json
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecourt.db.rows import packed, read, unpacked, written

PLAIN = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(st.characters(exclude_categories=["Cs"])),
    st.binary(),
    st.decimals(allow_nan=False),
    st.datetimes(timezones=st.sampled_from([None, UTC])),
    st.dates(),
    st.times(),
    st.timedeltas(),
    st.uuids(),
)


class Colour(Enum):
    """A value that is an enum's member."""

    RED = "red"


@given(PLAIN)
def test_plain_values_come_back(value: object) -> None:
    """Of the type that they had."""
    found = read(json.loads(json.dumps(written(value))))
    assert (type(found), found) == (type(value), value)


def test_others_come_back_as_what_is_plain_of_them() -> None:
    """Members of enums give their value, lists and sets tuples, mappings what cannot be changed."""
    (row,) = unpacked(packed(["colour", "list", "class"], [[Colour.RED, [1, {2}], {"a": [date(2026, 1, 2)]}]]))
    assert (row[0], row[1]) == ("red", (1, (2,)))
    assert dict(row[2]) == {"a": (date(2026, 1, 2),)}  # type: ignore[call-overload]  # a mapping
    assert row._fields == ("colour", "list", "_2")  # type: ignore[attr-defined]  # a named tuple
    with pytest.raises(TypeError):
        row[2]["a"] = 1  # type: ignore[index]


def test_what_is_not_plain_is_refused() -> None:
    """With its type."""
    with pytest.raises(TypeError, match="a value of type object cannot be kept"):
        written(object())


def test_values_of_equal_text_are_told_apart() -> None:
    """A key is made of them."""
    same = [
        1,
        "1",
        1.0,
        Decimal(1),
        b"1",
        time(1),
        timedelta(1),
        UUID(int=1),
        datetime(2026, 1, 1, tzinfo=UTC),
        date(2026, 1, 1),
    ]
    assert len({json.dumps(written(value)) for value in same}) == len(same)
