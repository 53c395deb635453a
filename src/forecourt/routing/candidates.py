"""The things a router asks, one by one, whether a request is theirs; each does as its Starlette original.

A candidate answers `full` (it takes the request) or `partial` (the path is its own, the method is not),
or None. A router takes the first full answer, else the first partial one.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from starlette.convertors import Convertor, PathConvertor, StringConvertor
from starlette.routing import Match

from forecourt.routing.endpoints import NO_PARAMS, UNROUTED, Endpoint, Resolution
from forecourt.types import Scope

Matches = Callable[[Scope], tuple[Match, Scope]]
Convertors = Mapping[str, Convertor[object]]


class Candidate(Protocol):
    """A compiled route; `order` is its position among its router's routes."""

    @property
    def order(self) -> int:
        """Return its position among its router's routes."""
        ...

    @property
    def steady(self) -> bool:
        """Return whether what it answers follows from protocol, method and path alone, and is the same each time."""
        ...

    def full(self, scope: Scope, path: str) -> Resolution | None:
        """Return what the request resolves to if this route takes it; `path` is the router's route path."""
        ...

    def partial(self, scope: Scope, path: str) -> Resolution | None:
        """Return what the request resolves to if this route has its path but not its method."""
        ...


class Inside(Protocol):
    """A compiled router below a mount or a host."""

    @property
    def steady(self) -> bool:
        """Return whether its answers follow from protocol, method and path alone."""
        ...

    def enter(self, scope: Scope) -> Resolution:
        """Return what the request resolves to inside; the scope is the callee's to change."""
        ...


def params_of(scope: Scope) -> Mapping[str, object]:
    """Return the parameters matched so far, by mounts and by whatever runs above the app."""
    return scope.get("path_params") or NO_PARAMS


def _conversions(convertors: Convertors) -> tuple[tuple[str, Callable[[str], object]], ...]:
    """Return the parameters whose text is not yet their value."""
    as_is = (StringConvertor, PathConvertor)
    return tuple((name, each.convert) for name, each in convertors.items() if type(each) not in as_is)


def _are_steady(convertors: Convertors) -> bool:
    """Whether all are Starlette's own: one of the app's may answer another each time, or with what can be changed."""
    return all(type(each).__module__ == Convertor.__module__ for each in convertors.values())


class Leaf:
    """A route that ends at a handler and matches as Starlette's `Route` or `WebSocketRoute` does.

    `refuses` says that the route itself answers another method (405); a route class with a `handle` of
    its own may run its handler instead.
    """

    __slots__ = ("_conversions", "_endpoint", "_fixed", "_match", "_methods", "_refuses", "order", "steady")

    def __init__(
        self,
        order: int,
        regex: re.Pattern[str],
        convertors: Convertors,
        endpoint: Endpoint,
        *,
        refuses: bool = True,
    ) -> None:
        self.order = order
        self._match = regex.match
        self._methods = endpoint.methods
        self._conversions = _conversions(convertors)
        self._endpoint = endpoint
        self._fixed = None if convertors else Resolution(endpoint, NO_PARAMS)
        self._refuses = refuses
        self.steady = _are_steady(convertors)

    def full(self, scope: Scope, path: str) -> Resolution | None:
        """Return the endpoint for a path and a method of its own."""
        if self._methods is not None and scope["method"] not in self._methods:
            return None
        match = self._match(path)
        return None if match is None else self._found(scope, match)

    def partial(self, scope: Scope, path: str) -> Resolution | None:
        """Return the router's own answer for a path of its own with another method."""
        match = self._match(path)
        if match is None:
            return None
        return UNROUTED if self._refuses else self._found(scope, match)

    def _found(self, scope: Scope, match: re.Match[str]) -> Resolution:
        above = scope.get("path_params")
        if self._fixed is not None and not above:
            return self._fixed
        params: dict[str, object] = match.groupdict()
        for name, convert in self._conversions:
            params[name] = convert(match[name])
        return Resolution(self._endpoint, {**above, **params} if above else params)


