"""Random route tables: drawn as plain values, built as Starlette and as FastAPI apps that say what ran."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import FastAPIError
from fastapi.routing import APIRoute
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.convertors import Convertor, register_url_convertor
from starlette.endpoints import HTTPEndpoint
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Host, Match, Mount, Route, Router, WebSocketRoute
from starlette.websockets import WebSocket

from forecourt.types import Receive, Scope, Send

RAN = "tests.ran"
UUID = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"


class Evens(Convertor[int]):
    """A convertor of the app's own, which spans a slash."""

    regex = "[02468]+(/[02468]+)?"

    def convert(self, value: str) -> int:
        """Return the digits as one number."""
        return int(value.replace("/", ""))

    def to_string(self, value: int) -> str:
        """Return the number."""
        return str(value)


register_url_convertor("evens", Evens())


def note(scope: Scope, who: object) -> None:
    """Leave a note of who ran, and with which path parameters."""
    scope[RAN].append((who, dict(scope.get("path_params", {}))))


def http_handler() -> Callable[[Request], Any]:
    """Return a new handler of requests that notes itself."""

    async def handler(request: Request) -> Response:
        note(request.scope, handler)
        return PlainTextResponse("handled")

    return handler


def websocket_handler() -> Callable[[WebSocket], Any]:
    """Return a new handler of WebSockets that notes itself."""

    async def handler(websocket: WebSocket) -> None:
        note(websocket.scope, handler)
        await websocket.close()

    return handler


def class_handler() -> type[HTTPEndpoint]:
    """Return a new endpoint class, which answers any method and notes itself."""

    class Handler(HTTPEndpoint):
        async def dispatch(self) -> None:
            note(self.scope, Handler)
            await PlainTextResponse("handled")(self.scope, self.receive, self.send)

    return Handler


class Opaque:
    """An app that shows no routes; it notes itself."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer anything."""
        note(scope, self)
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})
        else:
            await PlainTextResponse("opaque")(scope, receive, send)


class AnyCase(Route):
    """A route that overrides `matches`: its path is not sensitive to case."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match the path in lower case."""
        return super().matches({**scope, "path": scope["path"].lower()})


class Reluctant(Route):
    """A route that never matches fully, and answers anything that matches in part."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match in part."""
        match, changes = super().matches(scope)
        return (match if match is Match.NONE else Match.PARTIAL), changes

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the handler whatever the method."""
        await self.app(scope, receive, send)


class Lenient(Route):
    """A route that answers methods that are not its own."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the handler whatever the method."""
        await self.app(scope, receive, send)


class AnyCaseAPIRoute(APIRoute):
    """FastAPI's route with `matches` overridden."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match the path in lower case."""
        return super().matches({**scope, "path": scope["path"].lower()})


ROUTES = {"any_case": AnyCase, "reluctant": Reluctant, "lenient": Lenient}


@dataclass(frozen=True)
class Leaf:
    """A route: `kind` says of which class and with which handler."""

    kind: str
    path: str
    methods: tuple[str, ...]


@dataclass(frozen=True)
class Branch:
    """A mount, host or included router: `at` is its path, host pattern or prefix."""

    kind: str
    at: str
    name: str | None
    children: "Plan"


@dataclass(frozen=True)
class Plan:
    """A router: its routes in order, and what it does with a path that none of them has."""

    routes: tuple[Leaf | Branch, ...]
    redirects: bool
    default: bool


PARAMS = ("{%s}", "{%s:int}", "{%s:float}", "{%s:uuid}", "x-{%s}", "{%s}.json", "{%s:evens}", "{%s:path}")
LITERALS = ("a", "b", "a.json", "1", "2")
TEXTS = ("a", "b", "A", "1", "2", "24", "1.5", "x-a", "a.json", "", "é", "a\nb", "x-", UUID)
METHODS = (("GET",), ("POST",), ("GET", "POST"), ("HEAD",), ("DELETE",))
HOSTS = ("a.test", "b.test", "{sub}.test", "x{sub}")


@st.composite
def templates(draw: st.DrawFn, marks: str = "p", most: int = 3) -> str:
    """Draw a path template; parameters are named after `marks` and their position."""
    pieces = draw(st.lists(st.sampled_from((*LITERALS, *PARAMS)), min_size=0, max_size=most))
    path = "".join("/" + (piece % f"{marks}{n}" if "%s" in piece else piece) for n, piece in enumerate(pieces))
    return path or "/"


LEAVES = st.builds(
    Leaf,
    kind=st.sampled_from(("http", "http", "http", "websocket", "class", *ROUTES)),
    path=st.builds("{}{}".format, templates(), st.sampled_from(("", "", "/"))).map(lambda p: p.replace("//", "/")),
    methods=st.sampled_from(METHODS),
)


def branches(kinds: Sequence[str], depth: int) -> st.SearchStrategy[Branch]:
    """Draw a branch and what is below it."""
    below = plans(kinds, depth - 1)
    prefix = templates(f"q{depth}", 2).map(lambda path: path.rstrip("/"))
    name = st.sampled_from((None, None, "inner"))
    paths = st.builds(
        Branch, kind=st.sampled_from([k for k in kinds if k != "host"]), at=prefix, name=name, children=below
    )
    hosts = st.builds(Branch, kind=st.just("host"), at=st.sampled_from(HOSTS), name=name, children=below)
    return st.one_of(paths, paths, hosts)


def plans(kinds: Sequence[str], depth: int = 2) -> st.SearchStrategy[Plan]:
    """Draw a router with at most `depth` levels below it."""
    routes: st.SearchStrategy[Leaf | Branch] = LEAVES
    if depth:
        routes = st.one_of(LEAVES, LEAVES, branches(kinds, depth))
    return st.builds(
        Plan,
        routes=st.lists(routes, min_size=1 if depth == 2 else 0, max_size=5).map(tuple),
        redirects=st.booleans(),
        default=st.sampled_from((False, False, True)),
    )


