"""A strategy of one's own: it passes what every strategy passes, limits as those of the package do, and is named."""

from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import pytest
from fastapi import FastAPI
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from examples.extending.lockout import LOCKOUT, Lockout, give_back, take
from forecourt import (
    ConfigError,
    EndpointPolicy,
    JobConfig,
    Limits,
    OwnLimit,
    PolicyMiddleware,
    Strategy,
    register_strategy,
)
from forecourt.config_diff import changes
from forecourt.core import operations
from forecourt.core.operations import Outcome, known
from forecourt.integrations.openapi import document_policies
from forecourt.limits import Standing
from forecourt.policies import own_limits
from forecourt.policies.quantities import Count
from forecourt.policies.rate_limit import local_operation
from forecourt.stores.contract import Question, Store
from forecourt.stores.memory import MemoryStore
from forecourt.stores.opening import store_at
from forecourt.stores.scripts import fragment
from forecourt.testing import FakeClock, UnderTest, decisions
from forecourt.testing.strategy_contract import StrategyContract
from forecourt.types import SECOND, SystemClock
from tests.callers import settle_down
from tests.documented.blocks import ROOT, of_page
from tests.servers import Valkey

GUESSES = Lockout(limit=2, window=60, lockout=600, key="client", name="guesses", count="failure")


@pytest.fixture
def limits() -> Sequence[OwnLimit]:
    """Limits of the strategy, as a config might change them."""
    return [
        Lockout(limit=3, window=10, lockout=60),
        Lockout(limit=5, window=10, lockout=2, cost=2),
        Lockout(limit=1, window=10, lockout=10),
    ]


@pytest.fixture
def server(valkey: Valkey) -> str:
    """A server for the Lua."""
    return valkey.url


@pytest.mark.valkey
class TestLockout(StrategyContract):
    """The example does what every strategy does."""


def test_the_docs_show_the_same_lua() -> None:
    """The page's fragment is the example's, without its first line."""
    (shown,) = [block.text for block in of_page(ROOT / "docs" / "extending.md") if block.language == "lua"]
    assert LOCKOUT.lua.partition("\n")[2] == shown


def service(config: JobConfig) -> Starlette:
    """Build a login that knows one password."""

    async def login(request: Request) -> Response:
        return PlainTextResponse("", 200 if request.query_params.get("password") == "right" else 401)

    app = Starlette(routes=[Route("/login", login, name="login")])
    app.add_middleware(PolicyMiddleware, config=config)
    return app


async def guessed(tested: UnderTest, *passwords: str) -> list[int]:
    """Try passwords one after the other, each when what the last one gives back is under way; return the statuses."""
    statuses: list[int] = []
    for each in passwords:
        statuses.append((await tested.get(f"/login?password={each}")).status)
        await settle_down()
    return statuses


@pytest.fixture(params=["memory", pytest.param("valkey", marks=pytest.mark.valkey)])
async def store(request: pytest.FixtureRequest, clock: FakeClock) -> AsyncIterator[Store]:
    """A store that decides in Python, and one that decides in Lua."""
    if request.param == "memory":
        yield MemoryStore(clock)
        return
    opened = store_at(request.getfixturevalue("valkey").url, SystemClock())
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
def clock() -> FakeClock:
    """A clock that stands still."""
    return FakeClock()


async def test_failures_lock_out(store: Store, clock: FakeClock) -> None:
    """What succeeds does not count; the failure too many, and all after it, wait as long as they are told."""
    config = JobConfig(default=EndpointPolicy(rate_limit=GUESSES))
    async with UnderTest(service(config), config, clock=clock, store=store) as tested:
        assert await guessed(tested, "right", "right", "wrong", "right", "wrong") == [200, 200, 401, 200, 401]
        out = await tested.get("/login?password=right")
        assert (out.status, decisions(out)["rate_limit"]) == (429, "refused")
        assert int(out.headers["retry-after"]) in (600, 599)
        assert '"guesses"' in out.headers["ratelimit-policy"]
        assert "q=2;w=60" in out.headers["ratelimit-policy"]


