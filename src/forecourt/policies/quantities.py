"""What numbers in a config mean, and the one place where they become the integers that stores compute with.

Units. People write seconds (or a `timedelta`), calls or tokens, and calls or tokens per second. Stores
compute in whole microseconds and whole calls or tokens:

- a duration becomes the nearest whole number of microseconds (exact for up to six decimals);
- a rate becomes the time that one token takes, as the fraction N/D of microseconds in lowest terms. The
  rate is read as the decimal that was written, or, where that has more than six digits behind the point as
  the float 1/60 has, as the simplest fraction near it (off by less than one part in a million): 1/60.

Products of these must stay below 2^53, where Lua's numbers are exact; each model says which of its products.
"""

import math
from collections.abc import Callable
from datetime import timedelta
from fractions import Fraction
from typing import Annotated

from pydantic import PlainSerializer, PlainValidator

from forecourt.policies.wording import refused
from forecourt.types import EXACT, SECOND

LONGEST = EXACT // 2 // SECOND
"""The longest duration in seconds (142 years): the present plus it is still exact."""

_TERMS = 10**6


def exact(seconds: float | timedelta) -> Fraction:
    """Return a duration or number as the decimal that was written."""
    if isinstance(seconds, timedelta):
        return Fraction(seconds // timedelta(microseconds=1), SECOND)
    return Fraction(str(seconds))


def microseconds(seconds: float | timedelta) -> int:
    """Return the nearest whole number of microseconds."""
    return round(exact(seconds) * SECOND)


def per_second(rate: float) -> Fraction:
    """Return a rate above 0 as a fraction: the decimal as written, else the simplest fraction near it."""
    written = exact(rate)
    if written.denominator <= _TERMS:
        return written
    if written >= 1:
        return written.limit_denominator(_TERMS)
    return 1 / (1 / written).limit_denominator(_TERMS)


def period(rate: float, per: float | timedelta = 1) -> Fraction:
    """Return the microseconds that one takes at `rate` in each `per` seconds, in lowest terms."""
    return microseconds(per) / per_second(rate)


def _number(value: object, reason: str) -> int | float:
    if type(value) is bool or not isinstance(value, int | float | str):
        raise refused(value, reason)
    number = _parsed(value) if isinstance(value, str) else value
    if number is None or (isinstance(number, float) and not math.isfinite(number)):
        raise refused(value, reason)
    return number


def _parsed(text: str) -> int | float | None:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return None


def count(value: object) -> int:
    """Return a whole number above 0; the error is a validator's."""
    number = _number(value, "must be a whole number")
    if number != int(number):
        raise refused(value, "must be a whole number")
    if number <= 0:
        raise refused(value, "must be greater than 0")
    return int(number)


def _rate(value: object) -> int | float:
    number = _number(value, "must be a number")
    if number <= 0:
        raise refused(value, "must be greater than 0")
    return number


def _share(value: object) -> int | float:
    number = _number(value, "must be a number")
    if not 0 < number <= 1:
        raise refused(value, "must be greater than 0 and at most 1")
    return number


def _duration(least: int) -> Callable[[object], int | float]:
    """Return the validator of a duration of at least so many microseconds, as a number of seconds."""

    def duration(value: object) -> int | float:
        number = _seconds(value) if isinstance(value, timedelta) else _number(value, "must be a number of seconds")
        shown = number if isinstance(value, timedelta) else value
        if number < 0 or (least and number == 0):
            raise refused(shown, f"must be {'greater than 0' if least else '0 or more'}")
        if microseconds(number) < least:
            raise refused(shown, "must be at least a microsecond, 0.000001")
        if number > LONGEST:
            raise refused(shown, f"must be at most {LONGEST} seconds")
        return number

    return duration


def _seconds(duration: timedelta) -> int | float:
    seconds = exact(duration)
    return seconds.numerator if seconds.denominator == 1 else float(seconds)


def _kept(seconds: float) -> int | float:
    """Return a duration as it is kept, for a dump: no timedelta."""
    return seconds


Count = Annotated[int, PlainValidator(count, json_schema_input_type=int)]
"""A whole number of calls or tokens, at least 1."""

Rate = Annotated[float, PlainValidator(_rate, json_schema_input_type=float)]
"""So many a second, more than 0."""

Share = Annotated[float, PlainValidator(_share, json_schema_input_type=float)]
"""A part of a whole: more than 0, at most 1."""

Duration = Annotated[
    float | timedelta, PlainValidator(_duration(1), json_schema_input_type=float), PlainSerializer(_kept)
]
"""Seconds, at least a microsecond; a timedelta is kept as its seconds."""

Delay = Annotated[float | timedelta, PlainValidator(_duration(0), json_schema_input_type=float), PlainSerializer(_kept)]
"""Seconds, 0 or more; a timedelta is kept as its seconds."""
