"""The chain: what is changed, moved, added or taken out is seen."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecourt.core.audit import Chain, Fault, faults
from forecourt.policies.keys import KeyRing

RING = KeyRing([b"a" * 32, b"b" * 32])


def sign(text: bytes) -> tuple[str, str]:
    """Sign as a trail does."""
    return RING.sign("audit", text)


def wrong(lines: list[bytes], ring: KeyRing = RING) -> list[Fault]:
    """Return what is wrong with these lines."""
    return list(faults(lines, lambda key, mac, signed: ring.verify("audit", key, mac, signed)))


def whole(length: int = 6, name: str = "c") -> list[bytes]:
    """Write a chain from its beginning to its end."""
    chain = Chain(name, sign)
    events = ["opened", *["begun"] * (length - 2), "closed"]
    return [chain.line({"event": event, "n": number}) for number, event in enumerate(events)]


def test_a_trail_as_it_was_written_is_right() -> None:
    """One chain, or several interleaved as processes write them; by the key that signed, also when it is older."""
    assert wrong([]) == []
    assert wrong(whole()) == []
    mixed = [line for pair in zip(whole(name="a"), whole(name="b"), strict=True) for line in pair]
    assert wrong(mixed) == []
    assert wrong(whole(), KeyRing([b"c" * 32, b"a" * 32])) == []
    assert wrong(whole(), KeyRing([b"c" * 32]))


@given(st.integers(0, 5), st.data())
def test_each_byte_counts(place: int, dice: st.DataObject) -> None:
    """Changed anywhere, a trail is not as it was written."""
    lines = whole()
    at = dice.draw(st.integers(0, len(lines[place]) - 1))
    bit = dice.draw(st.sampled_from([1, 2, 4, 16]))
    changed = lines[place][:at] + bytes([lines[place][at] ^ bit]) + lines[place][at + 1 :]
    assert wrong([*lines[:place], changed, *lines[place + 1 :]])


@given(st.integers(0, 5))
def test_nothing_is_taken_out_or_doubled(place: int) -> None:
    """Nor at the end, which a chain has."""
    lines = whole()
    assert wrong([*lines[:place], *lines[place + 1 :]])
    assert wrong([*lines[: place + 1], *lines[place:]])


@given(st.permutations(range(6)))
def test_nothing_is_moved(order: list[int]) -> None:
    """Any other order than its own is seen."""
    lines = whole()
    moved = [lines[place] for place in order]
    assert bool(wrong(moved)) == any(later < earlier for earlier, later in pairwise(order))


def test_a_record_of_another_chain_does_not_fit() -> None:
    """Nor one with a chain's name in another's place."""
    lines, other = whole(name="a"), whole(name="b")
    assert wrong([*lines[:2], other[2], *lines[3:], *other[:2], *other[3:]])


def test_what_is_wrong_is_told_by_its_line() -> None:
    """A chain without its end, a record that is none, one that was changed."""
    lines = whole()
    assert wrong(lines[:-1]) == [
        Fault(5, "is the last of chain c, which has no end: it was cut off, or is still written")
    ]
    assert wrong([b"nothing", *lines])[0] == Fault(1, "is no record")
    assert wrong([b"[]", *lines])[0] == Fault(1, "is no record")
    forged = json.dumps({**json.loads(lines[1]), "n": 7}).encode()
    assert wrong([lines[0], forged, *lines[2:]])[0] == Fault(2, "was changed, or is of another key")
    assert "does not follow" in wrong([lines[0], *lines[2:]])[0].said


@pytest.mark.parametrize("place", [None, "1", 1.5])
def test_a_place_is_a_number(place: object) -> None:
    """Whoever has the key may write nonsense; it does not make the check fail."""
    chain = Chain("c", sign)
    assert wrong([chain.line({"place": place, "event": "closed"})])
