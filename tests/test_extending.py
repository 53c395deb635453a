"""What others add from outside of the package: layers at their place in the stack, a store that keeps the contract."""

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from examples.extending.layers import extra
from examples.extending.store import CountingStore
from forecourt import ConfigError, EndpointPolicy, Extra, FixedWindow, JobConfig, PolicyMiddleware, Site
from forecourt.stores.memory import MemoryStore
from forecourt.testing import FakeClock, UnderTest, decisions
from forecourt.testing.store_contract import StoreContract
from forecourt.types import ASGIApp, Receive, Scope, Send

BURST = EndpointPolicy(rate_limit=FixedWindow(limit=2, window=1))
WHO_RAN = "tests.ran"


@pytest.fixture
def clock() -> FakeClock:
    """A clock that stands still."""
    return FakeClock()


@pytest.fixture
def store(clock: FakeClock) -> CountingStore:
    """A store of someone else."""
    return CountingStore(MemoryStore(clock))


class TestCountingStore(StoreContract):
    """A store around another does what every store does."""


async def text(request: Request) -> Response:
    """Say which layers ran."""
    return PlainTextResponse(" ".join(request.scope.get(WHO_RAN, ())))


def service(config: JobConfig, *own: Extra) -> ASGIApp:
    """Build an app with these layers of its own."""
    app = Starlette(routes=[Route("/capped", text, name="capped"), Route("/free", text, name="free")])
    app.add_middleware(PolicyMiddleware, config=config, extra=own)
    return app


async def test_a_layer_of_ones_own_refuses() -> None:
    """It refuses as those of the package do, and says what it decided; smaller headers pass."""
    config = JobConfig(default=EndpointPolicy())
    app = service(config, *extra(most_header=60, caps={}))
    async with UnderTest(app, config) as tested:
        large = await tested.get("/free", headers={"x-large": "a" * 60})
        assert (large.status, decisions(large)["largest_header"]) == (431, "refused")
        assert large.headers["content-type"] == "application/problem+json"
        assert (await tested.get("/free")).status == 200


async def test_a_layer_of_ones_own_asks_in_the_same_trip(store: CountingStore, clock: FakeClock) -> None:
    """Its question leaves with the other limits' in one trip, and what either refuses counts for neither."""
    config = JobConfig(default=BURST)
    app = service(config, *extra(most_header=1000, caps={"capped": 3}))
    async with UnderTest(app, config, clock=clock, store=store) as tested:
        assert decisions(await tested.get("/capped")) == {"rate_limit": "allowed", "daily_cap": "allowed"}
        assert store.trips == 1
        second, burst = await tested.get("/capped"), await tested.get("/capped")
        assert (second.status, burst.status) == (200, 429)
        assert burst.headers["retry-after"] == "1"
        clock.advance(1)
        third, full = await tested.get("/capped"), await tested.get("/capped")
        assert (third.status, full.status) == (200, 429)
        assert decisions(full)["daily_cap"] == "refused"
        assert full.headers["retry-after"] == "86399"
        assert (await tested.get("/free")).status == 200
        clock.advance(86_400)
        assert (await tested.get("/capped")).status == 200


class Named:
    """A layer that leaves its name, and nothing else."""

    def __init__(self, app: ASGIApp, name: str) -> None:
        self.app = app
        self._name = name

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Leave the name."""
        scope[WHO_RAN] = (*scope.get(WHO_RAN, ()), self._name)
        await self.app(scope, receive, send)


def named(name: str, above: str) -> Extra:
    """Make such a layer for the endpoint `free` alone."""

    def build(app: ASGIApp, site: Site) -> ASGIApp | None:
        return Named(app, name) if site.endpoint and site.endpoint.name == "free" else None

    return Extra(above, build)


async def test_layers_stand_where_they_say() -> None:
    """In the stack's order whatever theirs is, several above one row in their own; where none is needed none runs."""
    own = [named("in", "handler"), named("first", "retry"), named("second", "retry"), named("out", "headers")]
    config = JobConfig(default=EndpointPolicy())
    async with UnderTest(service(config, *own), config) as tested:
        assert (await tested.get("/free")).body == b"out first second in"
        assert (await tested.get("/capped")).body == b""


def test_a_place_that_is_not_there_is_refused() -> None:
    """The nearest row is named."""
    with pytest.raises(ConfigError, match="no row 'rate_limits'; the nearest is 'rate_limit'"):
        PolicyMiddleware(text, JobConfig(default=BURST), extra=[named("x", "rate_limits")])  # type: ignore[arg-type]  # any app
