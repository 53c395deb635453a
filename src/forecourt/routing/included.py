"""What of FastAPI a route table reads beyond Starlette's interface: included routers and frontends.

FastAPI 0.137 and later keep an included router as one `_IncludedRouter` in `routes`, and derive its
routes (prefix, dependencies) on demand; before, `include_router` copied them. Frontends (0.138) stand
in `_low_priority_routes`. All of it is read here, and FastAPI is never imported: where it is not
loaded, no app has any of it.
"""

import sys
from collections.abc import Iterator
from functools import partial
from types import ModuleType
from typing import NamedTuple, Protocol

from starlette.routing import BaseRoute, Match, Router

from forecourt.routing.candidates import Matches
from forecourt.types import Scope

_CONTEXT = "effective_route_context"


class _Context(Protocol):
    """FastAPI's `_EffectiveRouteContext`: a route as one `include_router` changed it."""

    original_route: BaseRoute
    starlette_route: BaseRoute | None


class Shown(NamedTuple):
    """One route as its router asks it.

    `route` is the object whose class says how it matches and handles. `shape` has its `path`,
    `path_regex`, `methods`, … as they are there: the same object unless an included prefix changes them.
    """

    route: BaseRoute
    shape: object
    matches: Matches


def shown_by(router: Router) -> Iterator[Shown]:
    """Yield the routes of a router in the order it asks them, included routers unfolded at any depth."""
    fastapi = sys.modules.get("fastapi.routing")
    included: type | None = getattr(fastapi, "_IncludedRouter", None)
    for route in router.routes:
        if fastapi is None or included is None or not isinstance(route, included):
            yield Shown(route, route, route.matches)
            continue
        for context in _contexts(fastapi, route):
            original, rebuilt = context.original_route, context.starlette_route
            if rebuilt is not None:
                yield Shown(rebuilt, rebuilt, rebuilt.matches)
            else:
                yield Shown(original, context, partial(_matches_within, context))


def _contexts(fastapi: ModuleType, included: BaseRoute) -> Iterator[_Context]:
    """Yield the effective routes of an included router; 0.137.0 has no `iter_route_contexts` yet."""
    if hasattr(fastapi, "iter_route_contexts"):
        return (each._route_context for each in fastapi.iter_route_contexts([included]))
    contexts: Iterator[_Context] = included.effective_route_contexts()  # type: ignore[attr-defined]  # FastAPI's own
    return contexts


def _matches_within(context: _Context, scope: Scope) -> tuple[Match, Scope]:
    """Ask an `APIRoute` as its including router does: with the effective route in the scope."""
    within = {**scope, "fastapi": {**scope.get("fastapi", {}), _CONTEXT: context}}
    asked: tuple[Match, Scope] = context.original_route.matches(within)
    return asked


def frontends_of(router: Router) -> list[str]:
    """Return the path of each frontend that the router serves, in the order in which FastAPI prefers them.

    The longest path comes first, among equals the first registered; FastAPI 0.138 prefers those of its
    own over those of an included router whatever their length.
    """
    if not hasattr(router, "_iter_low_priority_routes"):
        return []
    groups = [_frontends_in(group) for group in router._iter_low_priority_routes()]
    paths = [path for group in groups for path in sorted(group, key=len, reverse=True)]
    across = hasattr(router, "_frontend_match_is_more_specific")
    return sorted(paths, key=len, reverse=True) if across else paths


def _frontends_in(group: object) -> list[str]:
    """Return the paths of a router's frontends, below the prefix of its inclusion."""
    prefix = getattr(group, "frontend_prefix", "")
    rebuilt = getattr(group, "starlette_route", None)
    original = getattr(group, "original_route", group)
    return [_below(prefix, frontend.path) for frontend in getattr(rebuilt or original, "routes", ())]


def _below(prefix: str, path: str) -> str:
    """Join a frontend's path to the prefix of its included router."""
    return prefix + path if not prefix or path != "/" else prefix


def root_path_of(app: object) -> str:
    """Return the `root_path` with which a FastAPI app replaces the server's, empty where it does not."""
    fastapi = sys.modules.get("fastapi")
    if fastapi is None or not isinstance(app, fastapi.FastAPI):
        return ""
    root_path: str = app.root_path
    return root_path


class Counted(Protocol):
    """A router that counts the changes made to its routes: FastAPI's `APIRouter`."""

    routes: list[BaseRoute]
    _routes_version: int


def versions_of(router: Router) -> list[tuple[Counted, int]]:
    """Return the router and those included below it, each with the count of changes FastAPI keeps.

    FastAPI itself notices changes of an included router by this count alone.
    """
    if not hasattr(router, "_routes_version"):
        return []
    counted: dict[int, Counted] = {}
    waiting: list[Counted] = [router]
    while waiting:
        each = waiting.pop()
        counted[id(each)] = each
        included = (route.original_router for route in each.routes if hasattr(route, "original_router"))
        waiting.extend(below for below in included if id(below) not in counted)
    return [(each, each._routes_version) for each in counted.values()]
