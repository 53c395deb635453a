"""What of an endpoint is encrypted."""

import pytest
from pydantic import ValidationError

from forecourt.core.payload import Terms
from forecourt.policies import Encryption


def wrong(**words: object) -> list[str]:
    """Return what is said of words that do not go together."""
    with pytest.raises(ValidationError) as caught:
        Encryption.model_validate(words)
    return [each["msg"] for each in caught.value.errors()]


def test_at_rest_is_yes_or_no() -> None:
    """Nothing is sealed unless it is said, and nothing that is nearly yes is taken for it."""
    assert Encryption().at_rest is False
    for nearly in ("yes", 1, None):
        with pytest.raises(ValidationError):
            Encryption.model_validate({"at_rest": nearly})


def test_nothing_is_sealed_from_end_to_end_unless_it_is_said() -> None:
    """Each way for itself."""
    assert not Encryption(at_rest=True).end_to_end
    assert Encryption(request="optional").end_to_end
    assert Encryption(response="required").end_to_end


def test_what_is_asked_of_a_message() -> None:
    """Five minutes and a call of its own, unless it is said."""
    assert Encryption().terms() == Terms(300, bound=True)
    assert Encryption(max_age=60, bound=False).terms() == Terms(60, bound=False)


def test_words_that_are_nearly_right() -> None:
    """The nearest is named."""
    assert wrong(request="require") == [
        "\"require\" is not allowed: must be 'off', 'optional' or 'required'; did you mean \"required\"?"
    ]
    assert wrong(format="jws") == ["\"jws\" is not allowed: must be 'jwe' or 'hpke'; did you mean \"jwe\"?"]


def test_what_would_do_nothing() -> None:
    """Where nothing is sealed, how is idle."""
    assert wrong(member="encData") == ['"encData" is not allowed: give request, response, or both']
    assert wrong(fields=["/a"]) == ["a list is not allowed: give request, response, or both"]


def test_ways_that_do_not_go_together() -> None:
    """A message stands in a member alone, and is text."""
    other = '"encData" is not allowed: a JWE stands there, alone; it does not go with '
    assert wrong(request="required", member="encData", format="hpke") == [other + "format hpke"]
    assert wrong(request="required", member="encData", fields=["/a"]) == [other + "fields"]
    assert wrong(request="required", member="") == ['"" is not allowed: must be a name, such as encData']


@pytest.mark.parametrize(
    ("fields", "sentences"),
    [
        (["a"], ["\"a\" is not allowed: 'a' is no JSON pointer"]),
        ([""], ['"" is not allowed: it is all of the content; leave fields out to seal that']),
        (["/a", "/a/b"], ['"/a/b" is not allowed: it is within /a, which is sealed already']),
        (["/a", "/a"], ['"/a" is not allowed: it is within /a, which is sealed already'] * 2),
        ([f"/{each}" for each in range(33)], ["must be at most 32"]),
    ],
)
def test_pointers_that_name_no_field_of_their_own(fields: list[str], sentences: list[str]) -> None:
    """Each is told by its place."""
    assert wrong(request="required", fields=fields) == sentences


def test_pointers() -> None:
    """Names that begin alike are not within each other."""
    pointers = Encryption(response="required", fields=("/a", "/ab", "/b/0")).pointers()
    assert [pointer.names for pointer in pointers] == [("a",), ("ab",), ("b", "0")]
