"""Limits as operators use them, on both stores: what peek says is what the next call finds, and reset begins anew."""

from collections.abc import AsyncIterator

import pytest
from starlette.routing import Route

from forecourt import (
    ConfigError,
    Debounce,
    EndpointPolicy,
    FixedWindow,
    JobConfig,
    Limits,
    Principal,
    SlidingWindow,
    StoreDown,
    Throttle,
    TokenBucket,
)
from forecourt.layers.limits import STATES
from forecourt.limits import Standing
from forecourt.policies import RateLimit
from forecourt.principals import Keys
from forecourt.routing import Endpoint
from forecourt.stores.contract import Question, Store
from forecourt.stores.failover import FailoverStore
from forecourt.stores.holds import HoldingStore
from forecourt.stores.memory import MemoryStore
from forecourt.stores.redis.client import Client
from forecourt.stores.redis.store import RedisStore
from forecourt.testing import FakeClock
from forecourt.types import SECOND
from tests.asgi import get
from tests.layers.shared import Shared
from tests.servers import Valkey
from tests.services import echo, starlette, text

HERE = ("client", "192.0.2.1")
ALICE = ("principal", "https://issuer.test", "alice")

STRATEGIES: dict[str, RateLimit] = {
    "bucket": TokenBucket(max_tokens=3, refill_rate=0.5, cost=2),
    "fixed": FixedWindow(limit=3, window=60),
    "sliding": SlidingWindow(limit=3, window=60),
    "log": SlidingWindow(limit=3, window=60, exact=True),
    "throttle": Throttle(rate=0.5),
    "debounce": Debounce(interval=3),
    "impatient": Debounce(interval=3, max_wait=4),
}

SERVERS = [pytest.param(each, marks=pytest.mark.valkey) for each in ("valkey", "valkey_cluster")]
on_all = pytest.mark.parametrize("store", ["memory", *SERVERS], indirect=True)
each_strategy = pytest.mark.parametrize("limit", STRATEGIES.values(), ids=STRATEGIES)


@pytest.fixture
def clock() -> FakeClock:
    """Time stands still until a test lets it pass."""
    return FakeClock(start=1_700_000_040_000_000)


@pytest.fixture
async def store(request: pytest.FixtureRequest, clock: FakeClock) -> AsyncIterator[Store]:
    """An empty store of each kind, open, that decides by the clock."""
    if request.param == "memory":
        yield MemoryStore(clock)
        return
    served = RedisStore(Client(request.getfixturevalue(request.param).url, deadline=5), clock=clock)
    await served.open()
    yield served
    await served.close()


def config_of(*limits: RateLimit, **endpoints: EndpointPolicy) -> JobConfig:
    """Return a config whose endpoint `t` has these limits."""
    return JobConfig(endpoints={"t": EndpointPolicy(rate_limit=list(limits)), **endpoints})


async def status(config: JobConfig, store: Store, clock: FakeClock) -> int:
    """Call the endpoint once, through a stack of its own: what a call of another process finds."""
    app = starlette(config, Route("/", text, name="t"), clock=clock, store=Shared(store))
    return (await get(app, "/")).status


@on_all
@each_strategy
async def test_peek_tells_what_the_next_call_finds(limit: RateLimit, store: Store, clock: FakeClock) -> None:
    """At every step of a history a call passes exactly when peek said so, however often peek asked before."""
    config = config_of(limit)
    limits = Limits(config, store)
    for passing in (0, 0, 0, 0, 1, 0.999_999, 0.000_001, 1.5, 2, 30, 31, 0, 0, 0, 120, 0):
        clock.advance(passing)
        first = await limits.peek("t", HERE)
        assert await limits.peek("t", HERE) == first
        assert await status(config_of(limit), store, clock) == (200 if first[0].passes else 429)


@on_all
@each_strategy
async def test_more_comes_when_peek_says(limit: RateLimit, store: Store, clock: FakeClock) -> None:
    """A microsecond before `more_in` there is no more, then there is."""
    config = config_of(limit)
    limits = Limits(config, store)
    for _ in range(4):
        await status(config_of(limit), store, clock)
    (spent,) = await limits.peek("t", HERE)
    assert spent.more_in > 0
    clock.advance(spent.more_in - 0.000_001)
    assert (await limits.peek("t", HERE))[0].remaining == spent.remaining
    clock.advance(0.000_001)
    assert (await limits.peek("t", HERE))[0].remaining > spent.remaining


