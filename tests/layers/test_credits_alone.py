"""Credits between layers of a test's own: what is charged when something above or below answers."""

from collections.abc import Callable
from functools import partial

import pytest
from starlette.responses import PlainTextResponse

from forecourt import Accounts, Credits, Exchange, JobConfig, Ledger, Quota
from forecourt.exchange import KEY, Chain, exchange_of
from forecourt.layers.credits import HIT, CreditsLayer
from forecourt.policies.credits import RefundOn
from forecourt.principals import Principal
from forecourt.responses import INTERNAL_ERROR, OVERLOADED, Problem
from forecourt.routing import Endpoint
from forecourt.runtime import Runtime
from forecourt.stores.memory import MemoryStore
from forecourt.testing import FakeClock
from forecourt.types import ASGIApp, Message, Receive, Scope, Send
from tests.asgi import Answer, http
from tests.callers import settle_down

CLIENT = ("client", "192.0.2.1")
MIDNIGHT = 1_700_006_400_000_000
ENDPOINT = Endpoint("work", "/", None, "http", None)


class Known:
    """Says who is calling, as a layer of authentication would."""

    def __init__(self, app: ASGIApp, principal: Principal) -> None:
        self.app = app
        self._principal = principal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Note the principal and pass on."""
        exchange_of(scope).principal = self._principal
        await self.app(scope, receive, send)


class Chained:
    """One endpoint's credits with layers of a test's own above and below, and the exchange that passes through."""

    def __init__(self, policy: Credits, inner: ASGIApp, accounts: Accounts | None = None) -> None:
        self.clock = FakeClock(start=MIDNIGHT)
        config = JobConfig(accounts=accounts or Accounts())
        self.runtime = Runtime(config, MemoryStore(self.clock), self.clock)
        self.layer = CreditsLayer(inner, policy=policy, endpoint=ENDPOINT, runtime=self.runtime)
        self.ledger = Ledger(self.runtime.store, accounts=config.accounts)
        self.exchange = Exchange(self.runtime, http("/"))

    async def call(self, above: Callable[[ASGIApp], ASGIApp] = lambda app: app) -> int | None:
        """Pass a call through, and return its status."""
        exchange, answer = self.exchange, Answer()
        exchange.scope[KEY] = exchange

        async def send(message: Message) -> None:
            answer.messages.append(message)

        async def receive() -> Message:
            return {"type": "http.disconnect"}

        chain = Chain(above(self.layer), (self.layer,))
        try:
            exchange.enter(chain)
            await exchange.run(chain.app, receive, send)
        finally:
            await settle_down()
        return answer.status if answer.starts else None

    async def balance(self, *identity: str) -> tuple[int, int]:
        """Return what an account may spend, and what is reserved."""
        available, held, _ = await self.ledger.balance(identity or CLIENT)
        return available, held


async def done(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer as a handler."""
    await PlainTextResponse("done")(scope, receive, send)


async def silent(_scope: Scope, _receive: Receive, _send: Send) -> None:
    """Return without an answer."""


def refusing(problem: Problem) -> ASGIApp:
    """Build a layer that refuses whatever comes."""

    async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
        await exchange_of(scope).refuse(problem)(scope, receive, send)

    return refuse


def asking_first(layer: ASGIApp) -> ASGIApp:
    """Build a layer above that asks, as the first of the chain, and then answers by itself."""

    async def answer_instead(scope: Scope, receive: Receive, send: Send) -> None:
        assert isinstance(layer, CreditsLayer)
        assert await exchange_of(scope).ask(layer) is None
        await done(scope, receive, send)

    return answer_instead


@pytest.mark.parametrize(
    ("inner", "refund_on", "left"),
    [
        (refusing(OVERLOADED), set(), 10),
        (refusing(Problem(422, "Unprocessable")), set(), 10),
        (refusing(Problem(504, "Gateway Timeout")), {"timeout"}, 10),
        (refusing(Problem(504, "Gateway Timeout")), {"5xx"}, 8),
        (refusing(INTERNAL_ERROR), {"5xx"}, 10),
        (refusing(INTERNAL_ERROR), {"timeout"}, 8),
        (silent, {"5xx"}, 10),
        (silent, {"cancelled"}, 8),
        (done, {"hit"}, 8),
    ],
)
async def test_what_a_layer_below_answers(inner: ASGIApp, refund_on: set[RefundOn], left: int) -> None:
    """Where the handler never ran the call costs nothing; our timeout and failures are outcomes."""
    chained = Chained(Credits(amount=2, refund_on=frozenset(refund_on)), inner)
    await chained.ledger.grant(CLIENT, 10)
    await chained.call()
    assert await chained.balance() == (left, 0)


async def test_what_a_layer_above_answers_costs_nothing() -> None:
    """The question was asked for the whole chain, and the call then ended above this layer."""
    chained = Chained(Credits(amount=2), done)
    await chained.ledger.grant(CLIENT, 10)
    assert await chained.call(asking_first) == 200
    assert await chained.balance() == (10, 0)


@pytest.mark.parametrize(("refund_on", "left"), [({"hit"}, 10), ({"304"}, 8)])
async def test_a_hit_costs_nothing_where_it_is_said(refund_on: set[RefundOn], left: int) -> None:
    """Whoever answers from a cache leaves a note of it."""

    async def hit(scope: Scope, receive: Receive, send: Send) -> None:
        exchange_of(scope).notes[HIT] = True
        await done(scope, receive, send)

    chained = Chained(Credits(amount=2, refund_on=frozenset(refund_on)), hit)
    await chained.ledger.grant(CLIENT, 10)
    await chained.call()
    assert await chained.balance() == (left, 0)


async def test_principals_pay_from_their_own_accounts_by_tier() -> None:
    """Two of gold, one of nobody's tier: each has the quota of its tier, under its own name."""
    accounts = Accounts(quota=Quota(amount=5), tiers={"gold": Quota(amount=50)})
    for subject, tier, left in (("alice", "gold", 48), ("bob", None, 3), ("carol", "unheard of", 3)):
        chained = Chained(Credits(amount=2), done, accounts)
        principal = Principal("https://issuer.test", subject, tier=tier)
        assert await chained.call(partial(Known, principal=principal)) == 200
        assert (await chained.balance("principal", "https://issuer.test", subject)) == (left, 0)
        assert chained.exchange.balance == left


@pytest.mark.parametrize("amount", [-1, 1.5, True, "2", 10**12 + 1])
async def test_a_price_is_a_whole_number(amount: object) -> None:
    """Anything else is the handler's mistake, and says so."""
    exchange = Chained(Credits(amount=2), done).exchange
    with pytest.raises(ValueError, match="must be a whole number of credits, 0 to 1000000000000"):
        exchange.charge(amount)  # type: ignore[arg-type]  # the mistake under test
    assert exchange.price is None
