"""Which values of a JSON body are chosen, and where a body counts as a whole."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecourt.core.idempotency_fields import MOST_PARSED, Pointer, chosen
from forecourt.core.idempotency_rules import Fingerprint
from tests.core.bench import examples

SECTION_5 = (
    b'{"foo": ["bar", "baz"], "": 0, "a/b": 1, "c%d": 2, "e^f": 3, "g|h": 4, "i\\\\j": 5, "k\\"l": 6, " ": 7, "m~n": 8}'
)

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def of(body: bytes, *pointers: str) -> bytes | None:
    """Return what is chosen of a body."""
    return chosen(body, [Pointer.parse(pointer) for pointer in pointers])


def fingerprint(body: bytes, *pointers: str, cut: int = 0) -> bytes:
    """Return the fingerprint of a body, which comes in two pieces."""
    made = Fingerprint([b"POST"], of_body=True, pointers=[Pointer.parse(pointer) for pointer in pointers])
    made.feed(body[:cut])
    made.feed(body[cut:])
    return made.digest()


@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        ("", json.loads(SECTION_5)),
        ("/foo", ["bar", "baz"]),
        ("/foo/0", "bar"),
        ("/", 0),
        ("/a~1b", 1),
        ("/c%d", 2),
        ("/e^f", 3),
        ("/g|h", 4),
        ("/i\\j", 5),
        ('/k"l', 6),
        ("/ ", 7),
        ("/m~0n", 8),
    ],
)
def test_pointers_of_the_standard(pointer: str, value: object) -> None:
    """RFC 6901 §5: "The following JSON strings evaluate to the accompanying values"."""
    assert Pointer.parse(pointer).find(json.loads(SECTION_5)) == value


@pytest.mark.parametrize("pointer", ["/foo/2", "/foo/00", "/foo/-", "/foo/bar", "/foo/0/x", "/none", "//"])
def test_pointers_to_nothing(pointer: str) -> None:
    """§4: what references a nonexistent value is an error condition; "leading zeros are not allowed"."""
    with pytest.raises(LookupError):
        Pointer.parse(pointer).find(json.loads(SECTION_5))


@given(body=values, other=values)
@settings(max_examples=examples(200), deadline=None)
def test_only_what_is_chosen_counts(body: object, other: object) -> None:
    """However it is written, and whatever stands beside it; another value is another fingerprint."""
    one = json.dumps({"amount": body, "at": other}).encode()
    written = json.dumps({"note": [other], "amount": body}, indent=2, ensure_ascii=False).encode()
    assert fingerprint(one, "/amount") == fingerprint(written, "/amount", cut=3)
    if json.dumps(body, sort_keys=True) != json.dumps(other, sort_keys=True):
        assert fingerprint(one, "/amount") != fingerprint(json.dumps({"amount": other}).encode(), "/amount")


def test_what_is_not_there_is_no_null() -> None:
    """A field that is missing is told from one that is null, and a number from its text or from another spelling."""
    bodies = [b'{"a": 1}', b'{"a": 1, "b": null}', b'{"a": "1"}', b'{"a": 1.0}', b'{"a": {"": "1"}}', b'{"a": ["1"]}']
    assert len({of(body, "/a", "/b") for body in bodies}) == len(bodies)
    assert of(b'{"a": 0.1}', "/a") != of(b'{"a": 0.10000000000000000001}', "/a")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"a=1",
        b"7",
        b'{"b": 1}',
        b'{"a": 1, "a": 2}',
        b'{"a": NaN}',
        b"[" * 60_000,
        b"\xff\xfe\x00",
        b'{"a": "' + b"x" * MOST_PARSED + b'"}',
    ],
)
def test_where_choosing_would_be_a_guess_the_whole_body_counts(body: bytes) -> None:
    """No JSON, JSON that may mean two things, too much of it, or nothing that was chosen: byte by byte."""
    for cut in (0, len(body) // 2, len(body)):
        assert fingerprint(body, "/a", cut=cut) == fingerprint(body)
    assert fingerprint(body, "/a") != fingerprint(body + b" ", "/a")
