"""A request leaves nothing to the garbage collector: whatever it made is gone once it is over, by reference counts.

Garbage in cycles is found only by a collection, which walks all young objects and stops the process meanwhile: per
request that costs more than a layer does.
"""

import asyncio
import gc
import logging
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from forecourt import (
    Accounts,
    Adaptive,
    Cache,
    CircuitBreaker,
    Concurrency,
    Credits,
    EndpointPolicy,
    FixedWindow,
    Idempotency,
    JobConfig,
    MaxBody,
    PolicyMiddleware,
    Quota,
    Retry,
    Security,
    SlidingWindow,
    Telemetry,
    Throttle,
    Timeout,
    TokenBucket,
)
from forecourt.testing import FakeIssuer
from forecourt.types import ASGIApp, Message
from tests.asgi import http
from tests.servers import Valkey

MANY = 1_000_000
WARM, CALLS = 5, 20


class Calls(NamedTuple):
    """What is called: an endpoint of this policy; `{}` in a field or the query is another number each time."""

    policy: EndpointPolicy
    method: str = "GET"
    headers: Mapping[str, str] = {}
    query: str = ""
    body: bytes = b""


ISSUER = FakeIssuer()
TOKEN = {"authorization": "Bearer " + ISSUER.token(scopes={"read"}, exp=4_000_000_000)}
BUCKET = TokenBucket(max_tokens=MANY, refill_rate=MANY)
PAID = Security(scopes={"read"})

CASES = {
    "no policy": Calls(EndpointPolicy()),
    "a known token": Calls(EndpointPolicy(security=PAID), headers=TOKEN),
    "a known token's stream": Calls(EndpointPolicy(security=PAID), headers=TOKEN, query="stream=1"),
    "an exception": Calls(EndpointPolicy(), "POST", body=b"raise"),
    "no token": Calls(EndpointPolicy(security=PAID)),
    "a token without the scope": Calls(EndpointPolicy(security=Security(scopes={"write"})), headers=TOKEN),
    "a limit": Calls(EndpointPolicy(rate_limit=BUCKET)),
    "limits": Calls(
        EndpointPolicy(rate_limit=[BUCKET, FixedWindow(limit=MANY, window=10), SlidingWindow(limit=MANY, window=10)])
    ),
    "a limit that refuses": Calls(EndpointPolicy(rate_limit=FixedWindow(limit=1, window=86_400))),
    "failures": Calls(EndpointPolicy(rate_limit=FixedWindow(limit=MANY, window=10, count="failure"))),
    "throttle": Calls(EndpointPolicy(rate_limit=Throttle(rate=MANY, max_delay=1))),
    "a lease": Calls(EndpointPolicy(concurrency=Concurrency(limit=100))),
    "adaptive": Calls(EndpointPolicy(concurrency=Adaptive())),
    "credits": Calls(EndpointPolicy(security=PAID, credits=Credits(amount=1)), headers=TOKEN),
    "a largest body": Calls(EndpointPolicy(max_body=MaxBody(size=100)), "POST", body=b"text"),
    "the first with its key": Calls(
        EndpointPolicy(idempotency=Idempotency(key="client")), "POST", {"idempotency-key": "a{}"}, body=b"text"
    ),
    "a failure with its key": Calls(
        EndpointPolicy(idempotency=Idempotency(key="client")), "POST", {"idempotency-key": "a{}"}, body=b"fail"
    ),
    "a replay": Calls(
        EndpointPolicy(idempotency=Idempotency(key="client")), "POST", {"idempotency-key": "a"}, body=b"text"
    ),
    "a hit": Calls(EndpointPolicy(cache=Cache(ttl=1000))),
    "a miss": Calls(EndpointPolicy(cache=Cache(ttl=1000)), query="n={}"),
    "a breaker": Calls(EndpointPolicy(circuit_breaker=CircuitBreaker())),
    "a timeout": Calls(EndpointPolicy(timeout=Timeout(seconds=10))),
    "a timeout until the start": Calls(EndpointPolicy(timeout=Timeout(seconds=10, until="start"))),
    "retries": Calls(EndpointPolicy(retry=Retry())),
    "all": Calls(
        EndpointPolicy(
            security=PAID,
            rate_limit=[BUCKET],
            concurrency=Concurrency(limit=100),
            credits=Credits(amount=1),
            idempotency=Idempotency(key="client"),
            circuit_breaker=CircuitBreaker(),
            timeout=Timeout(seconds=10),
        ),
        "POST",
        {**TOKEN, "idempotency-key": "b{}"},
        body=b"text",
    ),
}


