"""Limits that operators change for a while: they decide as a config with those numbers would, in every process."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.routing import Route

from forecourt import (
    ConfigError,
    EndpointPolicy,
    Extra,
    FixedWindow,
    JobConfig,
    Limits,
    PolicyMiddleware,
    Site,
    SlidingWindow,
    Throttle,
    TokenBucket,
)
from forecourt.config_overrides import KIND, Overridden, overrides_of
from forecourt.errors import StoreDown
from forecourt.orders import Orders
from forecourt.policies import RateLimit
from forecourt.principals import Keys
from forecourt.stores.contract import Answer, Question, Store
from forecourt.stores.memory import MemoryStore
from forecourt.stores.opening import store_at
from forecourt.stores.redis.client import Client
from forecourt.stores.redis.store import RedisStore
from forecourt.testing import FakeClock
from forecourt.types import SECOND, ASGIApp, SystemClock
from tests.asgi import Answer as Answered
from tests.asgi import get
from tests.callers import settle_down
from tests.core.bench import examples
from tests.servers import eventually
from tests.services import starlette, text

HERE, THERE = "192.0.2.1", "192.0.2.2"

LIMITS: list[tuple[RateLimit, Mapping[str, float]]] = [
    (FixedWindow(limit=2, window=60), {"limit": 4}),
    (SlidingWindow(limit=4, window=60), {"limit": 1, "window": 30}),
    (SlidingWindow(limit=2, window=60, exact=True), {"limit": 3}),
    (TokenBucket(max_tokens=2, refill_rate=0.1), {"max_tokens": 3, "refill_rate": 1}),
    (Throttle(rate=0.1), {"rate": 0.5}),
]

Call = tuple[int, str]
"""Seconds that pass before it, and who calls."""

HISTORIES = st.lists(st.tuples(st.integers(0, 40), st.sampled_from([HERE, THERE])), min_size=1, max_size=12)


def process(limit: RateLimit, store: Store, clock: FakeClock, namespace: str = "fc") -> tuple[Starlette, JobConfig]:
    """Build one process of a service whose limit can be changed."""
    config = JobConfig(default=EndpointPolicy(rate_limit=limit), limit_overrides=True, namespace=namespace)
    return starlette(config, Route("/", text, name="read"), store=store, clock=clock), config


async def changed(limit: RateLimit, numbers: Mapping[str, float], clock: FakeClock, who: str | None) -> Starlette:
    """Build a process that has followed an override."""
    store = MemoryStore(clock)
    app, config = process(limit, store, clock)
    identity = None if who is None else ("client", who)
    await Limits(config, store, clock=clock).override("read", numbers, lasts=100_000, identity=identity)
    return app


async def answered(app: Starlette, clock: FakeClock, history: list[Call]) -> list[tuple[int, Mapping[str, str]]]:
    """Return what each call of a history is answered, fields included."""
    told = []
    for seconds, who in history:
        clock.advance(seconds)
        told.append(_of(await get(app, "/", client=who)))
    return told


def _of(answer: Answered) -> tuple[int, Mapping[str, str]]:
    names = ("retry-after", "ratelimit", "ratelimit-policy")
    return answer.status, {name: answer.headers[name] for name in names if name in answer.headers}


@pytest.mark.parametrize(("limit", "numbers"), LIMITS, ids=lambda each: getattr(each, "type", ""))
def test_it_decides_as_a_config_with_those_numbers(limit: RateLimit, numbers: Mapping[str, float]) -> None:
    """For all callers, and for the one that it is about; the other one meets the config's own. Fields and waits too."""
    other = type(limit).model_validate({**limit.model_dump(exclude={"type"}), **numbers})

    async def compare(history: list[Call], who: str | None) -> None:
        clocks = [FakeClock(1_700_000_040_000_000) for _ in range(3)]
        apps = [
            await changed(limit, numbers, clocks[0], who),
            process(other, MemoryStore(clocks[1]), clocks[1])[0],
            process(limit, MemoryStore(clocks[2]), clocks[2])[0],
        ]
        was, new, old = [await answered(app, clock, history) for app, clock in zip(apps, clocks, strict=True)]
        about = [who in (None, caller) for _, caller in history]
        assert was == [right if mine else left for mine, right, left in zip(about, new, old, strict=True)]

    @given(HISTORIES, st.sampled_from([None, HERE]))
    def check(history: list[Call], who: str | None) -> None:
        asyncio.run(compare(history, who))

    settings(max_examples=examples(8), deadline=None)(check)()


SERVERS = [pytest.param(each, marks=pytest.mark.valkey) for each in ("valkey", "valkey_cluster")]


@pytest.fixture(params=["memory", *SERVERS])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Store, FakeClock]]:
    """An empty store of each kind, open, that decides by a clock."""
    clock = FakeClock(1_700_000_040_000_000)
    if request.param == "memory":
        yield MemoryStore(clock), clock
        return
    served = RedisStore(Client(request.getfixturevalue(request.param).url, deadline=5), clock=clock)
    await served.open()
    yield served, clock
    await served.close()


