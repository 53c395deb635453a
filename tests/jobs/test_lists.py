"""Which jobs there are, and how long they wait, as each kind of queue tells it."""

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Protocol

import pytest

from forecourt.jobs.memory import MemoryQueue
from forecourt.jobs.queue import Claimed, Ending, Lists, Queue
from forecourt.jobs.sqlite import SqliteQueue
from forecourt.testing import FakeClock
from tests.brokers import Pulsar
from tests.jobs.queues import job, opened
from tests.servers import Valkey


class Listing(Queue, Lists, Protocol):
    """A queue that lists, as each kind does."""


@pytest.fixture
def clock() -> FakeClock:
    """The time of the queue."""
    return FakeClock()


@pytest.fixture(params=["memory", "sqlite", "valkey", "pulsar"])
async def queue(request: pytest.FixtureRequest, clock: FakeClock) -> AsyncIterator[Listing]:
    """An empty queue of each kind."""
    url, store = "memory://", ""
    if request.param == "sqlite":
        url = f"sqlite:///{request.getfixturevalue('tmp_path')}/jobs.db"
    if request.param in ("valkey", "pulsar"):
        valkey: Valkey = request.getfixturevalue("valkey")
        url = store = valkey.url
    if request.param == "pulsar":
        broker: Pulsar = request.getfixturevalue("pulsar_broker")
        url = broker.url
    async with opened(url, clock, store=store, name=f"q-{os.urandom(4).hex()}") as each:
        assert isinstance(each, Lists)
        yield each


async def some(queue: Listing, count: int) -> list[Claimed]:
    """Claim so many jobs; a broker may take a moment to give them."""
    found: list[Claimed] = []
    async with asyncio.timeout(10):
        while len(found) < count:
            found += await queue.claim(count - len(found))
            await asyncio.sleep(0 if len(found) == count else 0.002)
    return found


def delays(queue: Listing) -> float:
    """Return the seconds by which this queue can delay a job."""
    return 0 if "Brokered" in repr(queue) else 2


async def test_an_owner_has_their_jobs_page_by_page(queue: Listing, clock: FakeClock) -> None:
    """The latest first, those of one instant by id, nobody else's, none twice and none left out."""
    for name in ("a", "b", "c"):
        await queue.publish(job(name))
    clock.advance(1)
    await queue.publish(job("d"))
    await queue.publish(job("e", owner="bob"))
    first = await queue.owned("ali", 2)
    rest = await queue.owned("ali", 10, (first[-1].created, first[-1].id))
    assert [record.id for record in (*first, *rest)] == ["d", "c", "b", "a"]
    assert [record.id for record in await queue.owned("bob", 10)] == ["e"]
    assert await queue.owned("eve", 10) == []


async def test_jobs_are_listed_by_how_they_stand(queue: Listing) -> None:
    """Queued (delayed ones too), running and dead; of those that succeeded there is no list."""
    for name in ("dies", "works"):
        await queue.publish(job(name, attempts=1))
    delayed = {"later"} if delays(queue) else set()
    for name in delayed:
        await queue.publish(job(name, delay=60))
    dies, _ = sorted(await some(queue, 2))
    await queue.publish(job("waits"))
    await queue.finish("dies", dies.token, Ending("failed", reason="it failed"))
    found = {status: {each.id for each in await queue.standing(status)} for status in ("queued", "running", "dead")}
    assert found == {"queued": {"waits", *delayed}, "running": {"works"}, "dead": {"dies"}}
    assert await queue.standing("succeeded") == []
    await queue.publish(job("waits too"))
    assert len(await queue.standing("queued", 1)) == 1


async def test_the_age_of_a_queue_is_that_of_its_oldest(queue: Listing, clock: FakeClock) -> None:
    """Since the job was due, not since it was published; nothing waits: nothing."""
    assert await queue.age() == 0
    await queue.publish(job("later", delay=delays(queue)))
    clock.advance(1)
    await queue.publish(job("a"))
    clock.advance(3)
    await queue.publish(job("b", owner="bob"))
    assert await queue.age() == (3_000_000 if delays(queue) else 4_000_000)
    assert len(await some(queue, 3)) == 3
    assert await queue.age() == 0


async def test_what_is_forgotten_is_not_listed(queue: Listing, clock: FakeClock) -> None:
    """A job that ended is its owner's to see for its time; nothing is left after, where time is no server's."""
    await queue.publish(job("a"))
    await queue.finish("a", (await some(queue, 1))[0].token, Ending("done", b"result"))
    assert [record.status for record in await queue.owned("ali", 10)] == ["succeeded"]
    if isinstance(queue, MemoryQueue | SqliteQueue):
        clock.advance(500)
        assert await queue.owned("ali", 10) == []


@pytest.mark.parametrize("queue", ["valkey"], indirect=True)
async def test_a_server_keeps_lists_of_a_thousand(queue: Listing, clock: FakeClock) -> None:
    """Of an owner's jobs the latest are listed, and no more are kept in the list."""
    for number in range(1003):
        clock.advance(0.001)
        await queue.publish(job(f"{number:04}", most=2000))
    listed = await queue.owned("ali", 2000)
    assert [each.id for each in listed] == [f"{number:04}" for number in range(1002, 2, -1)]
