"""A service on a real port whose Valkey is stopped or stalled under it, and comes back."""

import asyncio
import time

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from forecourt import Cache, EndpointPolicy, Idempotency, JobConfig, PolicyMiddleware
from tests.e2e.served import served
from tests.servers import HOST, Valkey, free_port

pytestmark = [pytest.mark.slow, pytest.mark.valkey]

DEADLINE = 0.05
"""Seconds after which a decision without an answer is made without the store; look-ups may take twice as long."""

WITHHELD = 2
"""So many requests of 62 may take as long all the same, on a machine that has other work."""


class Service:
    """A cached read and a write that needs a key; `runs` counts what their handlers did."""

    def __init__(self, url: str) -> None:
        self.runs = 0
        policies = {
            "read": EndpointPolicy(cache=Cache(ttl=60, tags={"records"})),
            "write": EndpointPolicy(idempotency=Idempotency(key="client", required=True)),
        }
        routes = [
            Route("/records/{record_id}", self._work, name="read"),
            Route("/records", self._work, methods=["POST"], name="write"),
        ]
        config = JobConfig(store=url, endpoints=policies)
        self.app = PolicyMiddleware(Starlette(routes=routes), config=config)

    async def _work(self, request: Request) -> Response:
        self.runs += 1
        return PlainTextResponse(f"run {self.runs}", 201 if request.method == "POST" else 200)


class Client:
    """Asks, and notes how long each answer took."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self.took: list[float] = []

    async def read(self, record: object = 1) -> httpx.Response:
        """Read a record."""
        return await self._timed("GET", f"/records/{record}")

    async def write(self, key: str) -> httpx.Response:
        """Write under a key."""
        return await self._timed("POST", "/records", headers={"idempotency-key": key})

    async def _timed(self, method: str, path: str, **words: dict[str, str]) -> httpx.Response:
        begun = time.perf_counter()
        answer = await self._client.request(method, path, **words)  # type: ignore[arg-type]  # headers alone
        self.took.append(time.perf_counter() - begun)
        return answer


@pytest.mark.parametrize("fault", ["stop", "stall"])
async def test_a_dead_store(valkey: Valkey, fault: str) -> None:
    """Reads are misses and never 5xx, and only the first waits; what needs a key is refused; then all is well again."""
    service, port = Service(valkey.url), free_port()
    with served(service.app, port):
        async with httpx.AsyncClient(base_url=f"http://{HOST}:{port}", timeout=30, trust_env=False) as http:
            client = Client(http)
            first = await client.write("known")
            assert (first.status_code, (await client.write("known")).headers["idempotent-replayed"]) == (201, "true")
            assert (await client.read()).headers["cache-status"] == "forecourt; fwd=miss; stored"
            assert (await client.read()).headers["cache-status"].startswith("forecourt; hit")
            await asyncio.to_thread(getattr(valkey, fault))
            await _dead(service, client)
            await asyncio.to_thread(valkey.resume if fault == "stall" else valkey.start)
            await _back(client)


async def _dead(service: Service, client: Client) -> None:
    await asyncio.sleep(0.06)  # the process is sure of what it keeps for 50 ms
    await client.read("first")  # waits for one deadline at most, and nobody after it
    client.took.clear()
    runs = service.runs
    answers = [await client.read(number) for number in (*range(30), *range(30))]
    assert {answer.status_code for answer in answers} == {200}
    assert {answer.headers["cache-status"].split(";")[1] for answer in answers} == {" fwd=miss"}
    assert service.runs == runs + 60
    refused = [await client.write(key) for key in ("known", "new")]
    for answer in refused:
        assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.json()["status"] == 503
    assert service.runs == runs + 60
    assert sum(took >= DEADLINE for took in client.took) <= WITHHELD, sorted(client.took)[-5:]


async def _back(client: Client) -> None:
    async with asyncio.timeout(20):
        while (answer := await client.write("new")).status_code == 503:
            await asyncio.sleep(0.01)
    assert (answer.status_code, "idempotent-replayed" in answer.headers) == (201, False)
    assert (await client.write("new")).headers["idempotent-replayed"] == "true"
    async with asyncio.timeout(20):
        while not (await client.read("again")).headers["cache-status"].startswith("forecourt; hit"):
            await asyncio.sleep(0.01)
