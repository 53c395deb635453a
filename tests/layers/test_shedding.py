"""Shedding in the stack: who is refused, what it costs, and when a place is free again."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from forecourt import Adaptive, ConcurrencyMiddleware, ConfigError, EndpointPolicy, FixedWindow, JobConfig
from forecourt.core.shedding import Priority, Usual
from forecourt.exchange import Exchange
from forecourt.layers.loop_lag import TICK, LoopLag
from forecourt.layers.shedder import Shedder, shedder_of
from forecourt.layers.shedding import SheddingLayer
from forecourt.runtime import Runtime
from forecourt.stores.memory import MemoryStore
from forecourt.testing import FakeClock
from tests.asgi import call, get, http, websocket
from tests.callers import Caller, settle_down
from tests.layers.working import Service
from tests.services import starlette


def only(**policy: object) -> EndpointPolicy:
    """Build an endpoint policy of nothing but this adaptive limit, of one call at first."""
    words = {"initial": 1, "min_limit": 1, "max_lag": "off", **policy}
    return EndpointPolicy(concurrency=Adaptive(**words))  # type: ignore[arg-type]  # its own words


class Loop:
    """An event loop as far as its lag goes: time stands still, timers ring when they are told to."""

    def __init__(self) -> None:
        self.now = 100.0
        self.rings: list[object] = []

    def time(self) -> float:
        """Return the seconds that a test has set."""
        return self.now

    def call_later(self, delay: float, callback: object, /) -> object:
        """Keep the callback."""
        assert delay == TICK
        self.rings.append(callback)
        return callback

    def ring(self, late: float = 0) -> None:
        """Let a tick pass, so much too late."""
        self.now += TICK + late
        callback = self.rings.pop()
        assert callable(callback)
        callback()


async def test_a_call_over_the_limit_is_refused() -> None:
    """503 in our words with Retry-After; the place is free again when the response has ended."""
    service = Service(only())
    caller = await service.begin()
    refused = await get(service.app, "/")
    assert (refused.status, refused.headers["retry-after"]) == (503, "1")
    assert (
        json.loads(refused.body)["type"] == "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity"
    )
    assert service.calls == 1
    service.go_on.set()
    assert (await caller.end()).status == 200
    assert (await get(service.app, "/")).status == 200


async def test_a_call_that_is_shed_has_consumed_nothing() -> None:
    """It is refused before any question is asked, so the rate limit is left as it was."""
    both = only().model_copy(update={"rate_limit": FixedWindow(limit=2, window=60)})
    service = Service(both)
    caller = await service.begin()
    assert [(await get(service.app, "/")).status for _ in range(5)] == [503] * 5
    await caller.cancel()
    assert (await service.call()).answer.status == 200
    assert (await service.call()).answer.status == 429


@pytest.mark.parametrize("ends", ["cancelled", "broken"])
async def test_a_place_comes_back_however_a_call_ends(ends: str) -> None:
    """Also when it was cancelled and when it raised."""
    service = Service(only())
    caller = await service.begin()
    if ends == "cancelled":
        await caller.cancel()
    else:
        service.fails = True
        service.go_on.set()
        with pytest.raises(RuntimeError):
            await caller.end()
        service.fails = False
    assert (await service.call()).answer.status == 200


async def test_a_line_of_those_who_wait_is_bounded() -> None:
    """As many as the policy says wait, and are served in order; the next is refused at once, others after a while."""
    service = Service(only(queue=1, max_wait=2))
    first, second = await service.begin(), await service.begin()
    assert service.calls == 1
    assert (await get(service.app, "/")).status == 503
    service.go_on.set()
    assert (await first.end()).status == 200
    assert (await second.end()).status == 200
    service.go_on.clear()
    third, late = await service.begin(), await service.begin()
    await service.advance(3)
    assert (await late.end()).status == 503
    await third.cancel()


async def test_one_who_waits_may_leave() -> None:
    """Before a turn came, and in the very moment when it comes: nobody's place is lost."""
    service = Service(only(queue=1))
    first, second = await service.begin(), await service.begin()
    await second.cancel()
    third = await service.begin()
    service.go_on.set()
    assert (await first.end()).status == 200
    assert (await third.end()).status == 200
    runtime = Runtime(JobConfig(), MemoryStore(FakeClock()), FakeClock())
    shedder = Shedder(Adaptive(initial=1, min_limit=1, queue=1, max_lag="off"), runtime, LoopLag())
    assert await shedder.enter("normal")
    waiting = asyncio.create_task(shedder.enter("normal"))
    await settle_down()
    shedder.leave(Usual(), None)
    waiting.cancel()
    await settle_down()
    assert shedder.at_work == 0
    assert repr(shedder) == "<Shedder, 0 of 1.0 at work, 0 wait>"