async def test_a_lockout_ends(clock: FakeClock) -> None:
    """Exactly when it said."""
    config = JobConfig(default=EndpointPolicy(rate_limit=GUESSES))
    async with UnderTest(service(config), config, clock=clock) as tested:
        assert await guessed(tested, "a", "b", "c") == [401, 401, 429]
        clock.advance(599.999999)
        assert await guessed(tested, "right") == [429]
        clock.advance(0.000001)
        assert await guessed(tested, "right") == [200]


async def test_operators_see_and_change_it(clock: FakeClock) -> None:
    """Where a caller stands is looked at without counting; other numbers hold for a while; a reset lets it in."""
    config = JobConfig(default=EndpointPolicy(rate_limit=GUESSES.model_copy(update={"count": "request"})))
    store = MemoryStore(clock)
    limits = Limits(config, store, clock=clock)
    here = ("client", "192.0.2.1")
    async with UnderTest(service(config), config, clock=clock, store=store) as tested:
        assert await guessed(tested, "right") == [200]
        assert await limits.peek("login", here) == [Standing("guesses", 1, 2, 60.0, passes=True)]
        assert await guessed(tested, "right", "right") == [200, 429]
        assert await limits.peek("login", here) == [Standing("guesses", 0, 2, 600.0, passes=False)]
        await limits.reset("login", here)
        assert await guessed(tested, "right") == [200]


def test_its_words_are_shown() -> None:
    """In the OpenAPI schema as those of any limit; a looser number is told by `forecourt diff`."""
    config = JobConfig(default=EndpointPolicy(rate_limit=GUESSES))
    app = FastAPI()
    app.add_middleware(PolicyMiddleware, config=config)
    app.add_api_route("/login", lambda: None, name="login")
    document_policies(app, config)
    shown = {"type": "lockout", "name": "guesses", "key": "client", "cost": 1, "limit": 2, "window": 60, "lockout": 600}
    assert app.openapi()["paths"]["/login"]["get"]["x-rate-limits"] == [shown]
    looser = JobConfig(default=EndpointPolicy(rate_limit=GUESSES.model_copy(update={"limit": 20})))
    (change,) = changes(config, looser)
    assert change.looser == ("guesses: limit raised from 2 to 20",)


async def test_a_policy_file_names_it(tmp_path: Path, clock: FakeClock) -> None:
    """By its type, with tiers, beside limits of the package; what is wrong in it is told as of any limit."""
    path = tmp_path / "policies.toml"
    text = """
    [[default.rate_limit]]
    type = "lockout"
    limit = 1
    window = 10
    lockout = 20
    key = "client"
    tiers = { gold = { limit = 3 } }
    [[default.rate_limit]]
    type = "fixed_window"
    limit = 10
    window = 10
    """
    path.write_text(text)
    config = JobConfig.from_file(path)
    async with UnderTest(service(config), config, clock=clock) as tested:
        assert await guessed(tested, "right", "right") == [200, 429]
    path.write_text(text.replace("lockout = 20", "lockouts = 20"))
    with pytest.raises(ConfigError, match=r'rate_limit\[0\]\.lockouts: unknown word; did you mean "lockout"'):
        JobConfig.from_file(path)
    path.write_text(text.replace('"lockout"', '"lokcout"'))
    with pytest.raises(ConfigError, match='did you mean "lockout"'):
        JobConfig.from_file(path)


async def test_a_process_holds_what_was_refused(valkey: Valkey) -> None:
    """A caller that is out is refused by the process for a moment, without a trip; of one not `held` it asks again."""
    asked = Question("lockout", "key", (1, 60 * SECOND, 60 * SECOND, 1, 0), "closed")
    store = store_at(valkey.url, SystemClock())
    await store.open()
    assert [(await store.decide([asked]))[0].verdict for _ in range(2)] == ["go", "refuse"]
    valkey.ask("FLUSHALL")
    assert (await store.decide([asked]))[0].verdict == "refuse"
    await store.close()


def test_a_lockout_is_not_given_back() -> None:
    """Also where it ends with the window in which a call passed that is given back."""
    one = (1, 10 * SECOND, 10 * SECOND, 1)
    passed = take((None,), 0, (*one, 0))
    (state,) = [write.state for write in passed.writes if write]
    locked = take((state,), 0, (*one, 0))
    (state,) = [write.state for write in locked.marks if write]
    assert give_back((state,), 0, (*one, passed.values[3])).writes == (None,)