def whole_templates(plan: Plan, above: str = "") -> Iterator[str]:
    """Yield the full template of every route of a plan."""
    for route in plan.routes:
        if isinstance(route, Leaf):
            yield above + route.path
        elif route.kind == "frontend":
            yield above + route.at + "/{rest}"
        else:
            at = above if route.kind == "host" else above + route.at
            yield at + "/{rest}"
            yield from whole_templates(route.children, at)


@dataclass(frozen=True)
class Asking:
    """A request to make."""

    protocol: str
    method: str
    path: str
    host: str
    root_path: str


@st.composite
def askings(draw: st.DrawFn, plan: Plan) -> Asking:
    """Draw a request: to a route's template filled in, bent a little, or to any path."""
    known = [*whole_templates(plan)] or ["/"]
    texts = st.sampled_from(TEXTS)
    path = draw(
        st.one_of(
            st.sampled_from(known).map(lambda template: re.sub(r"{\w+(:\w+)?}", lambda _: draw(texts), template)),
            st.lists(texts, max_size=5).map(lambda pieces: "/" + "/".join(pieces)),
        )
    )
    bend = draw(st.sampled_from(("", "", "", "/", "\n", "//", "/a", "strip")))
    path = path.rstrip("/") if bend == "strip" else path + bend
    root_path = draw(st.sampled_from(("", "", "/root", "/a")))
    return Asking(
        protocol=draw(st.sampled_from(("http", "http", "http", "websocket"))),
        method=draw(st.sampled_from(("GET", "GET", "POST", "HEAD", "OPTIONS"))),
        path=root_path + path if draw(st.booleans()) else path,
        host=draw(st.sampled_from(("a.test", "A.test", "b.test:80", "c.test", "xyz", ""))),
        root_path=root_path,
    )


def starlette_routes(plan: Plan) -> list[BaseRoute]:
    """Build the routes of a plan from Starlette's classes."""
    return [starlette_route(route) for route in plan.routes]


def starlette_route(route: Leaf | Branch) -> BaseRoute:
    """Build one route from Starlette's classes."""
    if isinstance(route, Leaf):
        if route.kind == "websocket":
            return WebSocketRoute(route.path, websocket_handler())
        if route.kind == "class":
            return Route(route.path, class_handler())
        return ROUTES.get(route.kind, Route)(route.path, http_handler(), methods=route.methods)
    if route.kind == "opaque":
        return Mount(route.at, app=Opaque(), name=route.name)
    if route.kind == "app":
        return Mount(route.at, app=Starlette(routes=starlette_routes(route.children)), name=route.name)
    router = starlette_router(route.children)
    if route.kind == "host":
        return Host(route.at, app=router, name=route.name)
    return Mount(route.at, app=router, name=route.name)


def starlette_router(plan: Plan) -> Router:
    """Build a router from Starlette's classes."""
    default = Opaque() if plan.default else None
    return Router(starlette_routes(plan), redirect_slashes=plan.redirects, default=default)


def starlette_app(plan: Plan) -> Starlette:
    """Build an app from Starlette's classes."""
    app = Starlette(routes=starlette_routes(plan))
    app.router.redirect_slashes = plan.redirects
    if plan.default:
        app.router.default = Opaque()
    return app


@dataclass
class Frontends:
    """The frontends of an app: their pages lie in `directory`, page n says "frontend n" and is served at `at[n]`."""

    directory: Path
    at: list[str] = field(default_factory=list)

    def add(self, router: APIRouter, path: str) -> None:
        """Serve the next page, where this version of FastAPI can and there is one left."""
        page = self.directory / str(len(self.at))
        if hasattr(router, "frontend") and page.exists():
            router.frontend(path or "/", directory=page, fallback="index.html")
            self.at.append(path.rstrip("/"))


def fastapi_app(plan: Plan, frontends: Frontends) -> FastAPI:
    """Build an app from FastAPI's classes."""
    app = FastAPI(openapi_url=None, redirect_slashes=plan.redirects)
    if plan.default:
        app.router.default = Opaque()
    fill(app.router, plan, frontends)
    return app


def fill(router: APIRouter, plan: Plan, frontends: Frontends) -> None:
    """Add the routes of a plan to a router of FastAPI's."""
    for route in plan.routes:
        if isinstance(route, Leaf):
            add(router, route)
        elif route.kind == "frontend":
            frontends.add(router, route.at)
        elif route.kind == "include":
            below = APIRouter(redirect_slashes=route.children.redirects)
            fill(below, route.children, frontends)
            # FastAPI refuses an empty path below an empty prefix, old versions a host below one.
            with suppress(FastAPIError, AttributeError):
                router.include_router(below, prefix=route.at)
        elif route.kind == "app":
            router.mount(route.at, fastapi_app(route.children, frontends), name=route.name)
        elif route.kind == "host":
            below = APIRouter(redirect_slashes=route.children.redirects)
            fill(below, route.children, frontends)
            router.host(route.at, below, name=route.name)
        else:
            router.routes.append(starlette_route(route))


def add(router: APIRouter, route: Leaf) -> None:
    """Add one route to a router of FastAPI's."""
    if route.kind == "websocket":
        router.add_api_websocket_route(route.path, websocket_handler())
    elif route.kind == "http":
        router.add_api_route(route.path, http_handler(), methods=[*route.methods])
    elif route.kind == "any_case":
        override = AnyCaseAPIRoute
        router.add_api_route(route.path, http_handler(), methods=[*route.methods], route_class_override=override)
    else:
        router.routes.append(starlette_route(route))
