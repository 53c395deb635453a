"""Credits in the stack: what calls cost, who cannot pay, and what comes back."""

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress

import pytest

from forecourt import Accounts, Concurrency, Credits, EndpointPolicy, Ledger, Quota
from forecourt.errors import StoreDown
from forecourt.policies.credits import RefundOn
from forecourt.stores.contract import Answer as StoreAnswer
from forecourt.stores.contract import Question
from forecourt.stores.failover import FailoverStore
from forecourt.stores.memory import MemoryStore
from forecourt.stores.redis.client import Client
from forecourt.stores.redis.store import RedisStore
from forecourt.testing import FakeClock
from tests.asgi import call, get, websocket
from tests.callers import Caller, settle_down
from tests.layers.working import Service
from tests.servers import Valkey

CLIENT = ("client", "192.0.2.1")
MIDNIGHT = 1_700_006_400_000_000


def costing(amount: int = 2, **policy: object) -> EndpointPolicy:
    """Build an endpoint policy of nothing but this price."""
    return EndpointPolicy(credits=Credits(amount=amount, **policy))  # type: ignore[arg-type]  # its own words


class Bank:
    """A service whose callers pay, and the ledger of its accounts."""

    def __init__(self, policy: EndpointPolicy | None = None, *, granted: int = 10, **config: object) -> None:
        clock = FakeClock(start=MIDNIGHT)
        self.service = Service(policy or costing(), clock=clock, **config)  # type: ignore[arg-type]  # the config's words
        accounts = config.get("accounts")
        self.ledger = Ledger(self.service.store, accounts=accounts if isinstance(accounts, Accounts) else None)
        self.granted = granted

    async def open(self) -> "Bank":
        """Grant the caller something to begin with."""
        if self.granted:
            await self.ledger.grant(CLIENT, self.granted)
        return self

    async def balance(self) -> tuple[int, int]:
        """Return what the caller may spend, and what is reserved."""
        await settle_down()
        available, held, _ = await self.ledger.balance(CLIENT)
        return available, held


async def test_a_call_costs_its_amount() -> None:
    """Reserved while it is at work, spent when it has ended; callers have accounts of their own."""
    bank = await Bank().open()
    caller = await bank.service.begin()
    assert await bank.balance() == (8, 2)
    bank.service.go_on.set()
    assert (await caller.end()).status == 200
    assert await bank.balance() == (8, 0)
    assert not {"ratelimit", "ratelimit-policy"} & set(caller.answer.headers)
    assert bank.service.exchange is not None
    assert repr(bank.service.exchange.runtime.heartbeat) == "<Heartbeat of 0 on 0 keys>"
    assert (await get(bank.service.app, "/", client="192.0.2.2")).status == 402


async def test_an_empty_prepaid_account_is_told_402() -> None:
    """No Retry-After: waiting does not help. The problem tells the balance; nothing ran, nothing is held."""
    bank = await Bank(granted=1).open()
    refused = await get(bank.service.app, "/")
    assert refused.status == 402
    assert "retry-after" not in refused.headers
    problem = json.loads(refused.body)
    assert problem["type"] == "https://forecourt.dev/problems/balance-exhausted"
    assert problem["balance"] == 1
    assert await bank.balance() == (1, 0)
    assert bank.service.calls == 0


async def test_an_exhausted_quota_is_told_when_it_renews() -> None:
    """429 until midnight, right from both sides."""
    bank = Bank(granted=0, accounts=Accounts(quota=Quota(amount=3, every="day")))
    bank.service.clock.advance(3600.5)
    await bank.service.call()
    refused = await get(bank.service.app, "/")
    assert refused.status == 429
    assert refused.headers["retry-after"] == str(23 * 3600)
    problem = json.loads(refused.body)
    assert problem["type"] == "https://iana.org/assignments/http-problem-types#quota-exceeded"
    assert (problem["violated-policies"], problem["balance"]) == (["credits"], 1)
    bank.service.clock.advance(23 * 3600 - 0.500001)
    assert (await get(bank.service.app, "/")).status == 429
    bank.service.clock.advance(0.000001)
    assert (await bank.service.call()).status == 200


