"""Measures variants in turns, so that a busy machine is busy for all of them.

A round has several turns; in each turn every variant makes a few calls, in another order each time. A round's figure is
the median of a variant's calls in all its turns, and its CPU that of this process (threads included) per call. Short
turns keep variants close together in time, several of them make a round's figure steady. A wrong status stops
everything: an app that fails fast is not fast.
"""

import asyncio
import gc
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from statistics import median
from typing import NamedTuple

from benchmarks.calls import ASGIApp, Call, Caller, lifespan
from benchmarks.results import Row, Side
from benchmarks.valkey import Valkey

COUNTED = 20
"""Calls over which commands and trips are counted."""


class Plan(NamedTuple):
    """How long one pass measures: so many rounds of so many turns, in each of which a variant has so many seconds."""

    rounds: int
    turns: int
    seconds: float


QUICK = Plan(3, 4, 0.006)
FULL = Plan(13, 8, 0.006)


@dataclass(frozen=True)
class Variant:
    """One way to serve a call. `config` says in words how it is set up: it goes into the docs."""

    name: str
    app: ASGIApp
    call: Call = field(default_factory=Call)
    config: str = ""
    side: Side = "peer"
    status: int = 200
    note: str = ""


@dataclass(frozen=True)
class Work:
    """One way to do something that is no request; `run` does it once."""

    name: str
    run: Callable[[], Awaitable[object]]
    config: str = ""
    side: Side = "peer"
    note: str = ""


async def measure(
    variants: Sequence[Variant], plan: Plan, *, tasks: int = 1, server: Valkey | None = None
) -> list[Row]:
    """Measure requests, so many at a time; with a server, count what they send it."""
    async with AsyncExitStack() as apps:
        works: list[Work] = []
        for variant in variants:
            caller = Caller(variant.app, variant.call)
            await apps.enter_async_context(lifespan(variant.app, caller.state))
            await _check(variant, caller)
            works.append(Work(variant.name, caller, variant.config, variant.side, variant.note))
        rows = await measure_works(works, plan, tasks=tasks)
        if server is not None:
            rows = [await _counted(row, work, server) for row, work in zip(rows, works, strict=True)]
        for variant, work in zip(variants, works, strict=True):
            await _check(variant, work.run)
    return rows


async def measure_works(works: Sequence[Work], plan: Plan, *, tasks: int = 1) -> list[Row]:
    """Measure anything that is awaited, so many at a time; with many at a time a turn is long, so two make a round."""
    tallies = [_Tally(work, tasks) for work in works]
    for each in tallies:
        await each.calibrate(plan.seconds)
    gc.collect()
    gc.freeze()
    order = random.Random(1)
    for _ in range(plan.rounds):
        for _ in range(plan.turns if tasks == 1 else 2):
            for each in order.sample(tallies, len(tallies)):
                await each.turn()
        for each in tallies:
            each.end_round()
    gc.unfreeze()
    return [each.row() for each in tallies]


async def _check(variant: Variant, caller: Callable[[], Awaitable[object]]) -> None:
    """Make a few calls (a refused caller is let in first); the last one's status must be the one meant."""
    status: object = None
    for _ in range(5):
        status = await caller()
    if status != variant.status:
        raise RuntimeError(f"{variant.name}: answered {status}, not {variant.status}")


async def _counted(row: Row, work: Work, server: Valkey) -> Row:
    with server.counting() as seen:
        for _ in range(COUNTED):
            await work.run()
        await asyncio.sleep(0.01)
    return replace(
        row,
        trips=seen.trips / COUNTED,
        commands={name: number / COUNTED for name, number in sorted(seen.commands.items())},
    )


class _Tally:
    """One variant's turns, and what they have shown."""

    def __init__(self, work: Work, tasks: int) -> None:
        self._work = work
        self._tasks = tasks
        self._calls = 1
        self._times: list[float] = []
        self._used = 0
        self._all: list[float] = []
        self._medians: list[float] = []
        self._cpu: list[float] = []

    async def calibrate(self, seconds: float) -> None:
        """Warm up, and find how many calls each task makes in a turn."""
        started = time.perf_counter()
        made = 0
        least = 5 if self._tasks == 1 else 2
        while made < least or time.perf_counter() - started < seconds * 4:
            await asyncio.gather(*(self._work.run() for _ in range(self._tasks)))
            made += 1
        self._calls = max(4 if self._tasks == 1 else 1, round(seconds / (time.perf_counter() - started) * made))

    async def turn(self) -> None:
        """Make the calls of one turn."""
        started = time.process_time_ns()
        if self._tasks == 1:
            await self._loop()
        else:
            await asyncio.gather(*(self._loop() for _ in range(self._tasks)))
        self._used += time.process_time_ns() - started

    async def _loop(self) -> None:
        run, clock, note = self._work.run, time.perf_counter_ns, self._times.append
        for _ in range(self._calls):
            started = clock()
            await run()
            note((clock() - started) / 1000)

    def end_round(self) -> None:
        """Summarise the turns since the round before."""
        self._medians.append(round(median(self._times), 2))
        self._cpu.append(round(self._used / len(self._times) / 1000, 2))
        self._all += self._times
        self._times.clear()
        self._used = 0

    def row(self) -> Row:
        """Return what the rounds have shown."""
        work = self._work
        self._all.sort()
        p99 = round(self._all[min(len(self._all) - 1, len(self._all) * 99 // 100)], 1)
        return Row(work.name, self._medians, work.config, work.side, p99, self._cpu, note=work.note)
