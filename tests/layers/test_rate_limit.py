"""Rate limits in the stack: what callers see, whatever the strategy."""

import asyncio
import contextlib
import json
from collections.abc import Sequence

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute

from forecourt import (
    Debounce,
    EndpointPolicy,
    Exchange,
    FixedWindow,
    JobConfig,
    PolicyMiddleware,
    SlidingWindow,
    Throttle,
    TokenBucket,
)
from forecourt.errors import StoreDown, StoreOverloaded
from forecourt.policies import RateLimit
from forecourt.principals import Principal
from forecourt.stores.contract import Answer, Question
from forecourt.stores.failover import FailoverStore
from forecourt.stores.memory import MemoryStore
from forecourt.testing import FakeClock
from forecourt.types import ASGIApp, Message, Receive, Scope, Send
from tests.asgi import call, get, http, websocket
from tests.services import echo, starlette, text


def limited(*limits: RateLimit, clock: FakeClock | None = None, **config: object) -> ASGIApp:
    """Build an app whose one endpoint has these limits."""
    policies = JobConfig(default=EndpointPolicy(rate_limit=list(limits)), **config)  # type: ignore[arg-type]
    return starlette(policies, Route("/", text, name="t"), WebSocketRoute("/echo", echo, name="echo"), clock=clock)


async def statuses(app: ASGIApp, calls: int) -> list[int]:
    """Call so many times, one after the other."""
    return [(await get(app, "/")).status for _ in range(calls)]


@pytest.mark.parametrize(
    ("limit", "wait"),
    [
        (TokenBucket(max_tokens=2, refill_rate=0.5), 2),
        (FixedWindow(limit=2, window=60), 60),
        (SlidingWindow(limit=2, window=60, exact=True), 60),
        (SlidingWindow(limit=2, window=60), 90),
        (Throttle(rate=0.5), 2),
        (Debounce(interval=3), 3),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, int) else "",
)
async def test_retry_after_is_right_from_both_sides(limit: RateLimit, wait: int) -> None:
    """A refused caller who comes a microsecond early is refused again, and passes when it was told to come."""
    clock = FakeClock(start=1_700_000_040_000_000)
    early, late = limited(limit, clock=clock), limited(limit, clock=clock)
    for app in (early, late):
        assert 429 in await statuses(app, 3)
    refused = await get(early, "/")
    await get(late, "/")
    assert refused.headers["retry-after"] == str(wait)
    clock.advance(wait - 0.000_001)
    assert (await get(early, "/")).status == 429
    clock.advance(0.000_001)
    assert (await get(late, "/")).status == 200


async def test_a_refusal_says_which_limits_and_carries_the_fields() -> None:
    """problem+json with `violated-policies`; the RateLimit fields list every limit, named or numbered."""
    app = limited(FixedWindow(limit=100, window=3600, name="hourly"), FixedWindow(limit=1, window=1))
    await get(app, "/")
    refused = await get(app, "/")
    assert json.loads(refused.body)["violated-policies"] == ["fixed_window"]
    assert refused.headers["ratelimit-policy"] == '"hourly";q=100;w=3600, "fixed_window";q=1;w=1'
    assert refused.headers["ratelimit"] == '"hourly";r=99;t=3600, "fixed_window";r=0;t=1'
    assert refused.headers["retry-after"] == "1"


async def test_several_limits_stand_or_fall_together() -> None:
    """100 an hour and 2 a second, 50 quick calls: 2 pass, and 98 of the hour remain."""
    clock = FakeClock()
    app = limited(FixedWindow(limit=100, window=3600, name="hourly"), FixedWindow(limit=2, window=1), clock=clock)
    answers = [await get(app, "/") for _ in range(50)]
    assert [answer.status for answer in answers].count(200) == 2
    clock.advance(1)
    last = await get(app, "/")
    assert last.headers["ratelimit"].startswith('"hourly";r=97;')


async def test_a_thousand_at_once_pass_ten() -> None:
    """1,000 concurrent calls of one caller against a limit of 10: exactly 10 pass."""
    app = limited(TokenBucket(max_tokens=10, refill_rate=0.001))
    answers = await asyncio.gather(*(get(app, "/") for _ in range(1000)))
    assert [answer.status for answer in answers].count(200) == 10


