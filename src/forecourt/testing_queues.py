"""What every queue of jobs promises, as checks that a queue of your own can be put to.

    @pytest.mark.parametrize("promise", queue_promises(), ids=lambda promise: promise.__name__)
    async def test_my_queue(promise: Promise) -> None:
        clock = FakeClock()
        queue = MyQueue(clock)
        await queue.open()
        await promise(queue, clock)

Each wants an empty queue whose time is the clock's, and raises AssertionError where the promise is broken.
"""

import asyncio
from collections.abc import Awaitable, Callable

from forecourt.errors import StoreOverloaded
from forecourt.jobs.queue import Claimed, Ending, Held, NewJob, Queue
from forecourt.testing import FakeClock
from forecourt.types import SECOND

Promise = Callable[[Queue, FakeClock], Awaitable[None]]

_DONE = Ending("done", b"result")
_FAILED = Ending("failed", b"answer", "it failed")
_LONGEST, _MOMENT = 10.0, 0.002


def queue_promises(*, delays: bool = True, turns: bool = True) -> list[Promise]:
    """Return the checks. Without `delays`: of a queue that starts no job later; without `turns`: in order of coming."""
    left_out = {a_delayed_job_waits} if not delays else set()
    left_out |= {owners_take_turns} if not turns else set()
    return [each for each in _PROMISES if each not in left_out]


async def _is_full(queue: Queue, more: NewJob) -> bool:
    try:
        await queue.publish(more)
    except StoreOverloaded:
        return True
    return False


def _job(name: str, owner: str = "ali", *, attempts: int = 2, delay: float = 0, most: int = 100) -> NewJob:
    """Build a job with a lease of 10 s that expires after 1,000 s and is kept for 500."""
    times = (attempts, 10 * SECOND, round(delay * SECOND), 1000 * SECOND, 500 * SECOND, most)
    return NewJob(name, owner, "work", f"print of {name}", b"envelope of " + name.encode(), *times)


async def _some(queue: Queue, count: int) -> list[Claimed]:
    """Claim so many jobs; a broker may take a moment to give them."""
    found: list[Claimed] = []
    async with asyncio.timeout(_LONGEST):
        while len(found) < count:
            found += await queue.claim(count - len(found))
            await asyncio.sleep(0 if len(found) == count else _MOMENT)
    return found


async def _one(queue: Queue) -> Claimed:
    """Claim the one job that there is."""
    (claimed,) = await _some(queue, 1)
    return claimed


def _held(claimed: Claimed, progress: float = -1, note: str = "") -> Held:
    """Hold on to what was claimed."""
    return Held(claimed.id, claimed.token, claimed.lease, progress, note)


async def _status(queue: Queue, name: str = "a") -> tuple[str, int, str] | None:
    """Return the job's status, its attempts, and why it ended."""
    record = await queue.look(name)
    return (record.status, record.attempts, record.reason) if record else None


async def a_job_is_published_claimed_and_finished_once(queue: Queue, clock: FakeClock) -> None:
    """What was published comes out as it was; its result is there; nobody gets it again."""
    published = await queue.publish(_job("a"))
    assert (published.created, published.record.status, published.record.owner) == (True, "queued", "ali")
    claimed = await _one(queue)
    assert (claimed.id, claimed.attempts, claimed.envelope) == ("a", 1, b"envelope of a")
    assert await queue.claim(8) == []
    ended = await queue.finish("a", claimed.token, _DONE)
    assert ended is not None
    assert (ended.status, ended.ended) == ("succeeded", True)
    assert await queue.result("a") == b"result"
    assert await queue.finish("a", claimed.token, _DONE) is None
    assert await queue.depth() == {"waiting": 0, "delayed": 0, "running": 0, "dead": 0}


async def the_same_id_is_created_once(queue: Queue, clock: FakeClock) -> None:
    """A second publication changes nothing, and says what there is."""
    await queue.publish(_job("a"))
    again = await queue.publish(_job("a", owner="bob"))
    assert (again.created, again.record.owner, again.record.fingerprint) == (False, "ali", "print of a")
    await _one(queue)
    assert await queue.claim(8) == []


async def a_full_queue_says_so(queue: Queue, clock: FakeClock) -> None:
    """Waiting and running jobs count; what has ended does not, nor what is known already."""
    await queue.publish(_job("a", most=2))
    claimed = await _one(queue)
    await queue.publish(_job("b", most=2))
    assert await _is_full(queue, _job("c", most=2))
    assert await queue.look("c") is None
    assert not (await queue.publish(_job("b", most=2))).created
    await queue.finish("a", claimed.token, _DONE)
    assert (await queue.publish(_job("c", most=2))).created


