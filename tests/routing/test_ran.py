"""The reverse check: whether the endpoint that was resolved is the one that ran."""

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Host, Mount, Route, Router

from forecourt.routing import Endpoint, RouteTable
from forecourt.types import ASGIApp, Receive, Scope, Send
from tests.asgi import call, get, http
from tests.routing.apps import AnyCase
from tests.routing.tables import get_record, opaque, put_record


class Passing:
    """A middleware that keeps the scope it passed on, and answers some paths itself."""

    def __init__(self, app: ASGIApp, *, scopes: list[Scope], answers: str = "") -> None:
        self.app = app
        self.scopes = scopes
        self.answers = answers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on or answer."""
        self.scopes.append(scope)
        await (opaque if self.answers == scope["path"] else self.app)(scope, receive, send)


def found(table: RouteTable, path: str) -> Endpoint:
    """Return the endpoint of a path."""
    endpoint = table.resolve(http(path)).endpoint
    assert endpoint is not None
    return endpoint


async def passed(app: ASGIApp, path: str) -> Scope:
    """Run a request and return the scope it left behind."""
    scopes: list[Scope] = []
    await get(Passing(app, scopes=scopes), path)
    return scopes[0]


async def test_the_resolved_endpoint_ran_and_no_other_did() -> None:
    """By the handler that the router names."""
    app = Starlette(routes=[Route("/x", get_record), Route("/y", put_record)])
    table = RouteTable.compile(app)
    scope = await passed(app, "/x")
    assert table.ran(found(table, "/x"), scope)
    assert not table.ran(found(table, "/y"), scope)


async def test_a_router_that_names_nothing_is_believed() -> None:
    """A middleware below may have answered, or the app names no endpoints."""
    app = Starlette(routes=[Route("/x", get_record)])
    table = RouteTable.compile(app)
    assert table.ran(found(table, "/x"), http("/x"))
    bare = RouteTable.compile(opaque, {"x": "/x"})
    assert bare.ran(found(bare, "/x"), {**http("/x"), "endpoint": get_record})


async def test_a_mount_on_the_way_may_answer_itself() -> None:
    """The middleware of a mounted app may refuse before its router runs; another mount may not."""
    inner = Starlette(routes=[Route("/x", get_record)], middleware=[Middleware(Passing, scopes=[], answers="/m/x")])
    app = Router([Mount("/m", inner), Mount("/n", routes=[Route("/x", put_record)]), Host("h", inner)])
    table = RouteTable.compile(app)
    scope = await passed(app, "/m/x")
    assert scope["endpoint"] is inner
    assert table.ran(found(table, "/m/x"), scope)
    assert not table.ran(found(table, "/n/x"), scope)


async def test_the_mount_around_the_stack_may_be_what_the_scope_names() -> None:
    """A stack in a mounted app sees the endpoint that the outer router named before."""
    seen: list[Scope] = []
    inner = Starlette(routes=[Route("/x", get_record)], middleware=[Middleware(Passing, scopes=seen, answers="/m/x")])
    await get(Starlette(routes=[Mount("/m", inner)]), "/m/x")
    (scope,) = seen
    assert scope["endpoint"] is inner
    table = RouteTable.compile(inner.router, scope=scope)
    endpoint = table.resolve(scope).endpoint
    assert endpoint is not None
    assert table.ran(endpoint, scope)
    assert not RouteTable.compile(inner.router).ran(endpoint, {**scope, "endpoint": put_record})


async def test_an_opaque_app_may_name_what_it_likes_but_no_other_endpoint() -> None:
    """Its own mount, a handler nobody knows, one of its own that is an endpoint elsewhere too."""
    hidden = Starlette(routes=[Route("/x", get_record), Route("/z", opaque_handler)])
    app = Router(
        [
            Mount("/{v}/m", CORSMiddleware(hidden), name="m"),
            Mount("/o", opaque, name="o"),
            Route("/x", get_record),
            Route("/y", put_record),
        ]
    )
    table = RouteTable.compile(app)
    m, o = found(table, "/1/m/x"), found(table, "/o/x")
    assert table.ran(m, await passed(app, "/1/m/z"))
    assert table.ran(m, await passed(app, "/1/m/x"))
    assert table.ran(o, await passed(app, "/o/x"))
    assert not table.ran(o, await passed(app, "/1/m/nothing"))
    assert not table.ran(m, await passed(app, "/o/x"))
    assert not table.ran(m, await passed(app, "/x"))
    assert not table.ran(o, await passed(app, "/y"))
    assert not table.ran(o, {**await passed(app, "/y"), "root_path": "/other"})
    assert not table.ran(m, {**await passed(app, "/y"), "root_path": "/root", "app_root_path": "/root"})


async def opaque_handler(request: object) -> ASGIApp:
    """Answer a request that only a hidden app knows."""
    return opaque


async def test_a_root_path_does_not_hide_an_opaque_mount() -> None:
    """The mount's part of the path comes after the server's."""
    hidden = CORSMiddleware(Starlette(routes=[Route("/x", get_record)]))
    app = Router([Mount("/m", hidden), Route("/x", get_record)])
    table = RouteTable.compile(app)
    scopes: list[Scope] = []
    scope = {**http("/root/m/x"), "root_path": "/root"}
    endpoint = table.resolve(scope).endpoint
    assert endpoint is not None
    await call(Passing(app, scopes=scopes), scope)
    assert scopes[0]["endpoint"] is get_record
    assert table.ran(endpoint, scopes[0])


async def test_a_default_app_is_not_another_endpoint() -> None:
    """What stands at the root has no mount to tell it by."""
    app = Router([Route("/x", get_record)], default=opaque)
    table = RouteTable.compile(app)
    default = found(table, "/y")
    assert table.ran(default, await passed(app, "/y"))
    assert not table.ran(default, await passed(app, "/x"))


async def test_a_route_that_is_asked_is_held_to_its_handler_where_known() -> None:
    """Its handler, or something no endpoint has."""
    app = Router([AnyCase("/x", get_record), Route("/y", put_record)])
    table = RouteTable.compile(app)
    asked = found(table, "/x")
    assert table.ran(asked, await passed(app, "/X"))
    assert table.ran(asked, {**http("/x"), "endpoint": object()})
    assert not table.ran(asked, await passed(app, "/y"))


async def test_an_endpoint_of_an_older_table_is_known_by_its_handler() -> None:
    """A request that began before routes changed may ask the newer table."""
    app = Starlette(routes=[Route("/x", get_record), Route("/y", put_record)])
    older, newer = RouteTable.compile(app), RouteTable.compile(app)
    assert newer.ran(found(older, "/x"), await passed(app, "/x"))
    assert not newer.ran(found(older, "/x"), await passed(app, "/y"))
