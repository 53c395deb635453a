"""Idempotency's rules on values: keys, fingerprints, what is kept of an answer, and what becomes of a claim."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecourt.core.idempotency_rules import MOST_KEY, UNSTABLE, Fingerprint, ending, kept_fields, parse_key
from tests.core.bench import examples


@given(text=st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=MOST_KEY))
@settings(max_examples=examples(200), deadline=None)
def test_any_string_is_a_key(text: str) -> None:
    """RFC 9651 §3.3.3: printable ASCII between quotation marks, with two characters escaped."""
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    assert parse_key([f'"{quoted}"'.encode()]) == text


def test_the_longest_key() -> None:
    """255 characters and no more; none at all is no key."""
    assert parse_key([b"x" * 255]) == "x" * 255
    with pytest.raises(ValueError, match="1 to 255 characters"):
        parse_key([b'"' + b"x" * 256 + b'"'])
    assert parse_key([]) is None


@given(parts=st.lists(st.binary(max_size=8), max_size=5), cuts=st.lists(st.binary(max_size=8), max_size=5))
@settings(max_examples=examples(100), deadline=None)
def test_a_fingerprint_does_not_depend_on_the_cuts_of_the_body(parts: list[bytes], cuts: list[bytes]) -> None:
    """Chunks of a body are joined; parts are told apart by their lengths."""
    one, other = Fingerprint(parts, of_body=True), Fingerprint(parts, of_body=True)
    for cut in cuts:
        one.feed(cut)
    other.feed(b"".join(cuts))
    assert one.digest() == other.digest()
    assert len(one.digest()) == 16


def test_parts_of_a_fingerprint_are_told_apart() -> None:
    """Moving a byte from one part to the next is another fingerprint; so is moving it into the body."""

    def of(*parts: bytes, body: bytes = b"", of_body: bool = True) -> bytes:
        fingerprint = Fingerprint(parts, of_body=of_body)
        fingerprint.feed(body)
        return fingerprint.digest()

    assert of(b"ab", b"c") != of(b"a", b"bc")
    assert of(b"a", body=b"1:b") != of(b"a", b"b")
    assert of(b"a", body=b"1") != of(b"a", body=b"2")
    assert of(b"a", body=b"1", of_body=False) == of(b"a", body=b"2", of_body=False)


def test_fields_that_are_kept() -> None:
    """In their order, in lower case; none of cookies, hops, moments and limits, none of a content that is missing."""
    headers = [
        (b"Content-Type", b"text/plain"),
        (b"Set-Cookie", b"a=b"),
        (b"Connection", b"X-Hop, close"),
        (b"X-Hop", b"1"),
        (b"RateLimit-Policy", b"p"),
        (b"X-RateLimit-Limit", b"1"),
        (b"Location", b"/1"),
    ]
    assert kept_fields(headers) == ((b"content-type", b"text/plain"), (b"location", b"/1"))
    assert kept_fields(headers, body=False) == ((b"location", b"/1"),)


@pytest.mark.parametrize(
    ("reached", "refused", "status", "finished", "errors_too", "expected"),
    [
        (False, False, None, False, False, "release"),
        (True, True, 503, True, True, "release"),
        (True, False, None, False, True, "forsake"),
        (True, False, 200, False, True, "forsake"),
        (True, False, 500, True, False, "forsake"),
        (True, False, 500, True, True, "complete"),
        (True, False, 200, True, False, "complete"),
        (True, False, 404, True, False, "complete"),
        *((True, False, status, True, True, "release") for status in UNSTABLE),
    ],
)
def test_what_becomes_of_a_claim(
    reached: bool, refused: bool, status: int | None, finished: bool, errors_too: bool, expected: str
) -> None:
    """Each line of the policy."""
    how = ending(reached=reached, refused=refused, status=status, finished=finished, errors_too=errors_too)
    assert how == expected
