"""All policies of one endpoint."""

import pytest
from pydantic import ValidationError

from forecourt.policies import EndpointPolicy, FixedWindow


def refusal(word: str) -> str:
    """Return the sentence with which a word of an endpoint policy is refused."""
    with pytest.raises(ValidationError) as caught:
        EndpointPolicy.model_validate({word: 5})
    (error,) = caught.value.errors()
    return error["msg"]


def test_unknown_words() -> None:
    """A word near a field is answered with it; another with all fields; a preset with where it belongs."""
    assert refusal("ratelimit") == 'unknown word; did you mean "rate_limit"?'
    known = ", ".join([*EndpointPolicy.model_fields, "preset"])
    assert refusal("zzz") == f"unknown word; known are {known}"
    assert refusal("preset") == "`preset` is a word of config files only"


def test_it_cannot_be_changed() -> None:
    """An endpoint policy is frozen; equal ones are equal, and hash alike."""
    policy = EndpointPolicy(rate_limit=[FixedWindow(limit=1, window=1)])
    with pytest.raises(ValidationError):
        setattr(policy, "rate_limit", None)  # noqa: B010 - the mistake under test
    assert len({policy, EndpointPolicy(rate_limit=[FixedWindow(limit=1, window=1)])}) == 1


def test_it_has_a_schema() -> None:
    """Editors that complete config files can ask for a JSON schema that knows every strategy and policy."""
    schema = EndpointPolicy.model_json_schema()
    strategies = {"Debounce", "FixedWindow", "SlidingWindow", "Throttle", "TokenBucket"}
    assert strategies < schema["$defs"].keys()
    for field in EndpointPolicy.model_fields:
        takes = str(schema["properties"][field])
        assert "$defs" in takes or "integer" in takes or "string" in takes, field
