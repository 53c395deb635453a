"""What `forecourt check --strict` says: each weakness, and what to say instead."""

from collections.abc import Callable

import pytest
from fastapi import FastAPI
from starlette.routing import Host

from forecourt import JobConfig, PolicyMiddleware
from forecourt.inspection import inspect

LIMIT = {"type": "fixed_window", "limit": 5, "window": 60}
GUARD = {"limit": 5, "window": 60}
KEYS = [b"k" * 32]


def weak(policy: object = None, *, routes: Callable[[FastAPI], object] | None = None, **fields: object) -> list[str]:
    """Return what is weak in an app with one endpoint of this policy."""
    given = {"flood_guard": GUARD, "endpoints": {"x": policy or {}}, **fields}
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(PolicyMiddleware, config=JobConfig.model_validate(given))
    app.add_api_route("/x", handler, name="x")
    if routes is not None:
        routes(app)
    return list(inspect(app).weaknesses)


async def handler() -> int:
    """Answer."""
    return 1


async def another() -> int:
    """Answer otherwise."""
    return 2


WEAK: list[tuple[object, dict[str, object], str, str]] = [
    (None, {}, 'endpoint "x" (/x) has no policy that protects it', "public = true"),
    ({"cache": {"ttl": 5}}, {}, "has no policy that protects it", "public = true"),
    ({"rate_limit": LIMIT}, {"flood_guard": None}, "flood_guard is off", "flood_guard = {"),
    ({"rate_limit": LIMIT}, {"trusted_proxies": ["unix", "0.0.0.0/0"]}, '"0.0.0.0/0" believes', "name your proxies"),
    (
        {"rate_limit": LIMIT},
        {"issuers": [{"audience": "a", "development": True}]},
        "issuers[0]: the development issuer",
        "name the service's own",
    ),
    (
        {"rate_limit": {**LIMIT, "on_store_error": "open"}},
        {},
        'rate_limit of endpoint "x": fixed_window refuses nobody while the store is down',
        '"closed"',
    ),
    ({"rate_limit": {**LIMIT, "shadow": True, "name": "trial"}}, {}, "trial is a shadow", "leave shadow out"),
    (
        {"rate_limit": LIMIT, "security": {"anonymous": True}},
        {},
        'counts by principal, and callers of endpoint "x" may be anonymous',
        'key = "client"',
    ),
    ({"concurrency": {"limit": 3, "on_store_error": "open"}}, {}, "bounds nothing while the store", '"closed"'),
    ({"security": {}, "cache": {"partition": "everyone"}}, {}, "is told to everyone who was let in", '"scopes"'),
    ({"circuit_breaker": {"mode": "disabled"}}, {}, 'is "disabled" and never refuses', "leave mode out"),
    ({"audit": {"required": False}}, {"keys": KEYS}, "what cannot be written down", "leave required out"),
    ({"webhook": {"scheme": "github", "secrets": [b"s" * 32], "replay": True}}, {}, "again and again", "leave replay"),
    (
        {"rate_limit": LIMIT},
        {"endpoints": {"x": {"rate_limit": LIMIT}, "x*": {"rate_limit": "off"}}},
        'endpoints."x*": nothing of it holds',
        "more specific names",
    ),
    ({"rate_limit": LIMIT}, {"default": {"rate_limit": "off"}}, "default: nothing of it holds", "say it all"),
]

STRONG: list[tuple[object, dict[str, object]]] = [
    ({"rate_limit": LIMIT}, {"trusted_proxies": ["unix", "192.0.2.0/24"]}),
    ({"security": {"public": True}, "cache": {"partition": "everyone"}}, {}),
    ({"rate_limit": {**LIMIT, "key": "client"}, "security": {"anonymous": True}}, {}),
    ({"rate_limit": LIMIT, "security": {}}, {"issuers": [{"issuer": "i", "audience": "a", "secret": "s" * 32}]}),
    ({"circuit_breaker": {}, "concurrency": {"limit": 3}}, {"default": {}}),
    ({"audit": {}}, {"keys": KEYS}),
    (None, {"endpoints": {"x*": {"max_body": 5}}}),
    (None, {"default": {"timeout": {"seconds": 3}}}),
]


@pytest.mark.parametrize(("policy", "fields", "says", "fix"), WEAK)
def test_a_weakness_is_said_with_its_fix(policy: object, fields: dict[str, object], says: str, fix: str) -> None:
    """One line, which names the place and what to say instead."""
    (line,) = weak(policy, routes=None, **fields)
    assert says in line
    assert fix in line


@pytest.mark.parametrize(("policy", "fields"), STRONG)
def test_what_is_not_weak_is_not_said(policy: object, fields: dict[str, object]) -> None:
    """The counterpart of each: nothing to say."""
    assert weak(policy, routes=None, **fields) == []


def test_a_weakness_of_many_endpoints_is_said_once() -> None:
    """A default that is weak is one line, however many endpoints have it."""
    lines = weak(
        None,
        routes=lambda app: app.add_api_route("/y", another, name="y"),
        default={"rate_limit": {**LIMIT, "shadow": True}},
    )
    assert len(lines) == 1


def hidden(app: FastAPI) -> None:
    """Add a route that takes any name, then one that it hides."""
    app.add_api_route("/records/{name}", handler, name="any")
    app.add_api_route("/records/new", another, name="new")


def seen(app: FastAPI) -> None:
    """Add the two in the right order."""
    app.add_api_route("/records/new", another, name="new")
    app.add_api_route("/records/{name}", handler, name="any")


def shared(app: FastAPI) -> None:
    """Add a path whose methods are two routes."""
    app.add_api_route("/records", handler, name="all", methods=["GET"])
    app.add_api_route("/records", another, name="add", methods=["POST"])
    app.add_api_route("/again", handler, name="again")
    app.add_api_route("/again", handler, name="again")


def test_a_route_that_never_runs_is_pointed_out() -> None:
    """An earlier route takes its calls, so its policy protects nothing."""
    (line,) = weak(None, routes=hidden, default={"max_body": 5})
    assert line.startswith('endpoint "new" (/records/new) never runs: "any" (/records/{name}) answers first')


@pytest.mark.parametrize("routes", [seen, shared])
def test_routes_that_run_are_not_pointed_out(routes: Callable[[FastAPI], object]) -> None:
    """In the right order, by another method, or one handler included twice."""
    assert weak(None, routes=routes, default={"max_body": 5}) == []


def by_host(app: FastAPI) -> None:
    """Add an app for one host, which has a path of this app, too."""
    inner = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    inner.add_api_route("/x", another, name="inner")
    app.router.routes.append(Host("api.example", inner, name="api"))


def test_routes_of_hosts_are_not_judged() -> None:
    """Which of two runs depends on the host that is asked for: nothing is said."""
    assert weak(None, routes=by_host, default={"max_body": 5}) == []
