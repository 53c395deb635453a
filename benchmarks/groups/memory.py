"""What a caller's state weighs, in memory and on Valkey, and that it does not grow without bound."""

import asyncio
import gc
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any

import limits as limits_lib
import limits.aio.storage
import limits.aio.strategies
import redis.asyncio
from fastapi_alcazaba import Cache
from fastapi_alcazaba.backends.inmemory import InMemoryBackend
from fastapi_alcazaba.backends.redis import RedisBackend
from throttled.asyncio import RateLimiterType, Throttled
from throttled.asyncio import store as throttled_stores

from benchmarks import ours
from benchmarks.apps import bare
from benchmarks.bench import Bench
from benchmarks.calls import ASGIApp, lifespan
from benchmarks.results import Row, Side, Table
from forecourt import FixedWindow, SlidingWindow, StoreOverloaded, TokenBucket
from forecourt.stores.contract import Question
from forecourt.stores.memory import MemoryStore

TITLE = "Memory"
ABOUT = (
    "Bytes per live caller, each of whom has called once: in memory by tracemalloc after a collection, on "
    "Valkey by used_memory. forecourt is measured through the whole stack on a bare ASGI app, peers by "
    "calling their limiters, a limit of 100 an hour. Then a million distinct callers (50,000 with --quick), "
    "10,000 a second by a clock that is set, ask forecourt's memory store."
)
MISSING = [
    "throttled-py in memory: its store keeps 1,024 keys by default and drops the others, live or not.",
    "pyrate-limiter and fastapi-limiter: one bucket for all callers as their READMEs use them, so nothing per caller.",
]

Ask = Callable[[str], Awaitable[object]]
Make = Callable[[], AbstractAsyncContextManager[Ask]]
_LIMIT = (100, 3600)


async def run(bench: Bench) -> list[Table]:
    """Measure all tables."""
    number = 2_000 if bench.quick else 20_000
    bench.say(f"bytes per caller, {number:,} callers")
    in_memory = [await _weigh_here(name, side, make, number) for name, side, make in _contenders(None)]
    url = bench.server.url
    on_server = [await _weigh_there(bench, name, side, make, number) for name, side, make in _contenders(url)]
    callers = 50_000 if bench.quick else 1_000_000
    bench.say(f"{callers:,} callers")
    return [
        Table("memory", "Bytes per caller, in memory", in_memory, unit="bytes"),
        Table("valkey", "Bytes per caller, on Valkey", on_server, unit="bytes"),
        await _growth(callers),
        await _full(callers),
    ]


async def _weigh_here(name: str, side: Side, make: Make, number: int) -> Row:
    async with make() as ask:
        await _warm(ask)
        gc.collect()
        tracemalloc.start()
        await _all(ask, number)
        gc.collect()
        used, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    return Row(name, [round(used / number, 1)], side=side)


async def _weigh_there(bench: Bench, name: str, side: Side, make: Make, number: int) -> Row:
    async with make() as ask:
        await _warm(ask)
        before = bench.server.memory()
        await _all(ask, number)
        used = bench.server.memory() - before
    return Row(name, [round(used / number, 1)], side=side)


async def _warm(ask: Ask) -> None:
    for at in range(100):
        await ask(f"10.250.0.{at}")


async def _all(ask: Ask, number: int) -> None:
    for at in range(number):
        await ask(f"10.{at >> 16}.{at >> 8 & 255}.{at & 255}")


def _contenders(url: str | None) -> list[tuple[str, Side, Make]]:
    count, seconds = _LIMIT
    mine = {
        "token bucket": TokenBucket(max_tokens=count, refill_rate=count / seconds),
        "fixed window": FixedWindow(limit=count, window=seconds),
        "sliding window": SlidingWindow(limit=count, window=seconds),
    }
    peers = ("FixedWindowRateLimiter", "MovingWindowRateLimiter", "SlidingWindowCounterRateLimiter")
    found: list[tuple[str, Side, Make]] = [
        (f"forecourt, {name}", "ours", partial(_stack, limit, url)) for name, limit in mine.items()
    ]
    found += [(f"limits, {name}", "peer", partial(_limits, name, url)) for name in peers]
    if url:
        found.append(("throttled-py, GCRA", "peer", partial(_throttled, url)))
    return [*found, ("fastapi-alcazaba", "peer", partial(_alcazaba, url))]


