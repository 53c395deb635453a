"""The flood guard's two numbers."""

import pytest
from pydantic import ValidationError

from forecourt.policies import FloodGuard


def test_the_arguments_of_its_window() -> None:
    """A fixed window in microseconds, in which each request costs 1 and is refused beyond it."""
    assert FloodGuard(limit=100, window=1.5).args() == (100, 1_500_000, 1, 0)


def test_its_numbers_are_above_0() -> None:
    """Neither number may be 0."""
    with pytest.raises(ValidationError) as caught:
        FloodGuard(limit=0, window=0)
    assert [each["msg"] for each in caught.value.errors()] == ["0 is not allowed: must be greater than 0"] * 2
