"""Which jobs there are, and how long they wait, as each kind of queue tells it."""

from collections.abc import AsyncIterator

import pytest

from forecourt.jobs.memory import MemoryQueue
from forecourt.jobs.queue import Ending, Lists
from forecourt.jobs.valkey import ValkeyQueue
from forecourt.testing import FakeClock
from tests.jobs.queues import job, opened
from tests.servers import Valkey


@pytest.fixture
def clock() -> FakeClock:
    """The time of the queue."""
    return FakeClock()


@pytest.fixture(params=["memory", "valkey"])
async def queue(request: pytest.FixtureRequest, clock: FakeClock) -> AsyncIterator[MemoryQueue | ValkeyQueue]:
    """An empty queue of each kind that lists."""
    url = "memory://"
    if request.param == "valkey":
        valkey: Valkey = request.getfixturevalue("valkey")
        url = valkey.url
    async with opened(url, clock) as each:
        assert isinstance(each, Lists)
        assert isinstance(each, MemoryQueue | ValkeyQueue)
        yield each


async def test_an_owner_has_their_jobs_page_by_page(queue: MemoryQueue | ValkeyQueue, clock: FakeClock) -> None:
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


async def test_jobs_are_listed_by_how_they_stand(queue: MemoryQueue | ValkeyQueue) -> None:
    """Queued (delayed ones too), running and dead; of those that succeeded there is no list."""
    for name in ("dies", "works"):
        await queue.publish(job(name, attempts=1))
    await queue.publish(job("later", delay=60))
    dies, _ = await queue.claim(2)
    await queue.publish(job("waits"))
    await queue.finish("dies", dies.token, Ending("failed", reason="it failed"))
    found = {status: {each.id for each in await queue.standing(status)} for status in ("queued", "running", "dead")}
    assert found == {"queued": {"waits", "later"}, "running": {"works"}, "dead": {"dies"}}
    assert await queue.standing("succeeded") == []
    assert len(await queue.standing("queued", 1)) == 1


async def test_the_age_of_a_queue_is_that_of_its_oldest(queue: MemoryQueue | ValkeyQueue, clock: FakeClock) -> None:
    """Since the job was due, not since it was published; nothing waits: nothing."""
    assert await queue.age() == 0
    await queue.publish(job("later", delay=2))
    clock.advance(1)
    await queue.publish(job("a"))
    clock.advance(3)
    await queue.publish(job("b", owner="bob"))
    assert await queue.age() == 3_000_000
    assert len(await queue.claim(8)) == 3
    assert await queue.age() == 0


async def test_what_is_forgotten_is_not_listed(queue: MemoryQueue | ValkeyQueue, clock: FakeClock) -> None:
    """A job that ended is its owner's to see for its time; in memory nothing is left of it after."""
    await queue.publish(job("a"))
    await queue.finish("a", (await queue.claim(1))[0].token, Ending("done", b"result"))
    assert [record.status for record in await queue.owned("ali", 10)] == ["succeeded"]
    if isinstance(queue, MemoryQueue):
        clock.advance(500)
        assert await queue.owned("ali", 10) == []
