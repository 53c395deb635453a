"""What a request costs in trips to the store, counted by a real server: one before its handler, one after at most."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from forecourt import (
    Accounts,
    Concurrency,
    Credits,
    EndpointPolicy,
    FixedWindow,
    JobConfig,
    Quota,
    SlidingWindow,
    TokenBucket,
)
from forecourt.testing import FakeClock
from tests.asgi import get
from tests.servers import Cluster, Valkey, eventually
from tests.services import starlette

pytestmark = pytest.mark.valkey

THREE = (
    TokenBucket(max_tokens=500, refill_rate=1),
    FixedWindow(limit=500, window=60),
    SlidingWindow(limit=500, window=60),
)
EVERYTHING = EndpointPolicy(
    rate_limit=THREE, concurrency=Concurrency(limit=100, on_store_error="closed"), credits=Credits(amount=1)
)
GIVEN = Accounts(quota=Quota(amount=1000, every="day"))


class Counted:
    """An app, how often its store was asked (scripts run, on all servers), and how often when its handler ran."""

    def __init__(self, servers: list[Valkey], policy: EndpointPolicy, url: str, clock: FakeClock | None = None) -> None:
        self.before: list[int] = []
        self.looks = True
        self.servers = servers
        config = JobConfig(default=policy, accounts=GIVEN, store=url)
        self.app: Starlette = starlette(config, Route("/", self._work, name="work"), clock=clock)

    def trips(self) -> int:
        """How many scripts were run since the last `clear`."""
        return sum(server.count("evalsha") + server.count("eval") for server in self.servers)

    def reads(self) -> int:
        """How often servers read from a connection."""
        total = 0
        for server in self.servers:
            with server.client() as own:
                total += cast("dict[str, int]", own.info("stats"))["total_reads_processed"]
        return total

    def clear(self) -> None:
        """Count anew."""
        self.before.clear()
        for server in self.servers:
            server.ask("CONFIG", "RESETSTAT")

    async def call(self) -> int:
        """Make a call; return its status."""
        return (await get(self.app, "/")).status

    async def settled(self, trips: int) -> None:
        """Wait for so many trips, and see that no more come."""
        await eventually(lambda: self.trips() >= trips, 5)
        await asyncio.sleep(0.02)
        assert self.trips() == trips

    async def _work(self, _: Request) -> Response:
        if self.looks:
            self.before.append(self.trips())
        return PlainTextResponse("done")


@asynccontextmanager
async def counted(
    servers: list[Valkey], policy: EndpointPolicy, url: str, clock: FakeClock | None = None
) -> AsyncIterator[Counted]:
    """Start the app, make one call so that connections and scripts are there, and count from then on."""
    service = Counted(servers, policy, url, clock)
    async with service.app.router.lifespan_context(service.app):
        assert await service.call() == 200
        await asyncio.sleep(0.05)
        service.clear()
        yield service


async def test_three_limits_a_lease_and_credits_are_one_trip_before_and_one_after(valkey: Valkey) -> None:
    """Everything is asked at once; the lease and the charge are settled together."""
    async with counted([valkey], EVERYTHING, valkey.url) as service:
        assert await service.call() == 200
        await service.settled(2)
        assert service.before == [1]


async def test_limits_alone_are_one_trip(valkey: Valkey) -> None:
    """There is nothing to settle."""
    async with counted([valkey], EndpointPolicy(rate_limit=THREE), valkey.url) as service:
        assert await service.call() == 200
        await service.settled(1)
        assert service.before == [1]


async def test_an_endpoint_without_limits_makes_no_trip(valkey: Valkey) -> None:
    """Its policies need none."""
    async with counted([valkey], EndpointPolicy(), valkey.url) as service:
        assert await service.call() == 200
        await service.settled(0)


async def test_sixty_four_at_once_make_one_trip_each_and_share_their_writes(valkey: Valkey) -> None:
    """Never more than one before and one after; what is asked together arrives in few reads of the server."""
    async with counted([valkey], EVERYTHING, valkey.url) as service:
        service.looks = False
        begun = service.reads()
        looking = service.reads() - begun
        assert await asyncio.gather(*(service.call() for _ in range(64))) == [200] * 64
        reads = service.reads() - begun - 2 * looking
        await service.settled(128)
        assert reads <= 16


async def test_a_call_that_is_refused_makes_one_trip_and_then_none_while_it_is_held(valkey: Valkey) -> None:
    """The first refusal is the store's; after it this process answers for a second, then the store is asked again."""
    clock = FakeClock()
    once = EndpointPolicy(rate_limit=[*THREE, FixedWindow(limit=1, window=60)], credits=Credits(amount=1))
    async with counted([valkey], once, valkey.url, clock) as service:
        assert await service.call() == 429
        await service.settled(1)
        assert [await service.call() for _ in range(20)] == [429] * 20
        await service.settled(1)
        clock.advance(1)
        assert await service.call() == 429
        await service.settled(2)


@pytest.mark.parametrize(
    ("policy", "before", "after"),
    [
        (EVERYTHING, 1, 1),
        (EndpointPolicy(rate_limit=[*THREE, FixedWindow(limit=500, window=60, key="endpoint")]), 2, 0),
        (
            EndpointPolicy(
                rate_limit=THREE,
                concurrency=Concurrency(limit=100, key="endpoint", on_store_error="closed"),
                credits=Credits(amount=1),
            ),
            2,
            2,
        ),
    ],
    ids=["one caller", "a limit of the endpoint", "a lease of the endpoint"],
)
async def test_on_a_cluster_it_is_a_trip_for_each_slot(
    valkey_cluster: Cluster, policy: EndpointPolicy, before: int, after: int
) -> None:
    """One caller's keys are one slot; what is counted for the whole endpoint is another."""
    async with counted([*valkey_cluster.primaries], policy, valkey_cluster.url) as service:
        assert await service.call() == 200
        await service.settled(before + after)
        assert service.before == [before]