async def test_a_call_that_costs_more_than_any_quota_is_told_402() -> None:
    """Waiting would never help."""
    bank = Bank(costing(4), granted=0, accounts=Accounts(quota=Quota(amount=3, every="day")))
    assert (await get(bank.service.app, "/")).status == 402


@pytest.mark.parametrize("path", ["/", "/stream"])
async def test_the_handler_says_the_price(path: str) -> None:
    """Several things it did add up, also during a stream; without a word the fixed amount holds."""
    bank = await Bank().open()
    await bank.service.call(path)
    assert await bank.balance() == (8, 0)
    bank.service.price = 3
    caller = await bank.service.begin(path)
    assert await bank.balance() == (6, 2)
    bank.service.go_on.set()
    await caller.end()
    assert await bank.balance() == ((5, 0) if path == "/" else (2, 0))


async def test_a_price_of_nothing_is_a_price() -> None:
    """`charge(0)` makes the call free."""
    bank = await Bank().open()
    bank.service.price = 0
    await bank.service.call()
    assert await bank.balance() == (10, 0)


async def test_a_price_above_the_balance_makes_a_debt() -> None:
    """The work is done; the next call is refused."""
    bank = await Bank().open()
    bank.service.price = 15
    await bank.service.call()
    assert await bank.balance() == (-5, 0)
    assert json.loads((await get(bank.service.app, "/")).body)["balance"] == -5


@pytest.mark.parametrize(
    ("status", "refund_on", "left"),
    [
        (200, {"5xx", "4xx", "timeout", "cancelled", "hit", "304"}, 8),
        (500, {"5xx"}, 10),
        (503, {"4xx", "timeout"}, 8),
        (504, {"5xx"}, 10),
        (504, {"timeout"}, 8),
        (404, {"4xx"}, 10),
        (404, {"5xx", "timeout"}, 8),
        (304, {"304"}, 10),
        (304, {"hit"}, 8),
    ],
)
async def test_outcomes_that_cost_nothing(status: int, refund_on: set[RefundOn], left: int) -> None:
    """What `refund_on` names comes back, whatever price the handler said; a handler's 504 is no timeout of ours."""
    bank = await Bank(costing(refund_on=refund_on)).open()
    bank.service.status = status
    if left == 10:
        bank.service.price = 5
    await bank.service.call()
    assert await bank.balance() == (left, 0)


@pytest.mark.parametrize(("refund_on", "left"), [({"5xx"}, 10), ({"timeout"}, 8)])
async def test_a_handler_that_fails_answers_5xx(refund_on: set[RefundOn], left: int) -> None:
    """By default it costs nothing."""
    bank = await Bank(costing(refund_on=refund_on)).open()
    bank.service.fails = True
    with pytest.raises(RuntimeError, match="it failed"):
        await bank.service.call()
    assert await bank.balance() == (left, 0)


async def test_a_failure_that_the_app_answers_outside_is_a_5xx() -> None:
    """Where the app has an error page of its own, our stack sees no status at all."""
    bank = await Bank().open()
    app = bank.service.app
    app.debug = True  # type: ignore[attr-defined]  # Starlette's
    bank.service.fails = True
    with pytest.raises(RuntimeError, match="it failed"):
        await bank.service.call()
    assert await bank.balance() == (10, 0)


@pytest.mark.parametrize(
    ("path", "refund_on", "left"),
    [("/", {"cancelled"}, 10), ("/", {"5xx"}, 8), ("/stream", {"cancelled"}, 8), ("/stream", {"5xx"}, 8)],
)
async def test_a_cancelled_call_is_refunded_before_its_first_byte_only(
    path: str, refund_on: set[RefundOn], left: int
) -> None:
    """Where it is configured; later, and elsewhere, it is charged."""
    bank = await Bank(costing(refund_on=refund_on)).open()
    caller = await bank.service.begin(path)
    await caller.cancel()
    assert await bank.balance() == (left, 0)


