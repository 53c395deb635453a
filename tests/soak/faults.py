"""What connections, callers, the event loop and processes go through, and what must be left of it: nothing."""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from statistics import median
from typing import cast

from forecourt.errors import StoreError
from forecourt.leases import Heartbeat, Kept
from forecourt.stores.contract import OnError, Question, Settlement
from forecourt.stores.opening import store_at
from forecourt.stores.redis.client import Client
from forecourt.stores.redis.store import RedisStore
from forecourt.types import SECOND, SystemClock
from tests.servers import Valkey
from tests.soak.crowd import HOUR
from tests.soak.results import Result

LEASE, ACCOUNT = "soak:{all}:lease", "soak:{all}:account"


def taking(ttl: int) -> list[Question]:
    """Ask for a lease and a charge of one credit, both for so many µs."""
    own = os.urandom(12).hex()
    return [
        Question("lease", LEASE, (100_000, ttl, own, 0, 1), "closed"),
        Question("credits_charge", ACCOUNT, (1, ttl, own, 0, 0, 0, 1000), "closed"),
    ]


def giving_back(taken: list[Question]) -> list[Settlement]:
    """Give the lease back and the credit too."""
    own = str(taken[0].args[2])
    return [
        Settlement("lease_release", LEASE, (own,)),
        Settlement("credits_settle", ACCOUNT, (0, own, 0, 1000)),
    ]


async def granted(url: str, amount: int) -> None:
    """Open the account."""
    async with opened(url, deadline=2) as store:
        await store.decide([Question("credits_grant", ACCOUNT, (amount, "first", HOUR, 1000), "closed")])


@asynccontextmanager
async def opened(url: str, deadline: float = 0.05) -> AsyncIterator[RedisStore]:
    """Open a store without failure policies."""
    store = RedisStore(Client(url, deadline=deadline))
    await store.open()
    yield store
    await store.close()


def held(server: Valkey) -> tuple[int, int]:
    """Return how many leases and how many holds there are, whether they expired or not."""
    return cast("int", server.ask("ZCARD", LEASE)), cast("int", server.ask("HLEN", f"{ACCOUNT}:holds"))


async def looked(url: str) -> tuple[int, int]:
    """Return what an account has after what expired was swept: available, held."""
    async with opened(url, deadline=2) as store:
        look = Question("credits_charge", ACCOUNT, (0, 1, "", 0, 0, 0, 1000), "closed")
        for _ in range(200):  # each look sweeps 64
            await store.decide([look])
        (answer,) = await store.decide([look])
        return int(answer.values[0]), int(answer.values[3])


def cut_connections(cuts: int = 500, cancelled: int = 500, ttl: float = 5) -> Iterator[Result]:
    """Connections cut and callers cancelled while they ask for leases and credits: nothing is left behind."""
    with Valkey() as server:
        asyncio.run(granted(server.url, 1_000_000))
        asked, seen = asyncio.run(_cut(server, cuts, cancelled, round(ttl * SECOND)))
        soon = held(server)
        time.sleep(ttl)
        balance, holding = asyncio.run(looked(server.url))
        live = cast("int", server.ask("ZCOUNT", LEASE, round(time.time() * SECOND), "+inf"))
        outcome = (
            f"{asked:,} calls, {seen:,} answered; undone at once but for {soon[0]} leases and {soon[1]} holds;"
            f" a lease later {live} leases and {holding} holds, balance {balance:,}"
        )
        size = f"{cuts} cuts, {cancelled} rounds of cancelled callers"
        yield Result(
            "cut connections and cancelled callers", size, outcome, live == holding == 0 and balance == 1_000_000
        )


