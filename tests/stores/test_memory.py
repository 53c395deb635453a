"""The embedded store: the contract, its bound and its sweeping."""

import pytest

from forecourt.core.operations import _registry
from forecourt.errors import StoreOverloaded
from forecourt.stores import memory
from forecourt.stores.contract import Question, Settlement
from forecourt.stores.memory import MemoryStore
from forecourt.testing import FakeClock
from forecourt.testing.store_contract import StoreContract, bucket, left, window
from forecourt.types import SECOND


@pytest.fixture
def clock() -> FakeClock:
    """Time stands still until a test lets it pass."""
    return FakeClock()


@pytest.fixture
def store(clock: FakeClock) -> MemoryStore:
    """An empty store."""
    return MemoryStore(clock)


class TestMemoryStore(StoreContract):
    """The memory store does what every store does."""


def caller(number: int, *, seconds: int = 1) -> Question:
    """Ask a window of so many seconds, of a caller of its own."""
    return Question("fixed_window", f"caller {number}", (5, seconds * SECOND, 1, 0))


async def test_it_tells_time_by_itself() -> None:
    """Without a clock it asks the machine's."""
    store = MemoryStore()
    assert (await store.decide([bucket()]))[0].verdict == "go"
    assert repr(store) == "<MemoryStore 1 of 1000000 keys>"


async def test_a_full_store_refuses_new_callers_and_serves_known_ones(clock: FakeClock) -> None:
    """What is live is never evicted: new keys are overload, known ones go on, and time makes room."""
    store = MemoryStore(clock, max_keys=10)
    for number in range(10):
        await store.decide([caller(number)])
    with pytest.raises(StoreOverloaded, match="10 live keys"):
        await store.decide([caller(10)])
    assert (await store.decide([caller(3)]))[0].values[0] == 3
    assert len(store) == 10
    clock.advance(1)
    assert (await store.decide([caller(10)]))[0].verdict == "go"


async def test_a_call_without_room_has_no_effect_at_all(clock: FakeClock) -> None:
    """When one key of a call has no room nothing of it is decided, not even for the keys that are known."""
    store = MemoryStore(clock, max_keys=1)
    await store.decide([bucket()])
    with pytest.raises(StoreOverloaded):
        await store.decide([bucket(), window()])
    assert await left(store, bucket()) == 4


async def test_the_last_place_is_given(clock: FakeClock) -> None:
    """A call of a known and a new key fits where there is room for one."""
    store = MemoryStore(clock, max_keys=2)
    await store.decide([bucket()])
    await store.decide([bucket(), window()])
    assert len(store) == 2


async def test_what_is_given_back_whole_leaves_no_state(clock: FakeClock) -> None:
    """A key without state goes with the sweep, and may be used again before that."""
    store = MemoryStore(clock)
    for _ in range(3):
        (answer,) = await store.decide([window()])
        await store.settle([Settlement("fixed_window_back", window().key, (2, 60 * SECOND, 1, answer.values[3]))])
    assert len(store) == 1
    await store.decide([bucket()])
    await store.decide([bucket()])
    assert len(store) == 1


async def test_what_has_expired_is_absent_before_it_is_swept(clock: FakeClock) -> None:
    """An entry that no look has come to yet does not count, whatever is asked of it: here of a longer window."""
    store = MemoryStore(clock)
    await store.decide([Question("sliding_window", "a", (5, SECOND, 5, 0))])
    for _ in range(3):
        await store.decide([bucket()])
    clock.advance(2)
    assert (await store.decide([Question("sliding_window", "a", (5, 60 * SECOND, 5, 0))]))[0].verdict == "go"


async def test_clearing_what_is_not_there_leaves_nothing(clock: FakeClock) -> None:
    """An operation that clears a key which nobody knows adds no entry: a grant holds nothing, and has no key for it."""
    store = MemoryStore(clock)
    await store.decide([Question("credits_grant", "{caller}:account", (5, "id", SECOND, 10))])
    assert len(store) == 3  # the account, the ids, the journal


async def test_the_dead_behind_the_living_are_found(clock: FakeClock) -> None:
    """A call without room looks further than others, and finds what has expired behind what lives."""
    store = MemoryStore(clock, max_keys=3)
    for number, seconds in ((1, 86_400), (2, 86_400), (3, 1)):
        await store.decide([caller(number, seconds=seconds)])
    await store.decide([caller(1, seconds=86_400)])
    clock.advance(2)
    assert (await store.decide([caller(4)]))[0].verdict == "go"
    assert len(store) == 3


async def test_an_expired_key_of_the_call_itself_is_counted(clock: FakeClock) -> None:
    """A key that is swept while its call looks for room needs room like a new one."""
    store = MemoryStore(clock, max_keys=2)
    await store.decide([caller(1)])
    await store.decide([caller(2, seconds=86_400)])
    await store.decide([caller(2, seconds=86_400)])
    clock.advance(2)
    with pytest.raises(StoreOverloaded):
        await store.decide([caller(1), bucket(), window()])
    assert len(store) == 1


async def test_distinct_callers_that_expire_leave_bounded_memory(clock: FakeClock) -> None:
    """Callers who come once each do not pile up: of 20,000 at 100 alive, hardly more than those are kept."""
    store = MemoryStore(clock)
    most = 0
    for number in range(20_000):
        await store.decide([caller(number)])
        clock.advance(0.01)
        most = max(most, len(store))
    assert most <= 100 * 8 / 7 + 2


async def test_those_who_stay_do_not_hide_those_who_go(clock: FakeClock) -> None:
    """With as many live for long as die at once, the dead are still found: a seventh of all at most."""
    store = MemoryStore(clock)
    for number in range(1000):
        await store.decide([caller(-number - 1, seconds=86_400)])
    most = 0
    for number in range(20_000):
        await store.decide([caller(number)])
        clock.advance(0.001)
        most = max(most, len(store))
    assert most <= 2000 * 8 / 7 + 2


async def test_known_callers_sweep_too(clock: FakeClock) -> None:
    """With no new keys at all, what has expired goes one by one."""
    store = MemoryStore(clock)
    for number in range(100):
        await store.decide([caller(number)])
    await store.decide([bucket()])
    clock.advance(2)
    for _ in range(110):
        await store.decide([bucket(0)])
        await store.decide([bucket()])
        clock.advance(1)
    assert len(store) == 1


async def test_a_call_does_a_bounded_part_of_the_sweeping(clock: FakeClock) -> None:
    """However many have expired at once, one call looks at few, so that none of them is late."""
    store = MemoryStore(clock)
    for number in range(1000):
        await store.decide([caller(number)])
    clock.advance(3600)
    await store.decide([bucket()])
    assert len(store) >= 1000 - 8
    await store.decide([bucket()])
    assert len(store) >= 1000 - 2 * 9


async def test_a_full_store_of_the_dead_finds_room(clock: FakeClock) -> None:
    """When a full store holds the dead behind the living, a few calls are enough to find them."""
    store = MemoryStore(clock, max_keys=1000)
    for number in range(300):
        await store.decide([caller(number, seconds=86_400)])
    for number in range(300, 1000):
        await store.decide([caller(number)])
    clock.advance(2)
    refused = 0
    for number in range(1000, 1100):
        try:
            await store.decide([caller(number)])
        except StoreOverloaded:
            refused += 1
    assert refused <= 5


def test_no_operation_has_more_keys_than_the_store_thinks() -> None:
    """The quick look at the room counts with the most keys that an operation has."""
    assert all(len(step.suffixes) <= memory._MOST_KEYS for step in _registry.values())