async def a_job_that_nobody_holds_is_claimed_again(queue: Queue, clock: FakeClock) -> None:
    """A worker that died loses its job when the lease ends, not before; nothing else need happen."""
    await queue.publish(_job("a"))
    first = await _one(queue)
    clock.advance(9.999999)
    assert await queue.claim(8) == []
    clock.advance(0.000001)
    second = await _one(queue)
    assert (second.attempts, second.token != first.token) == (2, True)


async def a_late_worker_changes_nothing(queue: Queue, clock: FakeClock) -> None:
    """One that was frozen can neither renew nor finish: the job is another's."""
    await queue.publish(_job("a"))
    first = await _one(queue)
    clock.advance(10)
    second = await _one(queue)
    assert await queue.renew([_held(first)]) == {"a"}
    assert await queue.finish("a", first.token, Ending("done", b"stale")) is None
    assert await queue.finish("a", second.token, _DONE) is not None
    assert await queue.finish("a", first.token, Ending("done", b"stale")) is None
    assert await queue.result("a") == b"result"


async def a_job_that_is_renewed_runs_once(queue: Queue, clock: FakeClock) -> None:
    """Ten leases long, and nobody else gets it; how far it has come is seen."""
    await queue.publish(_job("a"))
    claimed = await _one(queue)
    for _ in range(40):
        clock.advance(2.5)
        assert await queue.renew([_held(claimed, 0.25, "a quarter")]) == frozenset()
        assert await queue.claim(8) == []
    record = await queue.look("a")
    assert record is not None
    assert (record.progress, record.note, record.attempts) == (0.25, "a quarter", 1)


async def a_failed_attempt_is_followed_by_another_later(queue: Queue, clock: FakeClock) -> None:
    """After half a second the next; after the last one the job is dead, with its answer kept."""
    await queue.publish(_job("a"))
    assert await queue.finish("a", (await _one(queue)).token, _FAILED) is not None
    assert await _status(queue) == ("queued", 1, "")
    assert await queue.claim(8) == []
    assert (await queue.depth())["delayed"] == 1
    clock.advance(0.5)
    ended = await queue.finish("a", (await _one(queue)).token, _FAILED)
    assert ended is not None
    assert await _status(queue) == ("dead", 2, "it failed")
    assert await queue.result("a") == b"answer"
    assert [record.id for record in await queue.dead()] == ["a"]


async def a_job_that_kills_its_workers_dies(queue: Queue, clock: FakeClock) -> None:
    """Attempts count when they are claimed; whoever claims next is told of the dead, to tell others."""
    await queue.publish(_job("a"))
    for _ in range(2):
        assert (await _one(queue)).token
        clock.advance(10)
    told = await _one(queue)
    assert (told.id, told.token, told.envelope) == ("a", "", b"envelope of a")
    assert await _status(queue) == ("dead", 2, "no worker held on to it")
    assert await queue.claim(8) == []


async def a_dead_job_can_be_tried_again(queue: Queue, clock: FakeClock) -> None:
    """Redriving gives all attempts back; only what is dead is redriven."""
    await queue.publish(_job("a", attempts=1))
    assert await queue.redrive("a") is None
    await queue.finish("a", (await _one(queue)).token, _FAILED)
    redriven = await queue.redrive("a")
    assert redriven is not None
    assert (redriven.status, redriven.attempts) == ("queued", 0)
    assert await queue.dead() == []
    assert await queue.result("a") is None
    assert (await _one(queue)).attempts == 1
    assert await queue.redrive("unknown") is None


async def a_job_given_back_is_there_at_once_and_has_lost_nothing(queue: Queue, clock: FakeClock) -> None:
    """A worker that stops in order does not cost an attempt."""
    await queue.publish(_job("a", attempts=1))
    await queue.finish("a", (await _one(queue)).token, Ending("given back"))
    claimed = await _one(queue)
    assert claimed.attempts == 1
    assert await queue.finish("a", claimed.token, _DONE) is not None


