"""When calls are kept from what fails, and what of it is refused."""

from datetime import timedelta

import pytest
from pydantic import ValidationError

from forecourt.core.breaker import Rules
from forecourt.core.outcomes import CountWindow, TimeWindow
from forecourt.policies import CircuitBreaker, EndpointPolicy


def refusals(**words: object) -> list[str]:
    """Return what is wrong in a breaker with these words, as `place: sentence`."""
    with pytest.raises(ValidationError) as caught:
        CircuitBreaker.model_validate(words)
    return [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in caught.value.errors()]


def test_what_a_circuit_decides_by() -> None:
    """Seconds become microseconds, shares millionths; the longest wait is four times the first unless given."""
    rules = CircuitBreaker().rules()
    assert rules == Rules(fail_max=5, reset=30_000_000, max_reset=120_000_000, jitter=100_000, minimum=10)
    assert rules.recording() is None
    policy = CircuitBreaker(
        fail_max="off", failure_rate=0.5, slow_call=2, slow_rate=0.25, period=timedelta(seconds=60), max_reset=30
    )
    rules = policy.rules()
    assert (rules.fail_max, rules.failure_rate, rules.slow_call, rules.slow_rate) == (0, 500_000, 2_000_000, 250_000)
    assert (rules.span, rules.max_reset) == (60_000_000, 30_000_000)
    assert isinstance(rules.recording(), TimeWindow)
    assert isinstance(CircuitBreaker(failure_rate=1).rules().recording(), CountWindow)


@pytest.mark.parametrize(
    ("words", "refusal"),
    [
        ({"fail_max": 0}, "fail_max"),
        ({"fail_max": "off"}, 'fail_max: "off" is not allowed: must be a number unless failure_rate or slow_call is'),
        ({"reset_timeout": 0}, "reset_timeout: 0 is not allowed: must be greater than 0"),
        (
            {"reset_timeout": 10**7, "max_reset": 10**7},
            "reset_timeout: 10000000 is not allowed: must be at most 2592000",
        ),
        ({"max_reset": 29}, "max_reset: 29 is not allowed: must be at least reset_timeout, 30"),
        ({"minimum_calls": 101}, "minimum_calls: 101 is not allowed: must be at most window, 100"),
        ({"failure_rate": 50}, "failure_rate: 50 is not allowed: must be greater than 0 and at most 1"),
        ({"jitter": 2}, "jitter: 2 is not allowed: must be a number from 0 to 1"),
        ({"failures": [200]}, "failures: 200 is not allowed: must be a status from 400 to 599"),
        ({"failures": "5xx"}, 'failures: "5xx" is not allowed: must be a list of statuses such as [502, 503]'),
        ({"name": "two words"}, 'name: "two words" is not allowed: must be 1 to 64 letters, digits, _, ., : or -'),
        ({"mode": "of"}, "mode: \"of\" is not allowed: must be 'on', 'shadow', 'disabled' or 'forced_open'"),
        ({"reset_time": 3}, 'reset_time: unknown word; did you mean "reset_timeout"?'),
    ],
)
def test_what_cannot_work_is_refused(words: dict[str, object], refusal: str) -> None:
    """With the value and the reason."""
    assert any(each.startswith(refusal) for each in refusals(**words)), refusals(**words)


def test_the_field_takes_the_model_its_fields_or_off() -> None:
    """In files it is a table; statuses are dumped in order."""
    policy = EndpointPolicy.model_validate({"circuit_breaker": {"fail_max": 3, "name": None}})
    assert policy.circuit_breaker == CircuitBreaker(fail_max=3)
    assert EndpointPolicy(circuit_breaker="off").circuit_breaker == "off"
    assert CircuitBreaker().model_dump()["failures"] == [500, 502, 503, 504]
