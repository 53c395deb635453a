"""Timeouts in the stack: what is cancelled, what callers are told, and what cannot be stopped."""

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable

import pytest
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from forecourt import (
    CircuitBreaker,
    Deadline,
    EndpointPolicy,
    JobConfig,
    Timeout,
    TimeoutMiddleware,
    current_deadline,
)
from forecourt.deadlines import current
from forecourt.testing import FakeClock
from forecourt.timers import Timers
from tests.asgi import call, http
from tests.callers import Caller, settle_down
from tests.layers.working import Service
from tests.services import starlette


def only(seconds: float = 2, **policy: object) -> EndpointPolicy:
    """Build an endpoint policy of nothing but this timeout."""
    return EndpointPolicy(timeout=Timeout(seconds=seconds, **policy))  # type: ignore[arg-type]  # its own words


async def pass_time(clock: FakeClock, seconds: float) -> None:
    """Let time pass, and everybody do what they wait for."""
    clock.advance(seconds)
    await settle_down()


async def test_a_call_that_takes_too_long_is_cancelled_and_answered() -> None:
    """504 at the deadline, not before it; the handler has ended, and is told so by cancellation."""
    service = Service(only())
    caller = await service.begin()
    await pass_time(service.clock, 1.999)
    assert caller.status is None
    await pass_time(service.clock, 0.001)
    answer = await caller.end()
    assert (answer.status, service.at_work) == (504, 0)
    assert json.loads(answer.body)["type"] == "https://forecourt.dev/problems/deadline-exceeded"
    assert not caller.task.cancelling()


async def test_a_call_in_time_is_left_alone() -> None:
    """And its timer with it."""
    service = Service(only())
    caller = await service.call()
    assert caller.status == 200
    assert service.exchange is not None
    assert repr(service.exchange.runtime.timers) == "<Timers, 0 set>"


async def test_a_response_that_has_begun_is_broken_off() -> None:
    """No last message follows, so that the client sees that it is not whole."""
    service = Service(only())
    caller = await service.begin("/stream")
    await pass_time(service.clock, 2)
    answer = await caller.end()
    assert (answer.status, answer.body) == (200, b"one")
    assert answer.messages[-1].get("more_body")


async def test_until_start_lets_streams_go_on() -> None:
    """Only the first message has to come in time; of a WebSocket, its acceptance."""
    service = Service(only(until="start"))
    caller = await service.begin("/stream")
    await pass_time(service.clock, 10)
    service.go_on.set()
    assert (await caller.end()).body == b"onetwo"
    service = Service(only())
    scope = {**http("/echo"), "type": "websocket", "subprotocols": []}
    socket = Caller(service.app, scope)
    await settle_down()
    await pass_time(service.clock, 10)
    assert socket.answer.kinds == ["websocket.accept"]
    await socket.leave()


async def test_a_cancelled_call_is_no_timeout() -> None:
    """The server's cancellation goes through, even when the time is over in the same moment."""
    for expires in (False, True):
        service = Service(only())
        caller = await service.begin()
        if expires:
            service.clock.advance(2)
            await asyncio.sleep(0)
            caller.task.cancel()
            caller.task.cancel()
        await caller.cancel()
        assert caller.task.cancelled()


Handler = Callable[[Request], Awaitable[Response]]


def served(handler: Handler | Callable[[Request], Response], policy: EndpointPolicy, **config: object) -> Service:
    """Build a service whose endpoint is this handler; only its app and clock are used."""
    service = Service(policy)
    settings = JobConfig(endpoints={"own": policy}, **config)  # type: ignore[arg-type]  # the tests' own words
    service.app = starlette(settings, Route("/", handler, name="own"), clock=service.clock)
    return service


async def test_a_timeout_error_of_the_handlers_is_its_own() -> None:
    """It is raised as any exception is: only our own expiry is a 504."""

    async def own(_request: Request) -> Response:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        await call(served(own, only()).app, http("/"))


async def test_a_handler_that_ignores_cancellation_is_answered_for() -> None:
    """The caller hears 504 at the deadline; what the handler says when it ends at last is withheld."""
    go_on = asyncio.Event()

    async def deaf(_request: Request) -> Response:
        while not go_on.is_set():
            try:
                await go_on.wait()
            except asyncio.CancelledError:
                continue
        return PlainTextResponse("too late")

    service = served(deaf, only())
    caller = await service.begin()
    await pass_time(service.clock, 2)
    assert caller.status == 504
    assert not caller.task.done()
    go_on.set()
    answer = await caller.end()
    assert answer.kinds == ["http.response.start", "http.response.body"]
    assert b"too late" not in answer.body


