"""What is secret by its name, and exceptions without their words."""

import traceback

import pytest

from forecourt.redaction import is_secret, logged_headers, redacted, without_words


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("Authorization", True),
        ("Set-Cookie", True),
        ("x-api-key", True),
        ("apikey", True),
        ("password", True),
        ("refresh_token", True),
        ("csrf", True),
        ("pin", True),
        ("user-agent", False),
        ("accept", False),
        ("spinner", False),
        ("key", False),
    ],
)
def test_names_tell(name: str, secret: bool) -> None:
    """Names that are known to go with secrets are known, in any spelling; others are not."""
    assert is_secret(name) is secret


def test_fields_are_redacted_however_deep() -> None:
    """Tables and lists are looked into; all else stays as it is."""
    before = {"page": 1, "token": "a", "nested": [{"password": "b", "size": (2, 3)}]}
    assert redacted(before) == {
        "page": 1,
        "token": "[redacted]",
        "nested": [{"password": "[redacted]", "size": [2, 3]}],
    }
    assert redacted("text") == "text"


def test_headers_are_those_asked_for() -> None:
    """By name; secret ones without their value."""
    headers = [(b"accept", b"*/*"), (b"cookie", b"a"), (b"host", b"b")]
    assert logged_headers(headers, frozenset({b"accept", b"cookie"})) == {"accept": "*/*", "cookie": "[redacted]"}


class OddError(Exception):
    """An error that cannot be made without what it wants."""

    def __init__(self, wants: str, *, more: str) -> None:
        super().__init__(wants, more)


def raised() -> BaseException:
    """Return an exception with causes, contexts, notes and parts, each of which says the word."""
    word = "the " + "word"
    try:
        try:
            raise OddError(word, more=word)
        except OddError as odd:
            odd.add_note(word)
            raise ExceptionGroup(word, [ValueError(word), odd]) from odd
    except ExceptionGroup as group:
        try:
            raise KeyError(word)
        except KeyError as error:
            error.__context__ = group
            return error


def test_a_stand_in_has_types_and_places_and_no_words() -> None:
    """The traceback is the same but for what exceptions say; the exception itself is left as it is."""
    error = raised()
    text = "".join(traceback.format_exception(without_words(error)))
    assert "the word" not in text
    for kind in ("KeyError", "OddError", "ExceptionGroup", "ValueError"):
        assert kind in text
    assert text.count("in raised") == "".join(traceback.format_exception(error)).count("in raised")
    assert "the word" in "".join(traceback.format_exception(error))


def test_a_circle_of_exceptions_ends() -> None:
    """Exceptions that are each other's context are each replaced once."""
    one, other = ValueError("a"), KeyError("b")
    one.__context__, other.__context__ = other, one
    stand_in = without_words(one)
    assert stand_in.__context__ is not None
    assert stand_in.__context__.__context__ is stand_in
