"""The worker whose queue, or whose listener, fails now and then."""

import asyncio
from collections.abc import Callable, Sequence

import pytest

from forecourt.errors import StoreDown
from forecourt.jobs.envelope import JobRequest
from forecourt.jobs.memory import MemoryQueue
from forecourt.jobs.queue import Claimed, Ending, Held, Record
from forecourt.jobs.worker import Notes, Worker
from forecourt.testing import FakeClock
from forecourt.types import Receive, Scope, Send
from tests.callers import settle_down
from tests.jobs.queues import job
from tests.jobs.test_worker import ENVELOPES, REQUEST, Works, answers, for_ever


class Shaky(MemoryQueue):
    """A queue that does not answer while `down` names what is asked."""

    down = ""
    raises: type[Exception] = StoreDown

    async def claim(self, most: int) -> list[Claimed]:
        """Answer unless told not to."""
        self._guard("claim")
        return await super().claim(most)

    async def finish(self, job: str, token: str, ending: Ending) -> Record | None:
        """Answer unless told not to."""
        self._guard("finish")
        return await super().finish(job, token, ending)

    async def renew(self, held: Sequence[Held]) -> frozenset[str]:
        """Answer unless told not to."""
        self._guard("renew")
        return await super().renew(held)

    async def look(self, job: str) -> Record | None:
        """Answer unless told not to."""
        self._guard("look")
        return await super().look(job)

    def _guard(self, asked: str) -> None:
        if asked == self.down:
            raise self.raises("gone")


class Slow(MemoryQueue):
    """A queue whose claims have done their work before their answers come."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.answer = asyncio.Event()

    async def claim(self, most: int) -> list[Claimed]:
        """Claim; answer when a test says."""
        claimed = await super().claim(most)
        await self.answer.wait()
        return claimed


def shaky(works: Works, down: str) -> Shaky:
    """Give a worker such a queue."""
    works.queue = queue = Shaky(works.clock)
    works.worker = Worker(queue, ENVELOPES, works.worker._run, works._ended, works.clock, concurrency=2)
    queue.down = down
    return queue


async def test_an_end_is_told_again_until_the_queue_answers() -> None:
    """A second later the end is told, and the job ran once."""
    works = Works(answers)
    queue = shaky(works, "finish")
    works.worker.start()
    await works.publish()
    assert (works.told, works.worker.failures) == ([], 1)
    queue.down = ""
    works.clock.advance(1)
    await settle_down()
    assert works.told == [("a", "", 200)]
    await works.worker.drain(0)


async def test_an_end_that_cannot_be_told_within_the_lease_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    """The job is another's by then: the worker is free again, and says that the job will run again."""
    works = Works(answers)
    shaky(works, "finish")
    works.worker.start()
    await works.publish()
    works.clock.advance(10)
    await settle_down()
    assert "it will run again" in caplog.text
    assert works.told == []
    await works.worker.drain(0)


async def test_a_renewal_that_fails_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """The job stays at work, and the next beat renews it."""
    works = Works(for_ever)
    shaky(works, "renew")
    works.worker.start()
    await works.publish()
    works.clock.advance(1)
    await settle_down()
    assert "leases of 1 jobs not renewed" in caplog.text
    assert repr(works.worker) == "<Worker, 1 of 2 at work>"
    await works.worker.drain(0)


