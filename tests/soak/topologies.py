"""The same on three primaries and behind sentinels: failovers in order and by crash, and a slot that moves."""

import asyncio
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import cast

import redis

from forecourt.errors import StoreError
from forecourt.stores.contract import Question
from forecourt.stores.redis.client import Client
from forecourt.stores.redis.cluster import key_slot
from forecourt.stores.redis.store import RedisStore
from tests.servers import HOST, Cluster, Sentinels, Valkey, until
from tests.soak.crowd import HOUR
from tests.soak.results import Result

LIMIT = 500


def key_of(number: int) -> str:
    """The key of a caller."""
    return f"soak:{{caller {number}}}:fw"


class Tally:
    """What callers were given, by key: how often they passed before and after a crash, and the silences."""

    def __init__(self) -> None:
        self.passed: Counter[str] = Counter()
        self.failed = self.asked = 0
        self.last = time.monotonic()
        self.silence = 0.0

    def note(self, key: str, *, passed: bool) -> None:
        """Count an answer of the store."""
        now = time.monotonic()
        self.silence, self.last = max(self.silence, now - self.last), now
        self.passed[key] += passed


async def calling(url: str, keys: list[str], seconds: float, tally: Tally, tasks: int = 100) -> None:
    """Have so many tasks ask for these keys in turn, on two clients."""
    stores = [RedisStore(Client(url)) for _ in range(2)]
    for store in stores:
        await store.open()
    until = time.monotonic() + seconds

    async def call(number: int) -> None:
        turn = number
        while time.monotonic() < until:
            key = keys[turn % len(keys)]
            turn += 1
            tally.asked += 1
            try:
                (answer,) = await stores[number % 2].decide([Question("fixed_window", key, (LIMIT, HOUR, 1, 0))])
                tally.note(key, passed=answer.verdict == "go")
            except StoreError:
                tally.failed += 1
            await asyncio.sleep(0.02)

    await asyncio.gather(*(call(number) for number in range(tasks)))
    for store in stores:
        await store.close()


def counted(server: Valkey, keys: list[str]) -> int:
    """Return how often a server thinks that these keys were hit; a replica is asked, too."""
    with server.client() as own:
        own.response_callbacks.clear()
        with suppress(redis.ResponseError):  # a server without a cluster needs no leave
            own.execute_command("READONLY")
        states = [cast("bytes | None", own.get(key)) for key in keys]
    return sum(int(struct.unpack("<dd", state)[1]) for state in states if state)


def suffered(url: str, keys: list[str], seconds: float, fault: Callable[[], object]) -> Tally:
    """Call for so long, and let something happen after a second."""
    tally = Tally()

    async def both() -> None:
        work = asyncio.create_task(calling(url, keys, seconds, tally))
        await asyncio.sleep(1)
        await asyncio.to_thread(fault)
        await work

    asyncio.run(both())
    return tally


def result(what: str, tally: Tally, lost: int) -> Result:
    """Compare what passed with the limit of each key; `lost`: so many writes were not replicated when it crashed."""
    over = sum(max(0, passed - LIMIT) for passed in tally.passed.values())
    outcome = (
        f"{sum(tally.passed.values()):,} passed, {over} over the limit (unreplicated: {lost}),"
        f" {tally.failed:,} not decided, longest silence {tally.silence:.2f} s"
    )
    return Result(what, f"{tally.asked:,} questions, {len(tally.passed)} keys", outcome, over <= lost)


def cluster(seconds: float = 8) -> Iterator[Result]:
    """Three primaries with replicas: a failover in order, a crash, and a slot that is moved under load."""
    keys = [key_of(number) for number in range(30)]
    with Cluster(replicas=1, node_timeout=1500) as servers:
        replica = servers.replicas[0]
        yield result("cluster, failover in order", suffered(servers.url, keys, seconds, lambda: promote(replica)), 0)
    with Cluster(replicas=1, node_timeout=1500) as servers:
        lost = 0

        def crash() -> None:
            nonlocal lost
            primary = servers.primaries[1]
            mine = [key for key in keys if servers.serving(key_slot(key)) is primary]
            lost = unreplicated(primary, servers.replicas[1], mine)

        tally = suffered(servers.url, keys, seconds, crash)
        yield result("cluster, a primary killed", tally, lost)
    with Cluster() as servers:
        slot = key_slot(keys[0])
        yield result(
            "cluster, a slot moved to another primary",
            suffered(servers.url, keys[:1], seconds / 2, lambda: _move(servers, slot, keys[0])),
            0,
        )


def unreplicated(primary: Valkey, replica: Valkey, keys: list[str]) -> int:
    """Kill a primary; return how many hits its replica did not know of when it stood still for a moment before."""
    primary.stall()
    known = counted(replica, keys)
    primary.resume()
    lost = counted(primary, keys) - known
    primary.kill()
    return max(0, lost)


def promote(replica: Valkey) -> None:
    """Have a replica take over in agreement with its primary."""
    while replica.ask("CLUSTER", "FAILOVER") != b"OK":
        time.sleep(0.01)


def _move(servers: Cluster, slot: int, key: str) -> None:
    """Move a slot as an operator does, the key last; it stays half-way for half a second."""
    old = servers.serving(slot)
    new = servers.primaries[(servers.primaries.index(old) + 1) % 3]
    new.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", old.id)
    old.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", new.id)
    time.sleep(0.5)
    old.ask("MIGRATE", HOST, new.port, key, 0, 5000)
    time.sleep(0.5)
    for node in (new, old):
        node.ask("CLUSTER", "SETSLOT", slot, "NODE", new.id)


def sentinel(seconds: float = 8) -> Iterator[Result]:
    """A primary that sentinels watch: replaced in order, and killed."""
    keys = [key_of(number) for number in range(30)]
    with Sentinels(3) as servers:
        late = 0

        def replace() -> None:
            nonlocal late
            late = _replaced(servers, keys)

        tally = suffered(servers.url, keys, seconds, replace)
        yield result("sentinels, failover in order", tally, late)
    with Sentinels(3) as servers:
        lost = 0

        def crash() -> None:
            nonlocal lost
            lost = unreplicated(servers.primary, servers.replica, keys)

        tally = suffered(servers.url, keys, seconds, crash)
        yield result("sentinels, the primary killed", tally, lost)


def _replaced(servers: Sentinels, keys: list[str]) -> int:
    """Fail over as sentinels do; return how many hits the old primary took that the promoted replica does not know."""
    servers.sentinels[0].ask("SENTINEL", "FAILOVER", "service")
    until(lambda: _is_primary(servers.replica), "the promotion")
    known = counted(servers.replica, keys)  # callers come to it a second later
    taken, until_quiet = known, time.monotonic() + 3
    while time.monotonic() < until_quiet and _is_primary(servers.primary):
        taken = max(taken, counted(servers.primary, keys))
        time.sleep(0.01)
    return taken - known


def _is_primary(server: Valkey) -> bool:
    return cast("list[object]", server.ask("ROLE"))[0] == b"master"
