"""The five strategies, as integers for the store."""

from collections.abc import Callable
from fractions import Fraction
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from forecourt.policies import Debounce, FixedWindow, SlidingWindow, Throttle, TokenBucket
from forecourt.policies.limit import Limit
from forecourt.types import EXACT

COUNTS = st.integers(1, 10**9)


def faults(error: ValidationError) -> list[str]:
    """Return what is wrong as `place: sentence`."""
    return [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()]


@given(st.integers(1, 10**6), st.integers(1, 1000), st.integers(1, 1000), st.integers(1, 100), st.booleans())
def test_a_token_bucket_is_exact(tokens: int, refill: int, seconds: int, cost: int, shadow: bool) -> None:
    """Capacity, period of one token in lowest terms, cost and shadow, in the order the operation takes them."""
    cost = min(cost, tokens)
    bucket = TokenBucket(max_tokens=tokens, refill_rate=refill / seconds, cost=cost, shadow=shadow)
    period = Fraction(seconds * 10**6, refill)
    args = (tokens, period.numerator, period.denominator, cost, int(shadow))
    assert bucket.operation() == bucket.operation(None) == ("token_bucket", args)


def refusal(kind: type[TokenBucket | SlidingWindow], **words: object) -> str:
    """Return what is wrong with a limit, or nothing when it is accepted."""
    try:
        kind.model_validate(words)
    except ValidationError as error:
        return faults(error)[0]
    return ""


@pytest.mark.parametrize("rate", [1e-10, 1e22])
def test_a_rate_that_cannot_be_counted_is_refused(rate: float) -> None:
    """Too small or too large, whatever the number of tokens."""
    assert refusal(TokenBucket, max_tokens=1, refill_rate=rate).startswith(
        f"refill_rate: {rate} is not allowed: is too small"
    )


@given(st.integers(1, EXACT), st.floats(1e-9, 1e9))
def test_a_token_bucket_stays_below_2_53(tokens: int, rate: float) -> None:
    """What is accepted keeps its products exact; what is refused says the most that would have been."""
    refused = refusal(TokenBucket, max_tokens=tokens, refill_rate=rate)
    if refused.startswith("refill_rate"):
        assert refused.endswith(" is not allowed: is too small, too large or has too many digits")
        return
    if refused:
        most = int(refused.split("at most ")[1].split(" ")[0])
        assert most < tokens
        tokens = most
    _, (capacity, numerator, denominator, _, _) = TokenBucket(max_tokens=tokens, refill_rate=rate).operation()
    assert capacity == tokens
    assert 2 * capacity * numerator < EXACT
    assert 2 * denominator < EXACT
    assert not refused or 2 * (capacity + 1) * numerator >= EXACT


@given(COUNTS, st.integers(1, 10**12), st.integers(1, 100), st.booleans())
def test_a_fixed_window_is_exact(limit: int, window_us: int, cost: int, shadow: bool) -> None:
    """Limit, window in microseconds, cost and shadow."""
    cost = min(cost, limit)
    window = FixedWindow(limit=limit, window=window_us / 10**6, cost=cost, shadow=shadow)
    assert window.operation() == ("fixed_window", (limit, window_us, cost, int(shadow)))