async def test_two_unnamed_limits_of_one_strategy_are_two() -> None:
    """They are numbered, and have buckets of their own."""
    app = limited(FixedWindow(limit=9, window=60), FixedWindow(limit=5, window=1))
    assert (await get(app, "/")).headers["ratelimit"] == '"fixed_window";r=8;t=60, "fixed_window-2";r=4;t=1'


async def test_a_throttled_call_waits_for_its_turn() -> None:
    """Within `max_delay` a call is held back until its slot; beyond it is refused."""
    clock = FakeClock()
    app = limited(Throttle(rate=1, max_delay=2), clock=clock)
    calls = [asyncio.ensure_future(get(app, "/")) for _ in range(4)]
    done: list[int] = []
    for _ in range(3):
        await settle(calls)
        done.append(sum(each.done() for each in calls))
        clock.advance(1)
    await settle(calls)
    assert done == [2, 3, 4]
    assert sorted(each.result().status for each in calls) == [200, 200, 200, 429]


async def settle(tasks: Sequence[asyncio.Future[object]] | Sequence[object]) -> None:
    """Let everything run that can run without time passing."""
    for _ in range(50 * len(tasks)):
        await asyncio.sleep(0)


async def test_a_caller_who_leaves_the_queue_gives_its_slot_back() -> None:
    """Cancelled while waiting, its turn is the next caller's."""
    clock = FakeClock()
    app = limited(Throttle(rate=1, max_delay=1), clock=clock)
    await get(app, "/")
    waiting = asyncio.ensure_future(get(app, "/"))
    await settle([waiting])
    waiting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await waiting
    await settle([waiting])
    following = asyncio.ensure_future(get(app, "/"))
    await settle([following])
    clock.advance(1)
    assert (await following).status == 200


async def test_only_the_last_of_a_flurry_runs() -> None:
    """Trailing debounce: each call waits for quiet and gives way to a later one, with 409."""
    clock = FakeClock()
    app = limited(Debounce(interval=1, edge="trailing"), clock=clock)
    calls = []
    for _ in range(3):
        calls.append(asyncio.ensure_future(get(app, "/")))
        await settle(calls)
        clock.advance(0.4)
    for _ in range(6):
        await settle(calls)
        clock.advance(0.4)
    assert [(await each).status for each in calls] == [409, 409, 200]


async def test_failures_count_and_successes_do_not() -> None:
    """`count="failure"`: a call is taken before and given back when the answer is below 400."""
    answers = iter([401, 200, 200, 401, 401])

    async def login(_: Request) -> Response:
        return PlainTextResponse("", next(answers))

    limit = FixedWindow(limit=2, window=60, count="failure")
    app = starlette(JobConfig(default=EndpointPolicy(rate_limit=limit)), Route("/", login, name="login"))
    found = []
    for _ in range(5):
        found.append((await get(app, "/")).status)
        await settle(found)
    assert found == [401, 200, 200, 401, 429]


async def test_an_exception_counts_as_a_failure() -> None:
    """A call that ends without an answer is not given back."""

    async def broken(_: Request) -> Response:
        raise ValueError

    limit = FixedWindow(limit=1, window=60, count="failure")
    app = starlette(JobConfig(default=EndpointPolicy(rate_limit=limit)), Route("/", broken, name="broken"))
    with contextlib.suppress(ValueError):
        await get(app, "/")
    assert (await get(app, "/")).status == 429


async def test_a_shadow_limit_never_refuses_and_shows_nothing() -> None:
    """It counts, and callers see nothing of it."""
    app = limited(FixedWindow(limit=1, window=60, shadow=True))
    answers = [await get(app, "/") for _ in range(3)]
    assert [(answer.status, "ratelimit" in answer.headers) for answer in answers] == [(200, False)] * 3


async def test_messages_of_a_websocket_are_limited() -> None:
    """Messages over the limit close the socket with 1013; the handler sees a disconnect."""
    app = limited(FixedWindow(limit=2, window=60, count="message"))
    said: list[Message] = [{"type": "websocket.receive", "text": str(number)} for number in range(4)]
    answer = await call(app, websocket("/echo"), *said)
    assert answer.kinds == ["websocket.accept", "websocket.send", "websocket.send", "websocket.close"]
    assert answer.messages[-1]["code"] == 1013


