"""One compiled router: asks its candidates as `starlette.routing.Router.app` asks its routes."""

from collections.abc import Sequence
from types import MappingProxyType

from starlette._utils import get_route_path
from starlette.routing import Host, Match, Router

from forecourt.routing.candidates import Asked, Candidate, Frontend, params_of
from forecourt.routing.endpoints import UNROUTED, Endpoint, Resolution
from forecourt.routing.index import Index, Segments, merged
from forecourt.types import Scope

_MOST_KNOWN = 1000
_LONGEST_KNOWN = 200

_ANY_HOST = Host("{host:path}", Router())
"""Asked for the host name of a request, as this version of Starlette reads it."""


class CompiledRouter:
    """A router, its routes indexed: `resolve` is its `app`, without running anything.

    `otherwise` is the endpoint of a default app of the router's own, None where it answers 404 itself.
    `app` is the Starlette app around the router, which names itself in the scope; `root_path` is the
    one a FastAPI app was given in Python, which replaces the server's.
    """

    __slots__ = (
        "_app",
        "_frontends",
        "_hosts",
        "_indexes",
        "_known",
        "_otherwise",
        "_redirects",
        "_root_path",
        "steady",
    )

    def __init__(
        self,
        *,
        http: Sequence[tuple[Segments, Candidate]],
        websocket: Sequence[tuple[Segments, Candidate]],
        hosts: Sequence[tuple[Host, Asked]],
        frontends: Sequence[Frontend],
        otherwise: Endpoint | None,
        redirects: bool,
        app: object | None,
        root_path: str,
    ) -> None:
        self._indexes = {"http": Index(http), "websocket": Index(websocket)}
        self._hosts = tuple((host.host_regex.match, candidate) for host, candidate in hosts)
        self._frontends = tuple(frontends)
        self._otherwise = otherwise
        self._redirects = redirects
        self._app = app
        self._root_path = root_path
        self.steady = not hosts and all(candidate.steady for _, candidate in (*http, *websocket))
        """Whether the answer follows from protocol, method and path alone, wherever the router stands at the root."""
        self._known: dict[tuple[str, str | None, str], Resolution] = {}

    def enter(self, scope: Scope) -> Resolution:
        """Resolve a request that comes from outside the router's app; the scope is ours to change."""
        if self._app is not None:
            scope["app"] = self._app
        if self._root_path:
            scope["root_path"] = self._root_path
        return self.resolve(scope)

    def entered(self, scope: Scope) -> Resolution:
        """Resolve a request that comes from outside the router's app; the scope is left as it is."""
        return self.enter(dict(scope))

    def resolve(self, scope: Scope) -> Resolution:
        """Return what the router would run; what was found before is remembered, for a bounded number of paths."""
        if not self.steady or scope.get("root_path") or scope.get("path_params"):
            return self._find(scope)
        asked = (scope["type"], scope.get("method"), scope["path"])
        known = self._known.get(asked)
        if known is None:
            known = self._find(scope)
            if len(asked[2]) <= _LONGEST_KNOWN:
                self._remember(asked, known)
        return known

    def _remember(self, asked: tuple[str, str | None, str], found: Resolution) -> None:
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known[asked] = Resolution(found.endpoint, MappingProxyType(dict(found.params)))

    def _find(self, scope: Scope) -> Resolution:
        """Return the first full match, else the first partial one, else what the router does with neither."""
        path = get_route_path(scope)
        candidates = self._candidates(scope, path)
        for candidate in candidates:
            found = candidate.full(scope, path)
            if found is not None:
                return found
        for candidate in candidates:
            found = candidate.partial(scope, path)
            if found is not None:
                return found
        if not self._frontends and self._otherwise is None:
            return UNROUTED
        return self._unmatched(scope, path)

    def _candidates(self, scope: Scope, path: str) -> tuple[Candidate, ...]:
        candidates: tuple[Candidate, ...] = self._indexes[scope["type"]].find(path)
        if not self._hosts:
            return candidates
        match, changes = _ANY_HOST.matches(scope)
        if match is Match.NONE:
            return candidates
        name = changes["path_params"]["host"]
        return merged(candidates, [candidate for matches, candidate in self._hosts if matches(name)])

    def _unmatched(self, scope: Scope, path: str) -> Resolution:
        """Return what stands behind the routes: a redirect, a frontend, a default app."""
        if self._redirects and scope["type"] == "http" and path != "/" and self._has_other_form(scope, path):
            return UNROUTED
        for answer in (Frontend.full, Frontend.partial):
            for frontend in self._frontends:
                found = answer(frontend, scope, path)
                if found is not None:
                    return found
        return UNROUTED if self._otherwise is None else Resolution(self._otherwise, params_of(scope))

    def _has_other_form(self, scope: Scope, path: str) -> bool:
        """Whether a route has this path with, or without, its last slash."""
        whole: str = scope["path"]
        other = {**scope, "path": whole.rstrip("/") if path.endswith("/") else whole + "/"}
        other_path = get_route_path(other)
        return any(
            (candidate.full(other, other_path) or candidate.partial(other, other_path)) is not None
            for candidate in self._candidates(other, other_path)
        )