@on_all
@each_strategy
async def test_reset_begins_anew(limit: RateLimit, store: Store, clock: FakeClock) -> None:
    """After a reset the caller stands where one stands who never called; other callers stay where they were."""
    config = config_of(limit)
    limits = Limits(config, store)
    untouched = await limits.peek("t", HERE)
    for _ in range(4):
        await status(config_of(limit), store, clock)
    spent = await limits.peek("t", HERE)
    assert spent != untouched
    await limits.reset("t", ("client", "192.0.2.2"))
    assert await limits.peek("t", HERE) == spent
    assert await limits.reset("t", HERE) == [limit.operation(None)[0]]
    assert await limits.peek("t", HERE) == untouched
    assert await limits.reset("t", HERE) == [limit.operation(None)[0]]


@on_all
async def test_each_limit_is_told_by_name(store: Store, clock: FakeClock) -> None:
    """In the config's order, as the RateLimit fields call them; one of them can be reset by itself."""
    config = config_of(
        FixedWindow(limit=9, window=60, name="hourly"), FixedWindow(limit=5, window=1), FixedWindow(limit=3, window=2)
    )
    await status(config, store, clock)
    limits = Limits(config, store)
    assert await limits.peek("t", HERE) == [
        Standing("hourly", 8, 9, 60.0, passes=True),
        Standing("fixed_window", 4, 5, 1.0, passes=True),
        Standing("fixed_window-2", 2, 3, 2.0, passes=True),
    ]
    assert await limits.reset("t", HERE, "fixed_window-2") == ["fixed_window-2"]
    assert [standing.remaining for standing in await limits.peek("t", HERE)] == [8, 4, 3]
    assert len(await limits.reset("t", HERE)) == 3
    with pytest.raises(ValueError, match='is called "hurly"; did you mean "hourly"'):
        await limits.reset("t", HERE, "hurly")
    with pytest.raises(ValueError, match='is called "x"; there is hourly and fixed_window and fixed_window-2'):
        await limits.reset("t", HERE, "x")


async def test_what_is_shared_is_asked_for_by_itself() -> None:
    """A caller's reset leaves alone what its tenant and all callers share; those are identities of their own."""
    config = JobConfig(
        endpoints={
            "t": EndpointPolicy(
                rate_limit=[
                    FixedWindow(limit=1, window=1, name="own"),
                    FixedWindow(limit=2, window=1, name="tenant", key="tenant"),
                    FixedWindow(limit=3, window=1, name="address", key="client"),
                    FixedWindow(limit=4, window=1, key="endpoint"),
                    FixedWindow(limit=5, window=1, name="all", key="endpoint"),
                    FixedWindow(limit=6, window=1, name="org", key="header:X-Org"),
                    FixedWindow(limit=7, window=1, name="agent", key="agent"),
                ]
            )
        },
        key_functions={"agent": lambda _: None},
    )
    limits = Limits(config, MemoryStore())

    async def counting(*identity: str) -> list[str]:
        return [standing.name for standing in await limits.peek("t", identity)]

    assert await counting(*ALICE) == ["own", "tenant"]
    assert await counting("tenant", "acme") == ["tenant"]
    assert await counting(*HERE) == ["own", "tenant", "address", "org", "agent"]
    assert await counting("endpoint") == ["fixed_window", "all"]
    assert await counting("header", "X-Org", "acme") == ["org"]
    assert await counting("function", "agent", "x" * 200) == ["agent"]


@on_all
async def test_all_callers_of_an_endpoint_begin_anew(store: Store, clock: FakeClock) -> None:
    """Limits with key="endpoint", named and not, are those that the stack counts by."""
    config = config_of(
        FixedWindow(limit=3, window=60, key="endpoint"), FixedWindow(limit=3, window=60, key="endpoint", name="all")
    )
    await status(config, store, clock)
    limits = Limits(config, store)
    assert [each.remaining for each in await limits.peek("t", ("endpoint",))] == [2, 2]
    await limits.reset("t", ("endpoint",))
    assert [each.remaining for each in await limits.peek("t", ("endpoint",))] == [3, 3]


