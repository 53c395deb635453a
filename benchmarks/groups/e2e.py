"""Requests per second through real servers: bare, a typical assembly, the stack in memory, on Valkey, and a hit."""

import asyncio
import random

from benchmarks.bench import Bench
from benchmarks.e2e.apps import APPS
from benchmarks.e2e.loads import CONNECTIONS, generator, load
from benchmarks.e2e.servers import serving
from benchmarks.peers.auth import pyjwt
from benchmarks.results import Row, Side, Table

TITLE = "End to end"
ABOUT = (
    f"uvicorn (uvloop, httptools) and granian (uvloop) on loopback, {CONNECTIONS} connections, load by "
    f"{generator()}; all servers of a table run at the same time and are loaded in turns. Load generator, "
    "server and Valkey share the machine's cores, so figures with 2 workers on 2 cores say little about "
    "scaling. The ratio is the share of FastAPI's own throughput that is kept. The assembly is the one "
    "without a cache; forecourt has a flood guard, three limits, metrics and the access log; the hit is answered by "
    "the process's own tier, behind the same."
)
MISSING: list[str] = []

_SIDES: dict[str, Side] = {"bare ASGI": "base", "FastAPI alone": "base", "typical assembly": "peer"}


async def run(bench: Bench) -> list[Table]:
    """Measure each server with 1 and 2 workers."""
    tables = []
    for server in ("uvicorn", "granian"):
        for workers in (1, 2):
            bench.say(f"{server}, {workers} worker{'s' * (workers > 1)}")
            rows = await asyncio.to_thread(_rows, bench, server, workers)
            title = f"{server}, {workers} worker{'s' * (workers > 1)}"
            tables.append(
                Table(f"{server}_{workers}", title, rows, unit="req/s", reference="FastAPI alone", better="more")
            )
    return tables


def _rows(bench: Bench, server: str, workers: int) -> list[Row]:
    quick = (2 if workers == 1 else 1, 0.5)  # of several workers on the load's own cores there is less to say
    rounds, seconds = quick if bench.quick else (4, 3)
    headers = pyjwt().headers
    order = random.Random(1)
    seen: dict[str, list[float]] = {name: [] for name in APPS}
    p99: dict[str, float] = dict.fromkeys(APPS, 0.0)
    with serving(server, list(APPS), workers, bench.server.url) as addresses:
        for _ in range(rounds):
            for name in order.sample(list(addresses), len(addresses)):
                shown = load(addresses[name], seconds, headers)
                if shown.bad:
                    raise RuntimeError(f"{name}: {shown.bad} answers were not 200")
                seen[name].append(shown.per_second)
                p99[name] = max(p99[name], shown.p99)
    return [
        Row(name, [round(each, 1) for each in figures], side=_SIDES.get(name, "ours"), p99=round(p99[name]))
        for name, figures in seen.items()
    ]
