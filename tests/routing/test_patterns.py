"""Endpoints given by pattern: other names for routes, and all that is known of an app without routes."""

import pytest
from starlette.routing import Mount, Route, Router, WebSocketRoute

from forecourt.errors import ConfigError
from forecourt.routing import RouteTable
from tests.asgi import http, websocket
from tests.routing.tables import endpoints, get_record, listen, opaque, put_record


def name(patterns: dict[str, str], path: str, method: str = "GET") -> str | None:
    """Return the endpoint's name of a request to an app that shows no routes."""
    endpoint = RouteTable.compile(opaque, patterns).resolve(http(path, method)).endpoint
    return None if endpoint is None else endpoint.name


def problems(app: object, patterns: dict[str, str]) -> tuple[str, ...]:
    """Return what is wrong with the patterns."""
    with pytest.raises(ConfigError) as raised:
        RouteTable.compile(app, patterns)  # type: ignore[arg-type]  # any app
    return raised.value.problems


def test_patterns_are_the_endpoints_of_an_app_without_routes() -> None:
    """Their template is their label; a pattern without a method answers any, and WebSockets."""
    patterns = {"get_record": "GET /records/{record_id:int}", "chat": "/chat/{room}"}
    found = endpoints(opaque, patterns)
    assert (found["get_record"].path, found["get_record"].protocol) == ("/records/{record_id}", "http")
    assert (found["chat"].methods, found["chat"].protocol, found["chat"].handler) == (None, "any", None)
    table = RouteTable.compile(opaque, patterns)
    assert table.resolve(http("/records/7")).params == {"record_id": 7}
    assert table.resolve(http("/records/7")).endpoint is table.endpoints[0]
    assert table.resolve(websocket("/chat/a")).endpoint is table.endpoints[1]
    assert table.resolve(websocket("/records/7")).endpoint is None
    assert [name(patterns, path) for path in ("/records/x", "/", "/chat/a/b")] == [None, None, None]
    assert name(patterns, "/records/7", "PUT") is None
    assert name(patterns, "/chat/a", "BREW") == "chat"


def test_the_first_pattern_that_matches_wins() -> None:
    """In the order written, so that the last may stand for all the rest."""
    patterns = {"me": "get /users/me", "user": "GET /users/{id}", "rest": "/{path:path}"}
    assert [name(patterns, path) for path in ("/users/me", "/users/7", "/", "/x")] == ["me", "user", "rest", "rest"]
    assert name(patterns, "/users/me", "POST") == "rest"
    assert RouteTable.compile(opaque, patterns).resolve(http("/x//y/")).params == {"path": "x//y/"}


def test_frameworks_that_treat_head_and_slashes_alike_are_no_way_around() -> None:
    """A pattern for GET answers HEAD; repeated and last slashes do not count, in path or pattern."""
    patterns = {"get_record": "GET /records/{id}", "list": "GET /records/", "index": "GET /"}
    paths = ("/records/7", "/records/7/", "//records//7//", "/records", "/records/", "/", "//")
    found = [name(patterns, path) for path in paths]
    assert found == ["get_record", "get_record", "get_record", "list", "list", "index", "index"]
    assert name(patterns, "/records/7", "HEAD") == "get_record"
    assert name({"put": "PUT /x"}, "/x", "HEAD") is None
    assert endpoints(opaque, patterns)["list"].path == "/records/"


