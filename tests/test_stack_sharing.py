"""Stacks that meet in one process: of one config, of several, inside each other, one after the other."""

import asyncio
import gc
import logging
import weakref
from collections.abc import Sequence

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from forecourt import (
    Concurrency,
    ConcurrencyMiddleware,
    ConfigError,
    CreditsMiddleware,
    EndpointPolicy,
    FixedWindow,
    FloodGuard,
    JobConfig,
    PolicyMiddleware,
    RateLimitMiddleware,
    StoreDown,
)
from forecourt.exchange import STATE, Exchange
from forecourt.responses import Problem
from forecourt.stores.contract import Settlement
from forecourt.stores.memory import MemoryStore
from forecourt.testing import FakeClock
from forecourt.types import ASGIApp, Receive, Scope, Send
from tests.asgi import call, get, http
from tests.callers import settle_down
from tests.services import TWO_A_MINUTE, starlette, text


class Noting(MemoryStore):
    """Notes when it is opened, closed and told something; opening and telling wait until they may go on."""

    def __init__(self) -> None:
        super().__init__()
        self.noted: list[str] = []
        self.go_on = asyncio.Event()
        self.error: Exception | None = None

    async def open(self) -> None:
        """Open, when it may."""
        self.noted.append("open")
        await self.go_on.wait()

    async def close(self) -> None:
        """Close."""
        self.noted.append("close")

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        """Take note, when it may; or fail."""
        await self.go_on.wait()
        if self.error:
            raise self.error
        await super().settle(settlements)
        self.noted.append("settled")


class Seeing:
    """A middleware that keeps the exchange that the scope's state names, before and after what is inside of it."""

    def __init__(self, app: ASGIApp, *, seen: list[object]) -> None:
        self.app = app
        self.seen = seen

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Look, pass on, look again."""
        self.seen.append(scope["state"][STATE])
        await self.app(scope, receive, send)
        self.seen.append(scope["state"][STATE])


def nested(outer: JobConfig, inner: JobConfig, seen: list[object]) -> Starlette:
    """Build an app under two stacks, with an eye between them, and one inside of both."""
    return Starlette(
        routes=[Route("/", text, name="t")],
        middleware=[
            Middleware(PolicyMiddleware, config=outer, layers=["errors", "flood_guard"] if outer is inner else None),
            Middleware(Seeing, seen=seen),
            Middleware(PolicyMiddleware, config=inner, layers=["rate_limit"]),
            Middleware(Seeing, seen=seen),
        ],
    )


async def test_stacks_of_one_config_are_one_exchange() -> None:
    """The inner one goes on with what the outer one began."""
    config = JobConfig(default=TWO_A_MINUTE, flood_guard=FloodGuard(limit=9, window=60))
    seen: list[object] = []
    assert (await get(nested(config, config, seen), "/")).status == 200
    assert len(seen) == 4
    assert len({id(exchange) for exchange in seen}) == 1


async def test_another_configs_exchange_comes_and_goes() -> None:
    """Inside it is the inner config's, and after it the outer's again: each limits for itself."""
    seen: list[object] = []
    mine, other = JobConfig(default=TWO_A_MINUTE), JobConfig(default=TWO_A_MINUTE)
    app = nested(mine, other, seen)
    assert [(await get(app, "/")).status for _ in range(3)] == [200, 200, 429]
    outer, inner, after_inner, after = seen[:4]
    assert (inner, after) == (after_inner, outer)
    assert isinstance(outer, Exchange)
    assert isinstance(inner, Exchange)
    assert (outer.runtime.config, inner.runtime.config) == (mine, other)


async def test_an_exchange_that_ended_is_not_gone_on_with() -> None:
    """A scope that was kept and sent again is a call of its own, and counts as one."""
    kept: list[Scope] = []

    async def keeps(request: Request) -> Response:
        kept.append(dict(request.scope))
        return PlainTextResponse("done")

    app = starlette(JobConfig(default=TWO_A_MINUTE), Route("/", keeps, name="keeps"))
    statuses = [(await get(app, "/")).status]
    for _ in range(2):
        again = {name: value for name, value in kept[0].items() if name not in ("endpoint", "router", "path_params")}
        statuses.append((await call(app, again)).status)
    assert statuses == [200, 200, 429]


async def test_first_requests_at_once_open_once() -> None:
    """Without a lifespan whoever comes first opens, and whoever comes meanwhile waits for it."""
    store = Noting()
    app = starlette(JobConfig(default=EndpointPolicy()), Route("/", text, name="t"), store=store)
    calls = [asyncio.ensure_future(get(app, "/")) for _ in range(5)]
    await settle_down()
    assert not any(each.done() for each in calls)
    store.go_on.set()
    assert [(await each).status for each in calls] == [200] * 5
    assert store.noted == ["open"]


def test_a_mounted_and_an_outer_stack_of_one_config_close_together() -> None:
    """What a mounted app's stack opened on its first request is closed with the lifespan of the other."""
    store = Noting()
    store.go_on.set()
    config = JobConfig(default=EndpointPolicy())
    installed = [
        Middleware(PolicyMiddleware, config=config, store=store, layers=[name]) for name in ("errors", "credits")
    ]
    inner = Starlette(routes=[Route("/", text, name="inner")], middleware=installed[1:])
    outer = Starlette(routes=[Mount("/in", inner, name="in")], middleware=installed[:1])
    with TestClient(outer) as client:
        assert client.get("/in/").status_code == 200
    assert store.noted == ["open", "close"]


