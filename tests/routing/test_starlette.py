"""Starlette apps: names and templates of endpoints, and each rule of its router."""

import re
from typing import ClassVar

import pytest
from starlette.applications import Starlette
from starlette.convertors import Convertor, register_url_convertor
from starlette.endpoints import HTTPEndpoint
from starlette.routing import BaseRoute, Host, Match, Mount, Route, Router, WebSocketRoute

from forecourt.routing import RouteTable
from forecourt.types import Scope
from tests.asgi import get, http
from tests.routing.apps import AnyCase, Lenient, Reluctant
from tests.routing.tables import (
    endpoints,
    get_record,
    listen,
    name,
    opaque,
    put_record,
    resolve,
    websocket_name,
)


class Records(HTTPEndpoint):
    """An endpoint that is a class."""


def test_an_endpoint_has_its_routes_name_template_methods_and_handler() -> None:
    """A route's endpoint says what the route says, its template without convertors."""
    found = endpoints(Router([Route("/records/{record_id:int}", get_record)]))["get_record"]
    assert found.path == "/records/{record_id}"
    assert found.methods == frozenset({"GET", "HEAD"})
    assert found.protocol == "http"
    assert found.handler is get_record


def test_names_inside_mounts_are_as_url_for_knows_them() -> None:
    """A named mount puts its name before; a nameless one leaves names alone; templates are whole."""
    routes = [Route("/{id}", get_record)]
    inner = [Mount("/b/{b}", routes=routes, name="b"), Mount("/n", routes=routes)]
    found = endpoints(
        Router([Mount("/a", routes=inner, name="a"), Mount("/m", routes=inner), Mount("/e", routes=routes, name="")])
    )
    assert {each: endpoint.path for each, endpoint in found.items()} == {
        "a:b:get_record": "/a/b/{b}/{id}",
        "a:get_record": "/a/n/{id}",
        "b:get_record": "/m/b/{b}/{id}",
        "get_record": "/m/n/{id}",
        ":get_record": "/e/{id}",
    }


def test_an_app_without_visible_routes_is_one_endpoint_named_after_its_mount() -> None:
    """It answers any method and protocol, and is called by its path where the mount has no name."""
    app = Router(
        [
            Mount("/static", opaque, name="files"),
            Mount("/old", opaque),
            Mount("/v1", routes=[Mount("/raw", opaque, name="raw"), Mount("/{x:int}", opaque)], name="v1"),
            Mount("/v2", routes=[Mount("/raw", opaque)]),
            Mount("/v3", opaque, name=""),
            Mount("", opaque),
        ]
    )
    found = endpoints(app)
    assert {each: endpoint.path for each, endpoint in found.items()} == {
        "files": "/static/{path}",
        "/old": "/old/{path}",
        "v1:raw": "/v1/raw/{path}",
        "v1:/{x}": "/v1/{x}/{path}",
        "/v2/raw": "/v2/raw/{path}",
        "/v3": "/v3/{path}",
        "/": "/{path}",
    }
    assert {(each.methods, each.protocol, each.handler) for each in found.values()} == {(None, "any", None)}
    assert name(app, "/static/a/b", "PATCH") == "files"
    assert resolve(app, "/v1/7/a").endpoint is not None
    assert resolve(app, "/v1/7/a").params == {"x": 7}
    assert websocket_name(app, "/old/a") == "/old"


def test_a_mounted_app_is_unfolded() -> None:
    """Routers and Starlette apps show their routes, also below a middleware of the mount's own."""
    routes = [Route("/x", get_record)]
    app = Router([Mount("/a", Router(routes), name="a"), Mount("/b", Starlette(routes=routes), name="b")])
    assert name(app, "/a/x") == "a:get_record"
    assert name(app, "/b/x") == "b:get_record"
    assert name(app, "/a/y") is None


def test_an_app_mounted_below_itself_is_opaque_there() -> None:
    """Unfolding ends where it would begin again."""
    app = Router([Route("/x", get_record)])
    app.mount("/again", app, name="again")
    assert name(app, "/x") == "get_record"
    assert name(app, "/again/x") == "again"


def test_params_are_converted_and_include_those_of_mounts_and_above() -> None:
    """What the handler will find in `path_params` is known before; inner values win."""
    app = Router([Mount("/{tenant:int}/{id}", routes=[Route("/{id:float}/{rest:path}", get_record)])])
    assert resolve(app, "/7/a/1.5/b/c").params == {"tenant": 7, "id": 1.5, "rest": "b/c"}
    assert resolve(app, "/7/a/1.5/b", path_params={"above": 1}).params["above"] == 1
    assert resolve(Router([Route("/x", get_record)]), "/x", path_params={"above": 1}).params == {"above": 1}
    assert resolve(Router([Route("/x", get_record)]), "/x").params == {}


