"""The cache of one config at its edges: without a store, with a store that is gone, and when it is stopped."""

import asyncio
import threading
import zlib
from collections.abc import Sequence

import pytest

from forecourt.caching import caching as module
from forecourt.caching.caching import Caching
from forecourt.caching.flights import Flights
from forecourt.caching.sealing import IN_THREAD
from forecourt.caching.spots import NOTHING, Spot
from forecourt.core.caching.entries import Entry
from forecourt.core.caching.freshness import Life
from forecourt.errors import StoreDown
from forecourt.stores.contract import Answer, Question, Settlement
from forecourt.stores.memory import MemoryStore
from forecourt.testing import FakeClock
from forecourt.types import SECOND


class Gone(MemoryStore):
    """A store that answers nothing while `gone`; `told` is what arrived."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.gone = True
        self.told: list[Settlement] = []

    async def decide(self, questions: Sequence[Question]) -> list[Answer]:
        """Answer, or not."""
        if self.gone:
            raise StoreDown("gone")
        return await super().decide(questions)

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        """Take note, or not."""
        if self.gone:
            raise StoreDown("gone")
        self.told += settlements
        await super().settle(settlements)


def spot(caching: Caching, *tags: str) -> Spot:
    """Return a place with these tags."""
    return Spot(("a",), (), (), tuple(map(caching.tag_id, tags)), caching.tier.position)


def over(store: MemoryStore | None, clock: FakeClock, told: list[Settlement] | None = None) -> Caching:
    """Return a cache; what it tells in the background is in `told`."""
    settle = None if told is None else told.extend
    return Caching(clock, "fc", 10**6, store=store, settle=settle)


def test_without_a_store_there_is_nothing_to_lead() -> None:
    """Leads are the store's: in one process flights are enough."""
    caching = over(None, FakeClock())
    for step in (caching.release, caching.hold, caching.let_go):
        step(spot(caching), "me")
    assert caching.tier_serves(0)


async def test_a_store_that_is_gone_finds_nothing_and_is_told_nothing() -> None:
    """One line says so; leads need no renewal where nobody renews."""
    clock, told = FakeClock(), list[Settlement]()
    caching = over(Gone(clock), clock, told)
    assert await caching.look(spot(caching), "me") == NOTHING
    caching.hold(spot(caching), "me")
    caching.let_go(spot(caching), "me")
    caching.release(spot(caching), "me")
    assert (caching.down, told) == (True, [])


async def test_an_entry_whose_head_cannot_be_written_goes_to_nobody_else() -> None:
    """It is kept here, and the lead is given back."""
    clock, told = FakeClock(), list[Settlement]()
    caching = over(MemoryStore(clock), clock, told)
    entry = Entry(200, ((b"x" * 70_000, b"y"),), b"", Life(SECOND), clock.now(), seen=caching.tier.position)
    await caching.fill(spot(caching), entry, "me", SECOND)
    assert [each.kind for each in told] == ["cache_release"]


def text(caching: Caching, body: bytes) -> Entry:
    """Return a text that is fresh for a second."""
    life, now = Life(SECOND), caching.clock.now()
    return Entry(200, ((b"content-type", b"text/plain"),), body, life, now, seen=caching.tier.position)


