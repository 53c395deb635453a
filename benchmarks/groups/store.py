"""The store's client beside redis-py: the same script, the same keys, at 1, 8 and 64 tasks."""

import itertools

import redis.asyncio
from forecourt.stores.contract import Question
from forecourt.stores.opening import store_at
from forecourt.stores.scripts import compose
from forecourt.types import SystemClock

from benchmarks import ours
from benchmarks.bench import Bench
from benchmarks.harness import Work
from benchmarks.results import Table

TITLE = "The store's client"
ABOUT = (
    "CPU of this process per decision of one token bucket. redis-py calls the very script that forecourt composes, by "
    "EVALSHA with decoding off, as its README does it: one client over its connection pool. forecourt's figure is of the "
    "whole store as the stack uses it: failure policies, local holds, composing, deadline, parsing the answer."
)
_TASKS = (1, 8, 64)
_CALLERS = 1000


async def run(bench: Bench) -> list[Table]:
    """Measure both at each number of tasks."""
    url = bench.server.url
    client = redis.asyncio.Redis.from_url(url)
    script = await client.script_load(compose(("token_bucket",)))
    kind, args = ours.admitting()[0].operation()
    keys = [f"bench:{number}" for number in range(_CALLERS)]
    store = store_at(url, SystemClock())
    await store.open()
    mine, theirs = itertools.cycle(keys), itertools.cycle(keys)

    async def decide() -> None:
        (answer,) = await store.decide([Question(kind, f"ours:{next(mine)}", args)])
        if answer.verdict != "go" or answer.degraded:
            raise RuntimeError(f"the store answered {answer}")

    async def evalsha() -> None:
        answer = await client.evalsha(script, 1, f"theirs:{next(theirs)}", *args)
        if answer[0] != 1:
            raise RuntimeError(f"the script answered {answer}")

    works = [
        Work("redis-py EVALSHA", evalsha, "redis.asyncio.Redis.from_url(url).evalsha(…), hiredis parser"),
        Work("forecourt's client", decide, "store_at(url).decide([…])", "ours"),
    ]
    tables = []
    for tasks in _TASKS:
        rows = await bench.measure_works(f"{tasks} tasks", works, tasks=tasks)
        title = f"{tasks} {'task' if tasks == 1 else 'tasks'} at a time"
        tables.append(Table(f"tasks_{tasks}", title, rows, reference=works[0].name, by="cpu"))
    await store.close()
    await client.aclose()
    return tables