async def test_a_stream_that_is_cut_off_pays_what_it_used() -> None:
    """The client left after the first of two parts, or the handler failed before the second."""
    for how in ("left", "failed"):
        bank = await Bank().open()
        bank.service.price = 3
        caller = await bank.service.begin("/stream")
        if how == "left":
            await caller.leave()
        else:
            bank.service.fails = True
            bank.service.go_on.set()
            with suppress(RuntimeError):
                await caller.end()
        assert await bank.balance() == (7, 0)


async def test_a_long_stream_keeps_its_reservation() -> None:
    """Ten minutes on a hold of sixty seconds: nobody else can spend it."""
    bank = await Bank(costing(8)).open()
    caller = await bank.service.begin("/stream")
    for _ in range(10):
        await bank.service.advance(60)
        assert (await get(bank.service.app, "/")).status == 402
    assert await bank.balance() == (2, 8)
    bank.service.go_on.set()
    await caller.end()
    assert await bank.balance() == (2, 0)


@pytest.mark.parametrize(("hold", "seconds"), [(None, 60), (5, 5)])
async def test_a_process_that_died_costs_nobody_anything(hold: float | None, seconds: int) -> None:
    """What it had reserved comes back when its hold has expired, not before."""
    bank = await Bank(costing(8, hold=hold)).open()
    caller = await bank.service.begin()
    bank.service.die()
    bank.service.clock.advance(seconds - 0.000001)
    assert (await get(bank.service.app, "/")).status == 402
    bank.service.clock.advance(0.000001)
    assert (await bank.ledger.balance(CLIENT)).available == 10
    await caller.cancel()


async def test_a_websocket_pays_when_it_closes() -> None:
    """Reserved at the handshake, spent at the end; who cannot pay is denied."""
    bank = await Bank(granted=3).open()
    caller = Caller(bank.service.app, websocket("/echo"))
    await settle_down()
    assert await bank.balance() == (1, 2)
    assert (await call(bank.service.app, websocket("/echo"))).status == 402
    await caller.leave()
    assert await bank.balance() == (1, 0)


async def test_a_lease_that_is_refused_costs_nothing() -> None:
    """Limits are decided before credits; and who cannot pay holds no lease."""
    both = EndpointPolicy(concurrency=Concurrency(limit=1), credits=Credits(amount=6))
    bank = await Bank(both).open()
    caller = await bank.service.begin()
    assert (await get(bank.service.app, "/")).status == 429
    assert await bank.balance() == (4, 6)
    bank.service.go_on.set()
    await caller.end()
    await settle_down()
    assert (await get(bank.service.app, "/")).status == 402
    await settle_down()
    assert (await get(bank.service.app, "/")).status == 402


async def test_a_dead_store_charges_nobody_and_lets_nobody_in() -> None:
    """503, with and without a failure policy around it."""

    class Dead(MemoryStore):
        async def decide(self, questions: Sequence[Question]) -> list[StoreAnswer]:
            raise StoreDown("gone")

    for store in (Dead(), FailoverStore(Dead(), MemoryStore())):
        service = Service(costing(), store=store)
        refused = await get(service.app, "/")
        assert (refused.status, refused.headers["retry-after"]) == (503, "1")
        assert json.loads(refused.body)["type"] == "https://forecourt.dev/problems/store-unavailable"
        assert service.calls == 0


@pytest.mark.valkey
async def test_two_hundred_calls_at_once_share_what_there_is(valkey: Valkey) -> None:
    """Over a server too: of 200 concurrent calls at 10 exactly 100 find their credits in 1,000."""
    store = RedisStore(Client(valkey.url, deadline=5))
    await store.open()
    await Ledger(store).grant(CLIENT, 1000)
    service = Service(costing(10), store=store)
    service.go_on.set()
    statuses = await asyncio.gather(*(get(service.app, "/") for _ in range(200)))
    assert sorted(answer.status for answer in statuses) == [200] * 100 + [402] * 100
    async with asyncio.timeout(10):
        while (await Ledger(store).balance(CLIENT)).held:
            await asyncio.sleep(0.01)
    assert (await Ledger(store).balance(CLIENT)).available == 0
    service.die()
    await store.close()