@pytest.mark.parametrize(("size", "aside"), [(IN_THREAD, False), (IN_THREAD + 1, True)])
async def test_a_large_text_is_compressed_in_a_thread(size: int, aside: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the loop serves others meanwhile; a smaller one is so where it stands."""
    clock, told, threads = FakeClock(), list[Settlement](), list[threading.Thread]()
    compress = zlib.compress

    def watched(body: bytes, level: int) -> bytes:
        threads.append(threading.current_thread())
        return compress(body, level)

    monkeypatch.setattr(zlib, "compress", watched)
    caching = over(MemoryStore(clock), clock, told)
    await caching.fill(spot(caching), text(caching, b"x" * size), "me", SECOND)
    assert [thread is not threading.main_thread() for thread in threads] == [aside]
    (fill,) = told
    body = fill.args[3]
    assert isinstance(body, bytes)
    assert (fill.kind, zlib.decompress(body)) == ("cache_fill", b"x" * size)


@pytest.mark.parametrize("most", [None, 1999])
async def test_a_body_that_cannot_be_inflated_is_a_miss(most: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was cut short in the store, or is larger than any may be; whole, and as large as it may be, it is a hit."""
    clock, told = FakeClock(), list[Settlement]()
    store = MemoryStore(clock)
    caching = over(store, clock, told)
    await caching.fill(spot(caching), text(caching, b"x" * 2000), "me", SECOND)
    (fill,) = told
    await store.settle([fill])
    monkeypatch.setattr(module, "MOST_INFLATED", 2000)
    found = await caching.look(spot(caching), "me")
    assert found.entry is not None
    assert found.entry.body == b"x" * 2000
    if most is None:
        body = fill.args[3]
        assert isinstance(body, bytes)
        args = (*fill.args[:3], body[:-1], *fill.args[4:])
        await store.settle([fill._replace(args=args)])
    else:
        monkeypatch.setattr(module, "MOST_INFLATED", most)
    found = await caching.look(spot(caching), "me")
    assert (found.entry, found.unwanted > 0) == (None, True)


async def test_what_is_queued_is_told_when_the_cache_stops() -> None:
    """An invalidation that the store did not take is tried once more, and is over then."""
    clock = FakeClock()
    store = Gone(clock)
    caching = over(store, clock)
    await caching.invalidate({"t"})
    assert "1 invalidations queued" in repr(caching)
    await caching.stop()
    assert "1 invalidations queued" in repr(caching)
    store.gone = False
    await caching.stop()
    assert "0 invalidations queued" in repr(caching)
    assert [each.kind for each in store.told] == ["cache_cut", "cache_note"]


async def test_an_invalidation_that_the_stop_breaks_off_is_told_again() -> None:
    """The store had not answered: the stop tells it once more, and leaves nothing at work."""
    clock = FakeClock()
    store = Gone(clock)
    store.gone = False
    caching, settle, asked = over(store, clock), store.settle, asyncio.Event()

    async def stalls(settlements: Sequence[Settlement]) -> None:
        assert settlements
        asked.set()
        await asyncio.Future()

    store.settle = stalls  # type: ignore[method-assign]  # it does not answer
    caller = asyncio.create_task(caching.invalidate({"t"}))
    await asked.wait()
    store.settle = settle  # type: ignore[method-assign]  # it answers again
    await caching.stop()
    await asyncio.wait([caller])
    assert caller.cancelled()
    assert [each.kind for each in store.told] == ["cache_cut", "cache_note"]
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_the_queue_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """So many tags and no more are remembered for a store that is gone."""
    monkeypatch.setattr(module, "_MOST_QUEUED", 2)
    clock = FakeClock()
    caching = over(Gone(clock), clock)
    await caching.invalidate({"a", "b", "c"})
    assert "2 invalidations queued" in repr(caching)
    await caching.stop()


def test_known_tags_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their digests are made anew when there were too many."""
    monkeypatch.setattr(module, "_KNOWN_TAGS", 2)
    caching = over(None, FakeClock())
    ids = [caching.tag_id(f"t{number}") for number in range(5)]
    assert [caching.tag_id(f"t{number}") for number in range(5)] == ids
    assert len(caching._tag_ids) <= 2


async def test_a_flight_that_was_taken_over_ends_by_itself() -> None:
    """Who holds the lead took the place of one that waited for it: the end of that one leaves the lead's in the air."""
    flights = Flights()
    waits = flights.begin("x", 0)
    leads = flights.begin("x", 0)
    flights.end("x", waits)
    assert flights.get("x") is leads
    flights.end("x", leads)
    assert flights.get("x") is None


def test_a_flight_of_a_loop_that_is_over_is_none() -> None:
    """Nobody would ever land it."""
    flights = Flights()

    async def begin() -> None:
        flights.begin("x", 0)
        assert flights.get("x") is not None

    async def look() -> None:
        assert flights.get("x") is None

    asyncio.run(begin())
    asyncio.run(look())