async def test_a_principal_has_its_tiers_numbers() -> None:
    """A principal's own tier, or one that is named; a principal and its identity are one."""
    limits = Limits(config_of(FixedWindow(limit=1, window=1, tiers={"gold": {"limit": 9}})), MemoryStore())
    gold = Principal(ALICE[1], ALICE[2], tier="gold")
    assert [(await limits.peek("t", each))[0].limit for each in (gold, ALICE)] == [9, 1]
    assert (await limits.peek("t", ALICE, "gold"))[0].limit == 9
    assert (await limits.peek("t", gold, "unknown"))[0].limit == 1


async def test_an_address_is_counted_as_the_stack_counts_it(clock: FakeClock) -> None:
    """Of IPv6 the network; mapped IPv4 is IPv4."""
    config, store = config_of(FixedWindow(limit=3, window=60)), MemoryStore(clock)
    app = starlette(config, Route("/", text, name="t"), clock=clock, store=store)
    await get(app, "/", client="2001:db8::1")
    await get(app, "/")
    for address, left in (("2001:db8::2", 2), ("2001:db8:0:1::1", 3), ("::ffff:192.0.2.1", 2)):
        assert (await Limits(config, store).peek("t", ("client", address)))[0].remaining == left


async def test_a_header_is_counted_as_the_stack_counts_it(clock: FakeClock) -> None:
    """Its name in any case, a long value by its digest."""
    config, store = config_of(FixedWindow(limit=3, window=60, key="header:Host")), MemoryStore(clock)
    app = starlette(config, Route("/", text, name="t"), clock=clock, store=store)
    await get(app, "/")
    limits = Limits(config, store)
    await limits.reset("t", ("header", "HOST", "x" * 200))
    assert len({(await limits.peek("t", ("header", name, "x" * 200)))[0] for name in ("host", "Host")}) == 1


async def test_a_batch_passes_when_a_whole_one_is_there() -> None:
    """A process takes so many calls at a time, so fewer are none."""
    config = config_of(FixedWindow(limit=10, window=60, key="endpoint", batch=4))
    store = MemoryStore()
    key = Keys("fc").key(STATES["fixed_window"], "t", "endpoint", "t")
    await store.decide([Question("fixed_window", key, (10, 60 * SECOND, 7, 0))])
    ((_, remaining, _, _, passes),) = await Limits(config, store).peek("t", ("endpoint",))
    assert (remaining, passes) == (3, False)


async def test_a_trailing_debounce_lets_every_call_arrive() -> None:
    """There is nothing to ask; a shadow limit passes whatever is left."""
    store = MemoryStore()
    trailing = Limits(config_of(Debounce(interval=1, edge="trailing")), store)
    assert await trailing.peek("t", HERE) == [Standing("debounce_trailing", 1, 1, 0.0, passes=True)]
    shadow = config_of(FixedWindow(limit=1, window=60, shadow=True), Debounce(interval=9, shadow=True))
    await status(shadow, store, FakeClock())
    assert all(standing.passes for standing in await Limits(shadow, MemoryStore()).peek("t", HERE))


async def test_a_shadow_that_is_spent_passes(clock: FakeClock) -> None:
    """It refuses nobody, and says what is left all the same."""
    config = config_of(
        FixedWindow(limit=1, window=60, shadow=True), Debounce(interval=9, shadow=True), Throttle(rate=1, shadow=True)
    )
    store = MemoryStore(clock)
    await status(config, store, clock)
    standings = await Limits(config, store).peek("t", HERE)
    assert [(standing.remaining, standing.passes) for standing in standings] == [(0, True)] * 3