async def look(clock: FakeClock) -> None:
    """Let processes read their orders again."""
    for _ in range(2):
        await settle_down()
        clock.advance(0.5)
        await asyncio.sleep(0.02)
        await settle_down()


async def test_all_processes_follow_and_it_ends_by_itself(store: tuple[Store, FakeClock]) -> None:
    """On all stores: what was counted stays, a limit of a name is changed wherever it stands; it can be taken back."""
    kept, clock = store
    limit = FixedWindow(limit=2, window=3600, name="hourly", tiers={"gold": {"limit": 9}})
    (one, config), (two, _) = process(limit, kept, clock), process(limit, kept, clock)
    assert [(await get(app, "/")).status for app in (one, two, one)] == [200, 200, 429]
    limits = Limits(config, kept, clock=clock)
    (told,) = await limits.override("read", {"limit": 3}, lasts=timedelta(seconds=10), name="hourly")
    assert (told.glob, told.name, told.who, told.numbers) == ("*", "hourly", "", (("limit", 3),))
    assert told.until == clock.now() + 10 * SECOND
    await look(clock)
    assert [(await get(app, "/")).status for app in (two, one)] == [200, 429]
    assert [each.limit for each in await limits.peek("read", ("client", HERE), "gold")] == [3]
    await limits.override("read", {"limit": 5}, lasts=5, identity=("client", HERE))
    await look(clock)
    assert [(await get(app, "/")).status for app in (two, one)] == [200, 200]
    assert len(await limits.overrides()) == 2
    clock.advance(5)
    await look(clock)
    assert (await get(one, "/", client=HERE)).status == 429
    assert [each.limit for each in await limits.peek("read", ("client", HERE))] == [3]
    assert await limits.restore("read")
    assert not await limits.restore("read")
    await look(clock)
    assert (await get(two, "/", client=THERE)).headers["ratelimit-policy"] == '"hourly";q=2;w=3600'
    assert await limits.overrides() == []


async def test_it_ends_with_the_store_down() -> None:
    """Its end needs no store, as its order says it."""
    clock = FakeClock()

    class Gone(MemoryStore):
        async def decide(self, questions: Sequence[Question]) -> list[Answer]:
            if questions[0].kind == "key_list" and self.gone:
                raise StoreDown("gone")
            return await super().decide(questions)

        gone = False

    kept = Gone(clock)
    app, config = process(FixedWindow(limit=1, window=3600), kept, clock)
    await Limits(config, kept, clock=clock).override("read", {"limit": 100}, lasts=10)
    assert [(await get(app, "/")).status for _ in range(3)] == [200] * 3
    kept.gone = True
    clock.advance(9)
    await look(clock)
    await look(clock)
    assert (await get(app, "/")).status == 429


async def test_the_store_never_sees_who_it_is_about() -> None:
    """An order holds a digest."""
    clock = FakeClock()
    kept = MemoryStore(clock)
    _, config = process(FixedWindow(limit=1, window=60), kept, clock)
    await Limits(config, kept, clock=clock).override("read", {"limit": 2}, lasts=9, identity=("client", HERE))
    orders = await Orders(kept, Keys("fc"), clock).read()
    assert len(orders) == 1
    assert HERE not in repr(orders)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"numbers": {}}, "say at least one of limit and window"),
        ({"numbers": {"limits": 3}}, 'fixed_window: unknown word; did you mean "limit"'),
        ({"numbers": {"key": 3}}, "unknown word"),
        ({"numbers": {"limit": 0}}, "fixed_window.limit: 0 is not allowed"),
        ({"lasts": 0}, "must be greater than 0"),
        ({"identity": ("tenant", "acme")}, "not by tenant"),
        ({"name": "hourly"}, "which limit .* Say its name: fixed_window"),
    ],
)
async def test_what_cannot_be_is_refused(words: dict[str, object], message: str) -> None:
    """Nothing is ordered then."""
    clock = FakeClock()
    kept = MemoryStore(clock)
    _, config = process(FixedWindow(limit=1, window=60), kept, clock)
    limits = Limits(config, kept, clock=clock)
    with pytest.raises(ValueError, match=message):
        await limits.override("read", **{"numbers": {"limit": 2}, "lasts": 5, **words})  # type: ignore[arg-type]  # wrong ones
    assert await limits.overrides() == []


async def test_a_limit_among_several_is_named() -> None:
    """Which one is meant is never guessed; and where no process would follow nothing is ordered."""
    clock = FakeClock()
    kept = MemoryStore(clock)
    policy = EndpointPolicy(rate_limit=[FixedWindow(limit=1, window=60), TokenBucket(max_tokens=5, refill_rate=1)])
    config = JobConfig(default=policy, limit_overrides=True)
    limits = Limits(config, kept, clock=clock)
    with pytest.raises(ValueError, match="Say its name: fixed_window or token_bucket"):
        await limits.override("read", {"limit": 2}, lasts=5)
    assert [each.name for each in await limits.override("read", {"max_tokens": 9}, lasts=5, name="token_bucket")]
    with pytest.raises(ConfigError, match="say limit_overrides = true"):
        await Limits(JobConfig(default=policy), kept, clock=clock).override("read", {"limit": 2}, lasts=5)


