"""What is there before a page's Python begins, and what must be true once it has run.

Each is a context manager by the page's name: it puts names into the page's namespace, and looks afterwards at what the
page made. Most pages need none: what they show is whole.
"""

import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from pydantic import BaseModel
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import create_async_engine

from forecourt import (
    Accounts,
    Cache,
    Credits,
    Database,
    EndpointPolicy,
    FixedWindow,
    JobConfig,
    Limits,
    Maintenance,
    PolicyMiddleware,
    Quota,
    Security,
)
from forecourt.exchange import exchange_of
from forecourt.stores.memory import MemoryStore
from forecourt.testing import FakeClock, FakeIssuer, UnderTest

Names = dict[str, Any]
"""A page's namespace."""

Surroundings = Callable[[Names], AbstractAsyncContextManager[None]]

SECRET = "a secret of thirty-two bytes or more"
HOURLY = FixedWindow(limit=100, window=3600, key="client", name="hourly")


def service(**words: Any) -> tuple[FastAPI, JobConfig]:
    """Build an app with one endpoint, `create_record`, under a config of these words."""
    app = FastAPI()
    config = JobConfig(**{"default": EndpointPolicy(), **words})
    app.add_middleware(PolicyMiddleware, config=config)

    @app.post("/records")
    async def create_record() -> None: ...

    return app, config


@asynccontextmanager
async def an_app(names: Names) -> AsyncIterator[None]:
    """An app under a config, which starts with what the page adds."""
    app, config = service()
    names.update(app=app, config=config)
    yield
    async with UnderTest(app, config):
        pass


@asynccontextmanager
async def a_console(names: Names) -> AsyncIterator[None]:
    """An app that starts with its console, which asks for a role."""
    issuer = FakeIssuer()
    console = EndpointPolicy(security=Security(roles={"operator"}))
    app, config = service(
        issuers=[issuer.policy],
        endpoints={"console:*": console, "console:page": EndpointPolicy(security=Security(public=True))},
    )
    names.update(app=app, config=config)
    yield
    async with UnderTest(app, config) as tested:
        assert (await tested.get("/console/")).status == 200


@asynccontextmanager
async def health(names: Names) -> AsyncIterator[None]:
    """An app, and a client of a mail server that is there; its check is asked."""

    class Mail:
        asked = 0

        async def noop(self) -> None:
            self.asked += 1

    app, config = service()
    names.update(app=app, config=config, smtp=Mail())
    yield
    async with UnderTest(app, config) as tested:
        assert (await tested.get("/health/ready")).status == 200
    assert names["smtp"].asked == 1


@asynccontextmanager
async def two_configs(names: Names) -> AsyncIterator[None]:
    """An app without a stack, and a policy file; the last `watch` that the page says is for all."""
    Path("policies.toml").write_text("[default]\n", "utf-8")
    names["app"] = FastAPI()
    yield
    assert [middleware.kwargs["watch"] for middleware in names["app"].user_middleware] == ["store", "file"]


@asynccontextmanager
async def an_exchange(names: Names) -> AsyncIterator[None]:
    """An exchange under way, and a limit; what the page says was decided is heard."""
    heard: list[tuple[str, str]] = []
    app, config = service(on_decision=lambda _, decision: heard.append((decision.layer, decision.outcome)))

    @app.get("/exchange")
    async def look(request: Request) -> None:
        names["exchange"] = exchange_of(request.scope)

    async with UnderTest(app, config) as tested:
        await tested.get("/exchange")
        names["limit"] = HOURLY
        yield
    assert ("rate_limit", "refused") in heard
    assert ("retry", "attempt") in heard


@asynccontextmanager
async def records(names: Names) -> AsyncIterator[None]:
    """Nothing before; then the page's app reads and writes its table in a file."""
    yield
    app, database = names["app"], "sqlite+aiosqlite:///shop.sqlite3"
    config = JobConfig(default=EndpointPolicy(), databases={"main": Database(url=database)})
    app.add_middleware(PolicyMiddleware, config=config)
    engine = create_async_engine(database)
    async with engine.begin() as connection:
        await connection.run_sync(names["Table"].metadata.create_all)
        await connection.execute(insert(names["Record"]).values(id=1, title="one"))
    await engine.dispose()
    async with UnderTest(app, config) as tested:
        assert (await tested.call("PUT", "/records/1?title=two")).status == 200
        assert (await tested.get("/titles")).json() == ["two"]


