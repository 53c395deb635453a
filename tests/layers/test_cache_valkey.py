"""The cache on a real server: several stacks, one primary or a cluster, and the server stalled."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from forecourt import Cache, EndpointPolicy, FixedWindow, Idempotency, JobConfig, PolicyMiddleware
from forecourt.types import Scope
from tests.asgi import Answer, call, get, http
from tests.servers import Cluster, Valkey, eventually

pytestmark = pytest.mark.valkey

QUIET = EndpointPolicy(logging="off")


class Site:
    """What stands behind all stacks of a test: a number that answers tell, and writes change."""

    def __init__(self) -> None:
        self.runs = 0
        self.number = 0
        self.seconds = 0.0
        self.fields: dict[str, str] = {}

    async def read(self, _: Request) -> Response:
        """Tell the number, after a while."""
        self.runs += 1
        number = self.number
        await asyncio.sleep(self.seconds)
        return PlainTextResponse(f"{number}" + " " * 2000, headers=self.fields)

    async def write(self, _: Request) -> Response:
        """Change it."""
        self.number += 1
        return PlainTextResponse("done")

    def stack(self, url: str, **policy: object) -> PolicyMiddleware:
        """Return one process's stack."""
        cache = Cache(ttl=60, tags={"record:{record_id}"}, **policy)  # type: ignore[arg-type]  # its own words
        policies = {
            "read": EndpointPolicy(cache=cache),
            "write": EndpointPolicy(invalidates={"record:{record_id}"}),
        }
        routes = [
            Route("/records/{record_id}", self.read, name="read"),
            Route("/records/{record_id}/write", self.write, methods=["POST"], name="write"),
        ]
        return PolicyMiddleware(
            Starlette(routes=routes), config=JobConfig(store=url, endpoints=policies, default=QUIET)
        )


@asynccontextmanager
async def stacks(url: str, number: int = 2, **policy: object) -> AsyncIterator[tuple[Site, list[PolicyMiddleware]]]:
    """Run several stacks over one store."""
    site = Site()
    apps = [site.stack(url, **policy) for _ in range(number)]
    try:
        yield site, apps
    finally:
        for app in apps:
            await app._stop({})


def said(answer: Answer) -> str:
    """Return what the cache said."""
    return answer.headers["cache-status"]


async def shared(url: str) -> None:
    """One fills, the other finds it; one writes, and neither finds what was there before."""
    async with stacks(url) as (site, (one, two)):
        assert said(await get(one, "/records/1")) == "forecourt; fwd=miss; stored"
        for _ in range(50):
            await asyncio.sleep(0.01)
            if said(await get(two, "/records/1")).startswith("forecourt; hit"):
                break
        assert said(await get(two, "/records/1")).startswith("forecourt; hit")
        runs = site.runs
        assert (await get(one, "/records/1/write", "POST")).status == 200
        assert (await get(one, "/records/1")).body.strip() == b"1"
        await asyncio.sleep(0.05)
        assert (await get(two, "/records/1")).body.strip() == b"1"
        assert site.runs <= runs + 2


async def test_processes_share(valkey: Valkey) -> None:
    """On one primary."""
    await shared(valkey.url)


async def test_processes_share_on_a_cluster(valkey_cluster: Cluster) -> None:
    """Entries, tags and the log lie in different slots."""
    await shared(valkey_cluster.url)


async def test_a_cache_store_of_its_own(valkey: Valkey) -> None:
    """Decisions are made in the process, answers are kept on the server, and shared."""
    site = Site()
    policy = EndpointPolicy(cache=Cache(ttl=60), rate_limit=FixedWindow(limit=9, window=60))
    apps = []
    for _ in range(2):
        routes = [Route("/", site.read, name="read")]
        config = JobConfig(cache_store=valkey.url, endpoints={"read": policy})
        apps.append(PolicyMiddleware(Starlette(routes=routes), config=config))
    await get(apps[0], "/")
    await asyncio.sleep(0.1)
    found = await get(apps[1], "/")
    assert said(found).startswith("forecourt; hit")
    assert found.headers["ratelimit"].startswith('"fixed_window";r=8')
    for app in apps:
        await app._stop({})


