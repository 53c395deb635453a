"""Idempotency records: the table of transitions, and every interleaving of holders, retries, crashes and time.

The oracle knows what a record cannot: who really did the thing, and when. On the memory store's twin and on a server.
"""

from dataclasses import dataclass, field
from itertools import count

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from forecourt.core.idempotency import BUSY, CLAIM, DONE, NEW, OUTCOME_UNKNOWN, TAKEN_OVER, Records
from forecourt.types import SECOND
from tests.core.bench import examples
from tests.core.twins import Answer, Kept, Served
from tests.servers import Valkey

TTL, LEASE = 60 * SECOND, 15 * SECOND
KEY = "{k}:record"


def test_a_record_that_is_kept_for_longer_is_counted_once() -> None:
    """Until the later end, whichever was told first; those that have ended are forgotten on the way."""
    records = Records()
    records.keep("a", 10, 0)
    records.keep("a", 30, 0)
    records.keep("a", 20, 0)
    records.keep("b", 25, 0)
    assert records.order == [(25, "b"), (30, "a")]
    records.keep("c", 40, 25)
    assert records.order == [(30, "a"), (40, "c")]
    assert records.ends == {"a": 30, "c": 40}


def claim(kept: Kept | Served, fence: str, retry: int = 0, key: str = KEY) -> Answer:
    """Claim the record."""
    return kept("idempotency_claim", key, TTL, LEASE, fence, retry)


def test_the_table() -> None:
    """What the module's table says, cell by cell."""
    kept = Kept()
    assert claim(kept, "a") == [1, NEW, 0, b"", b""]
    assert claim(kept, "a") == [1, NEW, 0, b"", b""]
    kept.advance(SECOND)
    assert claim(kept, "b", 1) == [0, BUSY, LEASE - SECOND, b"", b""]
    assert kept("idempotency_look", KEY, 0) == [1, BUSY, LEASE - SECOND, b"", b""]
    kept("idempotency_renew", KEY, LEASE, "b a/00ff")
    assert claim(kept, "b") == [0, BUSY, LEASE, b"\x00\xff", b""]
    kept.advance(LEASE)
    assert claim(kept, "b") == [0, OUTCOME_UNKNOWN, 0, b"\x00\xff", b""]
    assert claim(kept, "b", 1) == [1, TAKEN_OVER, 0, b"\x00\xff", b""]
    kept("idempotency_complete", KEY, "a", TTL, b"fa", b"late")
    kept("idempotency_forsake", KEY, "a", TTL, b"fa")
    kept("idempotency_release", KEY, "a")
    kept("idempotency_renew", KEY, 10 * LEASE, "a")
    assert claim(kept, "c") == [0, BUSY, LEASE, b"\x00\xff", b""]
    kept("idempotency_complete", KEY, "b", TTL, b"fb", b"answer")
    for each in ("a", "b"):
        kept("idempotency_release", KEY, each)
        kept("idempotency_forsake", KEY, each, TTL, b"")
        kept("idempotency_renew", KEY, LEASE, each)
    assert claim(kept, "c", 1) == [2, DONE, 0, b"fb", b"answer"]
    kept.advance(TTL - 1)
    assert claim(kept, "c") == [2, DONE, 0, b"fb", b"answer"]
    kept.advance(1)
    assert claim(kept, "c") == [1, NEW, 0, b"", b""]
    kept("idempotency_release", KEY, "c")
    assert kept("idempotency_look", KEY, 0) == [1, NEW, 0, b"", b""]
    claim(kept, "d")
    kept("idempotency_forsake", KEY, "d", TTL, b"fd")
    assert claim(kept, "e") == [0, OUTCOME_UNKNOWN, 0, b"fd", b""]
    assert claim(kept, "e", 1) == [1, TAKEN_OVER, 0, b"fd", b""]


def test_a_claim_whose_answer_nobody_saw_is_undone_by_its_fence() -> None:
    """Another's claim stays."""
    assert CLAIM.undo is not None
    kept = Kept()
    claim(kept, "a")
    for fence in ("b", "a"):
        kind, args = CLAIM.undo((TTL, LEASE, fence, 0))
        kept(kind, KEY, *args)
        assert claim(kept, "c")[1] == (BUSY if fence == "b" else NEW)


def test_room_is_for_so_many() -> None:
    """One more is refused until the first ends; one that is kept has room always."""
    kept = Kept()
    for name in ("a", "b"):
        assert kept("idempotency_room", "r", 2, name)[0] == 1
        kept("idempotency_keep", "r", name, TTL)
        kept.advance(SECOND)
    assert kept("idempotency_room", "r", 2, "c") == [0, 2, TTL - 2 * SECOND]
    assert kept("idempotency_room", "r", 2, "a") == [1, 2, 0]
    kept("idempotency_keep", "r", "a", 1)
    assert kept("idempotency_room", "r", 2, "c") == [0, 2, TTL - 2 * SECOND]
    kept.advance(TTL - 2 * SECOND)
    assert kept("idempotency_room", "r", 2, "c") == [1, 1, 0]