def test_two_stacks_of_one_config_in_one_lifespan_close_once() -> None:
    """The store is closed by the last of them."""
    store = Noting()
    store.go_on.set()
    config = JobConfig(default=TWO_A_MINUTE)
    stacks = [
        Middleware(PolicyMiddleware, config=config, store=store, layers=layers)
        for layers in (["errors"], ["rate_limit"])
    ]
    with TestClient(Starlette(routes=[Route("/", text, name="t")], middleware=stacks)) as client:
        assert client.get("/").status_code == 200
    assert store.noted == ["open", "close"]


async def test_closing_waits_for_what_is_being_told() -> None:
    """A lease that is being given back when the server stops is given back before the store is closed."""
    store = Noting()
    store.go_on.set()
    policy = EndpointPolicy(concurrency=Concurrency(limit=1))
    app = PolicyMiddleware(Starlette(routes=[Route("/", text, name="t")]), JobConfig(default=policy), store=store)
    await get(app, "/")
    await settle_down()
    assert store.noted == ["open", "settled"]
    store.go_on.clear()
    await get(app, "/")
    stopping = asyncio.ensure_future(app._runtime.stop())
    await settle_down()
    assert not stopping.done()
    store.go_on.set()
    await stopping
    assert store.noted[2:] == ["settled", "close"]


@pytest.mark.parametrize(("error", "level"), [(StoreDown("gone"), logging.WARNING), (KeyError("bug"), logging.ERROR)])
async def test_what_could_not_be_told_is_one_line(
    error: Exception, level: int, caplog: pytest.LogCaptureFixture
) -> None:
    """The caller has its answer; the log says that the lease ends by itself, and where it is a fault, why."""
    store = Noting()
    store.go_on.set()
    store.error = error
    policy = EndpointPolicy(concurrency=Concurrency(limit=1))
    app = starlette(JobConfig(default=policy), Route("/", text, name="t"), store=store)
    assert (await get(app, "/")).status == 200
    await settle_down()
    (record,) = [record for record in caplog.records if "settlements lost" in record.getMessage()]
    assert (record.levelno, bool(record.exc_info)) == (level, level == logging.ERROR)
    assert "ends with its lease" in record.getMessage()


def _other(_: Scope, problem: Problem) -> tuple[str, bytes]:
    return "text/plain", problem.title.encode()


@pytest.mark.parametrize("differs", ["store", "clock", "renderer"])
def test_a_second_stack_of_a_config_cannot_have_another(differs: str) -> None:
    """Stacks of one config share store, clock and renderer: another one is refused by name, the same one is welcome."""
    config = JobConfig(default=EndpointPolicy())
    mine: dict[str, object] = {"store": MemoryStore(), "clock": FakeClock(), "renderer": lambda *_: ("a/b", b"")}
    first = installed(config, mine)
    assert installed(config, mine) is not first
    assert PolicyMiddleware(Starlette(), config)._runtime is first._runtime
    another: dict[str, object] = {"store": MemoryStore(), "clock": FakeClock(), "renderer": _other}
    with pytest.raises(ConfigError, match=f"^{differs}: another stack of the same config has another {differs}"):
        installed(config, mine | {differs: another[differs]})


