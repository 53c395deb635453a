"""Queues of each kind for tests, and jobs to put into them."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from forecourt.jobs.board import Board
from forecourt.jobs.brokered import BrokeredQueue
from forecourt.jobs.memory import MemoryQueue
from forecourt.jobs.pulsar import PulsarBroker
from forecourt.jobs.queue import NewJob, Queue
from forecourt.jobs.sqlite import SqliteQueue
from forecourt.jobs.valkey import ValkeyQueue
from forecourt.stores.redis.client import Client
from forecourt.testing import FakeClock
from forecourt.types import SECOND

Make = Callable[[FakeClock], Queue]


def job(name: str, owner: str = "ali", *, attempts: int = 2, delay: float = 0, most: int = 100) -> NewJob:
    """Build a job with a lease of 10 s that expires after 1,000 s and is kept for 500."""
    times = (attempts, 10 * SECOND, round(delay * SECOND), 1000 * SECOND, 500 * SECOND, most)
    return NewJob(name, owner, "work", f"print of {name}", b"envelope of " + name.encode(), *times)


@asynccontextmanager
async def opened(url: str, clock: FakeClock, *, store: str = "", name: str = "q") -> AsyncIterator[Queue]:
    """Open the queue at a URL, on a clock of the test's; `store`: where its records are, if not there."""
    queue: Queue = MemoryQueue(clock)
    if url.startswith("pulsar:"):
        board = Board(Client(store, deadline=5), "fc", name, clock=clock)
        queue = BrokeredQueue(PulsarBroker(url, "fc", name), board, clock)
    elif url.startswith("sqlite:"):
        queue = SqliteQueue(url.removeprefix("sqlite:///"), name, clock)
    elif not url.startswith("memory:"):
        queue = ValkeyQueue(Client(url, deadline=5), "fc", name, clock=clock)
    await queue.open()
    try:
        yield queue
    finally:
        await queue.close()
