"""A store that answers later than its deadline: what needs a claim is refused, what does not goes on."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from forecourt import Cache, EndpointPolicy, Idempotency, JobConfig
from forecourt.stores.failover import FailoverStore
from forecourt.stores.lanes import LanedStore
from forecourt.stores.memory import MemoryStore
from forecourt.stores.redis.client import Client
from forecourt.stores.redis.store import RedisStore
from forecourt.types import ASGIApp
from tests.asgi import Answer, call, http
from tests.servers import Valkey, eventually
from tests.services import starlette
from tests.stores.redis.proxy import Proxy

pytestmark = pytest.mark.valkey


class Slow:
    """A service whose store is a proxy away; `runs` counts what its handlers did, `go_on` lets them end."""

    def __init__(self, url: str) -> None:
        client = Client(url, deadline=0.25)
        decisions = FailoverStore(RedisStore(client), MemoryStore())
        self.store = LanedStore(decisions, RedisStore(client, lane="bodies"))
        self.runs = 0
        self.go_on = asyncio.Event()
        self.go_on.set()
        policies = {
            "work": EndpointPolicy(idempotency=Idempotency(key="client")),
            "read": EndpointPolicy(cache=Cache(ttl=60)),
        }
        self.app: ASGIApp = starlette(
            JobConfig(endpoints=policies),
            Route("/", self._work, name="work", methods=["POST"]),
            Route("/read", self._work, name="read"),
            store=self.store,
        )

    async def post(self, key: str = "k1") -> Answer:
        """Make a keyed call."""
        return await call(self.app, http("/", "POST", headers=[(b"idempotency-key", key.encode())]))

    async def until_answered(self) -> Answer:
        """Ask until the store answers again."""
        async with asyncio.timeout(20):
            while (answer := await self.post()).status == 503:
                await asyncio.sleep(0)
        return answer

    async def _work(self, _: Request) -> Response:
        self.runs += 1
        await self.go_on.wait()
        return PlainTextResponse("made", 201)


@pytest.fixture
async def proxy(valkey: Valkey) -> AsyncIterator[Proxy]:
    """A way to a server that answers at once until it is held."""
    async with Proxy(valkey) as proxy:
        yield proxy


@pytest.fixture
async def slow(proxy: Proxy) -> AsyncIterator[Slow]:
    """A service that has been connected."""
    service = Slow(proxy.url)
    await service.store.open()
    assert (await service.post("first")).status == 201
    service.runs = 0
    yield service
    await service.store.close()


async def test_a_claim_that_is_late_runs_nothing(proxy: Proxy, slow: Slow) -> None:
    """503 while no claim is answered in time; then the same key is carried out, once, and replayed."""
    proxy.hold()
    answers = [await slow.post() for _ in range(3)]
    assert [(answer.status, answer.headers["retry-after"]) for answer in answers] == [(503, "1")] * 3
    assert slow.runs == 0
    proxy.release()
    carried_out = await slow.until_answered()
    assert (carried_out.status, "idempotent-replayed" in carried_out.headers) == (201, False)
    assert (await slow.post()).headers["idempotent-replayed"] == "true"
    assert slow.runs == 1


async def test_a_completion_that_is_late_is_no_second_run(proxy: Proxy, slow: Slow) -> None:
    """The client has its answer; whoever asks again is refused until the store answers, and gets a replay then."""
    slow.go_on.clear()
    first = asyncio.create_task(slow.post())
    await eventually(lambda: slow.runs == 1)
    proxy.hold()
    slow.go_on.set()
    assert (await first).status == 201
    assert (await slow.post()).status == 503
    proxy.release()
    assert (await slow.until_answered()).headers["idempotent-replayed"] == "true"
    assert slow.runs == 1


async def test_what_is_only_cached_runs_its_handler(proxy: Proxy, slow: Slow) -> None:
    """A late look-up is a miss, for everybody, and nobody is refused."""
    proxy.hold()
    answers = await asyncio.gather(*(call(slow.app, http("/read")) for _ in range(3)))
    assert {answer.status for answer in answers} == {201}
    proxy.release()
