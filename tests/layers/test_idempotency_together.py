"""Idempotency with its neighbours: limits above it, credits below it, the store, and a real server."""

import asyncio
import json
from collections.abc import Sequence

import pytest
from starlette.responses import Response
from starlette.routing import Route

from forecourt import (
    Concurrency,
    Credits,
    EndpointPolicy,
    FixedWindow,
    Idempotency,
    IdempotencyMiddleware,
    JobConfig,
    Ledger,
)
from forecourt.errors import StoreDown
from forecourt.exchange import exchange_of
from forecourt.responses import OVERLOADED
from forecourt.stores.contract import Answer, Question, Settlement
from forecourt.stores.failover import FailoverStore
from forecourt.stores.memory import MemoryStore
from forecourt.stores.redis.client import Client
from forecourt.stores.redis.store import RedisStore
from forecourt.types import ASGIApp, Receive, Scope, Send
from tests.asgi import http
from tests.callers import settle_down
from tests.layers.keyed import Keyed, Poster, priced
from tests.servers import Valkey
from tests.services import starlette, text

CLIENT = ("client", "192.0.2.1")


class Account:
    """A service whose calls cost 2, and the account of its caller."""

    def __init__(self, granted: int = 10, **idempotency: object) -> None:
        self.service = Keyed(priced(2, **idempotency))
        self.ledger = Ledger(self.service.store)
        self.granted = granted

    async def open(self) -> "Account":
        """Grant something."""
        await self.ledger.grant(CLIENT, self.granted)
        return self

    async def balance(self) -> tuple[int, int]:
        """Return what may be spent, and what is reserved."""
        await settle_down()
        available, held, _ = await self.ledger.balance(CLIENT)
        return available, held


async def test_a_replay_costs_nothing() -> None:
    """The first call pays; its replay does not, even with an empty account."""
    account = await Account(2).open()
    for replayed in (None, "true"):
        assert (await account.service.post()).headers.get("idempotent-replayed") == replayed
        assert await account.balance() == (0, 0)
    assert (await account.service.post("k2")).status == 402


async def test_a_replay_is_given_to_who_could_not_pay_for_the_call() -> None:
    """Even where the ledger has forgotten that it was paid: the charge is asked for in the same trip, and moot."""
    account = await Account(2).open()
    await account.service.post()
    await settle_down()
    entries = account.service.store._entries  # type: ignore[attr-defined]  # the memory store's
    for key in [each for each in entries if each.endswith(":ids")]:
        entries[key] = (None, 0)
    assert (await account.service.post()).headers["idempotent-replayed"] == "true"


async def test_a_call_that_cannot_be_paid_leaves_no_claim() -> None:
    """402, and with credits the same key is carried out."""
    account = await Account(1).open()
    assert (await account.service.post()).status == 402
    await account.ledger.grant(CLIENT, 5)
    assert (await account.service.post()).status == 201
    assert await account.balance() == (4, 0)


async def test_a_conflict_costs_nothing() -> None:
    """Neither does another payload."""
    account = await Account().open()
    account.service.slow = True
    first = await account.service.begin()
    assert (await account.service.post()).status == 409
    assert await account.balance() == (8, 2)
    account.service.go_on.set()
    await first.end()
    assert (await account.service.post(body=b"x")).status == 422
    assert await account.balance() == (8, 0)


async def test_a_retry_after_a_crash_pays_once() -> None:
    """The charge is known by the key: what the dead worker had reserved is what the retry pays with."""
    account = await Account(3, on_unknown="retry").open()
    account.service.slow = True
    await account.service.begin()
    account.service.die()
    account.service.clock.advance(15)
    account.service.slow = False
    assert (await account.service.post()).status == 201
    assert await account.balance() == (1, 0)


async def test_a_retry_of_a_call_that_was_paid_is_not_charged_again() -> None:
    """The handler failed, and its policy charges failures: the retry is the same call."""
    policy = EndpointPolicy(
        credits=Credits(amount=2, refund_on=frozenset()), idempotency=Idempotency(key="client", on_unknown="retry")
    )
    service = Keyed(policy)
    ledger = Ledger(service.store)
    await ledger.grant(CLIENT, 10)
    service.answer = Response(status_code=500)
    await service.post()
    await settle_down()
    assert (await ledger.balance(CLIENT)).available == 8
    service.answer = Response(status_code=200)
    await service.post()
    await settle_down()
    assert (await ledger.balance(CLIENT)).available == 8


async def test_an_answer_that_is_not_kept_is_paid_each_time() -> None:
    """A key that is free again is no free ride."""
    account = await Account().open()
    account.service.answer = Response(status_code=422)
    for left in (8, 6):
        await account.service.post()
        assert await account.balance() == (left, 0)


async def test_work_that_a_cancelled_caller_left_is_paid() -> None:
    """It was done."""
    account = await Account().open()
    account.service.slow = True
    caller = await account.service.begin()
    await caller.cancel()
    assert await account.balance() == (8, 2)
    account.service.go_on.set()
    assert await account.balance() == (8, 0)


async def test_replays_meet_the_limits_and_give_their_lease_back() -> None:
    """A replay is a call: it counts, and holds a place no longer than it takes."""
    policy = EndpointPolicy(
        rate_limit=FixedWindow(limit=3, window=60),
        concurrency=Concurrency(limit=1),
        idempotency=Idempotency(key="client"),
    )
    service = Keyed(policy)
    statuses = []
    for _ in range(4):
        statuses.append((await service.post()).status)
        await settle_down()
    assert statuses == [201, 201, 201, 429]
    assert service.runs == 1


