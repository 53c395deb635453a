"""The ledger as operators use it, and what it must bear, on both stores."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from forecourt import Accounts, Ledger, Principal, Quota, StoreDown
from forecourt.ledger import Balance, account_key
from forecourt.principals import Keys
from forecourt.stores.contract import Answer, Question, Settlement, Store
from forecourt.stores.failover import FailoverStore
from forecourt.stores.memory import MemoryStore
from forecourt.stores.redis.client import Client
from forecourt.stores.redis.store import RedisStore
from forecourt.testing import FakeClock
from forecourt.types import SECOND
from tests.servers import Valkey

ALICE = ("principal", "https://issuer.test", "alice")
KEY = account_key(Keys("fc"), ALICE)
PREPAID = (0, 0, 0, 1000)

on_both = pytest.mark.parametrize("store", ["memory", pytest.param("valkey", marks=pytest.mark.valkey)], indirect=True)


@pytest.fixture
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    """An empty store of each kind, open."""
    if request.param == "memory":
        yield MemoryStore()
        return
    served = RedisStore(Client(request.getfixturevalue("valkey").url, deadline=5))
    await served.open()
    yield served
    await served.close()


async def charge(store: Store, own: str, amount: int, ttl: int = 60 * SECOND) -> bool:
    """Try to reserve an amount of Alice's."""
    (answer,) = await store.decide([Question("credits_charge", KEY, (amount, ttl, own, *PREPAID), "closed")])
    return answer.verdict == "go"


async def settle(store: Store, own: str, amount: int) -> None:
    """Say what it came to."""
    await store.settle([Settlement("credits_settle", KEY, (amount, own, 0, 1000))])


@on_both
async def test_grants_balances_and_history(store: Store) -> None:
    """A grant counts once for each id; the balance says what is there and what is held; the journal tells it all."""
    ledger = Ledger(store)
    assert await ledger.balance(ALICE) == Balance(0, 0, None)
    assert await ledger.grant(ALICE, 500, id="invoice-17") == Balance(500, 0, None)
    assert await ledger.grant(ALICE, 500, id="invoice-17") == Balance(500, 0, None)
    assert await charge(store, "a", 20)
    assert await ledger.balance(ALICE) == Balance(480, 20, None)
    await settle(store, "a", 5)
    assert await ledger.grant(ALICE, -95) == Balance(400, 0, None)
    lines = await ledger.history(ALICE)
    assert [(line.kind, line.amount, line.balance) for line in lines] == [
        ("grant", -95, 400),
        ("settle", 15, 495),
        ("charge", -20, 480),
        ("grant", 500, 500),
    ]
    assert [line.id for line in lines[1:]] == ["a", "a", "invoice-17"]
    assert lines == sorted(lines, key=lambda line: -line.time)
    assert await ledger.history(ALICE, 1) == lines[:1]
    assert await ledger.history(("client", "192.0.2.7")) == []


@on_both
async def test_two_hundred_at_once_share_what_there_is(store: Store) -> None:
    """Of 200 concurrent reservations of 10 exactly 100 find their credits in 1,000."""
    await Ledger(store).grant(ALICE, 1000)
    granted = await asyncio.gather(*(charge(store, str(number), 10) for number in range(200)))
    assert sum(granted) == 100
    assert await Ledger(store).balance(ALICE) == Balance(0, 1000, None)


@on_both
async def test_settling_three_times_charges_once(store: Store) -> None:
    """A settlement whose reply was lost may be told again."""
    await Ledger(store).grant(ALICE, 100)
    await charge(store, "a", 10)
    await asyncio.gather(*(settle(store, "a", 7) for _ in range(3)))
    assert await Ledger(store).balance(ALICE) == Balance(93, 0, None)


@on_both
async def test_a_hold_that_nobody_settles_comes_back(store: Store) -> None:
    """A microsecond is over by the time anybody looks."""
    await Ledger(store).grant(ALICE, 100)
    await charge(store, "dead", 100, ttl=1)
    await charge(store, "dead, too", 1, ttl=1)
    assert await Ledger(store).balance(ALICE) == Balance(100, 0, None)


@on_both
async def test_a_refused_charge_and_limit_take_nothing(store: Store) -> None:
    """A limit that refuses leaves the account alone; an account that refuses leaves nothing held."""
    await Ledger(store).grant(ALICE, 10)
    lease = Question("lease", f"{KEY}:lease", (1, SECOND, "a", 0, 1))
    await store.decide([lease])
    taken = lease._replace(args=(1, SECOND, "b", 0, 1))
    charged = Question("credits_charge", KEY, (5, SECOND, "b", *PREPAID), "closed")
    refused, never_ran = await store.decide([taken, charged])
    assert (refused.verdict, never_ran.granted, never_ran.values) == ("refuse", False, ())
    assert (await Ledger(store).balance(ALICE)).available == 10
    assert not await charge(store, "c", 11)
    assert await Ledger(store).balance(ALICE) == Balance(10, 0, None)


