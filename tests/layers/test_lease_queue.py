"""Callers who wait for a lease: who gets it, how long they wait, and what they leave behind."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from forecourt import Concurrency, EndpointPolicy, FixedWindow
from forecourt.errors import StoreDown, StoreOverloaded
from forecourt.testing import FakeClock
from tests.asgi import get
from tests.callers import Caller, settle_down
from tests.layers.fickle import Counting, Fickle, Slow
from tests.layers.working import Service


def only(limit: int = 1, **policy: object) -> EndpointPolicy:
    """Build an endpoint policy of nothing but this concurrency limit."""
    return EndpointPolicy(concurrency=Concurrency(limit=limit, **policy))  # type: ignore[arg-type]  # its own words


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    """One at work, two may wait, for a second."""
    service = Service(only(queue=2))
    yield service
    service.go_on.set()
    await service.advance(2, step=0.05)


async def test_who_waits_gets_the_lease(service: Service) -> None:
    """A third is refused at once, the two in line come in one after the other, in their order."""
    first, second, third = [await service.begin() for _ in range(3)]
    assert [caller.status for caller in (first, second, third)] == [None, None, None]
    assert (await get(service.app, "/")).status == 429
    assert service.calls == 1
    service.go_on.set()
    await first.end()
    await service.advance(0.1, step=0.01)
    assert second.status == third.status == 200
    assert service.most == 1


async def test_they_come_in_their_order(service: Service) -> None:
    """The first in line is served first."""
    first, second, third = [await service.begin() for _ in range(3)]
    await first.cancel()
    await service.advance(0.1, step=0.01)
    assert service.calls == 2
    await second.cancel()
    assert (second.task.cancelled(), third.task.done()) == (True, False)
    await service.advance(0.1, step=0.01)
    assert service.calls == 3


async def test_waiting_has_an_end(service: Service) -> None:
    """After `max_wait` a caller is refused, with the wait for the lease that was in the way."""
    _, second = [await service.begin() for _ in range(2)]
    await service.advance(0.9, step=0.05)
    statuses = [second.status]
    await service.advance(0.15, step=0.05)
    statuses.append(second.status)
    assert statuses == [None, 429]
    assert (await service.begin()).status is None


async def test_another_caller_has_a_line_of_its_own(service: Service) -> None:
    """Lines are per key."""
    for _ in range(3):
        await service.begin()
    others = [await service.begin(client="192.0.2.2") for _ in range(3)]
    assert [caller.status for caller in others] == [None, None, None]
    assert service.calls == 2


async def test_one_poller_asks_for_a_line() -> None:
    """Between 5 and 50 ms apart, longer and longer: ten in line ask no more than one does."""
    clock = FakeClock()
    store = Counting(clock)
    service = Service(only(queue=10), clock=clock, store=store)
    callers = [await service.begin() for _ in range(11)]
    store.decided = 0
    await service.advance(0.95, step=0.001)
    assert 950 / 50 <= store.decided <= 950 / 25 + 4
    for caller in callers:
        await caller.cancel()
    await service.advance(6)
    assert len(asyncio.all_tasks()) == 1


async def test_waiting_takes_nothing_of_the_rate_limits() -> None:
    """Tokens are taken with the lease; when they are gone by then, the lease is not kept."""
    both = EndpointPolicy(rate_limit=FixedWindow(limit=2, window=60), concurrency=Concurrency(limit=1, queue=5))
    service = Service(both)
    callers = [await service.begin() for _ in range(3)]
    service.go_on.set()
    await service.advance(0.5, step=0.01)
    assert [caller.status for caller in callers] == [200, 200, 429]
    assert callers[2].answer.headers["ratelimit"].startswith('"fixed_window";r=0')
    assert (await get(service.app, "/")).status == 429
    service.clock.advance(60)
    assert (await service.call()).status == 200


async def test_nobody_waits_who_is_refused_otherwise() -> None:
    """Where a rate limit refuses too, waiting is of no use."""
    both = EndpointPolicy(rate_limit=FixedWindow(limit=1, window=60), concurrency=Concurrency(limit=1, queue=5))
    service = Service(both)
    first = await service.begin()
    refused = await get(service.app, "/")
    assert json.loads(refused.body)["violated-policies"] == ["fixed_window"]
    await first.cancel()


async def test_who_leaves_the_line_leaves_nothing_behind(service: Service) -> None:
    """Cancelled while waiting: the place in line is free, and so is a lease that came just then."""
    first, second = [await service.begin() for _ in range(2)]
    await second.cancel()
    assert [(await service.begin()).status for _ in range(2)] == [None, None]
    assert (await get(service.app, "/")).status == 429
    await first.cancel()


async def test_a_lease_that_comes_for_nobody_is_given_back() -> None:
    """The waiter is cancelled while the poller's answer is on its way, and after it came."""
    clock = FakeClock()
    store = Slow(clock)
    service = Service(only(queue=1), clock=clock, store=store)
    for late in (True, False):
        first, second = [await service.begin() for _ in range(2)]
        await first.cancel()
        store.gate = asyncio.Event()
        await service.advance(0.05, step=0.01)
        if late:
            store.gate.set()
            await asyncio.sleep(0)
            second.task.cancel()
        else:
            await second.cancel()
            store.gate.set()
        store.gate = None
        await settle_down()
        assert (await service.call()).status == 200


