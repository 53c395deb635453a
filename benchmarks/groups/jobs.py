"""Jobs beside their peers, on one Valkey: what a publication takes, and how many a worker runs in a second."""

import random
from contextlib import AsyncExitStack

from benchmarks.bench import Bench
from benchmarks.harness import Work
from benchmarks.peers.queues import CONCURRENCY, QUEUES, Peer
from benchmarks.results import Row, Side, Table

TITLE = "Jobs"
ABOUT = (
    f"A job that does nothing, on one Valkey. A worker runs {CONCURRENCY} at a time, in the benchmark's process; its "
    "rate is taken from the first job it runs to the last, of a queue that was filled before. Results are kept. A job "
    "of forecourt's is a signed HTTP request, and goes through the app's router to a Starlette handler; the peers call "
    "a function."
)


async def run(bench: Bench) -> list[Table]:
    """Measure both tables; each rate is a round, in another order each time."""
    jobs, rounds = (400, 2) if bench.quick else (2000, 4)
    async with AsyncExitStack() as opened:
        peers = [await opened.enter_async_context(each(bench.server.url)) for each in QUEUES]
        rates: dict[str, list[float]] = {peer.name: [] for peer in peers}
        order = random.Random(1)
        for number in range(rounds):
            bench.say(f"rates, {number + 1} of {rounds}")
            for peer in order.sample(peers, len(peers)):
                rates[peer.name].append(round(await peer.drain(jobs), 1))
        works = [Work(peer.name, peer.publish, peer.config, _side(peer)) for peer in peers]
        published = await bench.measure_works("publications", works)

        at_once = await bench.measure_works("publications, 32 at a time", works, tasks=32)
    rows = [Row(peer.name, rates[peer.name], peer.config, _side(peer)) for peer in peers]
    return [
        Table("publish", "Publish a job, one at a time", published),
        Table("publish_32", "Publish jobs, 32 at a time", at_once),
        Table("rate", "Jobs a second of one worker", rows, unit="jobs/s", better="more"),
    ]


def _side(peer: Peer) -> Side:
    return "ours" if peer.name == "forecourt" else "peer"
