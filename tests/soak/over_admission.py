"""Whatever happens to the store, nobody passes who must not: 8 processes with 250 tasks each on one store."""

import asyncio
import time
from collections.abc import Iterator

from forecourt.stores.opening import store_at
from forecourt.types import SystemClock
from tests.servers import Valkey
from tests.soak.crowd import GRANT, LIMITS, Count, Order, crowd, processes
from tests.soak.results import Result

STARTING = 6.0
"""Seconds that eight processes take to start."""


async def grant(url: str) -> None:
    """Give the account of the crowd its credits."""
    store = store_at(url, SystemClock())
    await store.open()
    await store.decide([GRANT])
    await store.close()


def verdict(what: str, count: Count, *, beside: int = 0) -> Result:
    """Compare what passed with what may: the limit of each kind, and `beside` it so many shares of processes alone.

    Where everything was decided, exactly as many must have passed as may; a late answer counts, and lets nobody pass.
    """
    undecided = sum(count.undecided.values())
    over = any(
        count.passed[kind] > limit
        or count.alone[kind] > limit * beside
        or (not undecided and not beside and count.passed[kind] != limit)
        for kind, (limit, _) in LIMITS.items()
    )
    text = ", ".join(f"{kind} {count.passed[kind]}/{LIMITS[kind][0]}" for kind in LIMITS)
    alone = f"; alone {dict(count.alone)}" if beside else ""
    size = f"{count.asked:,} questions"
    return Result(what, size, f"passed: {text}{alone}; not decided {undecided:,}", not over)


def healthy(seconds: float = 2, number: int = 8, tasks: int = 250, starting: float = STARTING) -> Iterator[Result]:
    """With the store well, and with its script cache flushed fifty times a second."""
    with Valkey() as server:
        asyncio.run(grant(server.url))
        order = Order(server.url, tasks, time.time() + starting, seconds)
        yield verdict("store healthy", processes(order, number))

    def flush() -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            server.ask("SCRIPT", "FLUSH")
            time.sleep(0.02)

    with Valkey() as server:
        asyncio.run(grant(server.url))
        order = Order(server.url, tasks, time.time() + starting, seconds)
        yield verdict("SCRIPT FLUSH 50 times a second", processes(order, number, flush))


def at_once(callers: int = 10_000) -> Iterator[Result]:
    """Ten thousand callers in one process, all in one turn of the loop."""
    with Valkey() as server:
        asyncio.run(grant(server.url))
        for kind in LIMITS:
            order = Order(server.url, callers, 0, kinds=(kind,), on_error="closed")
            count = asyncio.run(crowd(order))
            passed, undecided, limit = count.passed[kind], count.undecided[kind], LIMITS[kind][0]
            outcome = f"passed {passed}/{limit}, not decided {undecided:,}"
            good = passed == limit or (passed < limit and undecided > 0)
            yield Result(f"{callers:,} callers at once: {kind}", f"{count.asked:,} questions", outcome, good)


def closed(seconds: float = 6, number: int = 8, tasks: int = 250) -> Iterator[Result]:
    """With `closed`: three stalls of a second, then two crashes of a server whose memory is a file."""
    with Valkey(append_only=True) as server:
        asyncio.run(grant(server.url))

        def stall() -> None:
            for _ in range(3):
                server.stall()
                time.sleep(1)
                server.resume()
                time.sleep(0.5)

        order = Order(server.url, tasks, time.time() + STARTING, seconds, pause=0.2)
        yield verdict("closed, three stalls of 1 s", processes(order, number, stall))
    with Valkey(append_only=True) as server:
        asyncio.run(grant(server.url))

        def crash() -> None:
            for pause in (0.01, 1.5):
                time.sleep(pause)
                server.kill()
                time.sleep(0.5)
                server.start()

        order = Order(server.url, tasks, time.time() + STARTING, seconds, pause=0.2)
        yield verdict("closed, two crashes and restarts with AOF", processes(order, number, crash))


def local(seconds: float = 4, number: int = 8, tasks: int = 250) -> Iterator[Result]:
    """With `local`: at most the limit, and beside it each process's own share while the store is gone."""
    with Valkey(append_only=True) as server:
        asyncio.run(grant(server.url))

        def crash() -> None:
            time.sleep(0.02)
            server.kill()
            time.sleep(2)
            server.start()

        order = Order(server.url, tasks, time.time() + STARTING, seconds, pause=0.2, on_error="local")
        yield verdict("local, the store gone for 2 s", processes(order, number, crash), beside=number)


def over_admission() -> Iterator[Result]:
    """Limits, leases and credits under 8 processes of 250 tasks, the store well, flushed, stalled, restarted, gone."""
    yield from healthy()
    yield from at_once()
    yield from closed()
    yield from local()
