"""FastAPI apps: included routers at any depth, frontends, and what FastAPI does otherwise than Starlette."""

import os
import subprocess
import sys
from pathlib import Path

import fastapi.routing
import pytest
from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from starlette.routing import Host, Match, Mount, Route, WebSocketRoute

from forecourt.routing import RouteTable
from forecourt.types import Scope
from tests.asgi import http
from tests.routing.apps import AnyCase
from tests.routing.tables import endpoints, get_record, listen, name, opaque, put_record, resolve, websocket_name

needs_frontends = pytest.mark.skipif(not hasattr(APIRouter, "frontend"), reason="FastAPI before 0.138 has none")
needs_included = pytest.mark.skipif(
    not hasattr(fastapi.routing, "_IncludedRouter"), reason="FastAPI before 0.137 copies included routes"
)


def bare() -> FastAPI:
    """Return an app without documentation routes."""
    return FastAPI(openapi_url=None)


def records() -> APIRouter:
    """Return a router with a route of each kind."""
    router = APIRouter(prefix="/records")
    router.add_api_route("/{record_id:int}", get_record)
    router.add_api_route("", put_record, methods=["PUT"])
    router.add_api_websocket_route("/listen", listen)
    return router


def test_included_routers_are_unfolded_at_any_depth() -> None:
    """Prefixes add up; names are those of the routes."""
    middle = APIRouter(prefix="/{tenant}")
    middle.include_router(records(), prefix="/v2")
    app = bare()
    app.include_router(middle, prefix="/api")
    found = endpoints(app)
    assert {each: endpoint.path for each, endpoint in found.items()} == {
        "get_record": "/api/{tenant}/v2/records/{record_id}",
        "put_record": "/api/{tenant}/v2/records",
        "listen": "/api/{tenant}/v2/records/listen",
    }
    assert found["get_record"].methods == frozenset({"GET"})
    assert found["get_record"].handler is get_record
    assert resolve(app, "/api/acme/v2/records/7").params == {"tenant": "acme", "record_id": 7}
    assert name(app, "/api/acme/v2/records", "PUT") == "put_record"
    assert websocket_name(app, "/api/acme/v2/records/listen") == "listen"


def test_a_handler_included_twice_is_two_endpoints_of_one_name_and_handler() -> None:
    """While two handlers of one name are told apart by their handlers."""
    app = bare()
    app.include_router(records(), prefix="/v1")
    app.include_router(records(), prefix="/v2")
    app.add_api_route("/other", put_record, name="get_record")
    found = [endpoint for endpoint in RouteTable.compile(app).endpoints if endpoint.name == "get_record"]
    assert [endpoint.handler for endpoint in found] == [get_record, get_record, put_record]
    assert [endpoint.path for endpoint in found[:2]] == ["/v1/records/{record_id}", "/v2/records/{record_id}"]


def test_head_is_refused_where_fastapi_refuses_it() -> None:
    """FastAPI answers HEAD on a GET route with 405, on a plain Starlette route with the GET."""
    app = bare()
    app.add_api_route("/api", get_record)
    app.add_route("/plain", get_record)
    assert name(app, "/api", "HEAD") is None
    assert name(app, "/plain", "HEAD") == "get_record"


def test_documentation_routes_are_endpoints() -> None:
    """The framework's own routes are listed under their names."""
    assert {"openapi", "swagger_ui_html", "redoc_html"} <= endpoints(FastAPI()).keys()


def test_the_order_of_included_and_direct_routes_is_the_apps() -> None:
    """The first in order wins, whichever way it came in."""
    app, router = bare(), APIRouter()
    router.add_api_route("/x/{id}", get_record)
    app.add_api_route("/x/first", put_record, name="first")
    app.include_router(router)
    app.add_api_route("/x/last", put_record, name="last")
    assert name(app, "/x/first") == "first"
    assert name(app, "/x/last") == "get_record"


@needs_included
def test_starlette_routes_mounts_and_hosts_of_an_included_router_get_its_prefix() -> None:
    """Also a host, whose paths begin with the prefix, and a class whose `matches` FastAPI leaves out."""
    router = APIRouter()
    router.routes += [
        Route("/plain", get_record, name="plain"),
        AnyCase("/any_case", get_record, name="any_case"),
        WebSocketRoute("/socket", listen, name="socket"),
        Mount("/m/{m}", routes=[Route("/x", get_record)], name="m"),
        Mount("/raw", opaque),
        Host("a.test", APIRouter(routes=[Route("/x", put_record)]), name="a"),
    ]
    app = bare()
    app.include_router(router, prefix="/p")
    assert {each: endpoint.path for each, endpoint in endpoints(app).items()} == {
        "plain": "/p/plain",
        "any_case": "/p/any_case",
        "socket": "/p/socket",
        "m:get_record": "/p/m/{m}/x",
        "/p/raw": "/p/raw/{path}",
        "a:put_record": "/p/x",
    }
    assert name(app, "/p/any_case") == "any_case"
    assert name(app, "/p/ANY_CASE") is None
    assert resolve(app, "/p/m/7/x").params == {"m": "7"}
    assert name(app, "/p/x", headers=[(b"host", b"a.test")]) == "a:put_record"
    assert websocket_name(app, "/p/socket") == "socket"


class Beta(APIRoute):
    """A route that overrides `matches`: it is there for callers that ask for it."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match requests with the field."""
        if (b"x-beta", b"1") not in scope["headers"]:
            return Match.NONE, {}
        return super().matches(scope)


