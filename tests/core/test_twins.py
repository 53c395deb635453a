"""Leases and the ledger in Python and in Lua: the same history, the same answers."""

from itertools import count, product
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forecourt.core.operations import Arg
from forecourt.core.periods import DAILY, DAY, MONTHLY, WEEKLY
from forecourt.types import SECOND
from tests.core.bench import examples
from tests.core.twins import Kept, Served
from tests.servers import Valkey

pytestmark = pytest.mark.valkey

MINUTE = 60 * SECOND

Choice = TypeVar("Choice")

LINES = 100
IDS = "abcde"
ATTEMPTS = ("a/1", "a/2", "b/1")
TERMS = [(0, 0, 0), *product((DAILY, WEEKLY, MONTHLY), (1, 5, 20), (0, 3, 30))]

Step = tuple[int, str, tuple[Arg, ...]]
"""µs that pass before, an operation's kind, its arguments."""

_numbers = count()


class Dice:
    """Takes one choice after the other out of a drawn number: many choices, one draw, and 0 takes the first of all."""

    def __init__(self, number: int) -> None:
        self._number = number

    def of(self, *choices: Choice) -> Choice:
        """Choose one."""
        self._number, place = divmod(self._number, len(choices))
        return choices[place]

    def several(self, *ids: str) -> str:
        """Choose one to three ids, between spaces."""
        return " ".join(self.of(*ids) for _ in range(self.of(1, 2, 3)))


def leasing(dice: Dice) -> Step:
    """Choose a step of leases."""
    passing = dice.of(0, 0, 0, 0, 1, SECOND - 1, SECOND, 5 * SECOND, 15 * SECOND, 60 * SECOND)
    ttl = dice.of(1, SECOND, 15 * SECOND)
    match dice.of("take", "take", "take", "renew", "release"):
        case "take":
            return (
                passing,
                "lease",
                (dice.of(1, 2, 3, 4, 0), ttl, dice.of(*IDS), dice.of(0, 0, 0, 1), dice.of(1, 1, 2, 3)),
            )
        case "renew":
            return passing, "lease_renew", (ttl, dice.several(*IDS))
        case _:
            return passing, "lease_release", (dice.several("a", "b", "c", "a.1", "b.2"),)


def banking(dice: Dice, plans: list[tuple[int, int, int]]) -> Step:
    """Choose a step of the ledger for a caller under one of these plans."""
    passing = dice.of(0, 0, 0, 0, 0, 1, SECOND, MINUTE, 3600 * SECOND, DAY, 3 * DAY, 20 * DAY, 401 * DAY, -SECOND, -DAY)
    amount, hold, own = dice.of(1, 0, 2, 5, 10, 25), dice.of(MINUTE, 1, 2 * DAY), dice.of(*IDS, *ATTEMPTS)
    match dice.of("charge", "settle", "charge", "settle", "hold", "grant", "history"):
        case "charge":
            return passing, "credits_charge", (amount, hold, own, *dice.of(*plans), LINES)
        case "settle":
            return passing, "credits_settle", (amount, own, dice.of(0, 0, MINUTE, DAY), LINES)
        case "hold":
            return passing, "credits_hold", (hold, dice.several(*IDS, *ATTEMPTS))
        case "grant":
            return passing, "credits_grant", (dice.of(3, 10, -4), own, dice.of(MINUTE, 9 * DAY), LINES)
        case _:
            return passing, "credits_history", (dice.of(1, 2, 3, 4, 5),)


def claiming(dice: Dice) -> Step:
    """Choose a step of one idempotency record, or of the records that one caller keeps."""
    passing = dice.of(0, 0, 0, 0, 1, SECOND - 1, SECOND, 15 * SECOND, MINUTE, DAY, -1, -SECOND)
    ttl, lease, own, other = dice.of(DAY, MINUTE, 1), dice.of(SECOND, 15 * SECOND, 1), dice.of(*IDS), dice.of(*IDS)
    print_ = dice.of(b"", b"\x00\xff", b"print")
    match dice.of("claim", "claim", "claim", "renew", "complete", "forsake", "release", "look", "room", "keep"):
        case "claim":
            return passing, "idempotency_claim", (ttl, lease, own, dice.of(0, 1))
        case "renew":
            return passing, "idempotency_renew", (lease, f"{own}/{print_.hex()} {other}")
        case "complete":
            return passing, "idempotency_complete", (own, ttl, print_, dice.of(b"", b"\x00done\xff"))
        case "forsake":
            return passing, "idempotency_forsake", (own, ttl, print_)
        case "release":
            return passing, "idempotency_release", (own,)
        case "room":
            return passing, "idempotency_room", (dice.of(1, 2, 3), own)
        case "keep":
            return passing, "idempotency_keep", (own, ttl)
        case _:
            return passing, "idempotency_look", (0,)