async def cancelling_ends_a_job_wherever_it_is(queue: Queue, clock: FakeClock) -> None:
    """Waiting or running; not what has ended; its worker learns of it when it renews."""
    await queue.publish(_job("waiting"))
    await queue.cancel("waiting")
    assert await queue.claim(8) == []
    await queue.publish(_job("running"))
    claimed = await _one(queue)
    cancelled = await queue.cancel("running")
    assert cancelled is not None
    assert cancelled.status == "cancelled"
    assert await queue.renew([_held(claimed)]) == {"running"}
    assert await queue.finish("running", claimed.token, _DONE) is None
    assert await queue.depth() == {"waiting": 0, "delayed": 0, "running": 0, "dead": 0}
    await queue.publish(_job("done"))
    await queue.finish("done", (await _one(queue)).token, _DONE)
    ended = await queue.cancel("done")
    assert ended is not None
    assert ended.status == "succeeded"
    assert await queue.cancel("unknown") is None


async def a_delayed_job_waits(queue: Queue, clock: FakeClock) -> None:
    """It is claimed when it is due, not before."""
    await queue.publish(_job("a", delay=5))
    assert await queue.claim(8) == []
    assert await queue.depth() == {"waiting": 0, "delayed": 1, "running": 0, "dead": 0}
    clock.advance(5)
    assert (await _one(queue)).id == "a"
    await queue.publish(_job("cancelled", delay=5))
    await queue.cancel("cancelled")
    clock.advance(6)
    assert await queue.claim(8) == []


async def a_clock_set_back_loses_nothing(queue: Queue, clock: FakeClock) -> None:
    """A job that was due is claimed, at the latest when it is due again."""
    await queue.publish(_job("a"))
    clock.advance(-5)
    claimed = await queue.claim(8)
    clock.advance(5)
    assert (claimed or await _some(queue, 1))[0].id == "a"


async def a_job_that_waited_too_long_fails(queue: Queue, clock: FakeClock) -> None:
    """Past `expires` it is not begun; whoever finds it is told."""
    await queue.publish(_job("a"))
    clock.advance(1000)
    told = await _one(queue)
    assert (told.id, told.token) == ("a", "")
    assert await _status(queue) == ("failed", 0, "its time was over")


async def owners_take_turns(queue: Queue, clock: FakeClock) -> None:
    """One who has published a hundred does not make another wait for all of them."""
    for number in range(5):
        await queue.publish(_job(f"a{number}", owner="ali"))
    await queue.publish(_job("b0", owner="bob"))
    await queue.publish(_job("c0", owner="cho"))
    assert [each.id for each in await queue.claim(4)] == ["a0", "b0", "c0", "a1"]
    assert [each.id for each in await queue.claim(4)] == ["a2", "a3", "a4"]


async def nothing_is_known_of_what_never_was(queue: Queue, clock: FakeClock) -> None:
    """An unknown id has no record, no result, no end."""
    assert await queue.look("a") is None
    assert await queue.result("a") is None
    assert await queue.finish("a", "token", _DONE) is None
    assert await queue.renew([Held("a", "token", 1)]) == {"a"}


async def ids_and_texts_may_be_any(queue: Queue, clock: FakeClock) -> None:
    """Bytes of an envelope and words of a reason come back as they were."""
    odd = _job("a")._replace(envelope=bytes(range(256)), owner="a b:{c}", endpoint="mount:ünï")
    await queue.publish(odd)
    claimed = await _one(queue)
    assert claimed.envelope == bytes(range(256))
    await queue.renew([_held(claimed, 0.1, "größer\r\n")])
    record = await queue.look("a")
    assert record is not None
    assert (record.owner, record.endpoint, record.note) == ("a b:{c}", "mount:ünï", "größer\r\n")


_PROMISES: tuple[Promise, ...] = (
    a_job_is_published_claimed_and_finished_once,
    the_same_id_is_created_once,
    a_full_queue_says_so,
    a_job_that_nobody_holds_is_claimed_again,
    a_late_worker_changes_nothing,
    a_job_that_is_renewed_runs_once,
    a_failed_attempt_is_followed_by_another_later,
    a_job_that_kills_its_workers_dies,
    a_dead_job_can_be_tried_again,
    a_job_given_back_is_there_at_once_and_has_lost_nothing,
    cancelling_ends_a_job_wherever_it_is,
    a_delayed_job_waits,
    a_clock_set_back_loses_nothing,
    a_job_that_waited_too_long_fails,
    owners_take_turns,
    nothing_is_known_of_what_never_was,
    ids_and_texts_may_be_any,
)
