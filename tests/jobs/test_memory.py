"""The queue in memory, where its own lists know more than its jobs."""

from forecourt.jobs.memory import MemoryQueue
from forecourt.jobs.queue import Ending
from forecourt.testing import FakeClock
from tests.jobs.queues import job


async def test_who_may_not_wait_is_not_kept() -> None:
    """A first look that found nothing is followed by another at once."""
    await MemoryQueue(FakeClock()).idle(0)


async def test_what_was_forgotten_is_not_claimed_when_its_lease_ends() -> None:
    """A job that ended and whose time is over leaves nothing behind."""
    clock = FakeClock()
    queue = MemoryQueue(clock)
    await queue.publish(job("a"))
    (claimed,) = await queue.claim(1)
    await queue.finish("a", claimed.token, Ending("done", b"result"))
    clock.advance(500)
    assert await queue.claim(1) == []
    assert await queue.look("a") is None


async def test_a_death_is_told_of_whatever_is_asked_for() -> None:
    """A job that died alone comes besides the jobs that there is room for, and once."""
    clock = FakeClock()
    queue = MemoryQueue(clock)
    await queue.publish(job("a", attempts=1))
    assert len(await queue.claim(1)) == 1
    clock.advance(10)
    assert [(each.id, each.token) for each in await queue.claim(0)] == [("a", "")]
    assert await queue.claim(1) == []


async def test_a_redriven_job_outlives_the_time_of_its_death() -> None:
    """It is kept for as long as it has not ended again."""
    clock = FakeClock()
    queue = MemoryQueue(clock)
    await queue.publish(job("a", attempts=1))
    (claimed,) = await queue.claim(1)
    await queue.finish("a", claimed.token, Ending("failed", b"", "it failed"))
    await queue.redrive("a")
    clock.advance(500)
    assert [each.id for each in await queue.claim(1)] == ["a"]


async def test_cancelling_one_job_leaves_the_owners_others_in_line() -> None:
    """Only what was cancelled is not claimed."""
    queue = MemoryQueue(FakeClock())
    await queue.publish(job("a"))
    await queue.publish(job("b"))
    await queue.cancel("a")
    assert [each.id for each in await queue.claim(8)] == ["b"]


async def test_a_job_that_is_twice_in_line_is_claimed_once() -> None:
    """It was given back, and then the lease that it had before ended."""
    clock = FakeClock()
    queue = MemoryQueue(clock)
    await queue.publish(job("a"))
    (claimed,) = await queue.claim(1)
    await queue.finish("a", claimed.token, Ending("given back"))
    clock.advance(10)
    assert [(each.id, each.attempts) for each in await queue.claim(8)] == [("a", 1)]
    assert await queue.claim(8) == []
    assert await queue.depth() == {"waiting": 0, "delayed": 0, "running": 1, "dead": 0}
