"""The words for spans, metrics and logs."""

import pytest
from pydantic import ValidationError

from forecourt import EndpointPolicy, JobConfig, Logging, Metrics, Telemetry, Tracing
from forecourt.config_policies import observer


def refusal(model: type, **fields: object) -> str:
    """Return the sentence that refuses these fields."""
    with pytest.raises(ValidationError) as caught:
        model(**fields)
    return str(caught.value.errors()[0]["msg"])


def test_true_is_the_model_with_its_defaults() -> None:
    """`True`, a table and "off" are what a field takes; False is not how a thing is switched off."""
    policy = EndpointPolicy.model_validate({"tracing": True, "metrics": {"sizes": False}, "logging": "off"})
    assert (policy.tracing, policy.metrics, policy.logging) == (Tracing(), Metrics(sizes=False), "off")
    assert "must be Tracing with its fields" in refusal(EndpointPolicy, tracing=False)


@pytest.mark.parametrize(
    ("model", "field", "value", "reason"),
    [
        (Logging, "sample", 1.5, "must be a number from 0 to 1"),
        (Logging, "sample", True, "must be a number from 0 to 1"),
        (Logging, "headers", ["a header"], "must be the name of a header"),
        (Telemetry, "buckets", [1, 1], "each greater than the one before"),
        (Telemetry, "buckets", [], "each greater than the one before"),
        (Telemetry, "buckets", [0, 1], "above 0"),
        (Telemetry, "prefix", "My App", "must be a small letter"),
        (Telemetry, "log_format", "xml", "must be"),
        (Telemetry, "log_to", "", "at least 1 character"),
    ],
)
def test_what_cannot_be_is_refused(model: type, field: str, value: object, reason: str) -> None:
    """With the value and what would be right."""
    assert reason in refusal(model, **{field: value})


def test_lists_may_be_one() -> None:
    """A lone header name is a list of one."""
    assert Logging.model_validate({"headers": "Accept"}).headers == ("Accept",)


def test_off_is_not_the_same_as_nothing_said() -> None:
    """Where no one says anything it is on, where its extra is installed; where someone says off it is off."""
    config = JobConfig(
        default=EndpointPolicy(metrics="off"), endpoints={"a": EndpointPolicy(logging=Logging(sample=0))}
    )
    policy = config.policy_for("a")
    assert policy is not None
    assert (policy.tracing, policy.metrics, policy.logging) == (Tracing(), None, Logging(sample=0))
    unrouted = config.unrouted()
    assert (unrouted.metrics, unrouted.logging, unrouted.rate_limit) == (None, Logging(), ())
    assert observer("metrics", unrouted.fields["metrics"], Metrics) is None


def test_a_hook_is_a_plain_function() -> None:
    """A coroutine function would never run."""

    async def later(_exchange: object, _decision: object) -> None: ...

    with pytest.raises(Exception, match="must be a plain Python function"):
        JobConfig(on_decision=later)  # type: ignore[arg-type]  # what is refused