def test_one_process_takes_its_share() -> None:
    """While the store is down, a part of the first argument, of a tier's too, and no less than a call costs."""
    limit = Lockout(limit=10, window=1, lockout=1, local_share=0.25, cost=2, tiers={"gold": {"limit": 20}})
    assert local_operation(limit) == ("lockout", (2, SECOND, SECOND, 2, 0))
    assert local_operation(limit, "gold") == ("lockout", (5, SECOND, SECOND, 2, 0))


class Unregistered(OwnLimit):
    """A limit of no strategy."""

    type: str = "unregistered"
    most: Count = 1

    numbers: ClassVar[tuple[str, ...]] = ("most",)


class Untyped(OwnLimit):
    """A limit that does not say its type."""

    numbers: ClassVar[tuple[str, ...]] = ("many",)


def test_impossible_limits_are_refused() -> None:
    """Of no registered strategy; in batches; dearer than it may be; by failures where nothing is given back."""
    with pytest.raises(ValidationError, match="is of no strategy: say register_strategy"):
        Unregistered()
    with pytest.raises(ValidationError, match='"other" is not allowed: must be "lockout"'):
        Lockout(type="other", limit=2, window=1, lockout=1)
    with pytest.raises(ValidationError, match="must be 1: a strategy of one's own"):
        Lockout(limit=2, window=1, lockout=1, batch=2, key="endpoint")
    with pytest.raises(ValidationError, match="must be at most 2, or no call can ever pass"):
        Lockout(limit=2, window=1, lockout=1, cost=3)


def test_what_cannot_be_a_strategy_is_refused() -> None:
    """Each mistake is named; the same strategy again is nothing new."""
    assert register_strategy(LOCKOUT) is LOCKOUT
    uncomputed = Strategy(Unregistered, LOCKOUT.take, "-- write\n")
    cases = {
        "there is an operation of this kind already": LOCKOUT._replace(version=2),
        "must have a section that begins with the line `-- compute`": uncomputed,
        "lua has one key": Strategy(Unregistered, LOCKOUT.take, "-- compute\ncall('GET', $K2)"),
        "give_back and give_back_lua go together": Strategy(
            Unregistered, LOCKOUT.take, LOCKOUT.lua, give_back=LOCKOUT.give_back
        ),
        "Unregistered must have arguments": uncomputed,
        "Untyped.type must have a default": Strategy(Untyped, LOCKOUT.take, LOCKOUT.lua),
        "Untyped.numbers must name its number fields": Strategy(Untyped, LOCKOUT.take, LOCKOUT.lua),
    }
    for words, strategy in cases.items():
        with pytest.raises(ConfigError, match=words):
            register_strategy(strategy)
    assert known("unregistered") is None
    for said in (OwnLimit.arguments, OwnLimit.promise):
        with pytest.raises(NotImplementedError):
            said(GUESSES)


class Lenient(Lockout):
    """A lockout whose Lua is wrong."""

    type: str = "lenient"


class Endless(Lockout):
    """A lockout that lets everything pass."""

    type: str = "endless"


@pytest.fixture
def wrong() -> Iterator[None]:
    """Register two strategies with mistakes, until the test is over."""
    register_strategy(Strategy(Lenient, take, LOCKOUT.lua.replace("limit + 1, true", "limit + 1, false")))
    register_strategy(Strategy(Endless, lambda *_: Outcome("go", (1, 0, 0, 0)), LOCKOUT.lua))
    yield
    for kind in ("lenient", "endless"):
        own_limits._strategies.pop(kind)
        operations._registry.pop(kind)
    fragment.cache_clear()


@pytest.mark.valkey
@pytest.mark.usefixtures("wrong")
async def test_mistakes_are_found(valkey: Valkey) -> None:
    """Lua that forgets a lockout, with the step at which it shows; a strategy that refuses nobody."""
    with pytest.raises(AssertionError, match=r"step \d+: Step\(now="):
        await StrategyContract().test_python_and_lua_decide_alike(
            [Lenient(limit=2, window=10, lockout=60)], valkey.url, 0
        )
    with pytest.raises(AssertionError, match="nothing is refused, however often it is called"):
        StrategyContract().test_who_waits_as_told_may_pass([Endless(limit=2, window=10, lockout=60)])