@asynccontextmanager
async def locked_out(names: Names) -> AsyncIterator[None]:
    """Nothing before; then the page's strategy limits."""
    yield
    limit = names["Lockout"](limit=5, window=60, lockout=900, key="client")
    app, config = FastAPI(), JobConfig(default=EndpointPolicy(rate_limit=limit))
    app.add_middleware(PolicyMiddleware, config=config)
    app.add_api_route("/login", lambda: None, name="login")
    async with UnderTest(app, config) as tested:
        answers = [await tested.get("/login") for _ in range(6)]
    assert [answer.status for answer in answers] == [200] * 5 + [429]
    assert answers[-1].headers["retry-after"] == "900"


@asynccontextmanager
async def a_directory(names: Names) -> AsyncIterator[None]:
    """Nothing before; then the page's authenticator knows badge 7, refuses another, and leaves who has none."""
    yield
    directory = names["Directory"]()
    assert await directory.authenticate({"headers": []}) is None
    assert (await directory.authenticate({"headers": [(b"x-badge", b"7")]})).subject == "alice"
    try:
        await directory.authenticate({"headers": [(b"x-badge", b"8")]})
    except names["Denied"]:
        return
    raise AssertionError("badge 8 was let in")


@asynccontextmanager
async def maintenance(names: Names) -> AsyncIterator[None]:
    """A service at work that can be switched."""
    app, config = service(default=EndpointPolicy(maintenance=Maintenance()))
    app.add_api_route("/reports", service, name="reports.list", response_model=None)
    names["config"] = config
    async with UnderTest(app, config):
        yield


@asynccontextmanager
async def loggers(_names: Names) -> AsyncIterator[None]:
    """The root logger, which the page changes, is put back."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    assert root.handlers != handlers
    root.handlers[:] = handlers
    root.setLevel(level)


@asynccontextmanager
async def reports(names: Names) -> AsyncIterator[None]:
    """An app, and the models of a handler; the handler tells how far it is."""

    class Order(BaseModel):
        pages: int = 1

    class Report(BaseModel):
        pages: int = 1

    app = FastAPI()
    names.update(app=app, Order=Order, Report=Report)
    yield
    assert await called(names["make_report"], EndpointPolicy()) == 200


@asynccontextmanager
async def charges(names: Names) -> AsyncIterator[None]:
    """Nothing before; then the page's handler charges what it says."""
    yield
    priced, account = EndpointPolicy(credits=Credits(amount=1)), Accounts(quota=Quota(amount=100))
    assert await called(names["complete"], priced, accounts=account) == 200


async def called(handler: Callable[..., Any], policy: EndpointPolicy, **words: Any) -> int:
    """Call a handler, whose last argument is the request, under a policy; return the status of the answer."""
    app = FastAPI()
    config = JobConfig(default=policy, **words)
    app.add_middleware(PolicyMiddleware, config=config)

    @app.get("/")
    async def call(request: Request) -> None:
        await handler(*[None] * (handler.__code__.co_argcount - 1), request)

    async with UnderTest(app, config) as tested:
        return (await tested.get("/")).status


@asynccontextmanager
async def limits(names: Names) -> AsyncIterator[None]:
    """A service at work whose limits may be changed; the page's function looks into its store."""
    app, config = service(default=EndpointPolicy(rate_limit=HOURLY), limit_overrides=True)
    store = MemoryStore(FakeClock())
    async with UnderTest(app, config, store=store):
        names["limits"] = Limits(config, store)
        yield
        looked = JobConfig(
            default=EndpointPolicy(),
            endpoints={"create_record": EndpointPolicy(rate_limit=FixedWindow(limit=100, window=3600, name="hourly"))},
        )
        await names["look"](looked, store)


@asynccontextmanager
async def kept(names: Names) -> AsyncIterator[None]:
    """A service at work that keeps answers; the page's price is fetched once."""
    fetched: list[int] = []

    async def fetch_price() -> int:
        fetched.append(7)
        return 7

    app, config = service(default=EndpointPolicy(cache=Cache(ttl=60)))
    names.update(config=config, fetch_price=fetch_price)
    async with UnderTest(app, config):
        yield
    assert (names["price"], fetched) == (7, [7])


SURROUNDINGS: Mapping[str, Surroundings] = {
    "docs/console.md": a_console,
    "docs/db.md": records,
    "docs/design.md": an_exchange,
    "docs/extending.md": locked_out,
    "docs/health.md": health,
    "docs/live-config.md": two_configs,
    "docs/layers/auth.md": a_directory,
    "docs/layers/cache.md": kept,
    "docs/layers/credits.md": charges,
    "docs/layers/logging.md": loggers,
    "docs/layers/maintenance.md": maintenance,
    "docs/layers/metrics.md": an_app,
    "docs/layers/offload.md": reports,
    "docs/layers/rate-limit.md": limits,
}