def test_a_pattern_names_one_route_of_a_starlette_app() -> None:
    """By its template with or without convertors, and its method where others share the template."""
    app = Router(
        [
            Route("/records/{id:int}", get_record),
            Route("/records/{id}", put_record, methods=["PUT"]),
            WebSocketRoute("/chat", listen),
            Route("/chat", get_record, name="page"),
            Mount("/v2", routes=[Route("/records/{id:int}", get_record)], name="v2"),
            Mount("/old", opaque),
        ]
    )
    patterns = {
        "read": "GET /records/{id:int}",
        "write": "put /records/{id}",
        "talk": "/chat",
        "read_v2": "/v2/records/{id}",
        "legacy": "/old/{path}",
    }
    assert [*endpoints(app, patterns)] == ["read", "write", "talk", "page", "read_v2", "legacy"]
    table = RouteTable.compile(app, patterns)
    endpoint = table.resolve(http("/v2/records/7")).endpoint
    assert endpoint is not None
    assert (endpoint.name, endpoint.handler, endpoint.path) == ("read_v2", get_record, "/v2/records/{id}")
    assert table.ran(endpoint, {**http("/"), "endpoint": get_record})
    assert not table.ran(endpoint, {**http("/"), "endpoint": put_record})


def test_a_pattern_that_names_no_route_is_refused_with_the_nearest() -> None:
    """Whether path, parameter, convertor or method is another."""
    app = Router([Route("/records/{id:int}", get_record)])
    (problem,) = problems(app, {"read": "GET /record/{id:int}"})
    assert "'read'" in problem
    assert "'GET /record/{id:int}' is no route of the app; did you mean 'GET /records/{id:int}'?" in problem
    patterns = {"a": "PUT /records/{id:int}", "b": "/records/{key}", "c": "/records/{id:float}", "d": "/zzz"}
    assert len(problems(app, patterns)) == 4
    assert problems(app, {"d": "/zzz"}) == ("routes: endpoint 'd': '/zzz' is no route of the app",)
    assert problems(Router(), {"d": "/zzz"})


def test_a_pattern_that_names_several_routes_is_refused() -> None:
    """They are listed; a method may tell them apart."""
    other = Route("/x", put_record, methods=["PUT"])
    app = Router([Route("/x", get_record), other])
    assert problems(app, {"x": "/x"}) == (
        "routes: endpoint 'x': '/x' is 2 routes: 'get_record' (GET, HEAD), 'put_record' (PUT)",
    )
    (problem,) = problems(
        Router([WebSocketRoute("/x", listen), Mount("/", routes=[WebSocketRoute("/x", listen)])]), {"x": "/x"}
    )
    assert "'listen' (any method), 'listen' (any method)" in problem


def test_a_route_has_one_name() -> None:
    """Two patterns for one route are refused."""
    app = Router([Route("/x", get_record)])
    assert problems(app, {"a": "GET /x", "b": "/x"}) == ("routes: endpoint 'b': '/x' is already named 'a'",)


@pytest.mark.parametrize(
    ("pattern", "fault"),
    [
        ("", "'' is no pattern: write '/path/{param:int}', with a method before it or without"),
        ("GET", "'GET' is no pattern"),
        ("GET records", "'GET records' is no pattern"),
        ("GET HEAD /records", "is no pattern"),
        ("GTE /records", "has no HTTP method 'GTE'; did you mean 'GET'?"),
        ("/records/{id:itn}", "has no convertor 'itn'; did you mean 'int'?"),
        ("/records/{record-id}", "has a brace that belongs to no parameter"),
        ("/records/{id", "has a brace that belongs to no parameter"),
        ("/records/{id}/{id}", "names the parameter 'id' twice"),
    ],
)
def test_a_malformed_pattern_is_refused_with_its_fault(pattern: str, fault: str) -> None:
    """In any app, naming the endpoint."""
    for app in (opaque, Router()):
        (problem,) = problems(app, {"get_record": pattern})
        assert problem.startswith("routes: endpoint 'get_record': ")
        assert fault in problem


def test_every_malformed_pattern_is_named_at_once_with_the_nearest_route() -> None:
    """So that one start shows all."""
    app = Router([Route("/records/{id:int}", get_record)])
    found = problems(app, {"a": "GET records/{id:int}", "b": "GET /records/{id:int}", "c": "/{"})
    assert len(found) == 2
    assert "did you mean 'GET /records/{id:int}'?" in found[0]


def test_methods_of_later_standards_are_known() -> None:
    """QUERY is a method like any other."""
    assert name({"find": "QUERY /records"}, "/records", "QUERY") == "find"
