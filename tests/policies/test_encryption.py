"""What of an endpoint is encrypted."""

import pytest
from pydantic import ValidationError

from forecourt.policies import Encryption


def test_words_of_later_versions() -> None:
    """A field that the design names and nothing enforces yet is said to be absent; none is both."""
    assert Encryption.later
    assert not Encryption.later & set(Encryption.model_fields)
    for word in Encryption.later:
        with pytest.raises(ValidationError) as caught:
            Encryption.model_validate({word: "required"})
        assert [each["msg"] for each in caught.value.errors()] == [f"`{word}` is not in this version"]


def test_at_rest_is_yes_or_no() -> None:
    """Nothing is sealed unless it is said, and nothing that is nearly yes is taken for it."""
    assert Encryption().at_rest is False
    for wrong in ("yes", 1, None):
        with pytest.raises(ValidationError):
            Encryption.model_validate({"at_rest": wrong})