async def test_a_turn_that_comes_as_patience_ends_is_a_turn() -> None:
    """The timer rings for one whose place was given in the same moment: it is let in."""
    clock = FakeClock()
    runtime = Runtime(JobConfig(), MemoryStore(clock), clock)
    shedder = Shedder(Adaptive(initial=1, min_limit=1, queue=1, max_wait=2, max_lag="off"), runtime, LoopLag())
    assert await shedder.enter("normal")
    waiting = asyncio.create_task(shedder.enter("normal"))
    await settle_down()
    (timer,) = runtime.timers._set
    shedder.leave(Usual(), None)
    timer.ring()
    assert await waiting
    runtime.timers.stop()


async def test_there_is_nothing_to_settle() -> None:
    """It asks no store, and so owes it nothing."""
    clock = FakeClock()
    runtime = Runtime(JobConfig(), MemoryStore(clock), clock)
    shedder = Shedder(Adaptive(initial=1, min_limit=1, max_lag="off"), runtime, LoopLag())
    service = Service(only())
    layer = SheddingLayer(service.app, shedder=shedder, priority="normal", shadow=False)
    assert not layer.settles
    assert layer.settlements(Exchange(runtime, http("/")), ()) == ()


async def test_higher_priorities_go_first() -> None:
    """In line, and past those who wait; critical calls do not wait."""
    runtime = Runtime(JobConfig(), MemoryStore(FakeClock()), FakeClock())
    shedder = Shedder(Adaptive(initial=1, min_limit=1, queue=9, max_lag="off"), runtime, LoopLag())
    assert await shedder.enter("critical")
    order: list[Priority] = []

    async def come(priority: Priority) -> None:
        assert await shedder.enter(priority)
        order.append(priority)

    tasks = [asyncio.create_task(come(each)) for each in ("low", "normal", "high")]
    await settle_down()
    assert order == []
    assert await shedder.enter("critical")
    for _ in range(4):
        shedder.leave(Usual(), None)
        await settle_down()
    await asyncio.gather(*tasks)
    assert order == ["high", "normal", "low"]
    runtime.timers.stop()


async def test_critical_endpoints_are_never_shed() -> None:
    """Health answers in the worst of times; endpoints of one name share a limit by their priorities."""
    limit = Adaptive(initial=4, min_limit=1, name="process", max_lag="off")
    clock, go_on = FakeClock(), asyncio.Event()

    async def work(_request: Request) -> Response:
        await go_on.wait()
        return PlainTextResponse("done")

    async def health(_request: Request) -> Response:
        return PlainTextResponse("well")

    config = JobConfig(
        default=EndpointPolicy(concurrency=limit),
        endpoints={"health": EndpointPolicy(priority="critical"), "report": EndpointPolicy(priority="low")},
    )
    routes = [
        Route("/", work, name="work"),
        Route("/health", health, name="health"),
        Route("/report", work, name="report"),
    ]
    app = starlette(config, *routes, clock=clock)
    callers = [await Caller.begin(app, "/report") for _ in range(2)]
    assert (await get(app, "/report")).status == 503
    callers += [await Caller.begin(app, "/") for _ in range(2)]
    assert (await get(app, "/")).status == 503
    assert (await get(app, "/health")).status == 200
    go_on.set()
    assert [(await caller.end()).status for caller in callers] == [200] * 4


async def test_event_streams_hold_a_place_to_their_first_byte() -> None:
    """They may never end, and cost little while they wait; so does a WebSocket after its handshake."""
    go_on = asyncio.Event()

    async def said() -> AsyncIterator[bytes]:
        yield b"data: 1\n\n"
        await go_on.wait()

    async def events(_request: Request) -> Response:
        return StreamingResponse(said(), media_type="text/event-stream")

    app = starlette(JobConfig(default=only()), Route("/", events, name="events"), clock=FakeClock())
    callers = [await Caller.begin(app, "/") for _ in range(3)]
    go_on.set()
    assert [(await caller.end()).status for caller in callers] == [200] * 3
    service = Service(only())
    assert (await call(service.app, websocket("/echo"))).kinds == ["websocket.accept"]
    caller = await service.begin("/stream")
    assert (await get(service.app, "/stream")).status == 503
    await caller.cancel()


