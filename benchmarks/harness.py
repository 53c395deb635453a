"""Measures variants in turns: every round runs a slice of each, in another order, so that a busy machine is busy for all.

A slice makes as many calls as fit into a fixed time; its figure is the median of its calls, and its CPU is that of this
process (threads included) per call. A wrong status stops everything: an app that fails fast is not fast.
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
    """How long to measure: so many rounds, each a slice of so many seconds per variant."""

    rounds: int
    slice: float


QUICK = Plan(9, 0.03)
FULL = Plan(31, 0.06)


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
    """Measure anything that is awaited, so many at a time."""
    slices = [_Slice(work, tasks) for work in works]
    for each in slices:
        await each.calibrate(plan.slice)
    gc.collect()
    gc.freeze()
    order = random.Random(1)
    for _ in range(plan.rounds):
        for each in order.sample(slices, len(slices)):
            await each.run()
    gc.unfreeze()
    return [each.row() for each in slices]


async def _check(variant: Variant, caller: Callable[[], Awaitable[object]]) -> None:
    """Make the call until it answers as it will (a refused caller is let in first); the status must be the one meant."""
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


class _Slice:
    """One variant's turn, and what its turns have shown."""

    def __init__(self, work: Work, tasks: int) -> None:
        self._work = work
        self._tasks = tasks
        self._each = 1
        self._medians: list[float] = []
        self._cpu: list[float] = []
        self._all: list[float] = []

    async def calibrate(self, seconds: float) -> None:
        """Warm up, and find how many calls fill a slice."""
        started = time.perf_counter()
        calls = 0
        while calls < 5 or time.perf_counter() - started < seconds / 2:
            await asyncio.gather(*(self._work.run() for _ in range(self._tasks)))
            calls += 1
        per_call = (time.perf_counter() - started) / calls
        self._each = max(5, round(seconds / per_call))

    async def run(self) -> None:
        """Make the calls of one slice."""
        times: list[float] = []
        cpu = time.process_time_ns()
        if self._tasks == 1:
            await self._loop(times)
        else:
            await asyncio.gather(*(self._loop(times) for _ in range(self._tasks)))
        self._cpu.append((time.process_time_ns() - cpu) / len(times) / 1000)
        self._medians.append(median(times))
        self._all += times

    async def _loop(self, times: list[float]) -> None:
        run, clock, note = self._work.run, time.perf_counter_ns, times.append
        for _ in range(self._each):
            started = clock()
            await run()
            note((clock() - started) / 1000)

    def row(self) -> Row:
        """Return what the rounds have shown."""
        work = self._work
        self._all.sort()
        p99 = self._all[min(len(self._all) - 1, len(self._all) * 99 // 100)]
        return Row(work.name, _rounded(self._medians), work.config, work.side, round(p99, 1), _rounded(self._cpu), note=work.note)


def _rounded(values: list[float]) -> list[float]:
    return [round(value, 2) for value in values]