async def test_tiers_have_their_own_numbers() -> None:
    """A principal's tier chooses the numbers; of no or an unknown tier it is the limit as written."""
    limit = FixedWindow(limit=1, window=60, tiers={"gold": {"limit": 3}})
    tier: list[str | None] = ["gold"]

    class Named:
        """Stands outside and knows who calls, as an auth layer does."""

        def __init__(self, exchange: Exchange) -> None:
            exchange.principal = Principal("tests", str(tier[0]), tier=tier[0])

    def key(exchange: Exchange) -> str:
        Named(exchange)
        return str(tier[0])

    config = JobConfig(
        default=EndpointPolicy(rate_limit=limit.model_copy(update={"key": "caller"})), key_functions={"caller": key}
    )
    app = starlette(config, Route("/", text, name="t"))
    await get(app, "/")
    found = {}
    for tier[0] in ("gold", "lead", None):
        found[tier[0]] = [(await get(app, "/")).status for _ in range(4)].count(200)
    assert found["lead"] == found[None] == 1


@pytest.mark.parametrize(
    ("key", "same", "other"),
    [
        ("client", http("/", client="192.0.2.1"), http("/", client="192.0.2.2")),
        ("header:X-Org", http("/", headers=[(b"x-org", b"a")]), http("/", headers=[(b"x-org", b"b")])),
        ("tenant", http("/", client="192.0.2.1"), http("/", client="192.0.2.2")),
    ],
)
async def test_whom_a_limit_counts(key: str, same: Scope, other: Scope) -> None:
    """Callers of one key share the limit, callers of another have their own."""
    app = limited(FixedWindow(limit=1, window=60, key=key))
    assert [(await call(app, dict(scope))).status for scope in (same, same, other)] == [200, 429, 200]


async def test_a_missing_header_or_an_empty_key_counts_by_address() -> None:
    """Nobody falls into a bucket shared with strangers."""
    for key, functions in (("header:X-Org", {}), ("nobody", {"nobody": lambda _: None})):
        app = limited(FixedWindow(limit=1, window=60, key=key), key_functions=functions)
        assert [(await get(app, "/", client=f"192.0.2.{last}")).status for last in (1, 1, 2)] == [200, 429, 200]


async def test_principal_tenant_and_function_keys() -> None:
    """An authenticated caller is counted by (issuer, subject), a tenant's callers together."""
    seen: list[str] = []
    for key, subjects, expected in (("principal", "ab", [200, 200]), ("tenant", "ab", [200, 429])):
        app = limited(
            FixedWindow(limit=1, window=60, key="as"),
            FixedWindow(limit=1, window=60, key=key),
            key_functions={"as": named},
        )
        scopes = [http("/", headers=[(b"x-subject", subject.encode())]) for subject in subjects]
        assert [(await call(app, scope)).status for scope in scopes] == expected
        seen.append(key)
    assert seen == ["principal", "tenant"]


def named(exchange: Exchange) -> str:
    """Note who calls, as an auth layer does."""
    subject = str(dict(exchange.scope["headers"])[b"x-subject"], "ascii")
    exchange.principal = Principal("tests", subject, tenant="one")
    return subject


async def test_endpoint_limits_count_all_callers_together() -> None:
    """`key="endpoint"` is one bucket for everyone."""
    app = limited(FixedWindow(limit=2, window=60, key="endpoint"))
    assert [(await get(app, "/", client=f"192.0.2.{last}")).status for last in range(3)] == [200, 200, 429]


async def test_a_batch_is_taken_at_once_and_given_out_here() -> None:
    """`batch=5`: one question of five for five calls; the limit holds, and no fields are invented."""
    config = JobConfig(default=EndpointPolicy(rate_limit=FixedWindow(limit=10, window=60, key="endpoint", batch=5)))
    store = Counting(MemoryStore(FakeClock()))
    app = starlette(config, Route("/", text, name="t"), store=store)
    answers = [await get(app, "/") for _ in range(12)]
    assert [answer.status for answer in answers] == [200] * 10 + [429] * 2
    assert store.asked == 4
    assert ["ratelimit" in answer.headers for answer in answers[:3]] == [True, False, False]


async def test_a_refused_call_leaves_its_batch_in_hand() -> None:
    """Refused by another limit, the call that was in hand is not lost."""
    batch = FixedWindow(limit=4, window=60, key="endpoint", batch=4)
    clock = FakeClock()
    app = limited(batch, FixedWindow(limit=1, window=1, name="slow"), clock=clock)
    found = []
    for _ in range(4):
        found += await statuses(app, 2)
        clock.advance(1)
    assert found == [200, 429] * 4
    assert await statuses(app, 1) == [429]