async def test_a_quota_shows_before_it_is_used() -> None:
    """An account nobody used yet is shown with what its tier, or its principal's, would be given."""
    clock = FakeClock(start=1_700_006_400_000_000)
    accounts = Accounts(quota=Quota(amount=10, every="day"), tiers={"gold": Quota(amount=99, every="week")})
    ledger = Ledger(MemoryStore(clock), accounts=accounts)
    assert await ledger.balance(ALICE) == Balance(10, 0, 86400.0)
    assert (await ledger.balance(ALICE, tier="gold")).available == 99
    gold = Principal("https://issuer.test", "alice", tier="gold")
    assert (await ledger.balance(gold)).available == 99
    assert (await ledger.balance(gold, tier="unknown")).available == 10


async def test_a_principal_names_the_account_of_its_identity() -> None:
    """What is granted to a principal is what its limits count by, tier or not; namespaces have their own accounts."""
    store = MemoryStore()
    await Ledger(store).grant(Principal("https://issuer.test", "alice", tier="gold"), 5)
    assert (await Ledger(store).balance(ALICE)).available == 5
    assert (await Ledger(store, "other").balance(ALICE)).available == 0


@pytest.mark.parametrize("own", ["", "two words", "x" * 129, "naïve"])
async def test_an_id_is_visible_ascii(own: str) -> None:
    """Anything else could not be told apart in the journal."""
    with pytest.raises(ValueError, match="must be 1 to 128 visible ASCII characters"):
        await Ledger(MemoryStore()).grant(ALICE, 5, id=own)


@pytest.mark.parametrize("amount", [0, 10**12 + 1, -(10**12) - 1])
async def test_an_amount_that_cannot_be_is_refused(amount: int) -> None:
    """Nothing, and more than a trillion, either way."""
    with pytest.raises(ValueError, match="must be other than 0 and at most 1000000000000"):
        await Ledger(MemoryStore()).grant(ALICE, amount)


async def test_a_balance_that_could_not_be_counted_exactly_is_refused() -> None:
    """The 4,504th trillion does not fit."""
    store = MemoryStore()
    await store.decide([Question("credits_grant", KEY, (2**52 - 5, "much", SECOND, 1000), "closed")])
    with pytest.raises(ValueError, match="amount 5 would make a balance too large"):
        await Ledger(store).grant(ALICE, 5)


async def test_a_history_has_lines() -> None:
    """None of them is no question."""
    with pytest.raises(ValueError, match="count 0 must be at least 1"):
        await Ledger(MemoryStore()).history(ALICE, 0)


class Dead(MemoryStore):
    """A store that never answers."""

    async def decide(self, questions: Sequence[Question]) -> list[Answer]:
        """Raise."""
        raise StoreDown("gone")


async def test_a_dead_store_is_told() -> None:
    """Neither a grant nor a balance is made up by a failure policy."""
    for store in (Dead(), FailoverStore(Dead(), MemoryStore())):
        with pytest.raises(StoreDown):
            await Ledger(store).balance(ALICE)
        with pytest.raises(StoreDown):
            await Ledger(store).grant(ALICE, 5)


