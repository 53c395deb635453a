"""Cache-Control, targeted fields and Pragma, by the sections that say how they are read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecourt.core.caching.directives import (
    MOST_SECONDS,
    cache_control,
    field_names,
    request_directives,
    response_directives,
    seconds,
    targeted,
)


@pytest.mark.parametrize(
    ("lines", "read"),
    [
        (["max-age=60"], {"max-age": "60"}),
        (["Max-Age=60, PUBLIC"], {"max-age": "60", "public": None}),
        (["max-age=60", "no-store"], {"max-age": "60", "no-store": None}),
        (['max-age="60"'], {"max-age": "60"}),
        ([' , max-age=1 ,,no-cache="a, b"'], {"max-age": "1", "no-cache": "a, b"}),
        (['x="a\\"b"'], {"x": 'a"b'}),
        (["max-age=1;x, no-store"], {"no-store": None}),
        (["@@@"], {}),
        (["a=b c, no-store"], {"no-store": None}),
        ([""], {}),
    ],
)
def test_cache_control_is_read(lines: list[str], read: dict[str, str | None]) -> None:
    """As RFC 9111 §5.2 says.

    RFC 9111 §5.2: "Cache directives are identified by a token, to be compared case-insensitively, and have an
    optional argument that can use both token and quoted-string syntax". What is no directive is skipped by itself.
    """
    assert cache_control(lines) == read


@pytest.mark.parametrize(
    ("line", "read"),
    [
        ("max-age=60, max-age=10", {"max-age": "10"}),
        ("max-age=10, max-age=60", {"max-age": "10"}),
        ("max-age=x, max-age=60", {"max-age": "x"}),
        ("max-age=60, max-age=x", {"max-age": "x"}),
        ('no-cache="a", no-cache', {"no-cache": None}),
        ('private="a", private="b"', {"private": "a,b"}),
        ("max-stale=1, max-stale=2", {"max-stale": "1"}),
    ],
)
def test_the_stricter_of_two_counts(line: str, read: dict[str, str | None]) -> None:
    """As RFC 9111 §4.2.1 says.

    RFC 9111 §4.2.1: "When there is more than one value present for a given directive … either the first occurrence
    should be used or the response should be considered stale": the smaller is never fresher than either.
    """
    assert cache_control([line]) == read


@pytest.mark.parametrize(
    ("argument", "read"),
    [
        ("0", 0),
        ("60", 60),
        ("99999999999", MOST_SECONDS),
        ("-1", None),
        ("1.5", None),
        ("", None),
        (None, None),
        ("٣", None),
    ],
)
def test_delta_seconds(argument: str | None, read: int | None) -> None:
    """RFC 9111 §1.2.2: a non-negative integer; one that is too large "MUST be considered to be 2147483648"."""
    assert seconds(argument) == read


def test_field_names_of_an_argument() -> None:
    """RFC 9111 §5.2.2.4: the argument is a list of field names, compared case-insensitively."""
    assert field_names("Set-Cookie, X-A,,") == {b"set-cookie", b"x-a"}


@pytest.mark.parametrize(
    ("headers", "read"),
    [
        ([(b"cdn-cache-control", b"max-age=60")], {"max-age": "60"}),
        ([(b"cdn-cache-control", b"max-age=60"), (b"forecourt-cache-control", b"no-store")], {"no-store": None}),
        ([(b"forecourt-cache-control", b""), (b"cdn-cache-control", b"max-age=9")], {"max-age": "9"}),
        ([(b"cdn-cache-control", b"max-age=60, &&")], None),
        ([(b"cdn-cache-control", b"MAX-AGE=60")], None),
        ([(b"cdn-cache-control", b"max-age=60;p=1, private=?0, no-store=?1")], {"max-age": "60", "no-store": None}),
        (
            [(b"cdn-cache-control", b'private="a"'), (b"cdn-cache-control", b"max-age=1")],
            {"private": "a", "max-age": "1"},
        ),
        ([(b"cache-control", b"max-age=60")], None),
    ],
)
def test_targeted_fields(headers: list[tuple[bytes, bytes]], read: dict[str, str | None] | None) -> None:
    """RFC 9213 §2.1: a Dictionary Structured Field; §2.2: the first of the target list that is valid and not empty."""
    assert targeted(headers) == read


def test_a_targeted_field_replaces_cache_control() -> None:
    """As RFC 9213 §2.2 says.

    RFC 9213 §2.2: a cache that uses one "MUST ignore the Cache-Control and Expires header fields in that response".
    """
    headers = [(b"cache-control", b"no-store"), (b"cdn-cache-control", b"max-age=5")]
    assert response_directives(headers) == ({"max-age": "5"}, True)
    assert response_directives(headers[:1]) == ({"no-store": None}, False)


def test_pragma_counts_without_cache_control() -> None:
    """As RFC 9111 §5.4 says.

    RFC 9111 §5.4: "When the Cache-Control header field is not present in a request, caches MUST consider the no-
    cache request pragma-directive as having the same effect as if Cache-Control: no-cache were present".
    """
    assert request_directives([(b"pragma", b"x, no-cache")]) == {"no-cache": None}
    assert request_directives([(b"pragma", b"no-cache"), (b"cache-control", b"max-age=1")]) == {"max-age": "1"}
    assert request_directives([(b"pragma", b"x")]) == {}


@given(st.lists(st.text(st.characters(max_codepoint=255)), max_size=3))
def test_anything_can_be_read(lines: list[str]) -> None:
    """No field makes reading fail, or take longer than its length."""
    cache_control(lines)
    targeted([(b"cdn-cache-control", line.encode("latin-1")) for line in lines])
