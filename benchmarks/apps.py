"""The apps that all is measured on: one endpoint that answers a record as JSON, and routes that are not asked."""

from collections.abc import Callable, Sequence
from typing import Any

from fastapi import FastAPI, Request
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from benchmarks.calls import ASGIApp

KB = 1024


class Record(BaseModel):
    """What the endpoint answers."""

    id: int
    name: str
    text: str


def record(record_id: int, size: int = KB) -> Record:
    """Return a record of about `size` bytes as JSON."""
    return Record(id=record_id, name="a record", text="x" * (size - 40))


def bare() -> ASGIApp:
    """Return an ASGI function without a framework, which answers a ready body to anything."""
    body = record(7).model_dump_json().encode()
    start = {
        "type": "http.response.start",
        "status": 200,
        "headers": [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))],
    }
    end = {"type": "http.response.body", "body": body}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await send(start)
            await send(end)

    return app


def other_paths(routes: int) -> list[str]:
    """Return the paths of all routes but the one that is asked."""
    return [f"/things{number}/{{thing_id}}" for number in range(routes - 1)]


def starlette(routes: int = 1) -> Starlette:
    """Return a Starlette app; the endpoint is the last of its routes."""

    async def get_record(request: Request) -> Response:
        return JSONResponse(record(int(request.path_params["record_id"])).model_dump())

    async def get_thing(_request: Request) -> Response:
        return JSONResponse({})

    others = [Route(path, get_thing, name=f"thing{at}") for at, path in enumerate(other_paths(routes))]
    return Starlette(routes=[*others, Route("/records/{record_id}", get_record)])


def fastapi(
    routes: int = 1,
    *,
    first: bool = False,
    dependencies: Sequence[Any] = (),
    decorate: Callable[[Any], Any] = lambda handler: handler,
    lifespan: Any = None,
    size: int = KB,
) -> FastAPI:
    """Return a FastAPI app; the endpoint is the last of its routes, or the first.

    `dependencies` and `decorate` are how a peer protects it: all peers get the same handler.
    """
    app = FastAPI(lifespan=lifespan)

    async def get_record(request: Request, record_id: int) -> Record:
        return record(record_id, size)

    async def post_record(request: Request) -> Record:
        return record(int((await request.json())["id"]), size)

    def add_endpoint() -> None:
        app.get("/records/{record_id}", dependencies=dependencies)(decorate(get_record))
        app.post("/records", dependencies=dependencies)(decorate(post_record))

    if first:
        add_endpoint()
    for at, path in enumerate(other_paths(routes)):
        app.get(path, name=f"thing{at}")(_get_thing)
    if not first:
        add_endpoint()
    return app


async def _get_thing() -> dict[str, str]:
    return {}


class NoOp(BaseHTTPMiddleware):
    """One `BaseHTTPMiddleware` that does nothing: the unit in which whole stacks are measured."""

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        """Pass on."""
        return await call_next(request)