async def _cut(server: Valkey, cuts: int, cancelled: int, ttl: int) -> tuple[int, int]:
    tallies = await asyncio.gather(*(_suffer(server, cuts // 10, cancelled // 10, ttl) for _ in range(10)))
    return sum(asked for asked, _ in tallies), sum(seen for _, seen in tallies)


async def _suffer(server: Valkey, cuts: int, cancelled: int, ttl: int) -> tuple[int, int]:
    """Ask on one client, whose connection is cut and whose callers are cancelled in turn; return calls and answers."""
    asked = seen = 0
    client = Client(server.url, deadline=0.5)
    store = RedisStore(client)
    await store.open()

    async def call() -> None:
        nonlocal seen
        taken = taking(ttl)
        try:
            answers = await store.decide(taken)
        except StoreError:
            return
        seen += 1
        if all(answer.granted for answer in answers):
            await _settled(store, giving_back(taken))

    faults = ["cut"] * cuts + ["cancel"] * cancelled
    random.shuffle(faults)
    for fault in faults:
        tasks = [asyncio.create_task(call()) for _ in range(8)]
        asked += len(tasks)
        with suppress(StoreError):
            own = await client.call("CLIENT", "ID") if fault == "cut" else None
            await asyncio.sleep(random.random() * 0.002)
            if own is not None:
                await asyncio.to_thread(server.ask, "CLIENT", "KILL", "ID", cast("int", own))
        if fault == "cancel":
            for task in tasks:
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.sleep(0.5)
    await store.close()
    return asked, seen


async def _settled(store: RedisStore, settlements: list[Settlement]) -> None:
    """Tell until it is known, as what is not settled comes back by itself only when its lease ends."""
    for _ in range(100):
        try:
            return await store.settle(settlements)
        except StoreError:
            await asyncio.sleep(0.05)


def loop_gap(seconds: float = 4, callers: int = 200) -> Iterator[Result]:
    """How long the event loop is not free with the store well, stalled, gone and flushed, over the harness alone."""

    async def harness() -> None:
        await asyncio.sleep(0)

    with Valkey() as server:
        bare = median(asyncio.run(_gap(harness, seconds, callers)) for _ in range(3))
        for fault in ("none", "stall", "kill", "flush"):
            gaps = [asyncio.run(_asking_gap(server, fault, seconds, callers)) for _ in range(3)]
            size = f"{callers} callers, 3 × {seconds:g} s"
            outcome = f"longest {_ms(*gaps)} ms, harness alone {_ms(bare)} ms"
            yield Result(f"loop gap, fault: {fault}", size, outcome, median(gaps) - bare <= 0.02)


def _ms(*seconds: float) -> str:
    return ", ".join(f"{each * 1000:.1f}" for each in seconds)


async def _asking_gap(server: Valkey, fault: str, seconds: float, callers: int) -> float:
    server.start()
    store = store_at(server.url, SystemClock())
    await store.open()
    question = Question("token_bucket", "soak:{gap}:tb", (1_000_000, 1, 1, 1, 0), "local")

    async def ask() -> None:
        with suppress(StoreError):
            await store.decide([question])

    async def trouble() -> None:
        await asyncio.sleep(seconds / 4)
        if fault == "stall":
            server.stall()
            await asyncio.sleep(1)
            server.resume()
        elif fault == "kill":
            await asyncio.to_thread(server.kill)
            await asyncio.sleep(1)
            await asyncio.to_thread(server.start)
        elif fault == "flush":
            other = Client(server.url, deadline=1)
            await other.open()
            for _ in range(20):
                await other.call("SCRIPT", "FLUSH")
                await asyncio.sleep(0.02)
            await other.close()

    troubling = asyncio.create_task(trouble())
    gap = await _gap(ask, seconds, callers)
    await troubling
    await store.close()
    return gap


def starved() -> float:
    """Return for how many seconds this process was ready to run and the machine was busy with others."""
    try:
        return int(Path("/proc/self/schedstat").read_text("ascii").split()[1]) / 1e9
    except OSError:
        return 0.0


async def _gap(work: object, seconds: float, callers: int) -> float:
    """Return the longest time between two turns of a loop on which callers work, one call every 50 ms each.

    What the machine withheld is left out: other processes' load is no fault of the loop.
    """
    until, longest = time.monotonic() + seconds, 0.0

    async def call() -> None:
        while time.monotonic() < until:
            await work()  # type: ignore[operator]  # a coroutine function
            await asyncio.sleep(0.05 * random.uniform(0.5, 1.5))

    calling = asyncio.gather(*(call() for _ in range(callers)))
    await asyncio.sleep(0.2)
    before = time.monotonic() - starved()
    while time.monotonic() < until:
        await asyncio.sleep(0.001)
        now = time.monotonic() - starved()
        longest, before = max(longest, now - before - 0.001), now
    await calling
    return longest


def gone_and_back(rounds: int = 5) -> Iterator[Result]:
    """The store killed, stopped and stalled: answers within the deadline by each policy, used again within a second."""
    with Valkey() as server:
        policies: tuple[OnError, ...] = ("local", "open", "closed")
        for policy in policies:
            slowest, back, wrong = asyncio.run(_gone(server, policy, rounds))
            outcome = f"slowest answer {slowest * 1000:.0f} ms, back after {back * 1000:.0f} ms, wrong answers {wrong}"
            good = slowest < 0.05 + 0.05 and back < 1 and not wrong
            yield Result(f"gone and back: {policy}", f"{rounds} kills, stops and stalls", outcome, good)


async def _gone(server: Valkey, policy: OnError, rounds: int) -> tuple[float, float, int]:
    store = store_at(server.url, SystemClock())
    await store.open()
    slowest = back = 0.0
    wrong = 0
    for number in range(rounds):
        question = Question("fixed_window", f"soak:{{gone}}:{policy}:{number}", (5, HOUR, 1, 0), policy)
        for _ in range(2):
            await store.decide([question])
        fault = ("kill", "stop", "stall")[number % 3]
        await asyncio.to_thread(getattr(server, fault))
        verdicts, began = [], time.monotonic()
        while time.monotonic() < began + 0.7:
            asked = time.monotonic()
            (answer,) = await store.decide([question])
            slowest = max(slowest, time.monotonic() - asked)
            verdicts.append(answer.verdict)
            await asyncio.sleep(0.01)
        expected = {"local": 5, "open": len(verdicts), "closed": 0}[policy]
        wrong += verdicts.count("go") != expected
        await asyncio.to_thread(server.resume if fault == "stall" else server.start)
        returned = time.monotonic()
        fresh = Question("fixed_window", f"soak:{{back}}:{policy}:{number}", (10_000, HOUR, 1, 0), policy)
        while (await store.decide([fresh]))[0].degraded and time.monotonic() < returned + 5:
            await asyncio.sleep(0.005)
        back = max(back, time.monotonic() - returned)
    await store.close()
    return slowest, back, wrong


def kill_9(rounds: int = 5, workers: int = 4, each: int = 50, ttl: float = 2) -> Iterator[Result]:
    """Workers that hold leases and credits, and renew them, killed: all is free within one lease."""
    for _ in range(rounds):
        with Valkey() as server:
            asyncio.run(granted(server.url, 10_000))
            order = json.dumps([server.url, each, ttl])
            command = [sys.executable, "-m", "tests.soak.faults", order]
            running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(workers)]
            for process in running:
                assert process.stdout is not None
                process.stdout.readline()
            time.sleep(ttl * 1.5)  # longer than a lease: they were renewed
            at_work = held(server)
            for process in running:
                os.kill(process.pid, signal.SIGKILL)
                process.communicate()
            killed = time.monotonic()
            while (live := cast("int", server.ask("ZCOUNT", LEASE, round(time.time() * SECOND), "+inf"))) and (
                time.monotonic() < killed + 3 * ttl
            ):
                time.sleep(0.01)
            freed = time.monotonic() - killed
            time.sleep(max(0, killed + ttl - time.monotonic()))
            balance, holding = asyncio.run(looked(server.url))
            outcome = (
                f"{at_work[0]} leases and {at_work[1]} holds at work; all leases free after {freed:.2f} s,"
                f" {holding} holds left, balance {balance:,}"
            )
            good = at_work == (workers * each, workers * each) and not live and freed <= ttl + 0.05
            yield Result("kill -9", f"{workers} workers", outcome, good and (balance, holding) == (10_000, 0))


async def _hold(url: str, number: int, ttl: float) -> None:
    """Hold so many leases and charges, and renew them until killed."""
    async with opened(url, deadline=2) as store:
        heartbeat = Heartbeat(store.settle, SystemClock())
        for _ in range(number):
            taken = taking(round(ttl * SECOND))
            await store.decide(taken)
            own = str(taken[0].args[2])
            heartbeat.keep(Kept("lease_renew", LEASE, round(ttl * SECOND)), [own])
            heartbeat.keep(Kept("credits_hold", ACCOUNT, round(ttl * SECOND)), [own])
        print("holding", flush=True)  # the parent waits for it
        await asyncio.sleep(60)


if __name__ == "__main__":
    asyncio.run(_hold(*json.loads(sys.argv[1])))
