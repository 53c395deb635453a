"""Limits together: holds, failures of the store, batches and waits; nothing passes that was not granted."""

import asyncio
import contextlib
from collections.abc import Sequence

import pytest
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute

from forecourt import Concurrency, Debounce, EndpointPolicy, FixedWindow, JobConfig, Throttle, TokenBucket
from forecourt.errors import StoreDown, StoreOverloaded
from forecourt.policies import RateLimit
from forecourt.stores.contract import Answer, Question, Settlement
from forecourt.stores.failover import FailoverStore
from forecourt.stores.holds import HoldingStore
from forecourt.stores.memory import MemoryStore
from forecourt.testing import FakeClock
from forecourt.types import ASGIApp, Message
from tests.asgi import call, get, http, websocket
from tests.services import echo, starlette, text


class Breakable(MemoryStore):
    """A store that fails when told to, and lets others run before it decides."""

    def __init__(self, clock: FakeClock | None = None) -> None:
        super().__init__(clock or FakeClock())
        self.error: Exception | None = None

    async def decide(self, questions: Sequence[Question]) -> list[Answer]:
        """Fail or decide."""
        await asyncio.sleep(0)
        if self.error:
            raise self.error
        return await super().decide(questions)

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        """Fail or take note."""
        if self.error:
            raise self.error
        await super().settle(settlements)


def policy(*limits: RateLimit, concurrency: Concurrency | None = None) -> JobConfig:
    """Build a config whose default has these limits."""
    return JobConfig(default=EndpointPolicy(rate_limit=list(limits), concurrency=concurrency))


async def statuses(app: ASGIApp, calls: int, path: str = "/") -> list[int]:
    """Call so many times, and let settlements be told in between."""
    found = []
    for _ in range(calls):
        found.append((await get(app, path)).status)
        for _ in range(20):
            await asyncio.sleep(0)
    return found


async def test_a_held_refusal_of_a_second_limit_refuses() -> None:
    """A hold knows nothing of the first limit; its answer is missing, and the call is refused all the same."""
    store = HoldingStore(MemoryStore(FakeClock()), FakeClock())
    config = policy(TokenBucket(max_tokens=1000, refill_rate=1), FixedWindow(limit=2, window=3600))
    app = starlette(config, Route("/", text, name="t"), store=store)
    assert await statuses(app, 6) == [200, 200, 429, 429, 429, 429]
    assert (await get(app, "/")).headers["ratelimit"] == '"fixed_window";r=0;t=3600'


async def test_a_batch_that_was_not_granted_is_not_given_out() -> None:
    """When a lease refuses, nothing was taken of the batch: at most the limit passes, however many ask."""
    clock = FakeClock()
    config = policy(FixedWindow(limit=10, window=3600, key="endpoint", batch=5), concurrency=Concurrency(limit=1))
    app = starlette(config, Route("/", text, name="t"), store=Breakable(clock), clock=clock)
    answers = await asyncio.gather(*(get(app, "/") for _ in range(50)))
    later = await statuses(app, 50)
    assert [answer.status for answer in answers].count(200) + later.count(200) <= 10


async def test_a_trailing_debounce_runs_alone_when_the_store_is_down() -> None:
    """By default this process debounces by itself."""
    clock = FakeClock()
    broken = Breakable()
    broken.error = StoreDown("gone")
    store = FailoverStore(broken, MemoryStore(clock))
    app = starlette(policy(Debounce(interval=1, edge="trailing")), Route("/", text, name="t"), store=store, clock=clock)
    running = asyncio.ensure_future(get(app, "/"))
    for _ in range(20):
        await asyncio.sleep(0)
    clock.advance(1)
    assert (await running).status == 200


@pytest.mark.parametrize(
    ("on_error", "error", "status"),
    [("local", StoreDown("gone"), 200), ("closed", StoreDown("gone"), 503), ("local", StoreOverloaded("full"), 503)],
)
async def test_a_store_that_dies_while_a_call_waits_for_quiet(on_error: str, error: Exception, status: int) -> None:
    """Local: nobody can say that a later call came, so it runs. Closed, or overloaded: 503, never 500 or 409."""
    clock, broken = FakeClock(), Breakable()
    store = FailoverStore(broken, MemoryStore(clock))
    limit = Debounce.model_validate({"interval": 1, "edge": "trailing", "on_store_error": on_error})
    app = starlette(policy(limit), Route("/", text, name="t"), store=store, clock=clock)
    running = asyncio.ensure_future(get(app, "/"))
    for _ in range(20):
        await asyncio.sleep(0)
    broken.error = error
    clock.advance(1)
    assert (await running).status == status