async def test_an_override_that_fits_no_more_is_passed_by(caplog: pytest.LogCaptureFixture) -> None:
    """The config has another strategy by now: its own numbers hold, and a line says so. So with what is no override."""
    clock = FakeClock()
    kept = MemoryStore(clock)
    _, before = process(FixedWindow(limit=1, window=60, name="hourly"), kept, clock)
    await Limits(before, kept, clock=clock).override("read", {"limit": 9}, lasts=50)
    app, _ = process(TokenBucket(max_tokens=2, refill_rate=1, name="hourly"), kept, clock)
    with caplog.at_level(logging.WARNING, "forecourt"):
        assert (await get(app, "/")).headers["ratelimit-policy"].startswith('"hourly";q=2')
    assert "does not fit it any more" in caplog.text
    assert overrides_of([{"kind": KIND, "about": "x", "until": 5}, {"kind": "other", "about": "y"}]) == ()
    assert repr(Overridden()) == "<Overridden, 0 limits>"


async def test_overrides_are_known_where_no_stack_listens() -> None:
    """As in a command: they are read, although nothing has to be built anew."""
    clock = FakeClock()
    kept = MemoryStore(clock)
    _, config = process(FixedWindow(limit=1, window=60), kept, clock)
    (told,) = await Limits(config, kept, clock=clock).override("read", {"limit": 2}, lasts=9)
    overridden, orders = Overridden(), Orders(kept, Keys("fc"), clock)
    overridden.bind(orders)
    await orders.read()
    assert (overridden.of("read"), overridden.of("write")) == ((told,), ())


async def test_an_override_for_which_a_layer_cannot_be_built_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """A layer of the app's own refuses to be built anew: what was in force stays, a line says why, calls go on."""
    clock = FakeClock()
    kept = MemoryStore(clock)
    built: list[str] = []

    def once(_: ASGIApp, site: Site) -> None:
        if site.endpoint is not None and site.endpoint.name in built:
            raise ConfigError("it is built once only")
        built.append(site.endpoint.name if site.endpoint else "")

    config = JobConfig(default=EndpointPolicy(rate_limit=FixedWindow(limit=1, window=60)), limit_overrides=True)
    app = Starlette(routes=[Route("/", text, name="read")])
    app.add_middleware(PolicyMiddleware, config=config, store=kept, clock=clock, extra=[Extra("rate_limit", once)])
    assert (await get(app, "/")).status == 200
    await Limits(config, kept, clock=clock).override("read", {"limit": 9}, lasts=50)
    await look(clock)
    assert "changed limits cannot be put in force: it is built once only" in caplog.text
    assert (await get(app, "/")).status == 429


async def test_a_process_that_starts_without_the_store_follows_later(caplog: pytest.LogCaptureFixture) -> None:
    """It answers by its config, says so, and takes up what operators have ordered once the store is there."""
    clock = FakeClock()

    class Gone(MemoryStore):
        gone = False

        async def decide(self, questions: Sequence[Question]) -> list[Answer]:
            if questions[0].kind == "key_list" and self.gone:
                raise StoreDown("gone")
            return await super().decide(questions)

    kept = Gone(clock)
    app, config = process(FixedWindow(limit=1, window=3600), kept, clock)
    await Limits(config, kept, clock=clock).override("read", {"limit": 2}, lasts=1000)
    kept.gone = True
    assert [(await get(app, "/")).status for _ in range(2)] == [200, 429]
    assert "operators' orders are not known yet: gone" in caplog.text
    kept.gone = False
    await look(clock)
    assert [(await get(app, "/")).status for _ in range(2)] == [200, 429]


@pytest.mark.parametrize("server", SERVERS)
async def test_processes_on_a_real_server_follow_within_a_second(server: str, request: pytest.FixtureRequest) -> None:
    """By their own clocks, on one primary and on a cluster."""
    url: str = request.getfixturevalue(server).url
    configs = [
        JobConfig(default=EndpointPolicy(rate_limit=FixedWindow(limit=2, window=60)), store=url, limit_overrides=True)
        for _ in range(2)
    ]
    apps = [starlette(config, Route("/", text, name="read")) for config in configs]
    for app in apps:
        assert (await get(app, "/")).headers["ratelimit-policy"] == '"fixed_window";q=2;w=60'
    operators = store_at(url, SystemClock())
    await operators.open()
    await Limits(configs[0], operators).override("read", {"limit": 7}, lasts=60)
    await eventually(lambda: all(config.overridden.overrides for config in configs), 1)
    for app in apps:
        assert (await get(app, "/")).headers["ratelimit-policy"] == '"fixed_window";q=7;w=60'
    await operators.close()
