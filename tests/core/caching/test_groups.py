"""Groups as messages spell them (RFC 9875 §2, §3; RFC 9651)."""

import pytest

from forecourt.core.caching.groups import GROUPS, MOST_GROUPS, members


def read(*lines: bytes) -> tuple[str, ...] | None:
    """Return the members of a field of these lines."""
    return members([(b"date", b"x"), *((GROUPS, line) for line in lines)], GROUPS)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (b'"scripts"', ("scripts",)),
        (b'"eurovision-results", "kylie-minogue"', ("eurovision-results", "kylie-minogue")),
        (b'"a" ,\t"b";x;y=1;z="q,\\"", "a \\"\\\\"', ("a", "b", 'a "\\')),
        (b"", ()),
        (b' "a" ', ("a",)),
    ],
)
def test_a_list_of_strings(line: bytes, found: tuple[str, ...]) -> None:
    """§2: "a List of Strings", whose unknown parameters mean nothing."""
    assert read(line) == found


@pytest.mark.parametrize(
    "line", [b"token", b'"a",', b'"a" "b"', b'"a', b'"\x80"', b"1", b'("a")', b'"a", b', b",", b'"\\a"']
)
def test_what_is_no_list_of_strings(line: bytes) -> None:
    """RFC 9651 §1.1: a field that does not meet its definition is ignored as a whole; here the answer is not kept."""
    assert read(line) is None


def test_lines_are_one_list_with_a_bound() -> None:
    """§2: at least 32 members of at least 32 characters are supported."""
    thirty_two = [f'"{number:032}"'.encode() for number in range(32)]
    assert len(read(*thirty_two) or ()) == 32
    assert len(read(b", ".join([b'"g"'] * MOST_GROUPS)) or ()) == MOST_GROUPS
    assert read(b", ".join([b'"g"'] * (MOST_GROUPS + 1))) is None
    assert read() == ()
