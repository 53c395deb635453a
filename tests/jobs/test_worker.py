"""The worker: what it does with answers that are none, queues that do not answer, and its own end."""

import asyncio
from collections.abc import Callable

import pytest

from forecourt.errors import StoreError
from forecourt.jobs.envelope import Envelopes, JobRequest
from forecourt.jobs.memory import MemoryQueue
from forecourt.jobs.queue import Record
from forecourt.jobs.results import JobResult
from forecourt.jobs.valkey import ValkeyQueue
from forecourt.jobs.worker import Notes, RunJob, Worker
from forecourt.policies.keys import KeyRing
from forecourt.stores.redis.client import Client
from forecourt.testing import FakeClock
from forecourt.types import SECOND, Receive, Scope, Send, SystemClock
from tests.callers import settle_down
from tests.jobs.queues import job
from tests.servers import Valkey

RING = KeyRing([b"k" * 32])
ENVELOPES = Envelopes(RING, "q")
REQUEST = JobRequest("work", "GET", "/", b"", "", "http", (), b"", max_result=10)


class Works:
    """A worker on a queue in memory, whose handler does what a test says; `told` is what ended, in order."""

    def __init__(self, run: RunJob) -> None:
        self.clock = FakeClock()
        self.queue = MemoryQueue(self.clock)
        self.told: list[tuple[str, str, int]] = []
        self.worker = Worker(self.queue, ENVELOPES, run, self._ended, self.clock, concurrency=2)

    async def _ended(self, _: JobRequest, record: Record, status: int) -> None:
        self.told.append((record.id, record.reason, status))

    async def publish(self, name: str = "a", attempts: int = 1, lease: float = 10) -> None:
        """Put a job in."""
        made = job(name, attempts=attempts)._replace(envelope=ENVELOPES.seal(name, REQUEST))
        await self.queue.publish(made._replace(lease=round(lease * SECOND)))
        await settle_down()


async def answers(_: JobRequest, _s: Scope, _r: Receive, send: Send, _t: Callable[[Notes], None]) -> None:
    """Answer as handlers do."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"X-Kind", b"a")]})
    await send({"type": "http.response.body", "body": b"done"})


async def too_much(_: JobRequest, _s: Scope, _r: Receive, send: Send, _t: Callable[[Notes], None]) -> None:
    """Answer more than is kept."""
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": b"x" * 6, "more_body": True})
    await send({"type": "http.response.body", "body": b"x" * 6})


async def nothing(_: JobRequest, _s: Scope, _r: Receive, _send: Send, _t: Callable[[Notes], None]) -> None:
    """Answer nothing."""


async def fails(_: JobRequest, _s: Scope, _r: Receive, send: Send, _t: Callable[[Notes], None]) -> None:
    """Answer a 503 of the handler's own."""
    await send({"type": "http.response.start", "status": 503})
    await send({"type": "http.response.body", "body": b"no"})


async def for_ever(_: JobRequest, _s: Scope, receive: Receive, _send: Send, _t: Callable[[Notes], None]) -> None:
    """Read the body and wait for a client that never leaves."""
    await receive()
    await receive()


@pytest.mark.parametrize(
    ("run", "reason", "status"),
    [
        (answers, "", 200),
        (too_much, "the answer is larger than max_result", 500),
        (nothing, "nothing was answered", 500),
        (fails, "the handler answered 503", 503),
    ],
)
async def test_an_answer_is_judged(run: RunJob, reason: str, status: int) -> None:
    """What is no answer is a failed attempt; whoever is to be told is told once, with the status."""
    works = Works(run)
    works.worker.start()
    await works.publish()
    assert works.told == [("a", reason, status)]
    await works.worker.drain(0)


async def test_what_does_not_end_in_time_is_given_back() -> None:
    """A worker that stops queues the rest again, at no cost of attempts."""
    works = Works(for_ever)
    works.worker.start()
    await works.publish()
    assert repr(works.worker) == "<Worker, 1 of 2 at work>"
    await works.worker.drain(0.01)
    assert await works.queue.depth() == {"waiting": 1, "delayed": 0, "running": 0, "dead": 0}
    assert (await works.queue.claim(1))[0].attempts == 1


async def test_a_job_that_another_has_by_now_is_let_go() -> None:
    """The worker learns of it when it renews, stops the handler, and tells the queue nothing."""
    works = Works(for_ever)
    works.worker.start()
    await works.publish()
    await works.queue.cancel("a")
    works.clock.advance(1)
    await settle_down()
    assert repr(works.worker) == "<Worker, 0 of 2 at work>"
    assert works.told == []
    await works.worker.drain(0)


async def test_of_a_job_that_died_alone_somebody_is_told() -> None:
    """Its worker was killed for the last time; the next one to claim tells."""
    works = Works(answers)
    await works.publish()
    assert len(await works.queue.claim(1)) == 1  # a worker that dies right away
    works.clock.advance(10)
    works.worker.start()
    await settle_down()
    assert works.told == [("a", "no worker held on to it", 0)]
    await works.worker.drain(0)


async def test_no_more_than_its_share_is_at_work() -> None:
    """Two at once; the third waits in the queue."""
    works = Works(for_ever)
    works.worker.start()
    for name in "abc":
        await works.publish(name)
    assert (await works.queue.depth())["running"] == 2
    await works.worker.drain(0)


async def test_a_queue_that_comes_back_is_worked_on(valkey: Valkey, caplog: pytest.LogCaptureFixture) -> None:
    """While the server is gone the worker tries again; then jobs that are there by then are run."""
    told: list[str] = []

    async def ended(_: JobRequest, record: Record, _s: int) -> None:
        told.append(record.status)

    queue = ValkeyQueue(Client(valkey.url, deadline=0.5), "fc", "q")
    await queue.open()
    worker = Worker(queue, ENVELOPES, answers, ended, SystemClock(), concurrency=1)
    worker.start()
    valkey.stop()
    async with asyncio.timeout(20):
        while not worker.failures:
            await asyncio.sleep(0.01)
        valkey.start()
        while not told:
            try:
                await queue.publish(job("a")._replace(envelope=ENVELOPES.seal("a", REQUEST)))
            except StoreError:
                caplog.clear()
            await asyncio.sleep(0.05)
    assert told == ["succeeded"]
    await worker.drain(1)
    await queue.close()


async def test_a_handler_that_listens_is_told_of_the_end_when_it_has_answered() -> None:
    """Of a disconnect, as servers tell it; what is sent beside the answer is no part of the result."""
    heard: list[str] = []

    async def listens(_: JobRequest, _s: Scope, receive: Receive, send: Send, _t: Callable[[Notes], None]) -> None:
        heard.append((await receive())["type"])
        listening = asyncio.ensure_future(receive())
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.push", "path": "/style.css"})
        await settle_down()
        assert not listening.done()
        await send({"type": "http.response.body", "body": b"done"})
        heard.append((await listening)["type"])

    works = Works(listens)
    works.worker.start()
    await works.publish()
    await settle_down()
    assert (heard, works.told) == (["http.request", "http.disconnect"], [("a", "", 200)])
    kept = await works.queue.result("a")
    assert kept is not None
    assert JobResult.read(ENVELOPES.result("a", "work", kept, "", at_rest=False)).body == b"done"
    await works.worker.drain(0)
