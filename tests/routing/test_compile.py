"""Which router a table is of: the one that runs below the middleware that asks."""

from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Mount, Route, Router

from forecourt.routing import RouteTable
from forecourt.types import ASGIApp, Receive, Scope, Send
from tests.asgi import get, http
from tests.routing.tables import get_record, opaque, put_record


class Asking:
    """A middleware that compiles a table from where it stands, and adds the endpoint's name to NAMES."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Resolve, and pass on."""
        endpoint = RouteTable.compile(self.app, scope=scope).resolve(scope).endpoint
        NAMES.append(None if endpoint is None else endpoint.name)
        await self.app(scope, receive, send)


NAMES: list[str | None] = []


def hiding(app: ASGIApp) -> ASGIApp:
    """Return a middleware that does not show the app it wraps."""

    async def middleware(scope: Scope, receive: Receive, send: Send) -> None:
        await app(scope, receive, send)

    return middleware


async def test_a_middleware_of_the_app_finds_its_router() -> None:
    """Through other middlewares, and through the scope where one of them hides what it wraps."""
    NAMES.clear()
    for below in ([], [Middleware(Asking)], [Middleware(hiding)]):
        app = Starlette(routes=[Route("/x", get_record)], middleware=[Middleware(Asking), *below])
        await get(app, "/x")
    assert NAMES == ["get_record"] * 4


async def test_a_middleware_around_an_app_finds_its_router() -> None:
    """Around the whole app and around a mounted one, whatever app the scope names."""
    NAMES.clear()
    inner = FastAPI(openapi_url=None)
    inner.add_api_route("/x", put_record, name="inner")
    outer = Starlette(routes=[Route("/x", get_record), Mount("/m", Asking(inner))])
    await get(Asking(outer), "/x")
    await get(outer, "/m/x")
    assert NAMES == ["get_record", "inner"]


async def test_a_middleware_of_a_mounted_app_finds_that_apps_router() -> None:
    """Names are then those inside the mounted app."""
    NAMES.clear()
    inner = Starlette(routes=[Route("/x", put_record)], middleware=[Middleware(Asking)])
    outer = Starlette(routes=[Mount("/m", inner, name="m"), Route("/x", get_record)])
    await get(outer, "/m/x")
    assert NAMES == ["put_record"]


class Elsewhere:
    """An app of another framework, with a router and routes that are not Starlette's."""

    router = object()
    routes = ("/x",)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""


def test_an_app_without_a_router_has_no_endpoints() -> None:
    """Nor has one with another framework's router, nor a chain of apps that ends in itself."""
    circle = Asking(opaque)
    circle.app = circle
    for app in (opaque, circle, Elsewhere()):
        table = RouteTable.compile(app)
        assert table.endpoints == ()
        assert table.resolve(http("/x")).endpoint is None


def test_a_scope_without_an_app_is_no_hindrance() -> None:
    """A server's own scope names none."""
    table = RouteTable.compile(opaque, scope=http("/x"))
    assert table.endpoints == ()
    assert RouteTable.compile(hiding(Router()), scope={**http("/x"), "app": opaque}).endpoints == ()
