"""What every queue promises, on each kind of queue."""

from collections.abc import AsyncIterator

import pytest

from forecourt.errors import StoreOverloaded
from forecourt.jobs.queue import Claimed, Ending, Held, Queue
from forecourt.testing import FakeClock
from tests.jobs.queues import job, opened
from tests.servers import Cluster, Valkey

DONE = Ending("done", b"result")
FAILED = Ending("failed", b"answer", "it failed")


@pytest.fixture
def clock() -> FakeClock:
    """The time of the queue."""
    return FakeClock()


@pytest.fixture(params=["memory", "valkey", "cluster"])
async def queue(request: pytest.FixtureRequest, clock: FakeClock) -> AsyncIterator[Queue]:
    """An empty queue of each kind."""
    url = "memory://"
    if request.param == "valkey":
        valkey: Valkey = request.getfixturevalue("valkey")
        url = valkey.url
    elif request.param == "cluster":
        cluster: Cluster = request.getfixturevalue("valkey_cluster")
        url = cluster.url
    async with opened(url, clock) as each:
        yield each


async def one(queue: Queue) -> Claimed:
    """Claim the one job that there is."""
    (claimed,) = await queue.claim(8)
    return claimed


def held(claimed: Claimed, progress: float = -1, note: str = "") -> Held:
    """Hold on to what was claimed."""
    return Held(claimed.id, claimed.token, claimed.lease, progress, note)


async def status(queue: Queue, name: str = "a") -> tuple[str, int, str] | None:
    """Return the job's status, its attempts, and why it ended."""
    record = await queue.look(name)
    return (record.status, record.attempts, record.reason) if record else None


async def test_a_job_is_published_claimed_and_finished_once(queue: Queue) -> None:
    """What was published comes out as it was; its result is there; nobody gets it again."""
    published = await queue.publish(job("a"))
    assert (published.created, published.record.status, published.record.owner) == (True, "queued", "ali")
    claimed = await one(queue)
    assert (claimed.id, claimed.attempts, claimed.envelope) == ("a", 1, b"envelope of a")
    assert await queue.claim(8) == []
    ended = await queue.finish("a", claimed.token, DONE)
    assert ended is not None
    assert (ended.status, ended.ended) == ("succeeded", True)
    assert await queue.result("a") == b"result"
    assert await queue.finish("a", claimed.token, DONE) is None
    assert await queue.depth() == {"waiting": 0, "delayed": 0, "running": 0, "dead": 0}


async def test_the_same_id_is_created_once(queue: Queue) -> None:
    """A second publication changes nothing, and says what there is."""
    await queue.publish(job("a"))
    again = await queue.publish(job("a", owner="bob"))
    assert (again.created, again.record.owner, again.record.fingerprint) == (False, "ali", "print of a")
    assert len(await queue.claim(8)) == 1


async def test_a_full_queue_says_so(queue: Queue, clock: FakeClock) -> None:
    """Waiting, delayed and running jobs count; what has ended does not, nor what is known already."""
    await queue.publish(job("a", most=2))
    claimed = await one(queue)
    await queue.publish(job("b", most=2, delay=5))
    with pytest.raises(StoreOverloaded):
        await queue.publish(job("c", most=2))
    assert await queue.look("c") is None
    assert not (await queue.publish(job("b", most=2))).created
    await queue.finish("a", claimed.token, DONE)
    assert (await queue.publish(job("c", most=2))).created


async def test_a_job_that_nobody_holds_is_claimed_again(queue: Queue, clock: FakeClock) -> None:
    """A worker that died loses its job when the lease ends, not before; nothing else need happen."""
    await queue.publish(job("a"))
    first = await one(queue)
    clock.advance(9.999999)
    assert await queue.claim(8) == []
    clock.advance(0.000001)
    second = await one(queue)
    assert (second.attempts, second.token != first.token) == (2, True)


async def test_a_late_worker_changes_nothing(queue: Queue, clock: FakeClock) -> None:
    """One that was frozen can neither renew nor finish: the job is another's."""
    await queue.publish(job("a"))
    first = await one(queue)
    clock.advance(10)
    second = await one(queue)
    assert await queue.renew([held(first)]) == {"a"}
    assert await queue.finish("a", first.token, Ending("done", b"stale")) is None
    assert await queue.finish("a", second.token, DONE) is not None
    assert await queue.finish("a", first.token, Ending("done", b"stale")) is None
    assert await queue.result("a") == b"result"


async def test_a_job_that_is_renewed_runs_once(queue: Queue, clock: FakeClock) -> None:
    """Ten leases long, and nobody else gets it; how far it has come is seen."""
    await queue.publish(job("a"))
    claimed = await one(queue)
    for _ in range(40):
        clock.advance(2.5)
        assert await queue.renew([held(claimed, 0.25, "a quarter")]) == frozenset()
        assert await queue.claim(8) == []
    record = await queue.look("a")
    assert record is not None
    assert (record.progress, record.note, record.attempts) == (0.25, "a quarter", 1)


