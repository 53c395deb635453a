"""The store's client beside redis-py: the same script, the same keys, at 1, 8 and 64 tasks."""

import itertools
import struct

import redis.asyncio

from benchmarks import ours, server_time
from benchmarks.bench import Bench
from benchmarks.harness import Work
from benchmarks.results import Table
from forecourt.stores.contract import Question
from forecourt.stores.opening import store_at
from forecourt.stores.redis.client import Client, Script
from forecourt.stores.scripts import compose_decision
from forecourt.types import SystemClock

TITLE = "The store's client"
ABOUT = (
    "CPU of this process per decision of one token bucket. redis-py calls the very script that forecourt "
    "composes, by EVALSHA with decoding off, as its README does it: one client over its connection pool. The "
    "whole store is what the stack uses: the client under failure policies and local holds, with keys and "
    "arguments laid out and the answer read."
)
_TASKS = (1, 8, 64)
_CALLERS = 1000
_TURN = 0.04


async def run(bench: Bench) -> list[Table]:
    """Measure both at each number of tasks."""
    url = bench.server.url
    client = redis.asyncio.Redis.from_url(url)
    kind, args = ours.admitting()[0].operation()
    source = compose_decision((kind,))
    sha, script = await client.script_load(source), Script(source)
    packed, went = struct.pack(f"<{len(args)}q", *args), struct.pack("<q", 1)
    keys = [f"bench:{number}" for number in range(_CALLERS)]
    store, wire = store_at(url, SystemClock()), Client(url)
    await store.open()
    await wire.open()
    callers = itertools.cycle(keys)
    degraded = {True: 0, False: 0}

    async def decide() -> None:
        (answer,) = await store.decide([Question(kind, f"store:{next(callers)}", args)])
        degraded[answer.degraded] += 1
        if answer.verdict != "go":
            raise RuntimeError(f"the store answered {answer}")

    async def evalsha() -> None:
        answer = await client.evalsha(sha, 1, f"redis-py:{next(callers)}", packed)
        if not answer.startswith(went):
            raise RuntimeError(f"the script answered {answer}")

    async def run_script() -> None:
        answer = await wire.run(script, [f"client:{next(callers)}"], [packed])
        if not isinstance(answer, bytes) or not answer.startswith(went):
            raise RuntimeError(f"the script answered {answer!r}")

    works = [
        Work("redis-py EVALSHA", evalsha, "redis.asyncio.Redis.from_url(url).evalsha(…), hiredis parser"),
        Work("forecourt, the client", run_script, "Client(url).run(script, keys, args)", "ours"),
        Work("forecourt, the whole store", decide, "store_at(url).decide([question])", "ours"),
    ]
    tables = []
    for tasks in _TASKS:
        # Long turns: what is compared is a process at work, not the start of its tasks.
        plan = bench.plan if tasks == 1 else bench.plan._replace(seconds=_TURN)
        rows = await bench.measure_works(f"{tasks} tasks", works, tasks=tasks, plan=plan)
        title = f"{tasks} {'task' if tasks == 1 else 'tasks'} at a time"
        tables.append(Table(f"tasks_{tasks}", title, rows, reference=works[0].name, by="cpu"))
    bench.say("time of the server")
    tables.append(await server_time.table(bench.server, rounds=3 if bench.quick else 8))
    tables.append(server_time.memory(bench.server))
    if degraded[True] > degraded[False] / 100:
        raise RuntimeError(f"{degraded[True]} of {sum(degraded.values())} decisions were not the server's")
    await store.close()
    await wire.close()
    await client.aclose()
    return tables
