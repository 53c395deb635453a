"""Several attempts of one idempotency key are one charge: none of them gives back what another one pays with."""

import asyncio

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from forecourt import JobConfig, Ledger
from forecourt.stores.redis.client import Client
from forecourt.stores.redis.store import RedisStore
from tests.asgi import call, http
from tests.callers import settle_down
from tests.layers.keyed import Keyed, Poster, priced
from tests.servers import Valkey
from tests.services import starlette
from tests.stores.redis.proxy import Proxy

CLIENT = ("client", "192.0.2.1")


async def two_at_work(first: Response) -> Ledger:
    """Have a second attempt take over from a first that is late, and then the first end; both cost 2 of 10."""
    service = Keyed(priced(2, on_unknown="retry"))
    ledger = Ledger(service.store)
    await ledger.grant(CLIENT, 10)
    service.slow = True
    late = await service.begin()
    service.die()
    service.clock.advance(15)
    go_on, service.go_on = service.go_on, asyncio.Event()
    second = await service.begin()
    assert (service.runs, await ledger.balance(CLIENT)) == (2, (8, 2, None))
    service.answer = first
    go_on.set()
    await late.end()
    service.answer = PlainTextResponse("made", 201)
    service.go_on.set()
    assert (await second.end()).status == 201
    await settle_down()
    return ledger


async def test_a_late_attempt_that_failed_gives_nothing_back_while_another_is_at_work() -> None:
    """Its failure is refunded by policy; but the work that was done after all is paid."""
    ledger = await two_at_work(Response(status_code=500))
    assert await ledger.balance(CLIENT) == (8, 0, None)


async def test_two_attempts_that_both_answer_are_paid_once() -> None:
    """They did the same thing."""
    ledger = await two_at_work(PlainTextResponse("made", 201))
    assert await ledger.balance(CLIENT) == (8, 0, None)


@pytest.mark.valkey
async def test_the_undo_of_a_loser_does_not_refund_the_winner(valkey: Valkey) -> None:
    """The connection of a second caller is lost with its question: what is undone is its own, which is nothing."""
    go_on, runs = asyncio.Event(), 0

    async def work(_: Request) -> Response:
        nonlocal runs
        runs += 1
        await go_on.wait()
        return PlainTextResponse("made", 201)

    async with Proxy(valkey) as proxy:
        stores = [RedisStore(Client(url, deadline=5)) for url in (valkey.url, proxy.url)]
        apps = []
        for store in stores:
            await store.open()
            config = JobConfig(endpoints={"work": priced(2)})
            apps.append(starlette(config, Route("/", work, name="work", methods=["POST"]), store=store))
        ledger = Ledger(stores[0])
        await ledger.grant(CLIENT, 10)
        scope = http("/", "POST", headers=[(b"idempotency-key", b"k1")])
        other = http("/", "POST", headers=[(b"idempotency-key", b"k2")])
        winner = Poster(apps[0], dict(scope))
        while not runs:
            await asyncio.sleep(0)
        assert (await call(apps[1], dict(scope))).status == 409
        proxy.hold()
        loser = asyncio.create_task(call(apps[1], dict(scope)))
        await settle_down()
        proxy.cut()
        proxy.release()
        assert (await loser).status == 503
        settled = Poster(apps[1], dict(other))  # comes after the undo on the same connection
        while runs < 2:
            await asyncio.sleep(0)
        assert await ledger.balance(CLIENT) == (6, 4, None)
        go_on.set()
        assert [(await poster.end()).status for poster in (winner, settled)] == [201, 201]
        for store in stores:
            await store.close()
