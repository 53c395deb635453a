"""The same policies before every framework: same refusals, same fields, same state."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from forecourt import (
    ApiKey,
    ApiKeys,
    Cache,
    CircuitBreaker,
    EndpointPolicy,
    FixedWindow,
    Idempotency,
    JobConfig,
    PolicyMiddleware,
    Security,
    Timeout,
)
from forecourt.core.api_key import hashed, made
from forecourt.testing import FakeClock
from forecourt.types import ASGIApp, Message, Scope
from tests.asgi import Answer, http
from tests.callers import Caller, settle_down
from tests.frameworks.apps import APPS, PIECES, BrokenError, Counts

ROUTES = {
    "get_record": "GET /records/{record_id:int}",
    "put_record": "PUT /records/{record_id:int}",
    "create_order": "POST /orders",
    "upload": "POST /upload",
    "slow": "GET /slow",
    "broken": "GET /broken",
    "stream": "GET /stream",
}
KEY = made("fc", lambda letters: letters[7])


@pytest.fixture(params=APPS)
def framework(request: pytest.FixtureRequest) -> str:
    """Each framework in turn, where it is installed."""
    pytest.importorskip(request.param, reason=f"{request.param} is not installed")
    return str(request.param)


class Served:
    """The service of one framework under some policies, its clock standing still."""

    def __init__(self, framework: str, **policies: EndpointPolicy) -> None:
        self.counts = Counts()
        self.clock = FakeClock()
        record = ApiKey(id=KEY.split("_")[1], hash=hashed(KEY, None), owner="alice", scopes={"read"})
        config = JobConfig(
            default=EndpointPolicy(),
            endpoints=policies,
            routes={} if framework in ("fastapi", "starlette") else ROUTES,
            api_keys=ApiKeys(keys=[record]),
        )
        self.app = PolicyMiddleware(APPS[framework](self.counts), config=config, clock=self.clock)

    async def ask(self, method: str, path: str, *fields: tuple[bytes, bytes], body: bytes = b"") -> Answer:
        """Make a call."""
        headers = [(b"content-length", b"%d" % len(body)), *fields]
        message: Message = {"type": "http.request", "body": body, "more_body": False}
        return await asked(self.app, http(path, method, headers=headers), message)

    def statuses(self, times: int, method: str, path: str, *fields: tuple[bytes, bytes]) -> Awaitable[list[int]]:
        """Make the same call several times, one after the other."""

        async def each() -> list[int]:
            return [(await self.ask(method, path, *fields)).status for _ in range(times)]

        return each()


async def test_limits(framework: str) -> None:
    """The third in a minute is refused by problem and Retry-After; other endpoints are not counted with it."""
    served = Served(framework, get_record=EndpointPolicy(rate_limit=FixedWindow(limit=2, window=60)))
    assert await served.statuses(2, "GET", "/records/1") == [200, 200]
    refused = await served.ask("GET", "/records/2")
    assert (refused.status, refused.headers["retry-after"]) == (429, "60")
    assert json.loads(refused.body)["violated-policies"] == ["fixed_window"]
    assert (await served.ask("PUT", "/records/1")).status == 200
    served.clock.advance(60)
    assert (await served.ask("GET", "/records/1")).status == 200


async def test_keys_and_scopes(framework: str) -> None:
    """401 without, 200 with, 403 where the scope is missing."""
    served = Served(
        framework,
        get_record=EndpointPolicy(security=Security(scopes={"read"})),
        put_record=EndpointPolicy(security=Security(scopes={"write"})),
    )
    key = (b"x-api-key", KEY.encode())
    assert (await served.ask("GET", "/records/1")).status == 401
    assert (await served.ask("GET", "/records/1", key)).status == 200
    assert (await served.ask("PUT", "/records/1", key)).status == 403


async def test_cache_and_invalidation(framework: str) -> None:
    """A second read does not reach the handler; after a write the next one does."""
    served = Served(
        framework,
        get_record=EndpointPolicy(cache=Cache(ttl=300, tags={"record:{record_id}"})),
        put_record=EndpointPolicy(invalidates={"record:{record_id}"}),
    )
    first = await served.ask("GET", "/records/1")
    second = await served.ask("GET", "/records/1")
    assert (first.body, served.counts.reads) == (second.body, 1)
    assert "hit" in second.headers["cache-status"]
    await served.ask("PUT", "/records/1")
    assert (await served.ask("GET", "/records/1")).status == 200
    assert served.counts.reads == 2


async def test_idempotency(framework: str) -> None:
    """A repeated key is answered with what was answered before."""
    served = Served(framework, create_order=EndpointPolicy(idempotency=Idempotency(key="client")))
    key = (b"idempotency-key", b'"one"')
    first, again = await served.ask("POST", "/orders", key), await served.ask("POST", "/orders", key)
    assert (first.status, again.status, first.body == again.body) == (201, 201, True)
    assert (again.headers["idempotent-replayed"], served.counts.orders) == ("true", 1)
    assert (await served.ask("POST", "/orders")).status == 400


@pytest.mark.filterwarnings("ignore:Unclosed file:ResourceWarning")  # Django's, of a request that was cancelled
async def test_timeout(framework: str) -> None:
    """A handler that waits is told off at the deadline."""
    served = Served(framework, slow=EndpointPolicy(timeout=Timeout(seconds=2)))
    caller = await Caller.begin(served.app, "/slow")
    await until(lambda: served.counts.waiting > 0)
    served.clock.advance(2)
    await settle_down()
    assert (await asyncio.wait_for(caller.end(), 5)).status == 504


async def test_breaker_and_exceptions(framework: str, caplog: pytest.LogCaptureFixture) -> None:
    """What breaks is answered once, by the framework, without a word of why; after two of them the breaker answers."""
    logging.getLogger("django.request").setLevel(logging.CRITICAL)
    served = Served(framework, broken=EndpointPolicy(circuit_breaker=CircuitBreaker(fail_max=2, reset_timeout=30)))
    statuses = [await broken(served) for _ in range(3)]
    assert statuses == [500, 500, 503]
    caplog.clear()


async def broken(served: Served) -> int:
    """Call what breaks; some frameworks answer for it, others raise it again as Starlette does."""
    answer = await served.ask("GET", "/broken")
    assert b"planted" not in answer.body
    return answer.status


async def asked(app: ASGIApp, scope: Scope, *received: Message) -> Answer:
    """Call as a server does: the client stays until its response is complete; then receivers hear of a disconnect."""
    answer = Answer()
    messages = list(received)
    complete = asyncio.Event()

    async def receive() -> Message:
        if messages:
            return messages.pop(0)
        await complete.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        answer.messages.append(message)
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            complete.set()

    with suppress(BrokenError):
        await app(scope, receive, send)
    return answer


async def test_largest_body(framework: str) -> None:
    """What is too large is refused, said or not; what fits arrives whole."""
    served = Served(framework, upload=EndpointPolicy(max_body=1000))
    assert (await served.ask("POST", "/upload", body=b"x" * 1000)).status == 200
    assert (await served.ask("POST", "/upload", body=b"x" * 1001)).status == 413
    endless: list[Message] = [{"type": "http.request", "body": b"x" * 400, "more_body": True}] * 3
    assert (await asked(served.app, http("/upload", "POST"), *endless)).status == 413
    assert served.counts.uploads == [1000]


async def test_streams(framework: str) -> None:
    """A stream passes piece by piece, and begins once."""
    answer = await Served(framework, stream=EndpointPolicy(rate_limit=FixedWindow(limit=9, window=60))).ask(
        "GET", "/stream"
    )
    assert (answer.status, answer.body, len(answer.starts)) == (200, b"".join(PIECES), 1)
    assert sum(bool(message.get("body")) for message in answer.messages) >= len(PIECES)


async def until(true: Callable[[], bool]) -> None:
    """Return when this is true; some frameworks take threads and turns to reach their handlers."""
    for _ in range(500):
        if true():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never was")
