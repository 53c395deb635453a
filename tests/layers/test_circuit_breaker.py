"""The circuit breaker in the stack: what it learns from calls, and what callers are told."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from forecourt import (
    CircuitBreaker,
    CircuitBreakerMiddleware,
    Concurrency,
    ConfigError,
    EndpointPolicy,
    JobConfig,
    PolicyMiddleware,
)
from forecourt.layers.circuit_breaker import OPEN
from forecourt.testing import FakeClock
from forecourt.types import Message, Receive, Scope, Send
from tests.asgi import Answer, call, get, http, websocket
from tests.callers import Caller
from tests.layers.working import Service
from tests.services import starlette


class Flaky:
    """An app whose answers are told by a test; `/inner` uses the breaker in code."""

    def __init__(self, **policy: object) -> None:
        self.clock = FakeClock()
        self.says: int | Exception | str = 200
        self.calls = 0
        breaker = CircuitBreaker(name="dependency", **{"fail_max": 2, "jitter": 0, **policy})  # type: ignore[arg-type]
        self.config = JobConfig(
            endpoints={
                "answer": EndpointPolicy(circuit_breaker=breaker),
                "socket": EndpointPolicy(circuit_breaker=breaker),
            },
            default=EndpointPolicy(),
        )
        routes = [
            Route("/", self._answer, name="answer", methods=["GET", "POST"]),
            Route("/inner", self._inner, name="inner"),
            WebSocketRoute("/socket", self._socket, name="socket"),
        ]
        self.app: Starlette = starlette(self.config, *routes, clock=self.clock)

    @property
    def state(self) -> str:
        """Where the breaker stands."""
        return self.config.breaker("dependency").state

    async def get(self, says: int | Exception | str = 200, path: str = "/") -> Answer:
        """Call, and have the handler say this."""
        self.says = says
        if isinstance(says, Exception):
            with pytest.raises(type(says)):
                await get(self.app, path)
            return Answer()
        return await get(self.app, path)

    async def _answer(self, request: Request) -> Response:
        self.calls += 1
        if isinstance(self.says, Exception):
            raise self.says
        if self.says == "gone":
            await request.body()
            assert await request.is_disconnected()
            raise RuntimeError("nobody listens")
        if isinstance(self.says, int):
            return PlainTextResponse("said", self.says)
        return StreamingResponse(self._events(), media_type="text/event-stream")

    async def _events(self) -> AsyncIterator[bytes]:
        yield b"data: 1\n\n"
        await asyncio.Event().wait()

    async def _inner(self, _request: Request) -> Response:
        async with self.config.breaker("dependency"):
            if self.says == 500:
                raise RuntimeError("it failed")
            return PlainTextResponse("inside")

    async def _socket(self, socket: WebSocket) -> None:
        if isinstance(self.says, Exception):
            raise self.says
        if self.says == "denied":
            return await socket.close()
        await socket.accept()


async def test_failures_open_it_and_callers_are_told_when_to_come_back() -> None:
    """503 with the seconds that are left, in our words; the handler is left alone until they have passed."""
    service = Flaky()
    assert [(await service.get(500)).status for _ in range(2)] == [500, 500]
    service.clock.advance(0.5)
    refused = await service.get()
    assert (refused.status, refused.headers["retry-after"], service.calls) == (503, "30", 2)
    assert json.loads(refused.body)["type"] == "https://forecourt.dev/problems/circuit-open"
    service.clock.advance(29.5)
    assert (await service.get()).status == 200
    assert service.state == "closed"


@pytest.mark.parametrize(
    ("says", "state"),
    [
        (502, "open"),
        (504, "open"),
        (RuntimeError("it failed"), "open"),
        (501, "closed"),
        (404, "closed"),
        (429, "closed"),
    ],
)
async def test_what_is_a_failure(says: int | Exception | str, state: str) -> None:
    """Exceptions, statuses that say so, responses that break off; not what the caller did wrong."""
    service = Flaky(fail_max=1)
    await service.get(says)
    assert service.state == state


async def test_statuses_are_the_operators_word() -> None:
    """429 is a failure where the policy says so, and 500 then is none."""
    service = Flaky(fail_max=1, failures=[429])
    await service.get(500)
    assert service.state == "closed"
    await service.get(429)
    assert service.state == "open"


async def test_a_client_that_left_says_nothing() -> None:
    """Neither by what the handler does then, nor by cancellation, nor by a send that fails."""
    service = Flaky(fail_max=1)
    service.says = "gone"
    with pytest.raises(RuntimeError):
        await get(service.app, "/", "POST")
    service.says = "events"
    for _ in range(3):
        caller = await Caller.begin(service.app)
        await caller.cancel()

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(_message: object) -> None:
        raise OSError("the connection is lost")

    service.says = 200
    with pytest.raises(Exception, match=r"connection is lost|unhandled errors"):
        await service.app(http("/"), receive, send)
    assert service.state == "closed"


async def test_a_cancelled_probe_gives_its_place_back() -> None:
    """Before the response began; the next caller probes."""
    service = Service(EndpointPolicy(circuit_breaker=CircuitBreaker(fail_max=1, jitter=0)))
    service.status = 500
    await service.call()
    service.clock.advance(30)
    caller = await service.begin()
    assert (await get(service.app, "/")).status == 503
    await caller.cancel()
    service.status = 200
    assert (await service.call()).status == 200


async def test_a_stream_is_judged_at_its_end_and_events_at_their_first_byte() -> None:
    """A stream that breaks off has failed; an event stream may never end."""
    breaker = EndpointPolicy(circuit_breaker=CircuitBreaker(name="one", fail_max=1, jitter=0))
    service = Service(breaker)
    stream = await service.begin("/stream")
    assert stream.answer.body == b"one"
    service.fails = True
    service.go_on.set()
    with pytest.raises(RuntimeError):
        await stream.end()
    assert (await get(service.app, "/stream")).status == 503
    events = Flaky(fail_max=1)
    await events.get(500)
    events.clock.advance(30)
    events.says = "events"
    listening = await Caller.begin(events.app)
    assert events.state == "closed"
    await listening.cancel()


async def test_websockets_are_judged_by_their_handshake() -> None:
    """Accepted is a success, an exception a failure; denied says nothing; open, the handshake is refused."""
    service = Flaky(fail_max=1)
    await call(service.app, websocket("/socket"))
    service.says = "denied"
    await call(service.app, websocket("/socket", denial=False))
    assert service.state == "closed"
    service.says = RuntimeError("it failed")
    with pytest.raises(RuntimeError):
        await call(service.app, websocket("/socket"))
    assert (await call(service.app, websocket("/socket"))).status == 503


async def test_what_a_layer_below_refuses_says_nothing() -> None:
    """A breaker in the handler that is open answers 503 for itself."""
    service = Flaky(fail_max=1)
    await service.get(500)
    refused = await service.get(path="/inner")
    assert (refused.status, refused.headers["retry-after"]) == (503, "30")
    service.clock.advance(30)
    assert (await service.get(path="/inner")).body == b"inside"
    assert service.state == "closed"


async def test_code_and_endpoint_share_a_breaker() -> None:
    """What the code has opened is open for the endpoint."""
    service = Flaky(fail_max=1)
    service.says = 500
    with pytest.raises(RuntimeError):
        await get(service.app, "/inner")
    assert (await service.get()).status == 503


async def test_an_app_that_answers_nothing_has_failed() -> None:
    """It returned, nobody left, and there is no answer; nor after a refusal that is not the handler's."""
    breaker = EndpointPolicy(circuit_breaker=CircuitBreaker(name="silent", fail_max=1))
    config = JobConfig(endpoints={"silent": breaker}, routes={"silent": "/"})

    async def silent(_scope: object, _receive: object, _send: object) -> None:
        """Answer nothing."""

    app = CircuitBreakerMiddleware(silent, config=config)
    await call(app, http("/"))
    assert (await call(app, http("/"))).status == 503


