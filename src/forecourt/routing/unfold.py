"""Reading a router: its routes, and those of the routers mounted below it, as endpoints and candidates."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Literal, NamedTuple, Protocol, cast

from starlette.applications import Starlette
from starlette.routing import BaseRoute, Host, Mount, Route, Router, WebSocketRoute

from forecourt.routing.candidates import Asked, Candidate, Convertors, Frontend, Leaf, Matches, Mounted
from forecourt.routing.endpoints import Endpoint
from forecourt.routing.included import Counted, Shown, frontends_of, root_path_of, shown_by, versions_of
from forecourt.routing.index import ANY_PATH, Segments, segments_of
from forecourt.routing.routers import CompiledRouter
from forecourt.types import Scope

_OPAQUE = "/{path}"


class Place(NamedTuple):
    """Where a router stands: what its endpoints' names and paths begin with.

    `names` ends with a colon unless empty; `path` is a template without, `written` with convertors;
    `unnamed` is the path since the last named mount. `apps` are the apps of the mounts on the way:
    what `scope["endpoint"]` holds until a route of this router runs. `routers` guards against an app
    mounted below itself.
    """

    names: str = ""
    path: str = ""
    written: str = ""
    unnamed: str = ""
    apps: tuple[object, ...] = ()
    routers: tuple[int, ...] = ()

    def below(self, name: str | None, app: object, *, path: str = "", written: str = "") -> "Place":
        """Return the place inside a mount or host of this router."""
        return Place(
            names=self.names if name is None else f"{self.names}{name}:",
            path=self.path + path,
            written=self.written + written,
            unnamed=self.unnamed + path if name is None else "",
            apps=(*self.apps, app),
            routers=self.routers,
        )


_OUTERMOST = Place()


class Watched(NamedTuple):
    """A router and its routes when read; a list of another length or end has changed."""

    router: Router
    routes: list[BaseRoute]
    length: int
    last: BaseRoute | None


class _Template(Protocol):
    """A compiled path: what every route of Starlette's and FastAPI's has."""

    path_format: str
    path_regex: re.Pattern[str]

    @property
    def param_convertors(self) -> Convertors:
        """Return its parameters' convertors, by name."""
        ...


class _Gathered:
    """The candidates of one router, gathered by where they are looked up."""

    def __init__(self) -> None:
        self.http: list[tuple[Segments, Candidate]] = []
        self.websocket: list[tuple[Segments, Candidate]] = []
        self.hosts: list[tuple[Host, Asked]] = []

    def add(self, protocol: str, segments: Segments, candidate: Candidate) -> None:
        """Index a candidate for "http", "websocket" or "any" of them."""
        if protocol != "websocket":
            self.http.append((segments, candidate))
        if protocol != "http":
            self.websocket.append((segments, candidate))