numbers = st.lists(st.integers(0, 2**48 - 1), min_size=40, max_size=80)


@pytest.fixture
def served(valkey: Valkey) -> Served:
    """An empty server."""
    return Served(valkey.client())


def agree(served: Served, history: list[Step]) -> None:
    """Drive both through a history, on a key of its own."""
    kept = Kept()
    served.now = kept.now
    key = f"{{k}}:{next(_numbers)}"
    counted = {"idempotency_room", "idempotency_keep"}
    for step in history:
        passing, kind, args = step
        kept.advance(passing)
        served.advance(passing)
        place = f"{key}:kept" if kind in counted else key
        assert kept(kind, place, *args) == served(kind, place, *args), (step, kept.now)


@given(drawn=numbers)
@settings(max_examples=examples(15), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_leases_agree(served: Served, drawn: list[int]) -> None:
    """Verdicts and values of every step are the same."""
    agree(served, [leasing(Dice(number)) for number in drawn])


@given(drawn=numbers)
@settings(max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_claims_agree(served: Served, drawn: list[int]) -> None:
    """So are those of idempotency records, while leases pass, records end, and holders come late."""
    agree(served, [claiming(Dice(number)) for number in drawn])


@given(drawn=numbers, plans=st.lists(st.sampled_from(TERMS), min_size=1, max_size=3))
@settings(max_examples=examples(20), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_ledgers_agree(served: Served, drawn: list[int], plans: list[tuple[int, int, int]]) -> None:
    """So are those of the ledger, while quotas renew, plans change, holds expire, and clocks step back."""
    agree(served, [banking(Dice(number), plans) for number in drawn])


@pytest.mark.slow
def test_sweeping_agrees(served: Served) -> None:
    """Both give back 64 expired holds at a time, in the same order, and remember the same last thousand ids."""
    kept = Kept()
    served.now = kept.now
    history: list[Step] = [(0, "credits_grant", (5000, "g", DAY, LINES))]
    history += [(n % 3, "credits_charge", (1, MINUTE, f"{n * 7919 % 1100:04}", 0, 0, 0, LINES)) for n in range(1100)]
    history += [(MINUTE, "credits_history", (1,))]
    history += [(n, "credits_charge", (6000, MINUTE, "x", 0, 0, 0, LINES)) for n in range(19)]
    history += [(0, "credits_settle", (2, f"{n:04}", DAY * (n % 2), LINES)) for n in range(1100)]
    history += [(0, "credits_grant", (1, f"{n:04}", DAY + n, LINES)) for n in range(1100)]
    history += [(0, "credits_grant", (1, f"{n:04}", DAY, LINES)) for n in range(0, 1100, 50)]
    history += [(0, "credits_history", (LINES,))]
    for passing, kind, args in history:
        kept.advance(passing)
        served.advance(passing)
        assert kept(kind, "{k}", *args) == served(kind, "{k}", *args), (kind, args)


def test_a_charge_anew_after_its_hold_expired_agrees(served: Served) -> None:
    """What was late of the first charge is settled by the second, once."""
    again: Step = (0, "credits_charge", (5, MINUTE, "a", 0, 0, 0, LINES))
    settled: Step = (0, "credits_settle", (5, "a", 0, LINES))
    looked: Step = (MINUTE, "credits_charge", (0, 1, "", 0, 0, 0, LINES))
    granted: Step = (0, "credits_grant", (100, "g", DAY, LINES))
    agree(served, [granted, again, looked, again, settled, settled, looked])
    agree(served, [granted, again, (MINUTE, *again[1:]), settled, settled, looked])


def test_a_clock_set_back_agrees_for_leases(served: Served) -> None:
    """Leases last longer then, and nobody is let in."""
    agree(
        served,
        [
            (0, "lease", (1, SECOND, "a", 0, 1)),
            (-MINUTE, "lease", (1, SECOND, "b", 0, 1)),
            (MINUTE, "lease_renew", (SECOND, "a")),
            (-MINUTE, "lease", (2, SECOND, "b", 0, 1)),
            (SECOND, "lease", (2, SECOND, "c", 0, 1)),
        ],
    )
