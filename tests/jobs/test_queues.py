"""What every queue promises, on each kind of queue."""

import os
from collections.abc import AsyncIterator

import pytest

from forecourt.errors import ConfigError, StoreDown, StoreOverloaded
from forecourt.jobs.memory import MemoryQueue
from forecourt.jobs.queue import NewJob, Published, Queue
from forecourt.jobs.valkey import ValkeyQueue
from forecourt.stores.redis.client import Client
from forecourt.testing import FakeClock
from forecourt.testing_queues import Promise, a_full_queue_says_so, queue_promises
from tests.brokers import Pulsar
from tests.jobs.queues import job, opened
from tests.servers import Cluster, Valkey


@pytest.fixture
def clock() -> FakeClock:
    """The time of the queue."""
    return FakeClock()


@pytest.fixture(params=["memory", "sqlite", "valkey", "cluster"])
async def queue(request: pytest.FixtureRequest, clock: FakeClock) -> AsyncIterator[Queue]:
    """An empty queue of each kind."""
    url = "memory://"
    if request.param == "sqlite":
        url = f"sqlite:///{request.getfixturevalue('tmp_path')}/jobs.db"
    elif request.param == "valkey":
        valkey: Valkey = request.getfixturevalue("valkey")
        url = valkey.url
    elif request.param == "cluster":
        cluster: Cluster = request.getfixturevalue("valkey_cluster")
        url = cluster.url
    async with opened(url, clock) as each:
        yield each


@pytest.fixture
async def brokered(pulsar_broker: Pulsar, valkey: Valkey, clock: FakeClock) -> AsyncIterator[Queue]:
    """An empty queue at a broker."""
    name = f"q-{os.urandom(4).hex()}"
    async with opened(pulsar_broker.url, clock, store=valkey.url, name=name) as each:
        yield each


@pytest.mark.parametrize("promise", queue_promises(), ids=lambda promise: str(promise.__name__))
async def test_a_queue_keeps_its_promises(promise: Promise, queue: Queue, clock: FakeClock) -> None:
    """Whatever keeps the jobs, they are published, claimed, renewed and finished alike."""
    await promise(queue, clock)


@pytest.mark.parametrize(
    "promise", queue_promises(delays=False, turns=False), ids=lambda promise: str(promise.__name__)
)
async def test_a_brokered_queue_keeps_its_promises(promise: Promise, brokered: Queue, clock: FakeClock) -> None:
    """So does one whose jobs wait at a broker, but for turns and delays."""
    await promise(brokered, clock)


async def test_a_broker_knows_no_delay(brokered: Queue) -> None:
    """Nothing is published that would begin too soon."""
    with pytest.raises(ConfigError):
        await brokered.publish(job("a", delay=5))
    assert await brokered.look("a") is None


async def test_a_broken_promise_is_told(clock: FakeClock) -> None:
    """A queue that drops what is too much does not pass for one that says that it is full."""

    class Lossy(MemoryQueue):
        """Says that it took a job for which it had no room."""

        async def publish(self, job: NewJob) -> Published:
            try:
                return await super().publish(job)
            except StoreOverloaded:
                (record, *_) = await self.owned("ali", 1)
                return Published(record, created=True)

    with pytest.raises(AssertionError):
        await a_full_queue_says_so(Lossy(clock), clock)


async def test_what_is_no_job_is_not_taken_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another version's scripts answer with other fields: nobody guesses which they are."""
    client = Client("redis://localhost")
    queue = ValkeyQueue(client, "fc", "q")

    async def fewer(*_given: object, **_more: object) -> list[bytes]:
        return [b"a", b"ali", b"work"]

    monkeypatch.setattr(client, "run", fewer)
    with pytest.raises(StoreDown, match="no job"):
        await queue.look("a")