@pytest.mark.parametrize("error", [StoreDown, StoreOverloaded])
async def test_a_store_that_fails_ends_the_waiting(error: type[Exception]) -> None:
    """Whoever still waits is told 503, without waiting for the end."""
    clock = FakeClock()
    store = Fickle(clock)
    service = Service(only(queue=5), clock=clock, store=store)
    first, second, third, fourth = [await service.begin() for _ in range(4)]
    store.fails = error
    service.clock.advance(0.05)
    third.task.cancel()
    await settle_down()
    assert (second.status, fourth.status) == (503, 503)
    assert third.task.cancelled()
    store.fails = None
    await first.cancel()
    assert (await service.call()).status == 200


async def test_a_store_that_fails_after_the_wait_keeps_no_lease() -> None:
    """The poller got it, the second question did not come through: the lease is given back."""
    clock = FakeClock()
    store = Fickle(clock)
    service = Service(only(queue=5), clock=clock, store=store)
    first, second = [await service.begin() for _ in range(2)]
    await first.cancel()
    store.answers = 1
    await service.advance(0.05, step=0.01)
    assert second.status == 503
    store.answers = None
    assert (await service.call()).status == 200


def test_another_loop_has_lines_of_its_own() -> None:
    """A line that a loop left behind keeps nobody else waiting, and ends by itself when its loop goes on."""
    left, running = asyncio.new_event_loop(), asyncio.new_event_loop()

    async def leave() -> tuple[Service, Caller]:
        service = Service(only(queue=1))
        await service.begin()
        return service, await service.begin()

    async def come(service: Service) -> None:
        service.go_on = asyncio.Event()
        service.clock.advance(20)
        first, second = [await service.begin() for _ in range(2)]
        assert (first.status, second.status) == (None, None)
        service.go_on.set()
        await first.end()
        await service.advance(0.1, step=0.01)
        assert second.status == 200

    service, waiting = left.run_until_complete(leave())
    running.run_until_complete(come(service))
    left.run_until_complete(settle_down())
    assert waiting.status == 429
    for loop in (left, running):
        loop.run_until_complete(end_tasks())
        loop.close()


async def end_tasks() -> None:
    """Cancel everything else that this loop has under way."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_who_comes_later_does_not_go_past_the_line() -> None:
    """A lease that is free while others wait for it is theirs, however soon a latecomer asks."""
    service = Service(only(queue=2))
    first, second = await service.begin(), await service.begin()
    await service.advance(0.5, step=0.05)
    await first.cancel()
    latecomer = await service.begin()
    assert (service.calls, latecomer.status) == (1, None)
    await service.advance(0.1, step=0.01)
    assert service.calls == 2
    await latecomer.leave()
    await second.cancel()
    await service.advance(0.1, step=0.01)
    assert service.calls == 3
    service.go_on.set()
    await latecomer.end()


async def test_a_full_line_is_not_gone_past_either() -> None:
    """While a lease is free but the line is full, who comes is refused, to come again in a second at the latest."""
    service = Service(only(queue=1))
    first, second = await service.begin(), await service.begin()
    await service.advance(0.5, step=0.05)
    await first.cancel()
    refused = await get(service.app, "/")
    assert (refused.status, refused.headers["retry-after"]) == (429, "1")
    service.go_on.set()
    await service.advance(0.1, step=0.01)
    assert second.status == 200