class Unfolding:
    """One reading of an app's routes.

    `endpoints` are in the order of reading; `written` are their templates with convertors. `named`
    holds what the router may store in `scope["endpoint"]` for each, outermost mount first, and
    `opaque` those for which it may store something unknown. `renamed` gives endpoints, by their place
    in the order, another name.
    """

    def __init__(self, renamed: Mapping[int, str]) -> None:
        self.endpoints: list[Endpoint] = []
        self.written: list[str] = []
        self.named: dict[Endpoint, tuple[object, ...]] = {}
        self.opaque: set[Endpoint] = set()
        self.watched: list[Watched] = []
        self.versions: list[tuple[Counted, int]] = []
        self._renamed = renamed

    @classmethod
    def of(cls, endpoints: Iterable[Endpoint]) -> "Unfolding":
        """Return endpoints that were not read from a router, of which nothing else is known."""
        read = cls({})
        read.endpoints.extend(endpoints)
        read.opaque.update(endpoints)
        return read

    def app(self, app: object, place: Place = _OUTERMOST) -> CompiledRouter | None:
        """Compile an app's router, None where it shows none or stands below itself."""
        router = router_of(app)
        if router is None or id(router) in place.routers:
            return None
        place = place._replace(routers=(*place.routers, id(router)))
        routes = router.routes
        self.watched.append(Watched(router, routes, len(routes), routes[-1] if routes else None))
        self.versions.extend(versions_of(router))
        gathered = _Gathered()
        for order, shown in enumerate(shown_by(router)):
            self._route(gathered, order, shown, place)
        return CompiledRouter(
            http=gathered.http,
            websocket=gathered.websocket,
            hosts=gathered.hosts,
            frontends=[self._frontend(*each, place) for each in enumerate(frontends_of(router))],
            otherwise=self._default(router, place),
            redirects=router.redirect_slashes,
            app=app if isinstance(app, Starlette) else None,
            root_path=root_path_of(app),
        )

    def _route(self, gathered: _Gathered, order: int, shown: Shown, place: Place) -> None:
        route, shape, matches = shown
        if isinstance(route, Mount):
            gathered.add("any", *self._mount(route, order, matches, place))
        elif isinstance(route, Host) and _is_starlettes(route, "matches"):
            gathered.hosts.append((route, self._host(route, order, matches, place)))
        elif isinstance(route, Host):
            gathered.add("any", ANY_PATH, self._host(route, order, matches, place))
        elif isinstance(route, Route | WebSocketRoute) and _is_starlettes(route, "matches"):
            endpoint = self._at_handler(shape, place, _protocol_of(route))
            refuses = _is_starlettes(route, "handle")
            template = cast("_Template", shape)
            leaf = Leaf(order, template.path_regex, template.param_convertors, endpoint, refuses=refuses)
            gathered.add(endpoint.protocol, _segments(template), leaf)
        else:
            endpoint = self._at_handler(shape, place, _protocol_of(route))
            self.opaque.add(endpoint)
            gathered.add("any", ANY_PATH, Asked(order, matches, endpoint, _refuses(route, endpoint.methods)))

    def _at_handler(self, shape: object, place: Place, protocol: Literal["http", "websocket", "any"]) -> Endpoint:
        """Note a route that ends at a handler; a class of the app's own may lack any attribute."""
        path = getattr(shape, "path", "")
        name = getattr(shape, "name", None) or place.unnamed + path or type(shape).__name__
        methods = getattr(shape, "methods", None)
        return self._note(
            Endpoint(
                name=place.names + name,
                path=place.path + getattr(shape, "path_format", path),
                methods=frozenset(methods) if methods else None,
                protocol=protocol,
                handler=getattr(shape, "endpoint", None),
            ),
            place.written + path,
            place.apps,
        )

    def _mount(self, mount: Mount, order: int, matches: Matches, place: Place) -> tuple[Segments, Candidate]:
        path = mount.path_format.removesuffix(_OPAQUE)
        below = place.below(mount.name, mount.app, path=path, written=mount.path)
        name = place.names + (mount.name or place.unnamed + path or "/")
        inside = self._inside(getattr(mount, "_base_app", mount.app), below, name)
        if not _is_starlettes(mount, "matches"):
            return ANY_PATH, Asked(order, matches, inside, _never)
        return _segments(mount), Mounted(order, mount.path_regex, mount.param_convertors, mount.app, inside)

    def _host(self, host: Host, order: int, matches: Matches, place: Place) -> Asked:
        below = place.below(host.name, host.app)
        return Asked(order, matches, self._inside(host.app, below, place.names + (host.name or host.host)), _never)

    def _inside(self, app: object, place: Place, name: str) -> CompiledRouter | Endpoint:
        """Return the router of a mounted app, or the one endpoint that stands for it."""
        router = self.app(app, place)
        return self._unknown(name, place) if router is None else router

    def _unknown(self, name: str, place: Place) -> Endpoint:
        """Note an app of which nothing is known but where it stands."""
        endpoint = Endpoint(name, place.path + _OPAQUE, methods=None, protocol="any", handler=None)
        endpoint = self._note(endpoint, place.written + "/{path:path}", place.apps)
        self.opaque.add(endpoint)
        return endpoint

    def _frontend(self, order: int, path: str, place: Place) -> Frontend:
        endpoint = Endpoint(
            name=place.names + ((place.unnamed + path).rstrip("/") or "/"),
            path=place.path + path.rstrip("/") + _OPAQUE,
            methods=frozenset(("GET", "HEAD")),
            protocol="http",
            handler=None,
        )
        written = place.written + path.rstrip("/") + "/{path:path}"
        return Frontend(order, path, self._note(endpoint, written, place.apps))

    def _default(self, router: Router, place: Place) -> Endpoint | None:
        """Note the app that a router was given for what no route answers."""
        if router.default == router.not_found:
            return None
        return self._unknown(place.names + (place.unnamed or "/"), place)

    def _note(self, endpoint: Endpoint, written: str, apps: tuple[object, ...]) -> Endpoint:
        """Add an endpoint, under the name the config gave it if it did."""
        name = self._renamed.get(len(self.endpoints))
        if name is not None:
            endpoint = Endpoint(name, endpoint.path, endpoint.methods, endpoint.protocol, endpoint.handler)
        self.endpoints.append(endpoint)
        self.written.append(written)
        self.named[endpoint] = (*apps, endpoint.handler)
        return endpoint


def router_of(app: object) -> Router | None:
    """Return the Starlette router that an app is or holds, None where it shows none."""
    router = app if isinstance(app, Router) else getattr(app, "router", None)
    return router if isinstance(router, Router) else None


def _segments(template: _Template) -> Segments:
    return segments_of(template.path_format, template.path_regex, template.param_convertors)


def _is_starlettes(route: BaseRoute, method: str) -> bool:
    """Whether `matches` or `handle` is Starlette's or FastAPI's, not overridden by the app."""
    function = getattr(getattr(route, method), "__func__", None)
    return getattr(function, "__module__", None) in ("starlette.routing", "fastapi.routing")


def _protocol_of(route: BaseRoute) -> Literal["http", "websocket", "any"]:
    if isinstance(route, Route):
        return "http"
    return "websocket" if isinstance(route, WebSocketRoute) else "any"


def _refuses(route: BaseRoute, methods: Iterable[str] | None) -> Callable[[Scope], bool]:
    """Return whether the route answers 405 itself when it is given a request it matches in part."""
    if methods is None or not _is_starlettes(route, "handle"):
        return _never
    return lambda scope: scope["method"] not in methods


def _never(scope: Scope) -> bool:
    return False