class Counting:
    """Counts the questions that reach a store, and fails as told."""

    def __init__(self, store: MemoryStore) -> None:
        self.store = store
        self.asked = 0
        self.error: Exception | None = None
        self.settle = store.settle
        self.open = store.open
        self.close = store.close

    async def decide(self, questions: Sequence[Question]) -> list[Answer]:
        """Pass on, or fail."""
        self.asked += 1
        if self.error:
            raise self.error
        return await self.store.decide(questions)


@pytest.mark.parametrize(
    ("on_error", "expected"),
    [("local", [200, 200, 429]), ("open", [200, 200, 200]), ("closed", [503, 503, 503])],
)
async def test_with_the_store_down_the_policy_answers(on_error: str, expected: list[int]) -> None:
    """Local counts here, open passes, closed refuses with 503; none of them shows numbers it does not know."""
    broken = Counting(MemoryStore(FakeClock()))
    broken.error = StoreDown("gone")
    store = FailoverStore(broken, MemoryStore(FakeClock()))
    limit = FixedWindow.model_validate({"limit": 2, "window": 60, "on_store_error": on_error})
    app = starlette(JobConfig(default=EndpointPolicy(rate_limit=limit)), Route("/", text, name="t"), store=store)
    answers = [await get(app, "/") for _ in range(3)]
    assert [answer.status for answer in answers] == expected
    assert not any("ratelimit" in answer.headers for answer in answers)


@pytest.mark.parametrize("error", [StoreOverloaded("full"), StoreDown("gone")])
async def test_a_store_that_cannot_be_asked_is_503(error: Exception) -> None:
    """Overload, or a bare store that is down, refuses with 503 and Retry-After; nothing passes."""
    store = Counting(MemoryStore(FakeClock()))
    store.error = error
    limit = FixedWindow(limit=2, window=60)
    app = starlette(JobConfig(default=EndpointPolicy(rate_limit=limit)), Route("/", text, name="t"), store=store)
    answer = await get(app, "/")
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")


async def test_a_message_that_cannot_be_decided_closes_the_socket() -> None:
    """With the store gone in the middle of a conversation, messages fail closed."""
    store = Counting(MemoryStore(FakeClock()))
    limit = FixedWindow(limit=9, window=60, count="message")
    app = starlette(
        JobConfig(default=EndpointPolicy(rate_limit=limit)), WebSocketRoute("/echo", echo, name="echo"), store=store
    )
    store.error = StoreDown("gone")
    answer = await call(app, websocket("/echo"), {"type": "websocket.receive", "text": "1"})
    assert answer.kinds == ["websocket.accept", "websocket.close"]


async def test_fields_of_the_handler_are_not_overridden() -> None:
    """A handler that writes RateLimit itself keeps its own."""

    async def own(_: Request) -> Response:
        return PlainTextResponse("", headers={"RateLimit": "mine"})

    limit = FixedWindow(limit=9, window=60)
    app = starlette(JobConfig(default=EndpointPolicy(rate_limit=limit)), Route("/", own, name="own"))
    assert (await get(app, "/")).headers["ratelimit"] == "mine"


async def test_limits_of_connects_leave_plain_requests_alone() -> None:
    """On an endpoint that answers both protocols they count handshakes only, also where they take batches."""

    async def both(scope: Scope, receive: Receive, send: Send) -> None:
        await (PlainTextResponse("done")(scope, receive, send) if scope["type"] == "http" else accept(send))

    async def accept(send: Send) -> None:
        await send({"type": "websocket.accept"})

    connects = FixedWindow(limit=4, window=60, count="connect", key="endpoint", batch=2, name="connects")
    requests = FixedWindow(limit=2, window=60)
    config = JobConfig(default=EndpointPolicy(rate_limit=[connects, requests]), routes={"both": "/both"})
    app = PolicyMiddleware(both, config)
    answers = [await get(app, "/both") for _ in range(5)]
    assert [answer.status for answer in answers] == [200, 200, 429, 429, 429]
    assert "connects" not in answers[0].headers["ratelimit"]
    opened = [await call(app, websocket("/both", client=f"192.0.2.{last}")) for last in range(10, 16)]
    assert [answer.kinds[0] for answer in opened].count("websocket.accept") == 4