async def test_a_synchronous_handler_goes_on_in_its_thread() -> None:
    """The caller hears 504 at the deadline; the thread ends by itself."""
    entered, go_on = threading.Event(), threading.Event()

    def slow(_request: Request) -> Response:
        entered.set()
        go_on.wait(5)
        return PlainTextResponse("too late")

    service = served(slow, only())
    caller = await service.begin()
    await asyncio.to_thread(entered.wait, 5)
    await pass_time(service.clock, 2)
    assert caller.status == 504
    go_on.set()
    assert b"too late" not in (await caller.end()).body


async def test_an_exception_on_the_way_out_is_raised() -> None:
    """The caller has the 504; who looks after the service hears what went wrong."""

    async def clumsy(_request: Request) -> Response:
        try:
            await asyncio.Event().wait()
        finally:
            raise RuntimeError("while cleaning up")
        raise AssertionError

    service = served(clumsy, only())
    caller = await service.begin()
    await pass_time(service.clock, 2)
    with pytest.raises(RuntimeError):
        await caller.end()
    assert caller.status == 504


async def test_handlers_know_their_deadline() -> None:
    """On the exchange and in a context variable; a trusted proxy may shorten it, others may not."""
    seen: list[float] = []

    async def own(request: Request) -> Response:
        deadline = current_deadline()
        assert deadline is not None
        assert request.state.forecourt.deadline is deadline
        seen.append(deadline.remaining())
        return PlainTextResponse(repr(deadline))

    service = served(own, only(), trusted_proxies=["192.0.2.7"])
    fields = [(b"x-request-timeout-ms", b"500"), (b"grpc-timeout", b"300m"), (b"grpc-timeout", b"x"), (b"x-a", b"1")]
    for client in ("192.0.2.1", "192.0.2.7"):
        await call(service.app, http("/", client=client, headers=fields))
    bad = [(b"x-envoy-expected-rq-timeout-ms", b"-5"), (b"x-request-timeout-ms", b"9" * 13)]
    answer = await call(service.app, http("/", client="192.0.2.7", headers=bad))
    assert seen == [2, 0.3, 2]
    assert answer.body == b"<Deadline in 2.000 s>"
    over = await call(service.app, http("/", client="192.0.2.7", headers=[(b"x-request-timeout-ms", b"0")]))
    assert (over.status, len(seen)) == (504, 3)
    assert current_deadline() is None
    assert current.get() is None


async def test_a_timeout_is_a_failure_to_the_breaker() -> None:
    """It opens it; a breaker and a timeout together answer 504, then 503."""
    both = EndpointPolicy(timeout=Timeout(seconds=2), circuit_breaker=CircuitBreaker(fail_max=1))
    service = Service(both)
    caller = await service.begin()
    await pass_time(service.clock, 2)
    assert (await caller.end()).status == 504
    assert (await service.call()).status == 503


async def test_it_can_be_installed_alone() -> None:
    """As a middleware of its own."""
    config = JobConfig(endpoints={"own": only()}, routes={"own": "/"})

    async def app(_scope: object, _receive: object, send: Callable[[dict[str, object]], Awaitable[None]]) -> None:
        await send({"type": "http.response.start", "status": 204})
        await send({"type": "http.response.body"})

    assert (await call(TimeoutMiddleware(app, config=config), http("/"))).status == 204


def test_an_attempt_is_not_longer_than_all() -> None:
    """Refused with the reason; without retries it is the limit itself."""
    with pytest.raises(ValidationError, match="per_attempt"):
        Timeout(seconds=2, per_attempt=3)
    assert Timeout(seconds=2).attempt() is None
    assert Timeout(seconds=2, per_attempt=1).attempt() == 1_000_000
    assert EndpointPolicy(timeout="off").timeout == "off"


async def test_timers_ring_in_time_whatever_the_clock_does() -> None:
    """The shorter first, though it was set later; set back, a clock delays by a timer's own span at most."""
    clock = FakeClock()
    timers = Timers(clock)
    rung: list[str] = []
    timers.set(10_000_000, lambda: rung.append("long"))
    await settle_down()
    timers.set(1_000_000, lambda: rung.append("short"))
    dropped = timers.set(2_000_000, lambda: rung.append("dropped"))
    await settle_down()
    await pass_time(clock, 1)
    timers.drop(dropped)
    assert rung == ["short"]
    await pass_time(clock, -3600)
    await pass_time(clock, 9)
    await pass_time(clock, 10)
    assert rung == ["short", "long"]
    timers.set(1, lambda: rung.append("stopped"))
    timers.stop()
    await settle_down()
    assert Deadline(clock.now(), clock).remaining() == 0
    assert rung == ["short", "long"]