async def test_a_failed_attempt_is_followed_by_another_later(queue: Queue, clock: FakeClock) -> None:
    """After half a second the next; after the last one the job is dead, with its answer kept."""
    await queue.publish(job("a"))
    assert await queue.finish("a", (await one(queue)).token, FAILED) is not None
    assert await status(queue) == ("queued", 1, "")
    assert await queue.claim(8) == []
    assert (await queue.depth())["delayed"] == 1
    clock.advance(0.5)
    ended = await queue.finish("a", (await one(queue)).token, FAILED)
    assert ended is not None
    assert await status(queue) == ("dead", 2, "it failed")
    assert await queue.result("a") == b"answer"
    assert [record.id for record in await queue.dead()] == ["a"]


async def test_a_job_that_kills_its_workers_dies(queue: Queue, clock: FakeClock) -> None:
    """Attempts count when they are claimed; whoever claims next is told of the dead, to tell others."""
    await queue.publish(job("a"))
    for _ in range(2):
        assert (await one(queue)).token
        clock.advance(10)
    told = await one(queue)
    assert (told.id, told.token, told.envelope) == ("a", "", b"envelope of a")
    assert await status(queue) == ("dead", 2, "no worker held on to it")
    assert await queue.claim(8) == []


async def test_a_dead_job_can_be_tried_again(queue: Queue, clock: FakeClock) -> None:
    """Redriving gives all attempts back; only what is dead is redriven."""
    await queue.publish(job("a", attempts=1))
    assert await queue.redrive("a") is None
    await queue.finish("a", (await one(queue)).token, FAILED)
    redriven = await queue.redrive("a")
    assert redriven is not None
    assert (redriven.status, redriven.attempts) == ("queued", 0)
    assert await queue.dead() == []
    assert await queue.result("a") is None
    assert (await one(queue)).attempts == 1
    assert await queue.redrive("unknown") is None


async def test_a_job_given_back_is_there_at_once_and_has_lost_nothing(queue: Queue) -> None:
    """A worker that stops in order does not cost an attempt."""
    await queue.publish(job("a", attempts=1))
    await queue.finish("a", (await one(queue)).token, Ending("given back"))
    claimed = await one(queue)
    assert claimed.attempts == 1
    assert await queue.finish("a", claimed.token, DONE) is not None


async def test_cancelling_ends_a_job_wherever_it_is(queue: Queue, clock: FakeClock) -> None:
    """Waiting, delayed or running; not what has ended; its worker learns of it when it renews."""
    await queue.publish(job("waiting"))
    await queue.cancel("waiting")
    await queue.publish(job("delayed", delay=5))
    await queue.cancel("delayed")
    clock.advance(6)
    assert await queue.claim(8) == []
    await queue.publish(job("running"))
    claimed = await one(queue)
    cancelled = await queue.cancel("running")
    assert cancelled is not None
    assert cancelled.status == "cancelled"
    assert await queue.renew([held(claimed)]) == {"running"}
    assert await queue.finish("running", claimed.token, DONE) is None
    assert await queue.depth() == {"waiting": 0, "delayed": 0, "running": 0, "dead": 0}
    await queue.publish(job("done"))
    await queue.finish("done", (await one(queue)).token, DONE)
    ended = await queue.cancel("done")
    assert ended is not None
    assert ended.status == "succeeded"
    assert await queue.cancel("unknown") is None


async def test_a_delayed_job_waits(queue: Queue, clock: FakeClock) -> None:
    """It is claimed when it is due, not before."""
    await queue.publish(job("a", delay=5))
    assert await queue.claim(8) == []
    assert await queue.depth() == {"waiting": 0, "delayed": 1, "running": 0, "dead": 0}
    clock.advance(5)
    assert (await one(queue)).id == "a"


async def test_a_job_that_waited_too_long_fails(queue: Queue, clock: FakeClock) -> None:
    """Past `expires` it is not begun; whoever finds it is told."""
    await queue.publish(job("a"))
    clock.advance(1000)
    told = await one(queue)
    assert (told.id, told.token) == ("a", "")
    assert await status(queue) == ("failed", 0, "its time was over")


async def test_owners_take_turns(queue: Queue) -> None:
    """One who has published a hundred does not make another wait for all of them."""
    for number in range(5):
        await queue.publish(job(f"a{number}", owner="ali"))
    await queue.publish(job("b0", owner="bob"))
    await queue.publish(job("c0", owner="cho"))
    assert [each.id for each in await queue.claim(4)] == ["a0", "b0", "c0", "a1"]
    assert [each.id for each in await queue.claim(4)] == ["a2", "a3", "a4"]


async def test_nothing_is_known_of_what_never_was(queue: Queue) -> None:
    """An unknown id has no record, no result, no end."""
    assert await queue.look("a") is None
    assert await queue.result("a") is None
    assert await queue.finish("a", "token", DONE) is None
    assert await queue.renew([Held("a", "token", 1)]) == {"a"}


async def test_ids_and_texts_may_be_any(queue: Queue) -> None:
    """Bytes of an envelope and words of a reason come back as they were."""
    odd = job("a")._replace(envelope=bytes(range(256)), owner="a b:{c}", endpoint="mount:ünï")
    await queue.publish(odd)
    claimed = await one(queue)
    assert claimed.envelope == bytes(range(256))
    await queue.renew([held(claimed, 0.1, "größer\r\n")])
    record = await queue.look("a")
    assert record is not None
    assert (record.owner, record.endpoint, record.note) == ("a b:{c}", "mount:ünï", "größer\r\n")