@dataclass
class Holder:
    """One who was granted the claim: what it knows, and whether it still lives."""

    fence: str
    alive: bool = True
    ran: bool = False


@dataclass
class Truth:
    """What really happened under one key."""

    until: int = 0
    holder: Holder | None = None
    answer: bytes | None = None
    unknown: bool = False
    ends: int = 0
    runs: list[str] = field(default_factory=list)


FENCES = (f"f{number}" for number in count())
KEYS = count()


class Claims(RuleBasedStateMachine):
    """Any order of claims, renewals, completions, releases, failures, crashes and late holders, and time."""

    kept: Kept | Served = Kept()

    @initialize(retry=st.integers(0, 1))
    def begin(self, retry: int) -> None:
        """Choose the policy; the record is absent."""
        if isinstance(type(self).kept, Kept):
            type(self).kept = Kept()
        self.twin = type(self).kept
        self.key = f"{{k}}:{next(KEYS)}"
        self.retry = retry
        self.truth = Truth()
        self.holders: list[Holder] = []

    @rule()
    def ask(self) -> None:
        """Claim; what is answered is what is true."""
        truth, now = self.truth, self.twin.now
        fence = next(FENCES)
        verdict, was, left, _, answer = claim(self.twin, fence, self.retry, self.key)
        if truth.ends <= now:
            self.truth = truth = Truth()
        if truth.answer is not None:
            assert (verdict, was, answer) == (2, DONE, truth.answer)
        elif truth.holder is not None and truth.until > now:
            assert (verdict, was, left) == (0, BUSY, truth.until - now)
        elif (truth.holder is not None or truth.unknown) and not self.retry:
            assert (verdict, was) == (0, OUTCOME_UNKNOWN)
        else:
            assert (verdict, was) == (1, TAKEN_OVER if truth.holder or truth.unknown else NEW)
            holder = Holder(fence)
            self.holders.append(holder)
            truth.runs.append(fence)
            truth.holder, truth.unknown, truth.until, truth.ends = holder, False, now + LEASE, now + TTL

    @precondition(lambda self: any(each.alive for each in self.holders))
    @rule(which=st.integers(0, 9), how=st.sampled_from(["renew", "complete", "forsake", "release", "die", "late"]))
    def go_on(self, which: int, how: str) -> None:
        """A holder, maybe one that has lost its claim, does what it does next."""
        living = [each for each in self.holders if each.alive]
        holder = living[which % len(living)]
        truth, now = self.truth, self.twin.now
        mine = truth.holder is holder and truth.ends > now
        if how == "die":
            holder.alive = False
        elif how == "renew":
            self.twin("idempotency_renew", self.key, LEASE, holder.fence)
            if mine:
                truth.until = max(truth.until, now + LEASE)
                truth.ends = max(truth.ends, truth.until)
        elif how in ("complete", "late"):
            answer = holder.fence.encode()
            self.twin("idempotency_complete", self.key, holder.fence, TTL, b"", answer)
            holder.alive = how == "late"
            if mine:
                truth.answer, truth.holder, truth.ends = answer, None, now + TTL
        elif how == "forsake":
            self.twin("idempotency_forsake", self.key, holder.fence, TTL, b"")
            holder.alive = False
            if mine:
                truth.unknown, truth.holder, truth.ends = True, None, now + TTL
        else:
            self.twin("idempotency_release", self.key, holder.fence)
            holder.alive = False
            if mine:
                self.truth = Truth()

    @rule(seconds=st.sampled_from([0.000001, 1, 5, 14.999999, 15, 60]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.twin.advance(round(seconds * SECOND))

    @invariant()
    def never_twice(self) -> None:
        """In `block` one life of a record has one run."""
        if hasattr(self, "truth") and not self.retry:
            assert len(self.truth.runs) <= 1


def explore(twin: Kept | Served, number: int) -> None:
    """Try so many histories."""
    Claims.kept = twin
    run_state_machine_as_test(
        Claims,
        settings=settings(
            max_examples=examples(number),
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_every_history_in_memory() -> None:
    """The record never says what is not true, and `block` never lets a second one in."""
    explore(Kept(), 150)


@pytest.mark.valkey
def test_every_history_on_a_server(valkey: Valkey) -> None:
    """Neither does its Lua twin."""
    explore(Served(valkey.client()), 60)
