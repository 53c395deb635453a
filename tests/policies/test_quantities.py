"""What numbers in a config mean, in integers."""

from datetime import timedelta
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from forecourt.policies.quantities import (
    LONGEST,
    Count,
    Delay,
    Duration,
    Rate,
    Share,
    exact,
    microseconds,
    per_second,
    period,
)

COUNT = TypeAdapter[int](Count)
RATE = TypeAdapter[float](Rate)
SHARE = TypeAdapter[float](Share)
DURATION = TypeAdapter[float | timedelta](Duration)
DELAY = TypeAdapter[float | timedelta](Delay)


def refusal(adapter: TypeAdapter[int] | TypeAdapter[float] | TypeAdapter[float | timedelta], value: object) -> str:
    """Return the sentence with which a value is refused."""
    with pytest.raises(ValidationError) as caught:
        adapter.validate_python(value)
    return caught.value.errors()[0]["msg"]


@given(st.integers(0, 10**15))
def test_six_decimals_are_exact(wanted: int) -> None:
    """A duration written with six decimals or fewer is that many microseconds, as a number and as text."""
    seconds = wanted / 10**6
    assert microseconds(DELAY.validate_python(seconds)) == wanted
    assert microseconds(DELAY.validate_python(f"{seconds:.6f}")) == wanted


@given(st.floats(min_value=1e-6, max_value=1e9))
def test_any_duration_is_the_nearest_microsecond(seconds: float) -> None:
    """A float is rounded to the nearest microsecond of the decimal it is written as."""
    assert abs(microseconds(seconds) - Fraction(str(seconds)) * 10**6) <= Fraction(1, 2)


@given(st.timedeltas(min_value=timedelta(microseconds=1), max_value=timedelta(days=36_500)))
def test_a_timedelta_is_its_microseconds(duration: timedelta) -> None:
    """A timedelta keeps every microsecond, also through the seconds as which it is kept."""
    wanted = duration // timedelta(microseconds=1)
    assert microseconds(duration) == wanted
    assert microseconds(DURATION.validate_python(duration)) == wanted


def test_a_timedelta_is_kept_as_seconds() -> None:
    """A minute is equal, however it is written."""
    assert DURATION.validate_python(timedelta(minutes=1)) == 60
    assert repr(DURATION.validate_python(timedelta(minutes=1))) == "60"
    assert repr(DURATION.validate_python(timedelta(milliseconds=1500))) == "1.5"
    assert repr(DURATION.validate_python(" 90 ")) == "90"


@given(st.integers(1, 1000), st.integers(1, 1000))
def test_a_ratio_of_small_numbers_is_itself(calls: int, seconds: int) -> None:
    """A rate such as 1/60 or 7/3 a second, a float without a finite decimal, is the ratio that was meant."""
    assert per_second(calls / seconds) == Fraction(calls, seconds)


@given(st.integers(1, 10**12))
def test_six_decimals_of_a_rate_are_exact(millionths: int) -> None:
    """A rate written with six decimals or fewer is that decimal."""
    rate = millionths / 10**6
    assert per_second(rate) == Fraction(str(rate)) == Fraction(millionths, 10**6)


@given(st.floats(min_value=1e-12, max_value=1e12))
def test_any_rate_is_within_a_millionth(rate: float) -> None:
    """Whatever the digits, the rate that is computed with is within one part in a million of the one written."""
    assert abs(per_second(rate) / Fraction(str(rate)) - 1) < Fraction(1, 10**6)


def test_slow_rates_do_not_become_zero() -> None:
    """One token in thirty days is one token in thirty days."""
    assert period(1 / 2_592_000) == 2_592_000 * 10**6


@given(st.integers(1, 1000), st.integers(1, 1000))
def test_a_period_is_microseconds_for_one(rate: int, per: int) -> None:
    """At `rate` in each `per` seconds one takes per/rate seconds, in lowest terms."""
    assert period(rate, per) == Fraction(per * 10**6, rate)


def test_exact_is_the_decimal_that_was_written() -> None:
    """0.1 is a tenth, not the float nearest to it."""
    assert exact(0.1) == Fraction(1, 10)
    assert exact(3) == 3
    assert exact(timedelta(microseconds=5)) == Fraction(5, 10**6)


@pytest.mark.parametrize(("value", "count"), [(5, 5), (5.0, 5), ("5", 5), ("5.0", 5)])
def test_counts(value: object, count: int) -> None:
    """A whole number, also as text from a variable."""
    taken = COUNT.validate_python(value)
    assert (taken, type(taken)) == (count, int)


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (True, "true is not allowed: must be a whole number"),
        (1.5, "1.5 is not allowed: must be a whole number"),
        ("five", '"five" is not allowed: must be a whole number'),
        (None, "nothing is not allowed: must be a whole number"),
        ([5], "a list is not allowed: must be a whole number"),
        (float("inf"), "inf is not allowed: must be a whole number"),
        ("nan", '"nan" is not allowed: must be a whole number'),
        (0, "0 is not allowed: must be greater than 0"),
    ],
)
def test_no_counts(value: object, sentence: str) -> None:
    """What is not a whole number above 0 is refused, by its value."""
    assert refusal(COUNT, value) == sentence


def test_no_rates_and_shares() -> None:
    """Rates are above 0, shares above 0 and at most 1."""
    assert RATE.validate_python(0.5) == 0.5
    assert refusal(RATE, 0) == "0 is not allowed: must be greater than 0"
    assert refusal(RATE, "x") == '"x" is not allowed: must be a number'
    assert SHARE.validate_python(1) == 1
    assert refusal(SHARE, 0) == "0 is not allowed: must be greater than 0 and at most 1"
    assert refusal(SHARE, 1.1) == "1.1 is not allowed: must be greater than 0 and at most 1"


def test_no_durations() -> None:
    """A duration is a number of seconds, at least a microsecond and at most 142 years; a delay may be 0."""
    assert DELAY.validate_python(0) == 0
    assert refusal(DURATION, 0) == "0 is not allowed: must be greater than 0"
    assert refusal(DURATION, timedelta(0)) == "0 is not allowed: must be greater than 0"
    assert refusal(DELAY, -1) == "-1 is not allowed: must be 0 or more"
    assert refusal(DURATION, 1e-7) == "1e-07 is not allowed: must be at least a microsecond, 0.000001"
    assert refusal(DURATION, "60s") == '"60s" is not allowed: must be a number of seconds'
    assert DURATION.validate_python(LONGEST) == LONGEST
    assert refusal(DURATION, LONGEST + 1) == "4503599628 is not allowed: must be at most 4503599627 seconds"
