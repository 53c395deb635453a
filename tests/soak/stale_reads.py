"""Reads race invalidations while connections are cut: none is stale in the store or where it was made invalid.

Anywhere else none finds what was invalid more than 50 ms ago.

    python -m tests.soak.stale_reads [SECONDS]

Several stacks, as processes have them, stand over one server, each behind a proxy of its own: all that a stack knows
of others' invalidations, the log, comes through that connection. One stack writes; all of them read; handlers take
2 ms, and now and then longer than the log is believed, so that answers are on their way whenever something is made
invalid. Each connection is cut again and again, at moments of its own: let back in at once, refused for a while, or
left open without replies and then cut; the server is stalled too. Writes go on meanwhile.

A record is a number that a write raises. What a read must find at least:

- in the stack that wrote: what was written when the read began;
- elsewhere: what was written 50 ms before, counted from when the store was told. While the writer is cut off its
  invalidations wait in its queue, and nobody else can know.
"""

import asyncio
import random
import sys
import time
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import AsyncExitStack

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from forecourt import Cache, EndpointPolicy, JobConfig, PolicyMiddleware
from tests.asgi import get
from tests.servers import Valkey
from tests.soak.results import Result
from tests.stores.redis.proxy import Proxy

STACKS = 3
READERS = 5
LATE = 3
"""So many of a stack's readers come at longer intervals, and meet answers that have long been on their way."""

RECORDS = ("1", "2")
GRACE = 0.050

POLICIES = {
    "read": EndpointPolicy(cache=Cache(ttl=60, tags={"record:{record_id}"})),
    "write": EndpointPolicy(invalidates={"record:{record_id}"}),
}


class Written:
    """When each number of each record was known: reads that begin later must find it, or a later one."""

    def __init__(self) -> None:
        self._times: defaultdict[str, list[float]] = defaultdict(list)
        self._numbers: defaultdict[str, list[int]] = defaultdict(list)

    def add(self, record: str, number: int) -> None:
        """Note that a number is known now."""
        self._times[record].append(time.perf_counter())
        self._numbers[record].append(number)

    def by(self, record: str, moment: float) -> int:
        """Return the number that was known at a moment."""
        known = bisect_right(self._times[record], moment)
        return self._numbers[record][known - 1] if known else 0


class History:
    """So many seconds of reads, writes and faults; `faults` are the reads that found too little, and other answers."""

    def __init__(self, server: Valkey, seed: int, *, first: bool = False) -> None:
        self.counts: Counter[str] = Counter()
        self.faults: list[str] = []
        self._server = server
        self._random = random.Random(seed)
        self._first = first
        self._over = 0.0
        self._numbers: Counter[str] = Counter()
        self._here, self._there = Written(), Written()
        self._untold: dict[str, int] = {}
        self._out = 0

    async def play(self, seconds: float) -> None:
        """Let it happen; with `first` it ends with the first fault."""
        async with AsyncExitStack() as running:
            ways = [await running.enter_async_context(Proxy(self._server)) for _ in range(STACKS)]
            apps = [self._stack(way.url) for way in ways]
            for app in apps:
                running.push_async_callback(app._stop, {})
            self._over = time.perf_counter() + seconds
            pauses = [0.001] * (READERS - LATE) + [0.1] * LATE
            readers = [self._read(app, at, pause) for at, app in enumerate(apps) for pause in pauses]
            await asyncio.gather(*readers, self._write(apps[0]), *(self._break(way) for way in ways), self._stall())

    @property
    def _on(self) -> bool:
        return time.perf_counter() < self._over and not (self._first and self.faults)

    def _stack(self, url: str) -> PolicyMiddleware:
        routes = [
            Route("/records/{record_id}", self._tell, name="read"),
            Route("/records/{record_id}", self._raise, methods=["POST"], name="write"),
        ]
        return PolicyMiddleware(Starlette(routes=routes), config=JobConfig(store=url, endpoints=POLICIES))

    async def _tell(self, request: Request) -> Response:
        number = self._numbers[request.path_params["record_id"]]
        await asyncio.sleep(self._random.choice((0.002, 0.002, 0.002, 0.2)))
        return PlainTextResponse(f"{number}")

    async def _raise(self, request: Request) -> Response:
        self._numbers[request.path_params["record_id"]] += 1
        return PlainTextResponse("done")

    async def _read(self, app: PolicyMiddleware, at: int, pause: float) -> None:
        while self._on:
            record = self._random.choice(RECORDS)
            begun = time.perf_counter()
            least = self._here.by(record, begun) if at == 0 else self._there.by(record, begun - GRACE)
            answer = await get(app, f"/records/{record}")
            self.counts["reads"] += 1
            self.counts["kept answers"] += "; hit" in answer.headers["cache-status"]
            self.counts["shared runs"] += "; collapsed" in answer.headers["cache-status"]
            if answer.status != 200 or int(answer.body) < least:
                late = time.perf_counter() - begun
                self.faults.append(f"stack {at}: {answer.body!r}, not {least}, {late * 1000:.0f} ms after it began")
            await asyncio.sleep(self._random.uniform(0, pause))

    async def _write(self, app: PolicyMiddleware) -> None:
        while self._on:
            record = self._random.choice(RECORDS)
            answer = await get(app, f"/records/{record}", "POST")
            if answer.status != 200:
                self.faults.append(f"a write: {answer.status}")
            self.counts["writes"] += 1
            self.counts["writes with a connection cut"] += self._out > 0
            self._here.add(record, self._numbers[record])
            self._untold[record] = self._numbers[record]
            if not app._caching._queued:
                for untold, number in self._untold.items():
                    self._there.add(untold, number)
                self._untold.clear()
            await asyncio.sleep(self._random.uniform(0.01, 0.06))

    async def _break(self, way: Proxy) -> None:
        while self._on:
            await asyncio.sleep(self._random.uniform(0.05, 0.4))
            how = self._random.choice((self._cut, self._refuse, self._leave_half_open))
            self._out += 1
            await how(way)
            self._out -= 1
            self.counts["cuts"] += 1

    @staticmethod
    async def _cut(way: Proxy) -> None:
        way.cut()

    async def _refuse(self, way: Proxy) -> None:
        way.refusing = True
        way.cut()
        await asyncio.sleep(self._random.uniform(0.06, 0.3))
        way.refusing = False

    async def _leave_half_open(self, way: Proxy) -> None:
        way.hold()
        await asyncio.sleep(self._random.uniform(0.06, 0.3))
        way.cut()
        way.release()

    async def _stall(self) -> None:
        while self._on:
            await asyncio.sleep(0.7)
            self._server.pause(0.06)


def stale_reads(seconds: float = 120, seed: int = 1) -> Iterator[Result]:
    """Reads race invalidations while each process's connection to the log is cut: nothing stale, nothing past 50 ms."""
    with Valkey() as server:
        history = History(server, seed)
        asyncio.run(history.play(seconds))
    told = ", ".join(f"{number:,} {what}" for what, number in history.counts.items())
    yield Result("invalidations with cut connections", told, f"{len(history.faults)} stale", not history.faults)


if __name__ == "__main__":
    for each in stale_reads(float(sys.argv[1]) if sys.argv[1:] else 120):
        print("ok " if each.good else "BAD", each.what, each.size, each.outcome)  # a command prints
