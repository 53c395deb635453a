"""Orders of operators: one book in the store, read by every process beside its requests."""

import asyncio
import logging
from collections.abc import Sequence

import pytest

from forecourt.errors import StoreDown
from forecourt.orders import Order, Orders
from forecourt.principals import Keys
from forecourt.stores.contract import Answer, Question, Settlement
from forecourt.stores.memory import MemoryStore
from forecourt.stores.opening import store_at
from forecourt.testing import FakeClock
from forecourt.types import SECOND, SystemClock
from tests.callers import settle_down
from tests.servers import Cluster, Valkey, eventually

PLACE = Keys("fc").key("orders", "book", "orders")


class Process:
    """One process that follows orders of the kind `test`."""

    def __init__(self, store: MemoryStore, clock: FakeClock) -> None:
        self.told: list[list[object]] = []
        self.orders = Orders(store, Keys("fc"), clock, rand=lambda: 1.0)
        self.orders.hear("test", self.follow)

    def follow(self, orders: Sequence[Order]) -> None:
        """Note what is told."""
        self.told.append([order["about"] for order in orders])


class Moody(MemoryStore):
    """A store that a test may take away."""

    mood = ""

    async def decide(self, questions: Sequence[Question]) -> list[Answer]:
        """Decide, unless it is down."""
        if self.mood == "degraded":
            return [Answer("refuse", degraded=True) for _ in questions]
        if self.mood:
            raise StoreDown("down") if self.mood == "down" else RuntimeError(self.mood)
        return await super().decide(questions)


def order(about: str, until: int | None = None) -> Order:
    """Order something."""
    return {"kind": "test", "about": about, "until": until}


async def test_followers_are_told_of_changes_only() -> None:
    """All orders of the kind, whenever they differ: from another process within a pause, from this one at once."""
    store, clock = MemoryStore(), FakeClock()
    one, two = Process(store, clock), Process(store, clock)
    two.orders.run()
    await one.orders.give(order("b"))
    await one.orders.give(order("a"))
    await one.orders.give({**order("other"), "kind": "nobody's"})
    assert one.told == [["b"], ["a", "b"]]
    for _ in range(3):
        await settle_down()
        clock.advance(0.5)
    await settle_down()
    assert two.told == [["a", "b"]]
    assert await one.orders.take_back("test", "a")
    assert not await one.orders.take_back("test", "a")
    assert one.told[-1] == ["b"]
    await two.orders.stop()
    await two.orders.stop()
    assert repr(two.orders) == "<Orders, 3 known>"


@pytest.mark.parametrize("mood", ["down", "degraded", "broken"])
async def test_what_was_read_last_holds_while_the_store_is_down(mood: str) -> None:
    """Nobody is told anything; when it is back, reading goes on. The one who orders hears of it."""
    clock = FakeClock()
    store = Moody(clock)
    process = Process(store, clock)
    await process.orders.give(order("a"))
    process.orders.run()
    process.orders.run()
    await settle_down()
    store.mood = mood
    clock.advance(0.5)
    await settle_down()
    assert process.told == [["a"]]
    if mood != "broken":
        with pytest.raises(StoreDown):
            await process.orders.read()
    store.mood = ""
    await Process(store, clock).orders.give(order("b"))
    clock.advance(0.5)
    await settle_down()
    assert process.told == [["a"], ["a", "b"]]
    await process.orders.stop()


async def test_what_has_ended_is_swept_out_with_the_next_order() -> None:
    """The book does not grow for ever; what has not ended stays, and so does an order given anew."""
    clock = FakeClock()
    process = Process(MemoryStore(clock), clock)
    await process.orders.give(order("a", clock.now() + SECOND))
    await process.orders.give(order("b", clock.now() + SECOND))
    await process.orders.give(order("c", clock.now() + 5 * SECOND))
    clock.advance(1)
    await process.orders.give(order("b", clock.now() + SECOND))
    assert process.told[-1] == ["b", "c"]


@pytest.mark.parametrize("line", [b"{", b"[]", b'"a"', b'{"kind":"test"}', b'{"kind":"test","about":"x","until":"y"}'])
async def test_what_cannot_be_read_is_passed_by_and_logged_once(line: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """A later version's orders, or anybody's writing, stop nothing."""
    clock = FakeClock()
    store = MemoryStore(clock)
    await store.settle([Settlement("key_put", PLACE, ("odd", line))])
    process = Process(store, clock)
    with caplog.at_level(logging.WARNING, "forecourt"):
        await process.orders.give(order("a"))
        await process.orders.read()
    assert process.told == [["a"]]
    assert [record.message for record in caplog.records].count(caplog.records[0].message) == 1
    assert "cannot read" in caplog.text


async def test_processes_on_a_real_server_follow_within_a_second(valkey: Valkey, valkey_cluster: Cluster) -> None:
    """On one primary and on a cluster; each process asks at most four times a second."""
    for url in (valkey.url, valkey_cluster.url):
        stores = [store_at(url, SystemClock()) for _ in range(2)]
        for store in stores:
            await store.open()
        one, two = (Orders(store, Keys("fc"), SystemClock()) for store in stores)
        told: list[int] = []
        two.hear("test", lambda orders, told=told: told.append(len(orders)))  # type: ignore[misc]  # its default's type
        two.run()
        await one.give(order("a"))
        await eventually(lambda told=told: told == [1], 1)  # type: ignore[misc]  # its default's type
        await one.take_back("test", "a")
        await eventually(lambda told=told: told == [1, 0], 1)  # type: ignore[misc]  # its default's type
        await two.stop()
        for store in stores:
            await store.close()


async def test_a_task_of_a_loop_that_has_ended_is_made_anew() -> None:
    """As test clients do, which have a loop for each call."""
    clock = FakeClock()
    process = Process(MemoryStore(clock), clock)

    async def run_elsewhere() -> None:
        process.orders.run()
        await asyncio.sleep(0)

    await asyncio.to_thread(asyncio.run, run_elsewhere())
    process.orders.run()
    await Process(process.orders._store, clock).orders.give(order("a"))  # type: ignore[arg-type]  # it is in memory
    await settle_down()
    clock.advance(0.5)
    await settle_down()
    assert process.told == [["a"]]
    await process.orders.stop()
