"""What answers when the store is down."""

import logging
from collections.abc import Sequence

import pytest

from forecourt.errors import StoreDown, StoreOverloaded
from forecourt.stores.contract import Answer, OnError, Question, Settlement
from forecourt.stores.failover import FailoverStore
from forecourt.stores.memory import MemoryStore
from forecourt.testing import FakeClock


class Breakable:
    """A store that can be broken."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.settled: list[Settlement] = []
        self.is_open = False

    async def open(self) -> None:
        """Note it."""
        self.is_open = True

    async def close(self) -> None:
        """Note it."""
        self.is_open = False

    async def decide(self, questions: Sequence[Question]) -> list[Answer]:
        """Grant everything, or fail."""
        if self.error:
            raise self.error
        return [Answer("go", (9, 0, 0, 0), granted=True) for _ in questions]

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        """Note them, or fail."""
        if self.error:
            raise self.error
        self.settled += settlements


def window(on_error: OnError, limit: int = 2, local: int | None = None, key: str = "k") -> Question:
    """Ask for one of `limit` calls a minute, of `local` in this process."""
    local_args = None if local is None else (local, 60_000_000, 1, 0)
    return Question("fixed_window", key, (limit, 60_000_000, 1, 0), on_error, local_args)


def failover() -> tuple[Breakable, FailoverStore]:
    """Build a failing-over store on one that can be broken."""
    store = Breakable()
    return store, FailoverStore(store, MemoryStore(FakeClock()))


async def test_local_counts_in_this_process() -> None:
    """While the store is down each process keeps the limit by itself, and says that it is degraded."""
    store, failing = failover()
    store.error = StoreDown("gone")
    answers = [(await failing.decide([window("local")]))[0] for _ in range(3)]
    assert [(answer.verdict, answer.degraded) for answer in answers] == [
        ("go", True),
        ("go", True),
        ("refuse", True),
    ]


async def test_local_keeps_this_process_share() -> None:
    """With a share the local limit is the share of it, not the whole."""
    store, failing = failover()
    store.error = StoreDown("gone")
    question = window("local", limit=10, local=1)
    assert [(await failing.decide([question]))[0].verdict for _ in range(2)] == ["go", "refuse"]


async def test_open_and_miss_go_without_values() -> None:
    """An open limit passes, a cache misses; neither knows numbers, so none can be shown."""
    store, failing = failover()
    store.error = StoreDown("gone")
    assert await failing.decide([window("open"), window("miss")]) == [Answer("go", degraded=True)] * 2


async def test_closed_refuses_and_nothing_else_is_taken() -> None:
    """One closed question refuses the call; the local limits beside it are not consumed."""
    store, failing = failover()
    store.error = StoreDown("gone")
    answers = await failing.decide([window("local", limit=1), window("closed", key="c")])
    assert answers == [Answer("go", degraded=True), Answer("refuse", degraded=True)]
    assert (await failing.decide([window("local", limit=1)]))[0].verdict == "go"


async def test_overload_opens_no_gate() -> None:
    """A full queue of our own is not a dead store: no failure policy answers."""
    store, failing = failover()
    store.error = StoreOverloaded("full")
    with pytest.raises(StoreOverloaded):
        await failing.decide([window("open")])
    assert not failing.degraded


async def test_what_was_granted_here_is_settled_here() -> None:
    """A local grant goes back to this process, one of the store to the store."""
    store, failing = failover()
    store.error = StoreDown("gone")
    (answer,) = await failing.decide([window("local", limit=1)])
    store.error = None
    back = Settlement("fixed_window_back", "k", (1, 60_000_000, 1, answer.values[3]))
    await failing.settle([back._replace(local=True), back])
    assert store.settled == [back]
    store.error = StoreDown("gone")
    assert (await failing.decide([window("local", limit=1)]))[0].verdict == "go"


async def test_one_line_tells_of_each_change(caplog: pytest.LogCaptureFixture) -> None:
    """A thousand degraded answers are one error line; coming back is one more."""
    store = Breakable()
    failing = FailoverStore(store, MemoryStore(FakeClock()))
    with caplog.at_level(logging.INFO, "forecourt"):
        for error in (StoreDown("gone"), StoreDown("gone"), None, None):
            store.error = error
            await failing.decide([window("open")])
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"]


async def test_a_store_that_flaps_fills_no_log(caplog: pytest.LogCaptureFixture) -> None:
    """Of a thousand changes at once two are told; the rest are counted in the next line, even if all is well since."""
    store, clock = Breakable(), FakeClock()
    failing = FailoverStore(store, MemoryStore(clock), clock)
    with caplog.at_level(logging.INFO, "forecourt"):
        for _ in range(500):
            for error in (StoreDown("gone"), None):
                store.error = error
                await failing.decide([window("open")])
        assert len(caplog.records) == 2
        clock.advance(10)
        for _ in range(3):
            await failing.decide([window("open")])
    assert [record.getMessage() for record in caplog.records[2:]] == [
        "store back: the store answers (998 changes since the last line)"
    ]


async def test_opening_and_closing_are_the_stores() -> None:
    """The local store needs neither."""
    store, failing = failover()
    await failing.open()
    assert store.is_open
    await failing.close()
    assert not store.is_open