def test_api_routes_that_override_matches_are_asked_with_their_prefix() -> None:
    """Direct and included, as FastAPI asks them."""
    router = APIRouter(route_class=Beta)
    router.add_api_route("/{id:int}", get_record)
    app = bare()
    app.include_router(router, prefix="/{tenant}")
    app.router.route_class = Beta
    app.add_api_route("/direct", put_record)
    headers = [(b"x-beta", b"1")]
    assert resolve(app, "/acme/7", headers=headers).params == {"tenant": "acme", "id": 7}
    assert name(app, "/acme/7", headers=headers) == "get_record"
    assert name(app, "/acme/7", "POST", headers=headers) is None
    assert name(app, "/acme/7") is None
    assert name(app, "/direct", headers=headers) == "put_record"


@needs_included
def test_versions_without_iter_route_contexts_are_read_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """FastAPI 0.137.0 and 0.137.1 have included routers, and only the routers' own way to list them."""
    monkeypatch.delattr(fastapi.routing, "iter_route_contexts", raising=False)
    app = bare()
    app.include_router(records(), prefix="/v1")
    assert name(app, "/v1/records/7") == "get_record"


def test_a_root_path_given_in_python_replaces_the_servers() -> None:
    """For the app itself when the middleware stands outside it, and for a mounted app."""
    app, mounted = bare(), bare()
    mounted.add_api_route("/x", get_record)
    app.mount("/m", mounted, name="m")
    assert name(app, "/m/x") == "m:get_record"
    mounted.root_path = "/proxy"
    assert name(app, "/m/x") is None
    app.root_path = "/proxy"
    app.add_api_route("/y", put_record)
    assert name(app, "/proxy/y") == "put_record"
    assert name(app, "/server/y", root_path="/server") is None


@pytest.fixture
def pages(tmp_path: Path) -> Path:
    """A directory with an index page."""
    (tmp_path / "index.html").write_text("page")
    return tmp_path


@needs_frontends
def test_frontends_answer_what_no_route_does(pages: Path) -> None:
    """They are called by their paths, the longest first, and take GET and HEAD of no route's other slash form."""
    router = APIRouter()
    router.frontend("/deep", directory=pages)
    app = bare()
    app.frontend("/", directory=pages)
    app.frontend("/app", directory=pages)
    app.include_router(router, prefix="/app")
    app.include_router(_rooted(pages), prefix="/rooted")
    app.add_api_route("/x", get_record)
    found = endpoints(app)
    assert {each: found[each].path for each in found if each != "get_record"} == {
        "/": "/{path}",
        "/app": "/app/{path}",
        "/app/deep": "/app/deep/{path}",
        "/rooted": "/rooted/{path}",
    }
    asked = ("/x", "/x/", "/y", "/app", "/application", "/app/a", "/app/deep/a", "/rooted/a")
    included = ["/app/deep", "/rooted"] if hasattr(APIRouter, "_frontend_match_is_more_specific") else ["/app", "/"]
    expected = ["get_record", None, "/", "/app", "/", "/app", *included]
    assert [name(app, path) for path in asked] == expected
    assert name(app, "/y", "HEAD") == "/"
    assert name(app, "/y", "POST") is None
    assert name(app, "/x", "POST") is None
    assert websocket_name(app, "/y") is None


@needs_frontends
def test_a_path_that_no_frontend_has_is_no_endpoint(pages: Path) -> None:
    """It has no parameters either, whatever a mount above matched."""
    app = bare()
    app.frontend("/app", directory=pages)
    assert resolve(app, "/y", path_params={"above": 1}) == (None, {})


def _rooted(pages: Path) -> APIRouter:
    """Return a router with a frontend at its own root."""
    router = APIRouter()
    router.frontend("/", directory=pages)
    return router


@needs_frontends
def test_frontends_of_mounted_apps_are_named_below_the_mount(pages: Path) -> None:
    """Before a default app of the router's own, which gets what they leave."""
    app, mounted = bare(), bare()
    mounted.frontend("/site", directory=pages)
    mounted.router.default = opaque
    app.mount("/m", mounted, name="m")
    app.mount("/n", mounted)
    assert name(app, "/m/site/a") == "m:/site"
    assert name(app, "/n/site/a") == "/n/site"
    assert name(app, "/n/site/a", "POST") is None
    assert name(app, "/n/other") == "/n"


@needs_frontends
def test_old_versions_prefer_the_apps_own_frontends(pages: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FastAPI 0.138 takes the first router that has one, however long the path of another's."""
    monkeypatch.delattr(APIRouter, "_frontend_match_is_more_specific", raising=False)
    router = APIRouter()
    router.frontend("/deep", directory=pages)
    app = bare()
    app.include_router(router, prefix="/app")
    app.frontend("/", directory=pages)
    app.frontend("/app", directory=pages)
    assert name(app, "/app/deep/a") == "/app"


def test_fastapi_is_not_imported_for_a_starlette_app() -> None:
    """It is an optional package: a table of a Starlette app does without."""
    code = (
        "import sys; from starlette.applications import Starlette; from starlette.routing import Route;"
        "from forecourt.routing import RouteTable; app = Starlette(routes=[Route('/x', lambda request: None)]);"
        "table = RouteTable.compile(app); assert table.current() and table.endpoints;"
        "assert not any(name.startswith('fastapi') for name in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "COVERAGE_PROCESS_START": ""})


def test_a_request_of_an_app_with_included_routers_leaves_its_scope_alone() -> None:
    """FastAPI keeps notes in the scope while it asks; a table does not."""
    router = APIRouter(route_class=Beta)
    router.add_api_route("/x", get_record)
    app = bare()
    app.include_router(router, prefix="/p")
    scope = http("/p/x", headers=[(b"x-beta", b"1")])
    before = dict(scope)
    assert RouteTable.compile(app).resolve(scope).endpoint is not None
    assert scope == before
