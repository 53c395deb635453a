"""The cache's operations in Python and in Lua: the same history, the same answers."""

from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forecourt.core.operations import Arg
from forecourt.types import SECOND
from tests.core.bench import examples
from tests.core.test_twins import Dice
from tests.core.twins import Kept, Served
from tests.servers import Valkey

pytestmark = pytest.mark.valkey

Step = tuple[int, str, str, tuple[Arg, ...]]
"""µs that pass before, an operation's kind, its key, its arguments."""

_numbers = count()

numbers = st.lists(st.integers(0, 2**60 - 1), min_size=40, max_size=80)


@pytest.fixture
def served(valkey: Valkey) -> Served:
    """An empty server."""
    return Served(valkey.client())


def caching(dice: Dice, filled: int) -> Step:
    """Choose a step of look-ups and fills; `filled`: when an entry was last seen to be filled."""
    passing = dice.of(0, 0, 0, 0, 1, SECOND - 1, SECOND, 5 * SECOND, 100 * SECOND, -SECOND)
    variant, names, own = dice.of("v", "v", "w"), dice.of("", "", "", "accept"), dice.of(*"abc")
    ttl = dice.of(SECOND, 3 * SECOND)
    match dice.of("look", "look", "fill", "look", "fill", "pass", "release", "hold"):
        case "look":
            return passing, "cache_look", "k", (variant, names, own, ttl, dice.of(0, 0, filled))
        case "fill":
            fresh = dice.of(0, SECOND, 5 * SECOND)
            body = dice.of(b"", b"body \0\xff")
            args = (variant, names, b"head", body, dice.of(own, own, ""), fresh, fresh + dice.of(1, SECOND))
            return passing, "cache_fill", "k", args
        case "pass":
            return passing, "cache_pass", "k", (variant, own, ttl)
        case "release":
            return passing, "cache_release", "k", (variant, own)
        case _:
            return passing, "cache_hold", "k", (ttl, dice.of(f"{variant}:{own}", f"v:a w:b {variant}:{own}"))


def invalidating(dice: Dice, known: int) -> Step:
    """Choose a step of tags and the log; `known`: the number last read in the log."""
    passing, stamp = dice.of(0, 0, 1, SECOND, -SECOND), dice.of(*"stuvw")
    match dice.of("tag", "cut", "note", "log", "log"):
        case "tag":
            return passing, "cache_tag", "t", (stamp, 100 * SECOND)
        case "cut":
            return passing, "cache_cut", "t", (stamp, dice.of(0, 1), 100 * SECOND)
        case "note":
            return passing, "cache_note", "l", (f"own hard {stamp}", dice.of(3, 100), 100 * SECOND)
        case _:
            return passing, "cache_log", "l", (dice.of(known, known, 0), 100 * SECOND)


@given(drawn=numbers)
@settings(max_examples=examples(30), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_entries_and_leads_agree(served: Served, drawn: list[int]) -> None:
    """Look-ups, fills, passes, releases and renewals answer the same, with clocks that step back."""
    kept, key, filled = Kept(), f"{{k{next(_numbers)}}}", 0
    served.now = kept.now
    for number in drawn:
        passing, kind, name, args = caching(Dice(number), filled)
        kept.advance(passing)
        served.advance(passing)
        mine = kept(kind, key + name, *args)
        assert mine == served(kind, key + name, *args), (kind, args)
        if kind == "cache_look" and mine[4]:
            filled = int(mine[4])


@given(drawn=numbers)
@settings(max_examples=examples(20), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_tags_and_the_log_agree(served: Served, drawn: list[int]) -> None:
    """Stamps are given once and cut, softly or not; the log is read on from where it was known."""
    kept, key, known = Kept(), f"{{k{next(_numbers)}}}", 0
    served.now = kept.now
    for number in drawn:
        passing, kind, name, args = invalidating(Dice(number), known)
        kept.advance(passing)
        served.advance(passing)
        mine = kept(kind, key + name, *args)
        assert mine == served(kind, key + name, *args), (kind, args)
        if kind == "cache_log":
            known = int(mine[1])


def test_a_key_keeps_a_bounded_number_of_variants(served: Served) -> None:
    """Whatever the requests say, both twins begin anew at the same fill."""
    kept = Kept()
    served.now = kept.now
    for number in range(60):
        args = (f"v{number}", "accept", b"h", b"b", "", SECOND, SECOND)
        assert kept("cache_fill", "k", *args) == served("cache_fill", "k", *args)
        for look in ("v0", f"v{number}"):
            asked = (look, "accept", "x", SECOND, 0)
            assert kept("cache_look", "k", *asked) == served("cache_look", "k", *asked)
            kept("cache_release", "k", look, "x")
            served("cache_release", "k", look, "x")