def test_a_convertors_exception_is_the_routers_too() -> None:
    """Nothing is guessed where the router itself will fail."""

    class Refusing(Convertor[int]):
        regex = "[^/]+"

        def convert(self, value: str) -> int:
            raise ValueError(value)

    register_url_convertor("refusing", Refusing())
    with pytest.raises(ValueError, match="x"):
        resolve(Router([Route("/{id:refusing}", get_record)]), "/x")


def test_methods_decide_between_routes_of_one_path() -> None:
    """The first route with path and method wins, else the router answers 405; a class takes any method."""
    app = Router([Route("/x", get_record), Route("/x", put_record, methods=["PUT"]), Route("/y", Records)])
    assert name(app, "/x") == "get_record"
    assert name(app, "/x", "HEAD") == "get_record"
    assert name(app, "/x", "PUT") == "put_record"
    assert name(app, "/x", "DELETE") is None
    assert name(app, "/y", "BREW") == "Records"


def test_the_first_of_overlapping_routes_wins() -> None:
    """Order decides, not which template is narrower."""
    literal, param = Route("/a/b", get_record), Route("/a/{x}", put_record)
    assert name(Router([literal, param]), "/a/b") == "get_record"
    assert name(Router([param, literal]), "/a/b") == "put_record"
    assert name(Router([Mount("/a", opaque, name="m"), literal]), "/a/b") == "m"
    assert name(Router([Mount("/a", routes=[], name="m"), literal]), "/a/b") is None
    deep = Route("/{a}/b/c", get_record, name="deep")
    assert name(Router([Route("/a/b/{c}/d", put_record), deep]), "/a/b/c") == "deep"


def test_what_the_router_answers_itself_is_no_endpoint() -> None:
    """404, 405 and a redirect to the other slash form resolve to none."""
    app = Router([Route("/x", get_record), Route("/y/", get_record)])
    assert [name(app, path) for path in ("/z", "/x/", "/y", "", "*")] == [None] * 5
    assert name(app, "/x", "POST") is None
    assert websocket_name(app, "/x") is None


def test_websocket_routes_answer_websockets_only() -> None:
    """A path may have one endpoint for requests and one for WebSockets."""
    app = Router([WebSocketRoute("/x/{id:int}", listen), Route("/x/{id:int}", get_record)])
    assert websocket_name(app, "/x/7") == "listen"
    assert (endpoints(app)["listen"].protocol, endpoints(app)["listen"].methods) == ("websocket", None)
    assert name(app, "/x/7") == "get_record"


def test_hosts_are_matched_as_starlette_reads_the_host() -> None:
    """By name and by pattern, without the port; names inside a named host begin with it."""
    routes = [Route("/x", get_record)]
    app = Router(
        [
            Host("a.test", Router(routes), name="a"),
            Host("{sub}.b.test", Router(routes), name="b"),
            Host("c.test", opaque, name="c"),
            Host("d.test", opaque),
            Route("/x", put_record),
        ]
    )

    def at(host: bytes) -> str | None:
        return name(app, "/x", headers=[(b"host", host)])

    hosts = (b"a.test", b"a.test:80", b"z.b.test", b"c.test", b"d.test", b"other.test", b"")
    found = [at(host) for host in hosts]
    assert found == ["a:get_record", "a:get_record", "b:get_record", "c", "d.test", "put_record", "put_record"]
    assert resolve(app, "/x", headers=[(b"host", b"z.b.test")]).params == {"sub": "z"}
    assert name(app, "/y", headers=[(b"host", b"a.test")]) is None
    assert name(app, "/x", headers=[]) == "put_record"


def test_a_root_path_is_cut_off_as_starlette_does() -> None:
    """Also where the path does not begin with it."""
    app = Router([Route("/x", get_record), Mount("/m", routes=[Route("/x", put_record)])])
    assert name(app, "/root/x", root_path="/root") == "get_record"
    assert name(app, "/x", root_path="/root") == "get_record"
    assert name(app, "/root/m/x", root_path="/root") == "put_record"
    assert name(app, "/rootx", root_path="/root") is None


def test_a_newline_at_the_end_of_a_path_hides_nothing() -> None:
    """`$` matches before it, so the router runs the handler: with a literal, a parameter, and alone."""
    app = Router([Route("/x", get_record), Route("/y/{id}", put_record), Mount("/m", opaque, name="m")])
    assert name(app, "/x\n") == "get_record"
    assert resolve(app, "/y/7\n").params == {"id": "7\n"}
    assert name(app, "/y/\n") == "put_record"
    assert name(app, "/m/a\n") == "m"
    assert name(app, "/x\n\n") is None
    assert name(Router([Route("/x\n", get_record)]), "/x\n") == "get_record"