def test_a_fixed_window_stays_below_2_53() -> None:
    """Twice the limit, which a count plus a cost may come near, is exact."""
    assert FixedWindow(limit=EXACT // 2 - 1, window=1).operation()[1][0] == EXACT // 2 - 1
    with pytest.raises(ValidationError) as caught:
        FixedWindow(limit=EXACT // 2, window=1)
    assert faults(caught.value) == [
        "limit: 4503599627370496 is not allowed: must be below 4503599627370496, to be counted exactly"
    ]


@given(COUNTS, st.integers(1, 10**14), st.integers(1, 100))
def test_a_sliding_window_stays_below_2_53(limit: int, window_us: int, cost: int) -> None:
    """(2·limit + cost)·window is exact in what is accepted, and is not in what is refused."""
    cost = min(cost, limit)
    fits = (2 * limit + cost) * window_us < EXACT
    window = window_us / 10**6
    assert (refusal(SlidingWindow, limit=limit, window=window, cost=cost) == "") == fits
    if fits:
        sliding = SlidingWindow(limit=limit, window=window, cost=cost)
        assert sliding.operation() == ("sliding_window", (limit, window_us, cost, 0))


def test_a_sliding_window_says_how_much_would_do() -> None:
    """The error names the largest limit for the window; of a window too long for any, the window."""
    with pytest.raises(ValidationError) as caught:
        SlidingWindow(limit=60_000, window=86_400)
    assert faults(caught.value) == [
        "limit: 60000 is not allowed: must be at most 52124 in a window of 86400 seconds, to be counted exactly"
    ]
    assert SlidingWindow(limit=52_124, window=86_400).operation()[1][0] == 52_124
    with pytest.raises(ValidationError) as caught:
        SlidingWindow(limit=1, window=4_000_000_000)
    assert faults(caught.value) == ["window: 4000000000 is not allowed: is too long to count calls of cost 1 exactly"]


def test_an_exact_sliding_window_is_a_log() -> None:
    """`exact=True` asks for the log, of at most 1,000 calls."""
    log = SlidingWindow(limit=1000, window=60, exact=True, cost=2, shadow=True)
    assert log.operation() == ("sliding_log", (1000, 60_000_000, 2, 1))
    with pytest.raises(ValidationError) as caught:
        SlidingWindow(limit=1001, window=60, exact=True)
    assert faults(caught.value) == [
        "limit: 1001 is not allowed: must be at most 1000, as every call is kept; say exact=False to count them"
    ]


@given(st.integers(1, 1000), st.integers(1, 1000), st.integers(0, 10**9), st.integers(1, 100))
def test_a_throttle_is_exact(rate: int, per: int, delay_us: int, cost: int) -> None:
    """The gap between calls in lowest terms, the longest delay, cost and shadow."""
    throttle = Throttle(rate=rate, per=per, max_delay=delay_us / 10**6, cost=cost)
    gap = Fraction(per * 10**6, rate)
    assert throttle.operation() == ("throttle", (gap.numerator, gap.denominator, delay_us, cost, 0))


def test_a_throttle_stays_below_2_53() -> None:
    """A gap, and a gap times a cost, that would not be exact is refused."""
    with pytest.raises(ValidationError) as caught:
        Throttle(rate=1e-10, per=1)
    assert faults(caught.value) == ["rate: 1e-10 is not allowed: is too small, too large or has too many digits"]
    with pytest.raises(ValidationError) as caught:
        Throttle(rate=1e22)
    assert faults(caught.value) == ["rate: 1e+22 is not allowed: is too small, too large or has too many digits"]
    with pytest.raises(ValidationError) as caught:
        Throttle(rate=1, per=4_000_000_000, cost=2)
    assert faults(caught.value) == ["cost: 2 is not allowed: must be at most 1, to be counted exactly"]


def test_a_debounce() -> None:
    """Interval, longest wait or 0, and shadow; the edge chooses the operation."""
    assert Debounce(interval=0.5).operation() == ("debounce", (500_000, 0, 0))
    last = Debounce(interval=1, max_wait=5, edge="trailing", shadow=True)
    assert last.operation() == ("debounce_trailing", (1_000_000, 5_000_000, 1))
    assert Debounce(interval=1, max_wait=1).operation() == ("debounce", (1_000_000, 1_000_000, 0))


def test_an_operation_of_each_tier() -> None:
    """A tier's numbers replace the limit's; a caller of no or an unknown tier has the limit itself."""
    bucket = TokenBucket(max_tokens=5, refill_rate=1, cost=2, tiers={"gold": {"max_tokens": 50}, "free": {}})
    assert bucket.operation("gold") == ("token_bucket", (50, 1_000_000, 1, 2, 0))
    assert bucket.operation("free") == bucket.operation("silver") == bucket.operation()
    window = FixedWindow(limit=5, window=60, tiers={"gold": {"window": 1}})
    assert window.operation("gold") == ("fixed_window", (5, 1_000_000, 1, 0))
    sliding = SlidingWindow(limit=5, window=60, exact=True, tiers={"gold": {"limit": 6}})
    assert sliding.operation("gold") == ("sliding_log", (6, 60_000_000, 1, 0))
    throttle = Throttle(rate=1, tiers={"gold": {"rate": 2, "max_delay": 3}})
    assert throttle.operation("gold") == ("throttle", (500_000, 1, 3_000_000, 1, 0))
    debounce = Debounce(interval=2, tiers={"gold": {"interval": 1, "max_wait": 4}})
    assert debounce.operation("gold") == ("debounce", (1_000_000, 4_000_000, 0))


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (
            {"cost": 6},
            "cost: 6 is not allowed: must be at most limit (5), or no call can ever pass",
        ),
        (
            {"key": "endpoint", "batch": 3, "cost": 2},
            "batch: 3 is not allowed: must be at most 2, so that limit (5) can give a batch of cost 2",
        ),
        ({"batch": 2}, 'batch: 2 is not allowed: must be 1 unless key is "endpoint"'),
    ],
)
def test_limits_that_no_call_can_meet(words: dict[str, object], fault: str) -> None:
    """A cost or batch above the limit is refused, in windows of both kinds alike."""
    for kind in (FixedWindow, SlidingWindow):
        with pytest.raises(ValidationError) as caught:
            kind.model_validate({"limit": 5, "window": 60, **words})
        assert faults(caught.value) == [fault]


