"""Concurrency limits in the stack: who is at work, until when, and what the others are told."""

import asyncio
import json

import pytest

from forecourt import Concurrency, EndpointPolicy, FixedWindow
from forecourt.errors import StoreDown
from forecourt.stores.failover import FailoverStore
from forecourt.stores.memory import MemoryStore
from forecourt.stores.redis.client import Client
from forecourt.stores.redis.store import RedisStore
from forecourt.testing import FakeClock
from tests.asgi import call, get, websocket
from tests.callers import Caller, settle_down
from tests.layers.fickle import Fickle
from tests.layers.working import Service
from tests.servers import Valkey


def only(limit: int = 1, **policy: object) -> EndpointPolicy:
    """Build an endpoint policy of nothing but this concurrency limit."""
    return EndpointPolicy(concurrency=Concurrency(limit=limit, **policy))  # type: ignore[arg-type]  # its own words


async def test_the_next_is_refused_until_one_has_ended() -> None:
    """429 in our words while as many as the limit are at work; other callers have leases of their own."""
    service = Service(only(2))
    at_work = [await service.begin(), await service.begin(), await service.begin(client="192.0.2.2")]
    refused = await get(service.app, "/")
    assert refused.status == 429
    assert refused.headers["retry-after"] == "15"
    assert refused.headers["ratelimit-policy"] == '"concurrency";q=2;qu="concurrent-requests"'
    assert refused.headers["ratelimit"] == '"concurrency";r=0'
    problem = json.loads(refused.body)
    assert problem["type"] == "https://iana.org/assignments/http-problem-types#quota-exceeded"
    assert problem["violated-policies"] == ["concurrency"]
    service.go_on.set()
    assert [(await caller.end()).status for caller in at_work] == [200, 200, 200]
    assert at_work[0].answer.headers["ratelimit"] == '"concurrency";r=1'
    assert (await get(service.app, "/")).status == 200


async def test_a_limit_of_the_endpoint_says_that_the_endpoint_is_busy() -> None:
    """503 for all callers together, and no fields: it is nobody's quota."""
    service = Service(only(key="endpoint"))
    caller = await service.begin()
    refused = await get(service.app, "/", client="192.0.2.2")
    assert refused.status == 503
    assert refused.headers["retry-after"] == "15"
    assert "ratelimit" not in refused.headers
    problem = json.loads(refused.body)
    assert problem["type"] == "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity"
    service.go_on.set()
    assert "ratelimit" not in (await caller.end()).headers


async def test_retry_after_is_the_end_of_the_first_lease() -> None:
    """Rounded up to the second, never 0: by then the lease is free, or was renewed."""
    service = Service(only(lease=1.5))
    caller = await service.begin()
    service.clock.advance(0.4)
    assert (await get(service.app, "/")).headers["retry-after"] == "2"
    service.clock.advance(0.09)
    service.clock.advance(1.0)
    assert (await get(service.app, "/")).headers["retry-after"] == "1"
    await caller.cancel()


@pytest.mark.parametrize(("spelling", "name"), [("legacy", "x-ratelimit-limit"), ("none", "ratelimit")])
async def test_older_fields_cannot_say_it(spelling: str, name: str) -> None:
    """X-RateLimit fields know nothing of calls at once, so none is invented."""
    service = Service(only(), limit_headers=spelling)
    assert name not in (await service.call()).answer.headers


async def test_fields_are_joined_with_those_of_the_rate_limits() -> None:
    """One RateLimit field lists all limits of the call."""
    both = EndpointPolicy(rate_limit=FixedWindow(limit=9, window=60), concurrency=Concurrency(limit=2))
    service = Service(both, clock=FakeClock(start=1_700_000_040_000_000))
    headers = (await service.call()).answer.headers
    assert headers["ratelimit-policy"] == '"fixed_window";q=9;w=60, "concurrency";q=2;qu="concurrent-requests"'
    assert headers["ratelimit"] == '"fixed_window";r=8;t=60, "concurrency";r=1'


async def test_it_stands_or_falls_with_the_rate_limits() -> None:
    """A call without a lease has taken nothing from the window, one without a token holds no lease."""
    both = EndpointPolicy(rate_limit=FixedWindow(limit=2, window=60), concurrency=Concurrency(limit=1))
    service = Service(both)
    first = await service.begin()
    for _ in range(5):
        assert json.loads((await get(service.app, "/")).body)["violated-policies"] == ["concurrency"]
    service.go_on.set()
    assert (await first.end()).headers["ratelimit"].startswith('"fixed_window";r=1')
    await service.call()
    for _ in range(2):
        assert json.loads((await get(service.app, "/")).body)["violated-policies"] == ["fixed_window"]
    service.clock.advance(60)
    assert (await service.call()).status == 200


async def test_a_stream_holds_its_lease_to_the_last_byte() -> None:
    """The response has begun; until it has ended nobody else comes in."""
    service = Service(only())
    stream = await service.begin("/stream")
    assert stream.answer.body == b"one"
    assert (await get(service.app, "/stream")).status == 429
    service.go_on.set()
    assert (await stream.end()).body == b"onetwo"
    assert (await service.call("/stream")).status == 200


