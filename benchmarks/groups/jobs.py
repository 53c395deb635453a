"""Jobs beside their peers, on one Valkey: what a publication takes, and how many a worker runs in a second."""

import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any

from benchmarks.bench import Bench
from benchmarks.harness import Work
from benchmarks.peers.queues import CONCURRENCY, QUEUES, Peer
from benchmarks.results import Row, Side, Table

TITLE = "Jobs"
CALLERS = 32
ABOUT = (
    f"A job that does nothing, on one Valkey. A worker runs {CONCURRENCY} at a time, in the benchmark's process; its "
    "rate is taken from the first job it runs to the last, of a queue that was filled before. Results are kept. A job "
    "of forecourt's is a signed HTTP request, and goes through the app's router to a Starlette handler; the peers call "
    "a function. Rates of publishing are those of some hundred publications in a row, by one caller and by "
    f"{CALLERS}; the time of one is that between other work, of a few calls in a turn as everywhere on this page."
)


async def run(bench: Bench) -> list[Table]:
    """Measure all tables; each rate is a round, in another order each time."""
    jobs, rounds = (400, 2) if bench.quick else (2000, 4)
    async with AsyncExitStack() as opened:
        peers = [await opened.enter_async_context(each(bench.server.url)) for each in QUEUES]

        async def drain(peer: Peer) -> float:
            return await peer.drain(jobs)

        async def by_one(peer: Peer) -> float:
            return await peer.publish_all(jobs, 1)

        async def by_many(peer: Peer) -> float:
            return await peer.publish_all(jobs * 2, CALLERS)

        drained = await _rates(bench, "rates", peers, drain, rounds)
        alone = await _rates(bench, "publications, one caller", peers, by_one, rounds + 3)
        many = await _rates(bench, f"publications, {CALLERS} callers", peers, by_many, rounds + 3)
        works = [Work(peer.name, peer.publish, peer.config, _side(peer)) for peer in peers]
        published = await bench.measure_works("publication", works)
    rates: dict[str, Any] = {"unit": "jobs/s", "better": "more"}
    return [
        Table("publish_1", "Publications a second, one caller", alone, **rates),
        Table("publish_32", f"Publications a second, {CALLERS} callers", many, **rates),
        Table("publish", "Publish one job, between other work", published),
        Table("rate", "Jobs a second of one worker", drained, **rates),
    ]


async def _rates(
    bench: Bench, what: str, peers: Sequence[Peer], rate: Callable[[Peer], Awaitable[float]], rounds: int
) -> list[Row]:
    """Measure one rate of every peer in each round, in another order each time."""
    order = random.Random(1)
    found: dict[str, list[float]] = {peer.name: [] for peer in peers}
    bench.say(f"{what}: {rounds} rounds")
    for _ in range(rounds):
        for peer in order.sample(peers, len(peers)):
            found[peer.name].append(round(await rate(peer), 1))
    return [Row(peer.name, found[peer.name], peer.config, _side(peer)) for peer in peers]


def _side(peer: Peer) -> Side:
    return "ours" if peer.name == "forecourt" else "peer"