def installed(config: JobConfig, given: dict[str, object]) -> PolicyMiddleware:
    """Install a stack around nothing."""
    return PolicyMiddleware(Starlette(), config, **given)  # type: ignore[arg-type]  # the test's own words


async def test_a_config_goes_with_its_last_stack() -> None:
    """Nothing in the process keeps the store of an app that is gone, nor its config."""
    config = JobConfig(default=TWO_A_MINUTE)
    app = starlette(config, Route("/", text, name="t"))
    await get(app, "/")
    gone = weakref.ref(config)
    del config, app
    for _ in range(3):  # what only weak references led to goes in a later round
        gc.collect()
    assert gone() is None


@pytest.mark.parametrize(
    ("stack", "policy"),
    [
        (RateLimitMiddleware, EndpointPolicy(rate_limit=FixedWindow(limit=1, window=60))),
        (ConcurrencyMiddleware, EndpointPolicy(concurrency=Concurrency(limit=1))),
        (CreditsMiddleware, EndpointPolicy(credits={"amount": 1})),  # type: ignore[arg-type]  # as a file says it
    ],
)
async def test_each_layer_alone_enforces_its_policy(stack: type[RateLimitMiddleware], policy: EndpointPolicy) -> None:
    """A call that is one too many is refused where this one layer is installed, with its status."""
    at_work, go_on = asyncio.Event(), asyncio.Event()

    async def works(_: Request) -> Response:
        at_work.set()
        await go_on.wait()
        return PlainTextResponse("done")

    app = Starlette(
        routes=[Route("/", works, name="works")], middleware=[Middleware(stack, config=JobConfig(default=policy))]
    )
    if policy.credits:
        assert (await get(app, "/")).status == 402
        return
    first = asyncio.ensure_future(get(app, "/"))
    await at_work.wait()
    assert (await get(app, "/")).status == 429
    go_on.set()
    assert (await first).status == 200


def test_one_layer_twice_stops_the_start() -> None:
    """It would count each call twice."""
    config = JobConfig(default=TWO_A_MINUTE)
    app = Starlette(
        routes=[Route("/", text, name="t")], middleware=[Middleware(RateLimitMiddleware, config=config)] * 2
    )
    with pytest.raises(ConfigError, match="'rate_limit' is installed twice with the same config"), TestClient(app):
        pass


async def test_other_configs_layers_are_not_this_ones() -> None:
    """A layer of another config around a stack enforces nothing of this one's."""
    other, mine = JobConfig(default=TWO_A_MINUTE), JobConfig(default=TWO_A_MINUTE)
    app = Starlette(
        routes=[Route("/", text, name="t")],
        middleware=[
            Middleware(RateLimitMiddleware, config=other),
            Middleware(PolicyMiddleware, config=mine, layers=["errors"]),
        ],
    )
    with pytest.raises(ConfigError, match="the stack has no rate_limit layer"), TestClient(app):
        pass


async def test_callers_beyond_those_remembered_are_limited_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """Endless callers do not grow what is remembered of them, and forgetting one frees nobody."""
    monkeypatch.setattr("forecourt.layers.limits._MOST_KNOWN", 3)
    app = starlette(JobConfig(default=TWO_A_MINUTE), Route("/", text, name="t"))
    for _ in range(2):
        assert [(await get(app, "/", client=f"192.0.2.{last}")).status for last in range(9)] == [200] * 9
    assert [(await get(app, "/", client=f"192.0.2.{last}")).status for last in range(9)] == [429] * 9


async def test_the_state_is_what_it_was(caplog: pytest.LogCaptureFixture) -> None:
    """After a call, also one that failed, the scope and its state name no exchange."""

    async def broken(_: Request) -> Response:
        raise ValueError

    app = starlette(JobConfig(default=TWO_A_MINUTE), Route("/", broken, name="broken"))
    scope = {**http("/"), "state": {"mine": 1}}
    with pytest.raises(ValueError):  # noqa: PT011  # the app's own
        await call(app, scope)
    assert scope["state"] == {"mine": 1}
    assert not [name for name in scope if name.startswith("forecourt.exchange")]
    assert caplog.records
