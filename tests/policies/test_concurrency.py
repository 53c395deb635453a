"""How many calls may be at work at once, and what of it is refused."""

from datetime import timedelta

import pytest
from pydantic import ValidationError

from forecourt.policies import Concurrency, EndpointPolicy


def refusals(**words: object) -> list[str]:
    """Return what is wrong in a limit of 4 calls with these words, as `place: sentence`."""
    with pytest.raises(ValidationError) as caught:
        Concurrency.model_validate({"limit": 4, **words})
    return [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in caught.value.errors()]


def test_what_operations_are_told() -> None:
    """The limit, the lease in µs, shadow and batch; for one process alone its share, at least 1, and no batch."""
    assert Concurrency(limit=4).args() == (4, 15_000_000, 0, 1)
    assert Concurrency(limit=4).local_args() == (4, 15_000_000, 0, 1)
    policy = Concurrency(limit=7, lease=timedelta(seconds=2.5), shadow=True, key="endpoint", local_share=0.3)
    assert policy.args() == (7, 2_500_000, 1, 1)
    assert policy.local_args() == (2, 2_500_000, 1, 1)
    assert Concurrency(limit=4, local_share=0.01).local_args()[0] == 1


@pytest.mark.parametrize(
    ("words", "refusal"),
    [
        ({"limit": 0}, "limit: 0 is not allowed: must be greater than 0"),
        ({"queue": -1}, "queue: -1 is not allowed: must be greater than or equal to 0"),
        ({"queue": True}, "queue: true is not allowed: must be a valid integer"),
        ({"max_wait": 0}, "max_wait: 0 is not allowed: must be greater than 0"),
        ({"lease": 0.9}, "lease: 0.9 is not allowed: must be at least 1 second, to be renewed in time"),
        ({"local_share": 2}, "local_share: 2 is not allowed: must be greater than 0 and at most 1"),
        ({"key": "header:"}, 'key: "header:" is not allowed: must name a header, as in header:X-Org'),
        ({"on_store_error": "shut"}, "on_store_error: \"shut\" is not allowed: must be 'local', 'open' or 'closed'"),
        ({"limits": 3}, 'limits: unknown word; did you mean "limit"?'),
    ],
)
def test_what_cannot_work_is_refused(words: dict[str, object], refusal: str) -> None:
    """With the value and the reason."""
    assert refusals(**words) == [refusal]


def test_all_mistakes_are_told_at_once() -> None:
    """An operator corrects them together."""
    assert len(refusals(queue=-1, limit=0)) == 2


@pytest.mark.parametrize("value", [Concurrency(limit=4), {"limit": 4}])
def test_the_field_takes_the_model_or_its_fields(value: object) -> None:
    """In files it is a table."""
    assert EndpointPolicy.model_validate({"concurrency": value}).concurrency == Concurrency(limit=4)


def test_the_field_may_be_off_or_absent() -> None:
    """`"off"` switches off what a default says; nothing says nothing."""
    assert EndpointPolicy(concurrency="off").concurrency == "off"
    assert EndpointPolicy(concurrency=None).concurrency is None


@pytest.mark.parametrize(
    ("value", "refusal"),
    [
        ("of", '"of" is not allowed: must be Concurrency with its fields, or "off"; did you mean "off"?'),
        (5, '5 is not allowed: must be Concurrency with its fields, or "off"'),
        ([], 'a list is not allowed: must be Concurrency with its fields, or "off"'),
    ],
)
def test_the_field_takes_nothing_else(value: object, refusal: str) -> None:
    """The sentence says what it takes."""
    with pytest.raises(ValidationError) as caught:
        EndpointPolicy.model_validate({"concurrency": value})
    (error,) = caught.value.errors()
    assert (error["loc"], error["msg"]) == (("concurrency",), refusal)


def test_a_mistake_within_the_field_is_told_in_its_place() -> None:
    """The place leads to the word."""
    with pytest.raises(ValidationError) as caught:
        EndpointPolicy.model_validate({"concurrency": {"limit": 0}})
    assert [error["loc"] for error in caught.value.errors()] == [("concurrency", "limit")]
