"""What the limits of one config must agree on."""

import pytest

from forecourt.config import JobConfig
from forecourt.errors import ConfigError
from forecourt.policies import (
    Concurrency,
    Debounce,
    EndpointPolicy,
    FixedWindow,
    RateLimit,
    SlidingWindow,
    TokenBucket,
)

SHARED = FixedWindow(limit=5, window=60, name="shared")


def refusals(first: RateLimit, *others: RateLimit) -> list[str]:
    """Return what is wrong in a config whose default has the first limit and endpoint "b" the others."""
    with pytest.raises(ConfigError) as caught:
        config(first, *others)
    return list(caught.value.problems)


def config(first: RateLimit, *others: RateLimit) -> JobConfig:
    """Build a config whose default has the first limit and endpoint "b" the others."""
    return JobConfig(default=EndpointPolicy(rate_limit=first), endpoints={"b": EndpointPolicy(rate_limit=others)})


@pytest.mark.parametrize(
    "other",
    [
        SHARED,
        FixedWindow(limit=5, window=60.0, name="shared", cost=5),
        FixedWindow(limit=5, window=60, name="shared", count="failure", on_store_error="closed", shadow=True),
        FixedWindow(limit=6, window=60, name="another"),
        FixedWindow(limit=6, window=60),
    ],
)
def test_limits_of_one_name_share_a_bucket(other: RateLimit) -> None:
    """They agree on the bucket; what a call takes of it, and what a failure means, each may say for itself."""
    assert config(SHARED, other).endpoints


@pytest.mark.parametrize(
    ("other", "difference"),
    [
        (FixedWindow(limit=6, window=60, name="shared"), "where limit is 5, not 6"),
        (FixedWindow(limit=5, window=1, name="shared"), "where window is 60, not 1"),
        (
            FixedWindow(limit=5, window=60, name="shared", key="client"),
            'where key is "principal", not "client"',
        ),
        (FixedWindow(limit=5, window=60, name="shared", local_share=0.5), "where local_share is 1, not 0.5"),
        (
            FixedWindow(limit=5, window=60, name="shared", tiers={"gold": {"limit": 6}}),
            "which has other tiers",
        ),
        (SlidingWindow(limit=5, window=60, name="shared"), "which is a fixed_window, not a sliding_window"),
    ],
)
def test_limits_of_one_name_are_one_bucket(other: RateLimit, difference: str) -> None:
    """A bucket that is described in two ways is refused, with both places and the first difference."""
    assert refusals(SHARED, Debounce(interval=1), other) == [
        (
            f'endpoints."b".rate_limit[1].name: "shared" is also the name of default.rate_limit, {difference};'
            " limits of one name share one bucket"
        )
    ]


def test_a_key_without_a_function() -> None:
    """A key that no one knows is refused with the nearest, each where it stands."""
    bucket = TokenBucket(max_tokens=1, refill_rate=1, key="cliant")
    reason = "must be principal, client, tenant, endpoint, header:NAME or a name in key_functions"
    assert refusals(bucket, bucket, SHARED) == [
        f'default.rate_limit.key: "cliant" is not allowed: {reason}; did you mean "client"?',
        f'endpoints."b".rate_limit[0].key: "cliant" is not allowed: {reason}; did you mean "client"?',
    ]
    assert config(TokenBucket(max_tokens=1, refill_rate=1, key="header:cliant"), SHARED).endpoints


def test_a_key_of_concurrency_without_a_function() -> None:
    """What counts calls at work counts by the same words."""
    policy = EndpointPolicy(concurrency=Concurrency(limit=1, key="tenent"))
    with pytest.raises(ConfigError) as caught:
        JobConfig(default=policy, endpoints={"b": policy, "c": EndpointPolicy(concurrency="off")})
    reason = "must be principal, client, tenant, endpoint, header:NAME or a name in key_functions"
    assert list(caught.value.problems) == [
        f'default.concurrency.key: "tenent" is not allowed: {reason}; did you mean "tenant"?',
        f'endpoints."b".concurrency.key: "tenent" is not allowed: {reason}; did you mean "tenant"?',
    ]
    named = EndpointPolicy(concurrency=Concurrency(limit=1, key="mine"))
    assert JobConfig(default=named, key_functions={"mine": lambda _: None}).default == named