async def test_five_hundred_misses_run_once(valkey: Valkey) -> None:
    """Over two stacks, each of which has its callers."""
    async with stacks(valkey.url) as (site, apps):
        site.seconds = 0.1
        answers = await asyncio.gather(*[get(app, "/records/1") for app in apps for _ in range(250)])
        assert site.runs == 1
        assert {answer.status for answer in answers} == {200}


async def test_what_is_not_kept_runs_at_once(valkey: Valkey) -> None:
    """Once one was seen, nobody waits: forty calls of 50 ms take no more than a few of them."""
    async with stacks(valkey.url) as (site, apps):
        site.fields = {"cache-control": "no-store"}
        site.seconds = 0.05
        await get(apps[0], "/records/1")
        await asyncio.sleep(0.05)
        begun = time.perf_counter()
        await asyncio.gather(*[get(app, "/records/1") for app in apps for _ in range(20)])
        assert time.perf_counter() - begun < 1
        assert site.runs == 41


async def test_a_stalled_server_is_a_miss(valkey: Valkey) -> None:
    """The first waits for a deadline, the others not at all; no 5xx; an invalidation is queued and told later."""
    async with stacks(valkey.url) as (site, (one, two)):
        await get(one, "/records/1")
        await get(two, "/records/1")
        with valkey.stalled():
            await asyncio.sleep(0.06)
            await get(one, "/records/2")
            begun = time.perf_counter()
            answers = [await get(one, f"/records/{number}") for number in range(20)]
            assert {answer.status for answer in answers} == {200}
            assert time.perf_counter() - begun < 0.5
            site.number = 5
            await one.config.cache.invalidate("record:1")
        await eventually(lambda: not one._caching._queued)
        await asyncio.sleep(0.1)
        assert (await get(two, "/records/1")).body.strip() == b"5"
        assert (await get(one, "/records/1")).body.strip() == b"5"


def keyed(key: bytes) -> Scope:
    """Build the scope of an order with a key."""
    return http("/orders", "POST", headers=[(b"idempotency-key", key)])


async def test_a_dead_server() -> None:
    """Cached endpoints run their handlers, without a new 5xx and without waiting; what must be claimed is refused.

    Only the first call may wait, for a deadline. Once the server is back, answers are kept and calls carried out.
    """
    site = Site()
    routes = [
        Route("/records/{record_id}", site.read, name="read"),
        Route("/orders", site.write, methods=["POST"], name="order"),
    ]
    policies = {
        "read": EndpointPolicy(cache=Cache(ttl=60)),
        "order": EndpointPolicy(idempotency=Idempotency(key="client", required=True)),
    }
    with Valkey() as server:
        app = PolicyMiddleware(Starlette(routes=routes), config=JobConfig(store=server.url, endpoints=policies))
        await get(app, "/records/1")
        server.kill()
        await get(app, "/records/2")
        begun = time.perf_counter()
        answers = [await get(app, f"/records/{number}") for number in range(40)]
        orders = [await call(app, keyed(b"a")) for _ in range(40)]
        assert time.perf_counter() - begun < 1, "eighty calls waited less than twenty deadlines"
        assert {answer.status for answer in answers} == {200}
        assert {(order.status, order.headers["retry-after"]) for order in orders} == {(503, "1")}
        assert {json.loads(order.body)["title"] for order in orders} == {"Service Unavailable"}
        assert site.number == 0, "nothing was carried out"
        server.start()

        async def order() -> bool:
            return (await call(app, keyed(b"b"))).status == 200

        async with asyncio.timeout(5):
            while not await order():
                await asyncio.sleep(0.02)
        assert site.number == 1
        await app._stop({})