async def test_what_calls_took_moves_the_limit() -> None:
    """Answers teach; what failed sooner than an answer comes does not."""
    policy = Adaptive(initial=2, min_limit=1, max_lag="off")
    clock = FakeClock()
    config = JobConfig(default=EndpointPolicy(concurrency=policy))
    runtime = Runtime(config, MemoryStore(clock), clock)
    shedder, usual = Shedder(policy, runtime, LoopLag()), Usual()
    for took in (0.01,) * 40:
        assert await shedder.enter("critical")
        assert await shedder.enter("critical")
        began = clock.now()
        clock.advance(took)
        shedder.leave(usual, began)
        shedder.leave(usual, None)
    assert shedder.limit > 2
    assert usual.time == 10_000


@pytest.mark.parametrize(("status", "learns"), [(200, True), (404, True), (504, True), (500, False), (503, False)])
async def test_which_answers_teach(status: int, learns: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A time-out says how slow it is; other failures say nothing of how long an answer takes."""
    told: list[int | None] = []
    leave = Shedder.leave

    def seen(self: Shedder, usual: Usual, began: int | None) -> None:
        told.append(began)
        leave(self, usual, began)

    monkeypatch.setattr(Shedder, "leave", seen)
    service = Service(only())
    service.status = status
    await service.call()
    assert [began is not None for began in told] == [learns]


async def test_a_shadow_refuses_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """It counts who would have been refused, and tells."""
    told: list[str] = []
    with caplog.at_level(logging.INFO):
        service = Service(only(shadow=True), on_decision=lambda _exchange, decision: told.append(decision.outcome))
        callers = [await service.begin() for _ in range(3)]
    service.go_on.set()
    assert [(await caller.end()).status for caller in callers] == [200] * 3
    assert told.count("shadowed") == 2


def test_the_lag_of_a_loop() -> None:
    """What the last tick was late by, or the next is already; nothing once it was on time, nor while nobody asks."""
    loop = Loop()
    lag = LoopLag(lambda: loop)
    assert lag.now() == 0
    loop.ring(late=0.2)
    assert lag.now() == 200_000
    loop.ring()
    assert lag.now() == 0
    loop.now += TICK + 0.3
    assert lag.now() == 300_000
    for _ in range(21):
        loop.ring()
    assert loop.rings == []
    assert lag.now() == 0
    stale = loop.rings[0]
    other = Loop()
    lag._running = lambda: other
    assert lag.now() == 0
    assert callable(stale)
    stale()
    assert len(loop.rings) == 1


async def test_a_late_loop_sheds_by_priority() -> None:
    """However few are at work; critical calls go on."""
    loop = Loop()
    runtime = Runtime(JobConfig(), MemoryStore(FakeClock()), FakeClock())
    shedder = Shedder(Adaptive(max_lag=0.1), runtime, LoopLag(lambda: loop))
    assert not shedder.sheds("normal")
    loop.ring(late=0.15)
    assert [shedder.sheds(each) for each in ("low", "normal", "high", "critical")] == [True, True, False, False]
    assert not await shedder.enter("normal")
    assert await shedder.enter("high")


def test_one_name_is_one_limit() -> None:
    """In one process and config; the others have one for each endpoint."""
    runtime = Runtime(JobConfig(), MemoryStore(FakeClock()), FakeClock())
    named, own = Adaptive(name="all"), Adaptive()
    assert shedder_of(named, "a", runtime) is shedder_of(named, "b", runtime)
    assert shedder_of(own, "a", runtime) is not shedder_of(own, "b", runtime)
    assert shedder_of(own, "a", runtime) is shedder_of(own, "a", runtime)


@pytest.mark.parametrize(
    ("endpoints", "line"),
    [
        (
            {"work": EndpointPolicy(priority="critical")},
            'priority of endpoint "work": "critical" is not allowed: nothing sheds calls of this endpoint',
        ),
        (
            {
                "work": EndpointPolicy(concurrency=Adaptive(name="all")),
                "other": EndpointPolicy(concurrency=Adaptive(name="all", queue=5)),
            },
            'concurrency.name of endpoint "other": "all" is also the name of that of endpoint "work", which differs',
        ),
    ],
)
async def test_what_cannot_work_fails_at_startup(endpoints: dict[str, EndpointPolicy], line: str) -> None:
    """A priority where nothing sheds, and two limits of one name."""

    async def work(_request: Request) -> Response:
        return PlainTextResponse("done")

    config = JobConfig(default=EndpointPolicy(), endpoints=endpoints)
    app = starlette(config, Route("/", work, name="work"), Route("/other", work, name="other"), clock=FakeClock())
    with pytest.raises(ConfigError) as told:
        await get(app, "/")
    assert line in str(told.value)


def test_it_has_a_middleware() -> None:
    """The one of the concurrency limits installs it, as it is a value of their field."""
    assert ConcurrencyMiddleware.installs == ("concurrency",)