def test_a_replaced_regular_expression_is_the_one_that_counts() -> None:
    """Apps make routes insensitive to case so; the index must not go by the template then."""
    route = Route("/Records/{id}", get_record)
    route.path_regex = re.compile(route.path_regex.pattern, re.IGNORECASE)
    other = Route("/other", put_record)
    other.path_regex = re.compile("^/(?P<any>.*)/other$")
    app = Router([route, other])
    assert name(app, "/records/7") == "get_record"
    odd = Route("/odd/{id}", get_record)
    odd.param_convertors = {}
    odd.path_regex = re.compile("^/even$")
    assert name(Router([odd]), "/even") == "get_record"


def test_routes_that_override_matches_are_asked() -> None:
    """Whatever they say is done; a partial match of a route that answers anything is an endpoint."""
    app = Router([AnyCase("/x/{id:int}", get_record), Reluctant("/y", put_record), Route("/y", Records, name="full")])
    assert resolve(app, "/X/7").params == {"id": 7}
    assert name(app, "/X/7", "POST") is None
    assert name(app, "/y") == "full"
    assert name(Router([Reluctant("/y", put_record)]), "/y", "BREW") == "put_record"
    assert name(app, "/z") is None


def test_a_route_that_handles_other_methods_itself_is_an_endpoint_for_them() -> None:
    """Its partial match runs its own `handle`, which may run the handler."""
    app = Router([Lenient("/x/{id:int}", get_record)])
    assert name(app, "/x/7", "POST") == "get_record"
    assert resolve(app, "/x/7", "POST").params == {"id": 7}


class Custom(BaseRoute):
    """A route class of the app's own, for one path."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match /custom."""
        return (Match.FULL, {"path_params": {"own": 1}}) if scope["path"].endswith("/custom") else (Match.NONE, {})


class Watching(Route):
    """A route that keeps what it sees in the scope when it is asked."""

    seen: ClassVar[list[dict[str, object]]] = []

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match as its base does."""
        keys = ("app", "app_root_path", "endpoint", "path_params", "root_path")
        self.seen.append({key: scope.get(key) for key in keys})
        return super().matches(scope)


async def test_a_route_that_is_asked_sees_what_it_sees_when_the_router_asks() -> None:
    """What mounts and mounted apps write into the scope is there."""
    inner = Starlette(routes=[Watching("/x", get_record)])
    outer = Starlette(routes=[Mount("/{a:int}", routes=[Mount("/m", inner)])])
    await get(outer, "/7/m/x")
    assert name(outer, "/7/m/x") == "get_record"
    when_run, when_resolved = Watching.seen
    assert when_resolved == when_run
    assert when_run == {
        "app": inner,
        "app_root_path": "",
        "endpoint": inner,
        "path_params": {"a": 7},
        "root_path": "/7/m",
    }


class GetMount(Mount):
    """A mount that overrides `matches`."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match its prefix for one method only."""
        return super().matches(scope) if scope["method"] == "GET" else (Match.NONE, {})


class AnyHost(Host):
    """A host that overrides `matches`."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match any host."""
        return Match.FULL, {"endpoint": self.app}


def test_route_classes_of_the_apps_own_are_asked() -> None:
    """A class without attributes is named after itself; mounts and hosts that override `matches` lead inside."""
    routes = [Route("/x", get_record)]
    app = Router([Custom(), GetMount("/m", routes=routes, name="m"), AnyHost("a.test", Router(routes), name="h")])
    assert resolve(app, "/custom").params == {"own": 1}
    assert name(app, "/custom", "BREW") == "Custom"
    assert endpoints(app)["Custom"].protocol == "any"
    assert name(app, "/m/x") == "m:get_record"
    assert name(app, "/m/x", "HEAD") is None
    assert name(app, "/x") == "h:get_record"
    assert websocket_name(app, "/custom") == "Custom"


def test_a_default_app_of_a_routers_own_is_an_endpoint() -> None:
    """It runs where no route matches and no other slash form would; it is called by its path."""
    inner = Router([Route("/x", get_record)], default=opaque)
    bare = Router([Route("/x", get_record)], default=opaque, redirect_slashes=False)
    app = Router([Mount("/m", inner), Mount("/n", bare, name="n"), Mount("/o", Router(default=opaque), name="o")])
    assert name(app, "/m/y") == "/m"
    assert name(app, "/m/x/") is None
    assert name(app, "/m/x", "POST") is None
    assert name(app, "/n/x/") == "n:/"
    assert name(app, "/o/") == "o:/"
    assert websocket_name(app, "/m/x") == "/m"
    assert name(app, "/y") is None


def test_the_scope_is_left_as_it_is() -> None:
    """Resolving writes nothing, even where a route's own `matches` does."""

    class Writing(Route):
        def matches(self, scope: Scope) -> tuple[Match, Scope]:
            scope["written"] = True
            return super().matches(scope)

    table = RouteTable.compile(Starlette(routes=[Mount("/m", routes=[Writing("/x", get_record)])]))
    scope = http("/m/x")
    before = dict(scope)
    assert table.resolve(scope).endpoint is not None
    assert scope == before
