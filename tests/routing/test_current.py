"""A table knows when the routes it was compiled from have changed."""

from pathlib import Path

import pytest
from fastapi import APIRouter, FastAPI
from starlette.applications import Starlette
from starlette.routing import Mount, Route, Router

from forecourt.routing import RouteTable
from tests.asgi import http
from tests.routing.tables import get_record, opaque, put_record


def test_a_table_of_unchanged_routes_is_current() -> None:
    """Also of an app without routes, and of one that shows none."""
    for app in (Starlette(routes=[Route("/x", get_record)]), Router(), FastAPI(), opaque):
        assert RouteTable.compile(app).current()


def test_routes_added_and_removed_are_noticed() -> None:
    """And the new table has them."""
    app = Starlette()
    table = RouteTable.compile(app)
    app.add_route("/x", get_record)
    assert not table.current()
    table = RouteTable.compile(app)
    assert table.resolve(http("/x")).endpoint is not None
    app.routes.pop()
    assert not table.current()


def test_a_replaced_list_and_a_replaced_last_route_are_noticed() -> None:
    """Neither needs another length."""
    app = Starlette(routes=[Route("/x", get_record)])
    table = RouteTable.compile(app)
    app.router.routes = [Route("/x", put_record)]
    assert not table.current()
    table = RouteTable.compile(app)
    app.routes[-1] = Route("/x", get_record)
    assert not table.current()


def test_changes_in_mounted_routers_are_noticed() -> None:
    """At any depth."""
    inner = Router()
    table = RouteTable.compile(Router([Mount("/a", routes=[Mount("/b", inner)])]))
    assert table.current()
    inner.routes.append(Route("/x", get_record))
    assert not table.current()


needs_included = pytest.mark.skipif(
    not hasattr(APIRouter, "_mark_routes_changed"), reason="FastAPI before 0.137 itself notices no change"
)


@needs_included
def test_changes_in_included_routers_are_noticed() -> None:
    """At any depth, and in a router included twice."""
    app, outer, inner = FastAPI(), APIRouter(), APIRouter()
    outer.include_router(inner, prefix="/a")
    outer.include_router(inner, prefix="/b")
    app.include_router(outer, prefix="/o")
    table = RouteTable.compile(app)
    assert table.current()
    inner.add_api_route("/x", get_record)
    assert not table.current()
    table = RouteTable.compile(app)
    assert table.resolve(http("/o/b/x")).endpoint is not None
    assert table.current()


@pytest.mark.skipif(not hasattr(APIRouter, "frontend"), reason="FastAPI before 0.138 has no frontends")
def test_new_frontends_are_noticed(tmp_path: Path) -> None:
    """Of the app and of an included router."""
    (tmp_path / "index.html").write_text("page")
    app, router = FastAPI(), APIRouter()
    app.include_router(router, prefix="/r")
    for each in (app, router):
        table = RouteTable.compile(app)
        each.frontend("/f", directory=tmp_path)
        assert not table.current()