@pytest.mark.parametrize("asked", ["claim", "renew"])
@pytest.mark.parametrize("trouble", [StoreDown, RuntimeError])
async def test_whatever_a_queue_raises_the_worker_goes_on(
    asked: str, trouble: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    """It asks again; a traceback is there for what queues are not known to raise."""
    works = Works(for_ever)
    queue = shaky(works, "")
    queue.raises = trouble
    works.worker.start()
    await works.publish("a", attempts=9)
    queue.down = asked
    works.clock.advance(1)
    await settle_down()
    queue.down = ""
    works.clock.advance(2)
    await works.publish("b")
    works.clock.advance(1)
    await settle_down()
    assert repr(works.worker) == "<Worker, 2 of 2 at work>"
    (record,) = [each for each in caplog.records if "gone" in each.message]
    assert bool(record.exc_info) == (trouble is RuntimeError)
    await works.worker.drain(0)


@pytest.mark.parametrize("beside", [True, False])
async def test_a_short_lease_is_renewed_in_time_whenever_its_job_begins(*, beside: bool) -> None:
    """The renewals reckon with it at once, not after a beat that idleness, or a longer lease, had made long."""
    works = Works(for_ever)
    works.worker.start()
    if beside:
        await works.publish("long", attempts=9)
    await works.publish("short", attempts=9, lease=0.4)
    for _ in range(20):
        works.clock.advance(0.1)
        await settle_down()
        assert await works.queue.claim(1) == []
    record = await works.queue.look("short")
    assert record is not None
    assert (record.status, record.attempts) == ("running", 1)
    await works.worker.drain(0)


async def test_what_is_claimed_while_the_worker_stops_is_given_back() -> None:
    """It costs no attempt, and whoever is to be told of a job that died is told."""
    works = Works(answers)
    works.queue = queue = Slow(works.clock)
    works.worker = Worker(queue, ENVELOPES, answers, works._ended, works.clock)
    await works.publish("dies")
    await MemoryQueue.claim(queue, 1)
    works.clock.advance(10)
    await works.publish("lives")
    works.worker.start()
    await settle_down()
    draining = asyncio.ensure_future(works.worker.drain(0))
    await settle_down()
    queue.answer.set()
    await draining
    record = await queue.look("lives")
    assert record is not None
    assert (record.status, record.attempts) == ("queued", 0)
    assert works.told == [("dies", "no worker held on to it", 0)]


async def test_a_worker_that_gets_its_own_job_again_stays_whole() -> None:
    """Its lease ended unrenewed while it ran: the first run is stopped, the second is renewed, and no place is lost."""
    works = Works(for_ever)
    queue = shaky(works, "renew")
    works.worker.start()
    await works.publish(attempts=9)
    works.clock.advance(10)
    await settle_down()
    await works.publish("b")
    await settle_down()
    record = await queue.look("a")
    assert record is not None
    assert (record.attempts, repr(works.worker)) == (2, "<Worker, 2 of 2 at work>")
    queue.down = ""
    works.worker._run = answers
    for name in ("a", "b"):
        await queue.cancel(name)
    works.clock.advance(2)
    await settle_down()
    assert repr(works.worker) == "<Worker, 0 of 2 at work>"
    for name in ("c", "d", "e"):
        await works.publish(name)
    assert [name for name, _, _ in works.told] == ["c", "d", "e"]
    await works.worker.drain(0)


async def test_a_late_word_of_a_lost_lease_stops_no_later_run() -> None:
    """Who asked has claimed the job again by then: it is the run that was asked about which is stopped."""

    class Late(MemoryQueue):
        answer = asyncio.Event()

        async def renew(self, held: Sequence[Held]) -> frozenset[str]:
            await self.answer.wait()
            return frozenset({"a"})

    works = Works(for_ever)
    works.queue = queue = Late(works.clock)
    works.worker = Worker(queue, ENVELOPES, for_ever, works._ended, works.clock)
    works.worker.start()
    await works.publish(attempts=9)
    works.clock.advance(5)
    await settle_down()
    works.clock.advance(10)
    await settle_down()
    record = await queue.look("a")
    assert record is not None
    assert record.attempts == 2
    queue.answer.set()
    await settle_down()
    assert repr(works.worker) == "<Worker, 1 of 16 at work>"
    await works.worker.drain(0)


async def test_a_death_that_cannot_be_looked_up_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody is told, the worker goes on to the next job."""
    works = Works(answers)
    shaky(works, "look")
    await works.publish()
    assert len(await works.queue.claim(1)) == 1
    works.clock.advance(10)
    works.worker.start()
    await settle_down()
    assert "of a job that ended nobody could be told" in caplog.text
    await works.publish("b")
    assert works.told == [("b", "", 200)]
    await works.worker.drain(0)


async def test_a_listener_that_fails_does_not_stop_the_worker(caplog: pytest.LogCaptureFixture) -> None:
    """What raises while it is told is logged; its job has ended, and its place is free."""

    async def raises(_: JobRequest, _r: Record, _s: int) -> None:
        raise RuntimeError("nobody listens")

    clock = FakeClock()
    queue = MemoryQueue(clock)
    worker = Worker(queue, ENVELOPES, answers, raises, clock)
    worker.start()
    await queue.publish(job("a")._replace(envelope=ENVELOPES.seal("a", REQUEST)))
    await settle_down()
    record = await queue.look("a")
    assert record is not None
    assert record.status == "succeeded"
    assert "could not be ended" in caplog.text
    assert repr(worker) == "<Worker, 0 of 16 at work>"
    await worker.drain(0)


async def test_of_a_death_that_was_undone_meanwhile_nobody_is_told() -> None:
    """An operator gave the dead job another try before the worker had looked: it is told of once, by its end."""
    works = Works(answers)
    works.queue = queue = Slow(works.clock)
    works.worker = Worker(queue, ENVELOPES, answers, works._ended, works.clock)
    await works.publish()
    await MemoryQueue.claim(queue, 1)
    works.clock.advance(10)
    works.worker.start()
    await settle_down()
    assert await queue.redrive("a") is not None
    queue.answer.set()
    for _ in range(10):
        works.clock.advance(0.1)
        await settle_down()
    assert works.told == [("a", "", 200)]
    await works.worker.drain(0)


async def test_a_job_that_is_given_out_twice_at_once_is_run_once() -> None:
    """The second claim counts, as ever: the first has not begun by then, and does not begin any more."""

    class Twice(MemoryQueue):
        """Gives each job out twice, as a broker may."""

        async def claim(self, most: int) -> list[Claimed]:
            return [again for claimed in await super().claim(most) for again in (claimed, claimed)]

    runs: list[int] = []

    async def counts(
        job: JobRequest, scope: Scope, receive: Receive, send: Send, told: Callable[[Notes], None]
    ) -> None:
        runs.append(1)
        await answers(job, scope, receive, send, told)

    works = Works(counts)
    works.queue = Twice(works.clock)
    works.worker = Worker(works.queue, ENVELOPES, counts, works._ended, works.clock, concurrency=2)
    works.worker.start()
    await works.publish()
    assert (len(runs), works.told) == (1, [("a", "", 200)])
    assert repr(works.worker) == "<Worker, 0 of 2 at work>"
    await works.publish("b")
    assert len(runs) == 2
    await works.worker.drain(0)