@pytest.mark.parametrize("path", ["/", "/stream"])
@pytest.mark.parametrize("how", ["cancelled", "failed", "left"])
async def test_a_lease_is_given_back_at_once(path: str, how: str) -> None:
    """However a call ends: the server cancels it, it fails, or the client goes away."""
    service = Service(only())
    caller = await service.begin(path)
    assert (await get(service.app, path)).status == 429
    if how == "cancelled":
        await caller.cancel()
    elif how == "left":
        await caller.leave()
        service.go_on.set()
    else:
        service.fails = True
        service.go_on.set()
        with pytest.raises(RuntimeError, match="it failed"):
            await caller.end()
    await settle_down()
    service.fails = False
    assert (await service.call(path)).status == 200


async def test_a_stream_whose_client_leaves_waits_for_nobody() -> None:
    """The lease is free while the handler's iterator was still waiting."""
    service = Service(only())
    stream = await service.begin("/stream")
    await stream.leave()
    assert stream.task.done()
    assert not service.go_on.is_set()
    assert (await service.call("/stream")).status == 200


async def test_a_websocket_holds_its_lease_until_it_closes() -> None:
    """The handshake of a second one is denied; of a third, after the first has closed, it is not."""
    service = Service(only())
    first = Caller(service.app, websocket("/echo"))
    await settle_down()
    assert first.answer.kinds == ["websocket.accept"]
    assert (await call(service.app, websocket("/echo"))).status == 429
    await first.leave()
    assert (await call(service.app, websocket("/echo"))).kinds == ["websocket.accept"]


async def test_a_stream_of_ten_minutes_keeps_its_lease() -> None:
    """Renewed all the time, it is never anybody else's; at the end it is free at once."""
    service = Service(only())
    stream = await service.begin("/stream")
    for _ in range(10):
        await service.advance(60)
        assert (await get(service.app, "/stream")).status == 429
    service.go_on.set()
    await stream.end()
    assert (await service.call("/stream")).status == 200


async def test_a_process_that_died_frees_its_leases_within_one_lease() -> None:
    """Another process is let in at the instant that Retry-After named, and not before."""
    dead = Service(only())
    other = Service(only(), clock=dead.clock, store=dead.store)
    caller = await dead.begin()
    dead.die()
    other.clock.advance(14.999999)
    assert (await get(other.app, "/")).status == 429
    other.clock.advance(0.000001)
    assert (await other.call()).status == 200
    await caller.cancel()


async def test_shadow_refuses_nobody() -> None:
    """All are let in, and nothing is said of it."""
    service = Service(only(shadow=True))
    callers = [await service.begin() for _ in range(3)]
    assert service.at_work == 3
    service.go_on.set()
    for caller in callers:
        assert "ratelimit" not in (await caller.end()).headers


@pytest.mark.parametrize(
    ("policy", "statuses"),
    [
        ({"on_store_error": "local", "local_share": 0.5}, [None, None, 429]),
        ({"on_store_error": "local", "local_share": 0.01}, [None, 429, 429]),
        ({"on_store_error": "open"}, [None, None, None]),
        ({"on_store_error": "closed"}, [503, 503, 503]),
    ],
)
async def test_with_the_store_down_the_policy_answers(policy: dict[str, object], statuses: list[int | None]) -> None:
    """Half of four, at least one, all, or none; without fields, as nobody knows what is left."""
    clock = FakeClock()
    store = Fickle(clock)
    store.fails = StoreDown
    service = Service(only(4, **policy), clock=clock, store=FailoverStore(store, MemoryStore(clock)))
    callers = [await service.begin() for _ in range(3)]
    assert [caller.status for caller in callers] == statuses
    service.go_on.set()
    for caller in callers:
        assert "ratelimit" not in (await caller.end()).headers
    assert (await service.call()).status == (503 if policy["on_store_error"] == "closed" else 200)


async def test_a_lease_of_this_process_is_renewed_in_this_process() -> None:
    """What the failure policy granted outlasts the lease's time, and is given back, where it was granted."""
    clock = FakeClock()
    store = Fickle(clock)
    service = Service(only(), clock=clock, store=FailoverStore(store, MemoryStore(clock)))
    store.fails = StoreDown
    caller = await service.begin()
    await service.advance(60)
    assert (await get(service.app, "/")).status == 429
    store.fails = None
    assert (await service.call()).status == 200
    await caller.end()
    store.fails = StoreDown
    assert (await service.call()).status == 200


@pytest.mark.valkey
async def test_never_more_than_the_limit_at_work_on_a_server(valkey: Valkey) -> None:
    """Of 60 callers at once ten are let in; when they have ended their leases are gone."""
    store = RedisStore(Client(valkey.url, deadline=5))
    service = Service(only(10, key="endpoint"), store=store)
    callers = [Caller(service.app, websocket("/echo")) for _ in range(60)]
    async with asyncio.timeout(30):
        while any(not caller.answer.messages for caller in callers):
            await asyncio.sleep(0.01)
        accepted = [caller for caller in callers if caller.answer.kinds == ["websocket.accept"]]
        assert len(accepted) == 10
        for caller in accepted:
            await caller.leave()
        while valkey.ask("KEYS", "*"):
            await asyncio.sleep(0.01)
    await store.close()


async def test_a_lease_that_another_limit_left_untaken_is_said_to_be_there() -> None:
    """A call that the rate limit refuses holds none, and its fields say so."""
    both = EndpointPolicy(rate_limit=FixedWindow(limit=1, window=60), concurrency=Concurrency(limit=3))
    service = Service(both)
    held = await service.call()
    refused = await get(service.app, "/")
    assert held.answer.headers["ratelimit"].endswith('"concurrency";r=2')
    assert refused.status == 429
    assert refused.headers["ratelimit"].endswith('"concurrency";r=3')
