"""The process tier: bounded, and never wrong about what was cut."""

import pytest

from forecourt.caching import tier as tiers
from forecourt.caching.caching import Caching
from forecourt.caching.flights import Flights
from forecourt.caching.spots import Spot
from forecourt.caching.tier import MOST_VARIANTS, Tier
from forecourt.core.caching.entries import OVERHEAD, Entry
from forecourt.core.caching.freshness import Life
from forecourt.leases import Heartbeat
from forecourt.stores.contract import Answer
from forecourt.stores.memory import MemoryStore
from forecourt.testing import FakeClock


def entry(size: int = 10, seen: int = 0, names: tuple[bytes, ...] = ()) -> Entry:
    """Return an entry of so many bytes."""
    return Entry(200, (), b"x" * size, Life(60), zero=0, names=names, seen=seen)


def test_it_is_bounded_in_bytes() -> None:
    """The longest unused go first; what is as large as a quarter of all is not kept at all."""
    tier = Tier(10 * (OVERHEAD + 100))
    for number in range(20):
        tier.put((f"k{number}",), (), entry(100), ())
        assert tier.get(("k0",), ()) is not None
    assert tier.weight <= 10 * (OVERHEAD + 100)
    assert tier.get(("k10",), ()) is None
    assert tier.get(("k19",), ()) is not None
    tier.put(("large",), (), entry(5000), ())
    assert tier.get(("large",), ()) is None
    assert repr(tier) == f"<Tier 10 answers, {tier.weight} of 6120 bytes>"


def test_variants_of_one_key_are_bounded() -> None:
    """One too many, and the key begins anew; so it does when the answers vary on something else."""
    tier = Tier(10**6)
    for number in range(MOST_VARIANTS + 1):
        tier.put(("k",), (b"%d" % number,), entry(names=(b"accept",)), ())
    assert tier.get(("k",), (b"0",)) is None
    assert tier.names(("k",)) == (b"accept",)
    tier.put(("k",), (), entry(), ())
    assert tier.get(("k",), (b"%d" % MOST_VARIANTS,)) is None
    tier.forget(("k",))
    assert tier.weight == 0


def test_equal_values_of_other_fields_select_nothing() -> None:
    """Whoever chose by fields that the key was kept under once must choose anew."""
    tier = Tier(10**6)
    tier.put(("k",), (b"fr",), entry(names=(b"accept-language",)), ())
    assert tier.get(("k",), (b"fr",), (b"accept-language",)) is not None
    assert tier.get(("k",), (b"fr",), (b"x-flavour",)) is None


def test_what_was_asked_for_before_a_cut_is_invalid_whenever_it_arrives() -> None:
    """Tags are cut one by one; everything, when it is not known what."""
    tier = Tier(10**6)
    seen = tier.position
    tier.cut(["a"])
    tier.put(("k",), (), entry(seen=seen), ("a",))
    assert tier.get(("k",), ()) is None
    tier.put(("k",), (), entry(seen=seen), ("b",))
    tier.put(("l",), (), entry(seen=tier.position), ("a",))
    assert tier.get(("k",), ()) is not None
    assert tier.get(("l",), ()) is not None
    seen = tier.position
    tier.cut_all()
    tier.put(("l",), (), entry(seen=seen), ())
    assert (tier.get(("l",), ()), tier.weight) == (None, 0)
    tier.put(("l",), (), entry(seen=tier.position), ())
    assert tier.get(("l",), ()) is not None


def test_a_cut_that_is_forgotten_takes_all_that_is_older(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only so many tags are remembered; what may have had the forgotten one is invalid."""
    monkeypatch.setattr(tiers, "MOST_CUTS", 2)
    tier = Tier(10**6)
    tier.put(("k",), (), entry(seen=tier.position), ("other",))
    for tag in ("a", "b", "c"):
        tier.cut([tag])
    assert tier.get(("k",), ()) is None


def test_a_soft_cut_makes_stale() -> None:
    """Once; what is asked for later is not."""
    tier = Tier(10**6)
    tier.put(("k",), (), entry(seen=tier.position), ("a",))
    tier.cut(["a"], soft=True)
    found = tier.get(("k",), ())
    assert found is not None
    assert found.softened


def test_passes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest is forgotten, and its callers wait for each other again."""
    monkeypatch.setattr(tiers, "MOST_PASSES", 1)
    tier = Tier(10**6)
    tier.let_pass("a", 10)
    tier.let_pass("b", 10)
    assert [tier.passes(spot, 5) for spot in "ab"] == [False, True]
    assert not tier.passes("b", 10)


async def test_nothing_is_cut_by_nothing() -> None:
    """No tags, no trip; stopping twice is stopping."""
    caching = Caching(FakeClock(), "fc", 1000)
    await caching.cut([])
    await caching.stop()
    assert "0 invalidations queued" in repr(caching)
    assert caching.tag_id("a") == caching.tag_id("a") != caching.tag_id("b")
    assert Flights().get("nothing") is None


async def test_a_log_that_was_asked_for_in_vain_is_not_waited_for() -> None:
    """A trip that failed leaves nothing behind: the next answers are read as what was asked then."""
    clock = FakeClock()
    store = MemoryStore(clock)
    heartbeat = Heartbeat(store.settle, clock)
    caching = Caching(clock, "fc", 1000, store=store, settle=lambda _: None, heartbeat=heartbeat)
    guard = caching.guard
    assert guard is not None
    spot = Spot(("k",), (), (), ("tag",), seen=0)
    asked = [question.kind for question in caching.questions(spot, "a")]  # and there is no answer
    assert asked == ["cache_tag", "cache_look", "cache_log"]
    guard.read(Answer("go", (0, 1, b"")), 0, clock.now())
    questions = caching.questions(spot, "a")
    assert [question.kind for question in questions] == asked[:-1]
    assert caching.read(spot, await store.decide(questions)).leads
    await caching.stop()
