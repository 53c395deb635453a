"""The table: which endpoint a request is for, known before the router is asked."""

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

from forecourt.routing.endpoints import Endpoint, Resolution
from forecourt.routing.patterns import PatternRouter, renamed
from forecourt.routing.routers import CompiledRouter
from forecourt.routing.unfold import Unfolding, router_of
from forecourt.types import ASGIApp, Scope

_NO_PATTERNS: Mapping[str, str] = MappingProxyType({})


class RouteTable:
    """The endpoints of an app, and which of them a request will run.

    Compiled once; `current` says when it must be compiled again. A table is never changed, so a request
    may go on with the one it began with.
    """

    __slots__ = (
        "_below",
        "_known",
        "_named",
        "_outer",
        "_versions",
        "_watched",
        "endpoints",
        "resolve",
    )

    endpoints: tuple[Endpoint, ...]
    resolve: Callable[[Scope], Resolution]
    """Which endpoint the app's router will run for a request; the scope is left as it is.

    Raises what a convertor of the app's own raises on the path, as the router then does.
    """

    def __init__(self, resolve: Callable[[Scope], Resolution], read: Unfolding, outer: tuple[object, ...] = ()) -> None:
        self.endpoints = tuple(read.endpoints)
        self.resolve = resolve
        self._named = read.named
        self._below = {endpoint: _prefix(endpoint) for endpoint in read.opaque}
        self._known = {id(each) for named in read.named.values() for each in named}
        self._outer = outer
        self._watched = tuple([(*each,) for each in read.watched])  # exact tuples are unpacked faster than named ones
        self._versions = tuple(read.versions)

    @classmethod
    def compile(
        cls, app: ASGIApp, patterns: Mapping[str, str] = _NO_PATTERNS, scope: Scope | None = None
    ) -> "RouteTable":
        """Return the table of the app below a middleware.

        Its router is looked for along the `.app` attributes from `app` on, then in `scope["app"]`: the
        scope is the one that reached the middleware, of a request or of the lifespan. `patterns` are
        the config's `routes`: `{"get_record": "GET /records/{record_id:int}"}`. Where there is a router,
        each gives one route its name; where there is none, they are the only endpoints.

        Raises ConfigError for a pattern that is malformed, or that does not name exactly one route.
        """
        owner = _owner_of_router(app, scope)
        if owner is None:
            only = PatternRouter(patterns)
            return cls(only.resolve, Unfolding.of(only.endpoints))
        read, router = _unfolded(owner, {})
        if patterns:
            read, router = _unfolded(owner, renamed(patterns, read.endpoints, read.written))
        outer = () if scope is None else (scope.get("app"), scope.get("endpoint"))
        return cls(router.resolve if owner is router_of(owner) else router.entered, read, outer)

    def current(self) -> bool:
        """Whether the app's routes are still those compiled; takes constant time for each router.

        Noticed: a route added to or removed from the app, from a mounted router or (through FastAPI's
        own methods, as FastAPI itself notices no other) from an included one; a replaced list of
        routes. Not noticed: a list changed in place that keeps its length and its last route, and a
        changed route.
        """
        for router, routes, length, last in self._watched:
            if router.routes is not routes or len(routes) != length or (length and routes[-1] is not last):
                return False
        for counted, version in self._versions:  # noqa: SIM110 (a generator would double the time)
            if counted._routes_version != version:
                return False
        return True

    def ran(self, endpoint: Endpoint, scope: Scope) -> bool:
        """Whether a request that resolved to `endpoint` was run by it, as far as the router tells.

        `scope` is the one passed down, after the app ran. False when the router named something else in
        `scope["endpoint"]`. True when it named nothing, the endpoint's handler, or a mount on the way
        to it (whose own middleware may have answered). An opaque app may name a handler of its own,
        which passes unless it is another endpoint's, and even then below the app's own mount.
        """
        named = scope.get("endpoint")
        if named is None or named is endpoint.handler:
            return True
        if any(named is each for each in (*self._named.get(endpoint, ()), *self._outer)):
            return True
        if endpoint not in self._below:
            return False
        prefix = self._below[endpoint]
        return id(named) not in self._known or (prefix is not None and _is_below(prefix, scope))


def _unfolded(owner: object, names: Mapping[int, str]) -> tuple[Unfolding, CompiledRouter]:
    read = Unfolding(names)
    router = read.app(owner)
    assert router is not None, "an owner was chosen because it has a router"
    return read, router


def _owner_of_router(app: object, scope: Scope | None) -> object | None:
    """Return the router that runs below `app`, or the Starlette app around it; None where none shows."""
    seen: set[int] = set()
    each: object = app
    while each is not None and id(each) not in seen:
        if router_of(each) is not None:
            return each
        seen.add(id(each))
        each = getattr(each, "app", None)
    outer: object = None if scope is None else scope.get("app")
    return outer if router_of(outer) is not None else None


def _prefix(endpoint: Endpoint) -> re.Pattern[str] | None:
    """Return what `root_path` begins with inside a mounted opaque app, None for what stands at the root."""
    path, _, _ = endpoint.path.rpartition("/{path}")
    if not path:
        return None
    pieces = re.split(r"{\w+}", path)
    return re.compile(".+".join(map(re.escape, pieces)) + "(/|$)")


def _is_below(prefix: re.Pattern[str], scope: Scope) -> bool:
    root_path: str = scope.get("root_path", "")
    return prefix.match(root_path.removeprefix(scope.get("app_root_path", ""))) is not None
