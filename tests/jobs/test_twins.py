"""The queue in memory and the one on Valkey do the same, whatever happens to them in which order."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forecourt.errors import StoreOverloaded
from forecourt.jobs.queue import Claimed, Ending, Held, NewJob, Queue
from forecourt.testing import FakeClock
from forecourt.types import SECOND
from tests.core.bench import examples
from tests.jobs.queues import job, opened
from tests.servers import Valkey

NAMES = ["a", "b", "c", "d"]
ENDINGS = [Ending("done", b"r"), Ending("failed", b"x", "why"), Ending("failed", b"", "why"), Ending("given back")]
FOREVER = 10**9 * SECOND
"""Valkey forgets by its own clock: by the test's, which it is given here, nothing of it expires."""

Step = tuple[str, int, int]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["publish", "publish", "claim", "claim", "finish", "finish", "renew", "cancel", "redrive", "pass"]
        ),
        st.integers(0, 3),
        st.integers(0, 3),
    ),
    max_size=40,
)


def made(number: int, kind: int) -> NewJob:
    """Build one of a few jobs: of two owners, with one or two attempts, some delayed, in a queue for three."""
    return job(NAMES[number], "ali" if number % 2 else "bob", attempts=1 + kind % 2, delay=3 * (kind // 2), most=3)


class Driven:
    """One queue, driven by steps; what it answers is told without its random tokens. `ttl` in µs (None: the job's)."""

    def __init__(self, queue: Queue, clock: FakeClock, ttl: int | None = None) -> None:
        self.queue = queue
        self.ttl = ttl
        self.clock = clock
        self.claims: list[Claimed] = []

    async def step(self, step: Step) -> object:
        """Take one step and return what is to be the same."""
        what, first, second = step
        name = NAMES[first]
        if what == "publish":
            try:
                job = made(first, second)
                published = await self.queue.publish(job if self.ttl is None else job._replace(ttl=self.ttl))
            except StoreOverloaded:
                return "full"
            return published
        if what == "claim":
            claims = await self.queue.claim(second)
            self.claims += [each for each in claims if each.token]
            return [(each.id, bool(each.token), each.attempts, each.envelope) for each in claims]
        if what == "pass":
            self.clock.advance([0.25, 1, 9, 1000][first])
            return None
        if what == "cancel":
            return await self.queue.cancel(name)
        if what == "redrive":
            return await self.queue.redrive(name)
        if not self.claims:
            return None
        claim = self.claims[(first + second) % len(self.claims)]
        if what == "renew":
            return await self.queue.renew([Held(claim.id, claim.token, claim.lease, first / 4, name)])
        return await self.queue.finish(claim.id, claim.token, ENDINGS[second])

    async def seen(self) -> object:
        """Return all that can be seen."""
        records = [await self.queue.look(name) for name in NAMES]
        results = [await self.queue.result(name) for name in NAMES]
        return records, results, await self.queue.depth(), {record.id for record in await self.queue.dead()}


@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
async def test_the_two_queues_never_differ(steps: list[Step], valkey: Valkey) -> None:
    """After any history both have answered the same and show the same."""
    valkey.ask("FLUSHALL")
    await same(steps, valkey.unix_url, ttl=FOREVER)


@settings(max_examples=examples(60), deadline=None)
@given(steps=STEPS)
async def test_the_queue_in_a_file_never_differs(steps: list[Step]) -> None:
    """Nor does the one in a file."""
    await same(steps, "sqlite:///:memory:")


async def same(steps: list[Step], url: str, ttl: int | None = None) -> None:
    """Drive the queue in memory and another one by the same steps, over jobs that are kept for `ttl` once they end."""
    here, there = FakeClock(), FakeClock()
    async with opened("memory://", here) as memory, opened(url, there) as server:
        one, other = Driven(memory, here, ttl), Driven(server, there, ttl)
        for step in steps:
            assert (step, await one.step(step)) == (step, await other.step(step))
            if step[0] == "claim":
                assert (step, await one.seen()) == (step, await other.seen())