class TestOnTheServer:
    """What the server keeps, and for how long."""

    pytestmark = pytest.mark.valkey

    @pytest.fixture
    async def served(self, valkey: Valkey) -> AsyncIterator[RedisStore]:
        """An open store on an empty server."""
        store = RedisStore(Client(valkey.url, deadline=5))
        await store.open()
        yield store
        await store.close()

    async def test_leases_last_as_long_as_the_last_of_them(self, served: RedisStore, valkey: Valkey) -> None:
        """The key ends with the longest lease, however short the one taken after it; given back, it is gone."""
        for own, seconds in (("long", 60), ("short", 1)):
            await served.decide([Question("lease", "k", (9, seconds * SECOND, own, 0, 1))])
            assert 59_000 < valkey.ask("PTTL", "k") <= 60_000  # type: ignore[operator]  # a number
        await served.settle([Settlement("lease_renew", "k", (90 * SECOND, "short again"))])
        assert 89_000 < valkey.ask("PTTL", "k") <= 90_000  # type: ignore[operator]
        await served.settle([Settlement("lease_release", "k", ("long short again",))])
        assert valkey.ask("EXISTS", "k") == 0

    async def test_leases_that_expired_take_no_room(self, served: RedisStore, valkey: Valkey) -> None:
        """Whoever takes or renews a lease drops those that expired."""
        for own in "abc":
            await served.decide([Question("lease", "k", (9, 1, own, 0, 1))])
        await served.decide([Question("lease", "k", (9, 60 * SECOND, "d", 0, 1))])
        assert valkey.ask("ZRANGE", "k", 0, -1) == [b"d"]
        await served.settle([Settlement("lease_renew", "k", (1, "e"))])
        await served.settle([Settlement("lease_renew", "k", (60 * SECOND, "f"))])
        assert valkey.ask("ZRANGE", "k", 0, -1) == [b"d", b"f"]

    async def test_prepaid_accounts_stay(self, served: RedisStore, valkey: Valkey) -> None:
        """An account and its holds have no end; ids and the journal do."""
        await Ledger(served).grant(ALICE, 10, id="g")
        await charge(served, "a", 5)
        for suffix in ("", ":holds", ":due"):
            assert valkey.ask("PTTL", KEY + suffix) == -1
        for suffix, days in ((":ids", 90), (":journal", 400)):
            end = valkey.ask("PTTL", KEY + suffix)
            assert isinstance(end, int)
            assert (days - 1) * 86_400_000 < end <= days * 86_400_000

    async def test_accounts_of_a_quota_alone_end(self, served: RedisStore, valkey: Valkey) -> None:
        """With a hold a day after it at the earliest; without one at the renewal; a grant makes it stay."""
        question = Question("credits_charge", KEY, (1, 3 * 86_400 * SECOND, "a", 1, 10, 0, 1000), "closed")
        await served.decide([question])
        for suffix in ("", ":holds", ":due"):
            end = valkey.ask("PTTL", KEY + suffix)
            assert isinstance(end, int)
            assert 3.9 * 86_400_000 < end <= 4 * 86_400_000
        await served.settle([Settlement("credits_hold", KEY, (9 * 86_400 * SECOND, "a"))])
        assert 9.9 * 86_400_000 < valkey.ask("PTTL", KEY + ":holds") <= 10 * 86_400_000  # type: ignore[operator]
        await Ledger(served).grant(ALICE, 10)
        for suffix in ("", ":holds", ":due"):
            assert valkey.ask("PTTL", KEY + suffix) == -1
        await served.settle([Settlement("credits_settle", KEY, (1, "a", 0, 1000))])
        assert valkey.ask("EXISTS", KEY + ":holds", KEY + ":due") == 0

    async def test_an_unfunded_account_without_holds_ends_with_its_period(
        self, served: RedisStore, valkey: Valkey
    ) -> None:
        """Settled, nothing is left to remember after midnight."""
        await served.decide([Question("credits_charge", KEY, (1, SECOND, "a", 1, 10, 0, 1000), "closed")])
        await served.settle([Settlement("credits_settle", KEY, (1, "a", 0, 1000))])
        assert 0 < valkey.ask("PTTL", KEY) <= 86_400_000  # type: ignore[operator]

    @pytest.mark.parametrize("lost", ["late", "dropped"])
    async def test_what_nobody_saw_granted_is_taken_back(self, valkey: Valkey, lost: str) -> None:
        """What a stalled server grants too late, or before it dies, goes back when it answers again."""
        store = RedisStore(Client(valkey.url, deadline=0.1))
        await store.open()
        await Ledger(store).grant(ALICE, 100)
        questions = [
            Question("lease", "k", (5, 600 * SECOND, "a", 0, 3)),
            Question("credits_charge", KEY, (30, 600 * SECOND, "a", *PREPAID), "closed"),
        ]
        with valkey.stalled():
            with pytest.raises(StoreDown):
                await store.decide(questions)
            if lost == "dropped":
                store._client._route.wire(0, "decisions").drop("by the test")  # type: ignore[union-attr]
                await asyncio.sleep(0.05)
        async with asyncio.timeout(10):
            while valkey.ask("EXISTS", "k") or not valkey.ask("EXISTS", KEY) or (await self.held(store)) != (100, 0):
                await asyncio.sleep(0.01)
        await store.close()

    async def held(self, store: RedisStore) -> tuple[int, int] | None:
        """Return Alice's balance and what is held of it, once the server answers."""
        try:
            return (await Ledger(store).balance(ALICE))[:2]
        except StoreDown:
            return None
