"""The words of `Adaptive` and `priority`: what a file says, and what cannot be."""

import pytest
from pydantic import ValidationError

from forecourt import Adaptive, Concurrency, EndpointPolicy
from forecourt.core.shedding import Terms
from forecourt.policies.wording import problems


def test_a_file_names_its_type() -> None:
    """Without one it is a fixed limit."""
    policy = EndpointPolicy.model_validate({"concurrency": {"type": "adaptive", "max_limit": 50}, "priority": "high"})
    assert policy.concurrency == Adaptive(max_limit=50)
    assert policy.priority == "high"
    assert EndpointPolicy.model_validate({"concurrency": {"limit": 5}}).concurrency == Concurrency(limit=5)
    assert EndpointPolicy(concurrency=Adaptive()).concurrency == Adaptive()
    assert EndpointPolicy(priority=None).priority is None


def test_its_terms() -> None:
    """The words of the policy are those of the search."""
    policy = Adaptive(initial=5, min_limit=2, max_limit=9, tolerance=2)
    assert policy.terms() == Terms(initial=5, least=2, most=9, tolerance=2)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ({"max_limit": 2}, "max_limit: 2 is not allowed: must be at least min_limit, 3"),
        ({"initial": 1}, "initial: 1 is not allowed: must be from min_limit, 3, to max_limit, 200"),
        ({"initial": 201}, "initial: 201 is not allowed: must be from min_limit, 3, to max_limit, 200"),
    ],
)
def test_numbers_that_cannot_be(words: dict[str, int], line: str) -> None:
    """Each is told with the value and what it may be."""
    with pytest.raises(ValidationError) as told:
        Adaptive.model_validate(words)
    assert problems(told.value) == [line]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            {"priority": "hihg"},
            'priority: "hihg" is not allowed: must be low, normal, high or critical; did you mean "high"?',
        ),
        ({"priority": 3}, "priority: 3 is not allowed: must be low, normal, high or critical"),
        (
            {"concurrency": {"type": "adaptiv"}},
            'concurrency.type: "adaptiv" is not allowed: must be adaptive, or not given; did you mean "adaptive"?',
        ),
        ({"concurrency": {"type": 1}}, "concurrency.type: 1 is not allowed: must be adaptive, or not given"),
    ],
)
def test_words_that_cannot_be(words: dict[str, object], line: str) -> None:
    """The nearest right one is named."""
    with pytest.raises(ValidationError) as told:
        EndpointPolicy.model_validate(words)
    assert problems(told.value) == [line]