async def test_a_refusal_of_the_stack_is_none_of_its_business() -> None:
    """Limits above it refuse without asking it."""
    both = EndpointPolicy(concurrency=Concurrency(limit=1), circuit_breaker=CircuitBreaker(fail_max=1))
    service = Service(both)
    at_work = await service.begin()
    assert (await get(service.app, "/")).status == 429
    service.go_on.set()
    assert (await at_work.end()).status == 200
    assert (await get(service.app, "/")).status == 200


def test_a_fallback_needs_its_layer() -> None:
    """A stale answer without a cache, a job without a queue: refused at the start, by name."""
    breaker = EndpointPolicy(circuit_breaker=CircuitBreaker(fallback="stale"))
    config = JobConfig(endpoints={"work": breaker}, default=EndpointPolicy())
    service = starlette(config, Route("/", lambda _: PlainTextResponse("x"), name="work"))
    from forecourt.inspection import inspect

    (problem,) = inspect(service).problems
    assert problem == (
        'circuit_breaker.fallback of endpoint "work": "stale" is not allowed: '
        'endpoint "work" has no cache policy with stale_if_error that could answer instead'
    )
    assert OPEN == "circuit open"
    with pytest.raises(ConfigError, match="fallback"):
        JobConfig(endpoints={"work": {"circuit_breaker": {"fallback": "old"}}})  # type: ignore[dict-item]


async def test_a_response_with_trailers_ends_with_the_last_of_them() -> None:
    """A probe that is answered so has not succeeded before; then it has, whatever the app does afterwards."""
    steps = asyncio.Queue[Message]()

    async def bare(_scope: Scope, _receive: Receive, send: Send) -> None:
        while True:
            await send(await steps.get())
            steps.task_done()

    clock = FakeClock()
    breaker = CircuitBreaker(name="dependency", fail_max=1, jitter=0)
    config = JobConfig(endpoints={"work": EndpointPolicy(circuit_breaker=breaker)}, routes={"work": "GET /"})
    app = PolicyMiddleware(bare, config, clock=clock)
    failed = await Caller.begin(app)
    for message in ({"type": "http.response.start", "status": 500}, {"type": "http.response.body"}):
        steps.put_nowait(message)
    await steps.join()
    await failed.cancel()
    assert config.breaker("dependency").state == "open"
    clock.advance(30)
    probe = await Caller.begin(app)
    seen = []
    for message in (
        {"type": "http.response.start", "status": 200, "trailers": True},
        {"type": "http.response.body"},
        {"type": "http.response.trailers", "more_trailers": True},
        {"type": "http.response.trailers"},
    ):
        steps.put_nowait(message)
        await steps.join()
        seen.append(config.breaker("dependency").state)
    await probe.cancel()
    assert [state == "closed" for state in seen] == [False, False, False, True]