async def _events() -> AsyncIterator[bytes]:
    for _ in range(3):
        yield b"data: tick\n\n"


async def _handler(request: Request) -> Response:
    body = await request.body()
    if body == b"raise":
        raise LookupError("as asked")
    if "stream" in request.query_params:
        return StreamingResponse(_events(), media_type="text/event-stream")
    return Response(body or b"text", 503 if body == b"fail" else 200)


def _app(calls: Calls, store: str, observed: Mapping[str, Any]) -> ASGIApp:
    config = JobConfig(
        default=EndpointPolicy(**observed),
        endpoints={"handler": calls.policy},
        issuers=[ISSUER.policy],
        accounts=Accounts(quota=Quota(amount=MANY)),
        store=store,
        telemetry=Telemetry(log_to="/dev/null", log_format="json"),
    )
    app = Starlette(routes=[Route("/", _handler, methods=["GET", "POST"], name="handler")])
    app.add_middleware(PolicyMiddleware, config=config)
    return app


async def _called(app: ASGIApp, calls: Calls, number: int) -> None:
    messages: list[Message] = [{"type": "http.request", "body": calls.body, "more_body": False}]
    over = asyncio.Event()

    async def receive() -> Message:
        if messages:
            return messages.pop()
        await over.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body" and not message.get("more_body"):
            over.set()

    fields = [(name.encode(), value.format(number).encode()) for name, value in calls.headers.items()]
    if calls.body:
        fields.append((b"content-length", str(len(calls.body)).encode()))
    scope = http("/", calls.method, headers=fields)
    scope["query_string"] = calls.query.format(number).encode()
    with suppress(LookupError):
        await app(scope, receive, send)


@contextmanager
def _garbage() -> Iterator[Counter[str]]:
    """Collect nothing meanwhile; then count what only the collector finds, by type."""
    found: Counter[str] = Counter()
    gc.disable()
    logging.disable()  # a test's own handlers keep the records, and what they are about
    gc.freeze()  # what was there before is not looked at
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield found
        gc.collect()
        found.update(type(each).__name__ for each in gc.garbage)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.unfreeze()
        logging.disable(logging.NOTSET)
        gc.enable()


async def _left_by(app: ASGIApp, calls: Calls) -> Counter[str]:
    for number in range(WARM):
        await _called(app, calls, number)
    await asyncio.sleep(0)
    with _garbage() as found:
        for number in range(WARM, WARM + CALLS):
            await _called(app, calls, number)
        for _ in range(5):
            await asyncio.sleep(0)
    return found


@pytest.mark.parametrize(
    "observed", [{}, {"tracing": "off", "metrics": "off", "logging": "off"}], ids=["seen", "unseen"]
)
@pytest.mark.parametrize("name", CASES)
async def test_requests_leave_no_cycles(name: str, observed: Mapping[str, Any]) -> None:
    """In memory no call of any layer leaves an object for each request."""
    calls = CASES[name]
    found = await _left_by(_app(calls, "memory://", observed), calls)
    assert not {kind for kind, number in found.items() if number >= CALLS}, found


@pytest.mark.parametrize("name", CASES)
async def test_requests_to_a_server_leave_no_cycles(name: str, valkey: Valkey) -> None:
    """Nor on Valkey, where trips are shared."""
    calls = CASES[name]
    found = await _left_by(_app(calls, valkey.url, {}), calls)
    assert not {kind for kind, number in found.items() if number >= CALLS}, found


async def test_a_cycle_is_seen() -> None:
    """A handler that leaves a cycle for each request is found: the measure can fail."""

    async def leaving(scope: Any, receive: Any, send: Any) -> None:
        cycle: list[object] = [scope]
        cycle.append(cycle)

    found = await _left_by(leaving, Calls(EndpointPolicy()))
    assert found["list"] >= CALLS
