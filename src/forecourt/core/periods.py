"""The calendar of quotas: days, weeks that begin on Monday, and months, all in UTC, in integer microseconds.

Periods of one kind are numbered without gaps, so that "three periods later" is an addition. Months need the civil
calendar: `_civil_month` and `_month_start` are the proleptic Gregorian algorithms of Howard Hinnant ("chrono-compatible
low-level date algorithms"), floor division throughout, exact in Lua's doubles as well.
"""

from typing import Final

from forecourt.types import SECOND

DAY: Final = 86_400 * SECOND

NONE, DAILY, WEEKLY, MONTHLY = range(4)
"""Kinds of period, as operations are told them; NONE: no quota."""

_EPOCH = 719_468
"""Days from 1 March of the year 0 to 1 January 1970."""


def index(every: int, now: int) -> int:
    """Return the number of the period of this kind that `now` lies in."""
    day = now // DAY
    if every == DAILY:
        return day
    return (day + 3) // 7 if every == WEEKLY else _civil_month(day)


def start(every: int, number: int) -> int:
    """Return the microsecond at which the period of this kind and number begins."""
    if every == DAILY:
        return number * DAY
    return (number * 7 - 3) * DAY if every == WEEKLY else _month_start(number) * DAY


def _civil_month(day: int) -> int:
    """Return 12·year + month - 1 of a day since the epoch."""
    since = day + _EPOCH
    era = since // 146_097
    of_era = since - era * 146_097
    year = (of_era - of_era // 1460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    return 12 * (year + era * 400) + (5 * of_year + 2) // 153 + 2


def _month_start(month: int) -> int:
    """Return the day since the epoch on which a month, 12·year + month - 1, begins."""
    year, march_based = (month - 2) // 12, (month - 2) % 12
    return 365 * year + year // 4 - year // 100 + year // 400 + (153 * march_based + 2) // 5 - _EPOCH
