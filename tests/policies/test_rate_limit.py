"""The field `rate_limit`: which limits, and what one process decides of them by itself."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from forecourt.policies import (
    Debounce,
    EndpointPolicy,
    FixedWindow,
    RateLimit,
    SlidingWindow,
    Throttle,
    TokenBucket,
    local_operation,
)

pytestmark = pytest.mark.usefixtures("packaged_only")

BUCKET = TokenBucket(max_tokens=5, refill_rate=1)
WINDOW = FixedWindow(limit=5, window=60)


def refusals(rate_limit: object) -> list[str]:
    """Return what is wrong in a `rate_limit`, as `place: sentence`."""
    with pytest.raises(ValidationError) as caught:
        EndpointPolicy.model_validate({"rate_limit": rate_limit})
    return [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in caught.value.errors()]


@pytest.mark.parametrize(
    ("words", "limit"),
    [
        ({"type": "token_bucket", "max_tokens": 5, "refill_rate": 1}, BUCKET),
        ({"type": "fixed_window", "limit": 5, "window": 60}, WINDOW),
        ({"type": "sliding_window", "limit": 5, "window": 60}, SlidingWindow(limit=5, window=60)),
        ({"type": "throttle", "rate": 5}, Throttle(rate=5)),
        ({"type": "debounce", "interval": 5}, Debounce(interval=5)),
    ],
)
def test_a_table_says_which_limit_it_is(words: dict[str, object], limit: RateLimit) -> None:
    """In a file the type chooses the model; Python users build the model."""
    assert EndpointPolicy.model_validate({"rate_limit": words}).rate_limit == limit


def test_one_several_off_or_nothing() -> None:
    """The field holds one limit, a tuple of them, "off", or nothing."""
    assert EndpointPolicy(rate_limit=BUCKET).rate_limit is BUCKET
    assert EndpointPolicy(rate_limit=[BUCKET, WINDOW]).rate_limit == (BUCKET, WINDOW)
    assert EndpointPolicy(rate_limit=(BUCKET,)).rate_limit == (BUCKET,)
    assert EndpointPolicy(rate_limit="off").rate_limit == "off"
    assert EndpointPolicy().rate_limit is EndpointPolicy(rate_limit=None).rate_limit is None


def test_one_wrong_word_is_one_error() -> None:
    """A mistake is told by the limit that was meant, not by each that it might have been."""
    assert refusals({"type": "token_bucket", "max_tokens": 0, "refill_rate": 1}) == [
        "rate_limit.max_tokens: 0 is not allowed: must be greater than 0"
    ]
    assert refusals({"type": "token_bucket", "max_tokns": 5, "refill_rate": 1}) == [
        'rate_limit.max_tokns: unknown word; did you mean "max_tokens"?'
    ]
    assert refusals([BUCKET, {"type": "throttle"}]) == ["rate_limit.1.rate: must be given"]


def test_the_type_must_be_known() -> None:
    """Without a type the error offers what the words fit; with a wrong one, the nearest."""
    all_types = "token_bucket or fixed_window or sliding_window or throttle or debounce"
    assert refusals({"max_tokens": 5}) == ["rate_limit.type: must be given: token_bucket"]
    assert refusals({"limit": 5}) == ["rate_limit.type: must be given: fixed_window or sliding_window"]
    assert refusals({}) == [f"rate_limit.type: must be given: {all_types}"]
    assert refusals({"type": "sliding-window"}) == [
        f'rate_limit.type: "sliding-window" is not allowed: must be {all_types}; did you mean "sliding_window"?'
    ]
    assert refusals({"type": ["throttle"]}) == [f"rate_limit.type: a list is not allowed: must be {all_types}"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [(5, "5"), (False, "false"), (object(), "a value of type object"), ("x", '"x"')],
)
def test_what_is_no_limit(value: object, shown: str) -> None:
    """Anything else is refused by its value, or its kind."""
    assert refusals(value) == [f'rate_limit: {shown} is not allowed: must be a limit, a list of limits, or "off"']


def test_off_is_spelt_off() -> None:
    """A word near "off" is answered with it; no limits at all must be said by it."""
    assert refusals("of") == [
        'rate_limit: "of" is not allowed: must be a limit, a list of limits, or "off"; did you mean "off"?'
    ]
    assert refusals([]) == ['rate_limit: a list is not allowed: is empty: must be a limit, a list of limits, or "off"']


def test_one_endpoint_does_not_name_two_limits_alike() -> None:
    """Two limits of one endpoint and one name would take from one bucket twice; no name is no such name."""
    named = FixedWindow(limit=5, window=60, name="a")
    assert refusals([named, BUCKET, named]) == [
        'rate_limit.2.name: "a" is not allowed: another limit of this endpoint has this name'
    ]
    assert EndpointPolicy(rate_limit=[BUCKET, BUCKET]).rate_limit == (BUCKET, BUCKET)


SHARES = st.integers(1, 100).map(lambda percent: percent / 100)


@given(st.integers(1, 10**6), st.integers(1, 100), SHARES)
def test_a_share_of_a_bucket(tokens: int, rate: int, share: float) -> None:
    """One process has its share of the tokens, and they come at its share of the rate."""
    bucket = TokenBucket(max_tokens=tokens, refill_rate=rate, local_share=share)
    kind, (most, numerator, denominator, cost, shadow) = local_operation(bucket)
    exact_share = Fraction(str(share))
    assert (kind, cost, shadow) == ("token_bucket", 1, 0)
    assert most == max(1, tokens * exact_share // 1)
    assert Fraction(numerator, denominator) == Fraction(10**6, rate) / exact_share


@given(st.integers(1, 1000), SHARES, st.booleans(), st.integers(1, 3))
def test_a_share_of_a_window(limit: int, share: float, exact: bool, cost: int) -> None:
    """One process has its share of the limit, rounded down, but never less than one call."""
    cost = min(cost, limit)
    sliding = SlidingWindow(limit=limit, window=60, exact=exact, local_share=share, cost=cost)
    kind, args = local_operation(sliding)
    most = max(cost, limit * Fraction(str(share)) // 1)
    assert (kind, args) == ("sliding_log" if exact else "sliding_window", (most, 60_000_000, cost, 0))
    fixed = FixedWindow(limit=limit, window=60, local_share=share, cost=cost)
    assert local_operation(fixed) == ("fixed_window", (most, 60_000_000, cost, 0))


def test_a_share_of_time() -> None:
    """A throttled process spaces its calls by the share; a debounce has nothing to share."""
    throttle = Throttle(rate=10, max_delay=1, local_share=0.25)
    assert local_operation(throttle) == ("throttle", (400_000, 1, 1_000_000, 1, 0))
    assert local_operation(Debounce(interval=1)) == ("debounce", (1_000_000, 0, 0))


def test_a_share_of_a_tier() -> None:
    """The share is taken of the tier's numbers; the whole of a limit is the limit."""
    half = FixedWindow(limit=10, window=60, local_share=0.5, tiers={"gold": {"limit": 100}})
    assert local_operation(half, "gold") == ("fixed_window", (50, 60_000_000, 1, 0))
    assert local_operation(WINDOW) == WINDOW.operation()