def test_a_batch_of_all_tokens() -> None:
    """A process may take the whole bucket of an endpoint at a time."""
    assert TokenBucket(max_tokens=10, refill_rate=1, key="endpoint", batch=5, cost=2).batch == 5


def test_a_log_has_no_batches() -> None:
    """An exact log keeps each call, so that none can be taken together."""
    with pytest.raises(ValidationError) as caught:
        SlidingWindow(limit=5, window=60, exact=True, key="endpoint", batch=2)
    assert faults(caught.value) == ["batch: 2 is not allowed: must be 1 with exact=True, which keeps each call"]


def test_what_a_throttle_cannot_do() -> None:
    """Time is not taken in batches, nor given back."""
    with pytest.raises(ValidationError) as caught:
        Throttle(rate=1, key="endpoint", batch=2, count="failure")
    assert faults(caught.value) == [
        "batch: 2 is not allowed: must be 1: calls that are spaced cannot be taken together",
        'count: "failure" is not allowed: time that has passed cannot be given back',
    ]


def test_what_a_debounce_cannot_do() -> None:
    """A debounce has no cost, share or batch; waiting at least once; a trailing one is for requests."""
    with pytest.raises(ValidationError) as caught:
        Debounce(
            interval=5, max_wait=4, edge="trailing", count="failure", cost=2, local_share=0.5, key="endpoint", batch=2
        )
    assert faults(caught.value) == [
        "batch: 2 is not allowed: must be 1: calls that are spaced cannot be taken together",
        'count: "failure" is not allowed: time that has passed cannot be given back',
        "max_wait: 4 is not allowed: must be at least the interval, 5",
        "cost: 2 is not allowed: must be 1: a debounce counts nothing",
        "local_share: 0.5 is not allowed: must be 1: a debounce has nothing to share",
        'count: "failure" is not allowed: must be "request" with edge="trailing"',
    ]


@pytest.mark.parametrize(
    "limit", [partial(TokenBucket, max_tokens=9, refill_rate=1), partial(FixedWindow, limit=9, window=1)]
)
def test_failures_are_not_counted_in_batches(limit: Callable[..., Limit]) -> None:
    """What a success gives back is one call's, so a limit of failures takes calls one by one."""
    with pytest.raises(ValidationError) as caught:
        limit(key="endpoint", batch=2, count="failure")
    assert faults(caught.value) == [
        'batch: 2 is not allowed: must be 1 with count="failure", which gives back call by call'
    ]