@asynccontextmanager
async def _stack(limit: Any, url: str | None) -> AsyncIterator[Ask]:
    app: ASGIApp = ours.protected(ours.config(limit, url, routes={"any": "GET /"}, namespace=limit.type), bare())
    state: dict[str, object] = {}
    scope: dict[str, Any] = {
        "type": "http",
        "method": "GET",
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
        "headers": [],
    }
    scope |= {"asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http", "root_path": "", "server": None}

    async def ask(address: str) -> None:
        await app({**scope, "client": (address, 1), "state": state.copy()}, asyncio.Event().wait, _ignore)  # type: ignore[arg-type]  # never asked

    async with lifespan(app, state):
        yield ask


async def _ignore(_message: Any) -> None:
    pass


@asynccontextmanager
async def _limits(strategy: str, url: str | None) -> AsyncIterator[Ask]:
    if url:
        storage: Any = limits.aio.storage.RedisStorage(f"async+{url}", implementation="redispy", key_prefix=strategy)
    else:
        storage = limits.aio.storage.MemoryStorage()
    limiter = getattr(limits.aio.strategies, strategy)(storage)
    item = limits_lib.parse("100/hour")
    yield lambda address: limiter.hit(item, "get_record", address)


@asynccontextmanager
async def _throttled(url: str) -> AsyncIterator[Ask]:
    store = throttled_stores.RedisStore(server=url)
    throttle = Throttled(using=RateLimiterType.GCRA.value, quota="100/h", store=store)
    yield lambda address: throttle.limit(f"get_record:{address}")


@asynccontextmanager
async def _alcazaba(url: str | None) -> AsyncIterator[Ask]:
    from fastapi import Request
    from fastapi_alcazaba.limiter import FastAPIRateLimiter

    backend = RedisBackend(redis.asyncio.Redis.from_url(url)) if url else InMemoryBackend(max_size=None)
    limiter = FastAPIRateLimiter(times=100, hours=1, name="get_record", cache=Cache(backend, prefix="memory"))
    scope: dict[str, Any] = {"type": "http", "method": "GET", "path": "/", "headers": [], "query_string": b""}
    yield lambda address: limiter.hit(Request({**scope, "client": (address, 1)}), key=address)


class _SetClock:
    """A clock that goes as fast as callers come."""

    def __init__(self) -> None:
        self.time = 1_700_000_000_000_000

    def now(self) -> int:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.time += int(seconds * 1_000_000)


async def _growth(callers: int) -> Table:
    """Count entries while a bucket is full again so soon that a tenth of the callers are live at any time."""
    clock = _SetClock()
    store = MemoryStore(clock)
    kind, args = TokenBucket(max_tokens=1, refill_rate=100_000 / callers).operation()
    rows = []
    for at in range(1, callers + 1):
        clock.time += 100
        await store.decide([Question(kind, f"caller:{at}", args)])
        if at in (callers // 10, callers // 5, callers // 2, callers):
            rows.append(Row(f"after {at:,} callers", [float(len(store))], side="ours"))
    about = f"{callers // 10:,} callers are live at any time; expired ones are swept a few per call."
    return Table("growth", "Entries in memory, callers who do not come back", rows, unit="entries", about=about)


async def _full(callers: int) -> Table:
    """Count entries while nobody's bucket is full again within the run, and the store may keep a tenth of them."""
    clock = _SetClock()
    store = MemoryStore(clock, max_keys=callers // 10)
    kind, args = TokenBucket(max_tokens=1, refill_rate=0.001).operation()
    refused, rows = 0, []
    for at in range(1, callers + 1):
        clock.time += 100
        try:
            await store.decide([Question(kind, f"caller:{at}", args)])
        except StoreOverloaded:
            refused += 1
        if at in (callers // 10, callers):
            note = f"{refused:,} were refused"
            rows.append(Row(f"after {at:,} callers", [float(len(store))], side="ours", note=note))
    about = (
        f"A store of at most {callers // 10:,} keys, and callers who stay live: new ones are refused as overload (503)."
    )
    return Table("full", "Entries in memory, all live", rows, unit="entries", about=about, chart=False)