async def test_what_a_process_granted_by_itself_goes_back_to_it() -> None:
    """With the store down, successes of a failure limit are given back where they were taken, at its share."""
    broken = Breakable()
    broken.error = StoreDown("gone")
    store = FailoverStore(broken, MemoryStore(FakeClock()))
    limits = (
        FixedWindow(limit=20, window=60, count="failure", local_share=0.1),
        FixedWindow(limit=9, window=60, count="failure", name="open", on_store_error="open"),
    )
    app = starlette(policy(*limits, concurrency=Concurrency(limit=3)), Route("/", text, name="t"), store=store)
    assert await statuses(app, 8) == [200] * 8


async def test_a_named_limit_of_endpoints_counts_over_all_of_them() -> None:
    """`key="endpoint"` with a name is one bucket for all endpoints that name it."""
    config = policy(FixedWindow(limit=2, window=60, key="endpoint", name="upstream"))
    app = starlette(config, Route("/a", text, name="a"), Route("/b", text, name="b"))
    assert await statuses(app, 2, "/a") + await statuses(app, 1, "/b") == [200, 200, 429]


async def test_several_throttles_are_waited_for_together() -> None:
    """Two slots a second away are reached after a second; cut short, both are free again."""
    clock = FakeClock()
    limits = (Throttle(rate=1, max_delay=2), Throttle(rate=1, max_delay=2, name="other"))
    app = starlette(policy(*limits), Route("/", text, name="t"), clock=clock)
    await get(app, "/")
    leaving = asyncio.ensure_future(get(app, "/"))
    for _ in range(20):
        await asyncio.sleep(0)
    leaving.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await leaving
    staying = asyncio.ensure_future(get(app, "/"))
    for _ in range(40):
        await asyncio.sleep(0)
    clock.advance(1)
    assert (await staying).status == 200


def said(count: int) -> list[Message]:
    """Return so many messages of a client."""
    return [{"type": "websocket.receive", "text": str(number)} for number in range(count)]


async def test_messages_of_a_batch_are_given_out() -> None:
    """`batch=5` on messages: ten pass of a limit of ten, the eleventh closes."""
    app = starlette(
        policy(FixedWindow(limit=10, window=60, key="endpoint", batch=5, count="message")),
        WebSocketRoute("/echo", echo, name="echo"),
    )
    assert (await call(app, websocket("/echo"), *said(11))).kinds.count("websocket.send") == 10


async def test_throttled_messages_wait_for_their_turn() -> None:
    """A message that may wait is held back, not passed at once."""
    clock = FakeClock()
    app = starlette(
        policy(Throttle(rate=1, max_delay=5, count="message")), WebSocketRoute("/echo", echo, name="echo"), clock=clock
    )
    begun = clock.now()
    running = asyncio.ensure_future(call(app, websocket("/echo"), *said(3)))
    while not running.done():
        for _ in range(20):
            await asyncio.sleep(0)
        if not running.done():
            clock.advance(0.5)
    assert running.result().kinds.count("websocket.send") == 3
    assert clock.now() - begun >= 2_000_000


async def test_a_response_that_breaks_off_is_a_failure() -> None:
    """An exception after the first byte counts as one, whatever status was sent."""

    async def breaking(_: Request) -> Response:
        async def chunks() -> object:
            yield b"1"
            raise ValueError

        return StreamingResponse(chunks())  # type: ignore[arg-type]  # an asynchronous generator

    app = starlette(policy(FixedWindow(limit=1, window=60, count="failure")), Route("/", breaking, name="b"))
    with contextlib.suppress(Exception):
        await get(app, "/")
    assert (await get(app, "/")).status == 429


async def test_long_and_odd_keys_are_counted() -> None:
    """A header of any length counts, by its digest; a key function may give a number or odd text."""
    config = JobConfig(
        default=EndpointPolicy(
            rate_limit=[FixedWindow(limit=1, window=60, key="header:X-Org"), FixedWindow(limit=9, window=60, key="odd")]
        ),
        key_functions={"odd": lambda exchange: "\ud800" if exchange.endpoint else None},
    )
    app = starlette(config, Route("/", text, name="t"))
    scopes = [{"headers": [(b"x-org", b"a" * 5000)]}, {"headers": [(b"x-org", b"a" * 5000 + b"b")]}]

    assert [
        (await call(app, http("/", headers=scope["headers"]))).status for scope in (scopes[0], scopes[0], scopes[1])
    ] == [200, 429, 200]