@pytest.mark.parametrize("how", ["refused inside", "mismatch"])
async def test_what_a_layer_below_answers(how: str) -> None:
    """Our own refusal where the handler never ran frees the key; where another endpoint ran, nobody knows."""

    async def inside(scope: Scope, receive: Receive, send: Send) -> None:
        if how == "refused inside":
            await exchange_of(scope).refuse(OVERLOADED)(scope, receive, send)
        else:
            scope["endpoint"] = text
            await Response("wrong")(scope, receive, send)

    service = Keyed()
    app = starlette(
        JobConfig(endpoints={"work": EndpointPolicy(idempotency=Idempotency(key="client"))}, default=EndpointPolicy()),
        Route("/", Inside(inside), name="work", methods=["POST"]),
        Route("/text", text, name="text"),
        clock=service.clock,
    )
    scope = http("/", "POST", headers=[(b"idempotency-key", b"k1")])
    statuses = [(await Poster(app, dict(scope)).end()).status for _ in range(2)]
    assert statuses == ([503, 503] if how == "refused inside" else [500, 409])


class Inside:
    """An ASGI app as a route's endpoint: Starlette takes functions for handlers."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on."""
        await self.app(scope, receive, send)


async def test_a_dead_store_carries_nothing_out() -> None:
    """503: what cannot be claimed could be done twice."""

    class Dead(MemoryStore):
        async def decide(self, questions: Sequence[Question]) -> list[Answer]:
            raise StoreDown("gone")

    for store in (Dead(), FailoverStore(Dead(), MemoryStore())):
        service = Keyed(store=store)
        refused = await service.post()
        assert (refused.status, refused.headers["retry-after"]) == (503, "1")
        assert json.loads(refused.body)["type"].endswith("store-unavailable")
        assert service.runs == 0


async def test_the_layer_alone() -> None:
    """`IdempotencyMiddleware` is the stack with this layer."""
    runs = []

    async def handler(scope: Scope, receive: Receive, send: Send) -> None:
        runs.append(scope["path"])
        await Response("made", 201)(scope, receive, send)

    policy = EndpointPolicy(idempotency=Idempotency(key="client"))
    app = IdempotencyMiddleware(handler, JobConfig(endpoints={"do": policy}, routes={"do": "POST /"}))
    for _ in range(2):
        answer = await Poster(app, http("/", "POST", headers=[(b"idempotency-key", b"k1")])).end()
        assert answer.status == 201
    assert runs == ["/"]


class Trips(RedisStore):
    """Counts its trips."""

    trips = 0

    async def decide(self, questions: Sequence[Question]) -> list[Answer]:
        """Count it, unless it is a start that asks what the server keeps."""
        self.trips += questions[0].kind != "keeping"
        return await super().decide(questions)

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        """Count it."""
        self.trips += 1
        await super().settle(settlements)


@pytest.mark.valkey
async def test_trips_of_a_first_call_and_of_its_replay(valkey: Valkey) -> None:
    """A first keyed POST with limits and a price takes two trips, its replay one."""
    policy = EndpointPolicy(
        rate_limit=FixedWindow(limit=100, window=60),
        credits=Credits(amount=2),
        idempotency=Idempotency(key="client"),
    )
    store = Trips(Client(valkey.url, deadline=5))
    await store.open()
    await Ledger(store).grant(CLIENT, 2)
    service = Keyed(policy, store=store)
    for trips, replayed in ((2, None), (1, "true"), (1, "true")):
        store.trips = 0
        answer = await service.post()
        async with asyncio.timeout(5):
            while service.exchange is not None and service.exchange.runtime._settling._tasks:
                await asyncio.sleep(0)
        assert (answer.status, answer.headers.get("idempotent-replayed"), store.trips) == (201, replayed, trips)
    assert service.runs == 1
    service.die()
    await store.close()


@pytest.mark.valkey
async def test_two_hundred_racers_on_a_server_have_one_winner(valkey: Valkey) -> None:
    """One runs, whatever the order in which they come; afterwards all get its answer."""
    store = RedisStore(Client(valkey.url, deadline=5))
    await store.open()
    service = Keyed(store=store)
    service.answer = Response(bytes(range(256)), 201)
    answers = await asyncio.gather(*(service.post() for _ in range(200)))
    assert sorted({answer.status for answer in answers}) in ([201], [201, 409])
    assert service.runs == 1
    assert (await service.post()).body == bytes(range(256))
    service.die()
    await store.close()


@pytest.mark.valkey
async def test_waiting_on_a_server(valkey: Valkey) -> None:
    """The polls are trips of their own; the replay comes as soon as the answer is there."""
    store = RedisStore(Client(valkey.url, deadline=5))
    await store.open()
    service = Keyed(store=store, wait=5)
    service.slow = True
    first = await service.begin()
    async with asyncio.timeout(5):
        while not service.runs:
            await asyncio.sleep(0.001)
    other = await service.begin()
    service.go_on.set()
    await first.end()
    async with asyncio.timeout(5):
        while not other.task.done():
            service.clock.advance(0.01)
            await asyncio.sleep(0.001)
    assert (await other.end()).headers["idempotent-replayed"] == "true"
    service.die()
    await store.close()