class Mounted:
    """A mount whose path matches as Starlette's `Mount` does; a matching prefix ends the search.

    `inside` is its router, or the one endpoint that stands for an app without visible routes.
    """

    __slots__ = ("_app", "_conversions", "_inside", "_match", "order", "steady")

    def __init__(
        self,
        order: int,
        regex: re.Pattern[str],
        convertors: Convertors,
        app: object,
        inside: Inside | Endpoint,
    ) -> None:
        self.order = order
        self._match = regex.match
        self._conversions = _conversions(convertors)
        self._app = app
        self._inside = inside
        self.steady = _are_steady(convertors) and (isinstance(inside, Endpoint) or inside.steady)

    def full(self, scope: Scope, path: str) -> Resolution | None:
        """Resolve inside, on the scope that Starlette's `Mount` would pass down."""
        match = self._match(path)
        if match is None:
            return None
        params: dict[str, Any] = match.groupdict()
        for name, convert in self._conversions:
            params[name] = convert(params[name])
        below = "/" + params.pop("path")
        above = scope.get("path_params")
        if above:
            params = {**above, **params}
        if isinstance(self._inside, Endpoint):
            return Resolution(self._inside, params)
        root_path = scope.get("root_path", "")
        return self._inside.enter(
            {
                **scope,
                "path_params": params,
                "app_root_path": scope.get("app_root_path", root_path),
                "root_path": root_path + path[: -len(below)],
                "endpoint": self._app,
            }
        )

    def partial(self, scope: Scope, path: str) -> Resolution | None:
        """Return None: a mount takes any method."""
        return None


class Asked:
    """A route whose own `matches` is called: hosts, and routes that override it.

    `inside` is what it leads to: an endpoint or a router. `refuses` says whether the route itself
    answers a partial match (405); otherwise its handler runs.
    """

    __slots__ = ("_inside", "_matches", "_refuses", "order")

    steady = False

    def __init__(
        self, order: int, matches: Matches, inside: Inside | Endpoint, refuses: Callable[[Scope], bool]
    ) -> None:
        self.order = order
        self._matches = matches
        self._inside = inside
        self._refuses = refuses

    def full(self, scope: Scope, path: str) -> Resolution | None:
        """Return what the route leads to if it says that the match is full."""
        match, changes = self._matches(dict(scope))
        return self._led_to({**scope, **changes}) if match is Match.FULL else None

    def partial(self, scope: Scope, path: str) -> Resolution | None:
        """Return what the route leads to if it says that the match is partial."""
        match, changes = self._matches(dict(scope))
        if match is not Match.PARTIAL:
            return None
        return UNROUTED if self._refuses(scope) else self._led_to({**scope, **changes})

    def _led_to(self, scope: Scope) -> Resolution:
        if isinstance(self._inside, Endpoint):
            return Resolution(self._inside, params_of(scope))
        return self._inside.enter(scope)


class Frontend:
    """A directory of files that FastAPI serves below `prefix`, where no route answers."""

    __slots__ = ("_endpoint", "_prefix", "order")

    def __init__(self, order: int, prefix: str, endpoint: Endpoint) -> None:
        self.order = order
        self._prefix = prefix
        self._endpoint = endpoint

    def full(self, scope: Scope, path: str) -> Resolution | None:
        """Return the endpoint for GET and HEAD below its prefix."""
        if scope["type"] != "http" or scope["method"] not in ("GET", "HEAD") or not self._holds(path):
            return None
        return Resolution(self._endpoint, params_of(scope))

    def partial(self, scope: Scope, path: str) -> Resolution | None:
        """Return FastAPI's own answer (405, 404) for other methods below its prefix."""
        return UNROUTED if scope["type"] == "http" and self._holds(path) else None

    def _holds(self, path: str) -> bool:
        return self._prefix in ("/", path) or path.startswith(self._prefix + "/")