async def test_a_throttled_call_that_may_wait_passes(clock: FakeClock) -> None:
    """No call may start at once, but one may wait for its turn, until the queue is as long as `max_delay`."""
    config, store = config_of(Throttle(rate=1, max_delay=1.5)), MemoryStore(clock)
    key = Keys("fc").key(STATES["throttle"], "t", *HERE)
    taken = Question("throttle", key, (SECOND, 1, 3 * SECOND // 2, 1, 0))
    told = []
    for _ in range(3):
        told += await Limits(config, store).peek("t", HERE)
        await store.decide([taken])
    assert [(each.remaining, each.more_in, each.passes) for each in told] == [
        (1, 0.0, True),
        (0, 1.0, True),
        (0, 2.0, False),
    ]


async def test_a_reset_ends_the_holds_of_its_own_process(clock: FakeClock) -> None:
    """The process that is told refuses no longer; other refusals that it holds stay."""
    config = config_of(FixedWindow(limit=1, window=60))
    held = HoldingStore(MemoryStore(clock), clock)
    app = starlette(config, Route("/", text, name="t"), clock=clock, store=held)
    for client in ("192.0.2.1", "192.0.2.2"):
        assert [(await get(app, "/", client=client)).status for _ in range(2)] == [200, 429]
    await Limits(config, held).reset("t", HERE)
    assert (await get(app, "/")).status == 200
    assert (await get(app, "/", client="192.0.2.2")).status == 429


async def test_a_dead_store_is_told() -> None:
    """Neither a standing nor a reset is made up by a failure policy."""
    shared = Shared(MemoryStore())
    shared.down = True
    for store in (shared, FailoverStore(shared, MemoryStore())):
        limits = Limits(config_of(FixedWindow(limit=1, window=60)), store)
        with pytest.raises(StoreDown):
            await limits.peek("t", HERE)
        with pytest.raises(StoreDown):
            await limits.reset("t", HERE)


@pytest.mark.parametrize(
    ("identity", "says"),
    [
        (("client",), "this is 'client' with 0"),
        (("principal", "alice"), "this is 'principal' with 1"),
        (("clint", "192.0.2.1"), "this is 'clint' with 1"),
        ((), "this is '' with 0"),
        (("tenant", "acme"), 'the limits of endpoint "t" count by client and principal, not by tenant'),
    ],
)
async def test_an_identity_that_cannot_be_is_refused(identity: tuple[str, ...], says: str) -> None:
    """The error says what there is."""
    config = config_of(FixedWindow(limit=1, window=1), FixedWindow(limit=1, window=1, key="client"))
    with pytest.raises(ValueError, match=says):
        await Limits(config, MemoryStore()).peek("t", identity)


async def test_an_endpoint_that_does_not_exist_is_refused() -> None:
    """The nearest one is named: among the app's where they are known, so that a default hides no slip."""
    limit = EndpointPolicy(rate_limit=FixedWindow(limit=1, window=1))
    config = JobConfig(endpoints={"create_record": limit, "quiet": EndpointPolicy(rate_limit="off")})
    with pytest.raises(ConfigError, match='there is no endpoint "create_recrd"; did you mean "create_record"'):
        await Limits(config, MemoryStore()).peek("create_recrd", HERE)
    with pytest.raises(ConfigError, match='endpoint "quiet" has no rate limit'):
        await Limits(config, MemoryStore()).peek("quiet", HERE)
    everywhere = JobConfig(default=limit)
    own = Endpoint("get_record", "/", None, "http", None)
    assert await Limits(everywhere, MemoryStore(), [own]).peek("get_record", HERE)
    with pytest.raises(ConfigError, match='there is no endpoint "got_record"; did you mean "get_record"'):
        await Limits(everywhere, MemoryStore(), [own]).peek("got_record", HERE)


async def test_a_websockets_limits_are_those_of_its_protocol() -> None:
    """A default's limits of messages are no plain endpoint's; two handlers of one name share what they share."""
    config = JobConfig(
        default=EndpointPolicy(
            rate_limit=[FixedWindow(limit=9, window=1, count="message"), FixedWindow(limit=5, window=1)]
        )
    )
    plain = Endpoint("t", "/", frozenset({"GET"}), "http", text)
    socket = Endpoint("echo", "/echo", None, "websocket", echo)
    limits = Limits(config, MemoryStore(), [plain, socket])
    assert [each.limit for each in await limits.peek("t", HERE)] == [5]
    assert [each.limit for each in await limits.peek("echo", HERE)] == [9, 5]


@pytest.mark.valkey
async def test_a_reset_deletes_the_key(valkey: Valkey) -> None:
    """Nothing is left on the server, by its own time and in one trip each."""
    store = RedisStore(Client(valkey.url, deadline=5))
    await store.open()
    config = config_of(*STRATEGIES.values())
    app = starlette(config, Route("/", text, name="t"), store=Shared(store))
    await get(app, "/")
    assert valkey.ask("DBSIZE") == len(STRATEGIES)
    before = valkey.count("evalsha")
    limits = Limits(config, store)
    await limits.peek("t", HERE)
    await limits.reset("t", HERE)
    assert valkey.count("evalsha") == before + 2
    assert valkey.ask("DBSIZE") == 0
    await store.close()
