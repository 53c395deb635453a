"""The register of operations."""

import pytest

from forecourt.core.operations import operation, register
from forecourt.core.plans import LIMITS, decision, settlement
from forecourt.core.token_bucket import TOKEN_BUCKET, TOKEN_BUCKET_BACK


def test_a_kind_is_registered_once() -> None:
    """Two operations of one name would be one key with two meanings."""
    with pytest.raises(ValueError, match="'token_bucket' is registered already"):
        register(TOKEN_BUCKET)


def test_an_operation_is_found_by_its_kind() -> None:
    """What is registered is found; what is not is named."""
    assert operation("token_bucket") is TOKEN_BUCKET
    with pytest.raises(KeyError, match="token_bucked"):
        operation("token_bucked")


def test_questions_are_cut_into_groups() -> None:
    """Limits are one group, charges another, in this order only; settlements are of their own."""
    limits, claims = decision(("token_bucket", "fixed_window", "credits_charge"))
    assert [step.kind for step in limits] == ["token_bucket", "fixed_window"]
    assert [step.kind for step in claims] == ["credits_charge"]
    assert decision(()) == ()
    assert settlement(("token_bucket_back",)) == (TOKEN_BUCKET_BACK,)
    with pytest.raises(ValueError, match="out of order: credits_charge, token_bucket"):
        decision(("credits_charge", "token_bucket"))
    with pytest.raises(ValueError, match="out of order: token_bucket_back"):
        decision(("token_bucket_back",))
    with pytest.raises(ValueError, match="not all of these are settlements: token_bucket"):
        settlement(("token_bucket",))


def test_limits_are_limits() -> None:
    """Every strategy is decided with limits and leases."""
    assert {limit.group for limit in LIMITS} == {"limit"}
