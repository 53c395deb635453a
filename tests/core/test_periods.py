"""The calendar of quotas against Python's own."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecourt.core.periods import DAILY, DAY, MONTHLY, WEEKLY, index, start
from forecourt.types import EXACT

EPOCH = date(1970, 1, 1)

instants = st.integers(0, 253_402_300_799_999_999)
"""µs from 1970 to the end of the year 9999, where Python's calendar ends."""


def begun(every: int, now: int) -> date:
    """Return the first day of the period that an instant lies in, as Python sees it."""
    day = EPOCH + timedelta(now // DAY)
    if every == DAILY:
        return day
    return day - timedelta(day.weekday()) if every == WEEKLY else day.replace(day=1)


@pytest.mark.parametrize("every", [DAILY, WEEKLY, MONTHLY])
@given(now=instants)
def test_periods_begin_where_the_calendar_says(every: int, now: int) -> None:
    """A period begins at midnight of its first day, in UTC; it has an instant, the next begins after it."""
    number = index(every, now)
    assert start(every, number) == (begun(every, now) - EPOCH).days * DAY
    assert start(every, number) <= now < start(every, number + 1)


@pytest.mark.parametrize("every", [DAILY, WEEKLY, MONTHLY])
@given(now=instants)
def test_periods_are_numbered_without_gaps(every: int, now: int) -> None:
    """The instant before a period lies in the one before it."""
    number = index(every, now)
    assert index(every, start(every, number)) == number
    assert index(every, start(every, number) - 1) == number - 1


def test_leap_years() -> None:
    """2024 and 2000 have a 29 February, 1900 and 2100 do not."""
    for year, days in ((2024, 29), (2000, 29), (2100, 28), (2023, 28)):
        number = 12 * year + 1
        assert start(MONTHLY, number + 1) - start(MONTHLY, number) == days * DAY


def test_instants_stay_exact() -> None:
    """Fifteen hundred months from a late now, the longest wait there is, is still an exact double."""
    now = int(datetime(2100, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000
    assert start(MONTHLY, index(MONTHLY, now) + 1500) < EXACT
