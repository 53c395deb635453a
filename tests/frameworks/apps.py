"""One small service, written for each framework as its own docs write it: no word of policies in any handler.

GET  /records/{record_id}   a record, with how often it was read
PUT  /records/{record_id}   changes it
POST /orders                201, and counts
POST /upload                the length of what came, read piece by piece where the framework can
GET  /slow                  waits for an hour
GET  /broken                raises
GET  /stream                three pieces
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import cast

from forecourt.types import ASGIApp

PIECES = [b"one,", b"two,", b"three"]


class BrokenError(Exception):
    """What a handler raises."""


@dataclass
class Counts:
    """What the handlers did."""

    reads: int = 0
    orders: int = 0
    waiting: int = 0
    uploads: list[int] = field(default_factory=list)


async def pieces() -> AsyncIterator[bytes]:
    """Yield a stream."""
    for piece in PIECES:
        yield piece


def fastapi(counts: Counts) -> ASGIApp:
    """Build it with FastAPI."""
    from fastapi import FastAPI, Request
    from fastapi.responses import StreamingResponse

    app = FastAPI()

    @app.get("/records/{record_id}")
    async def get_record(record_id: int) -> dict[str, int]:
        counts.reads += 1
        return {"id": record_id, "reads": counts.reads}

    @app.put("/records/{record_id}")
    async def put_record(record_id: int) -> dict[str, int]:
        return {"id": record_id}

    @app.post("/orders", status_code=201)
    async def create_order() -> dict[str, int]:
        counts.orders += 1
        return {"order": counts.orders}

    @app.post("/upload")
    async def upload(request: Request) -> dict[str, int]:
        counts.uploads.append(len(await request.body()))
        return {"size": counts.uploads[-1]}

    @app.get("/slow")
    async def slow() -> None:
        counts.waiting += 1
        await asyncio.sleep(3600)

    @app.get("/broken")
    async def broken() -> None:
        raise BrokenError("planted")

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        return StreamingResponse(pieces(), media_type="text/plain")

    return app


def starlette(counts: Counts) -> ASGIApp:
    """Build it with Starlette."""
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response, StreamingResponse
    from starlette.routing import Route

    async def get_record(request: Request) -> Response:
        counts.reads += 1
        return JSONResponse({"id": int(request.path_params["record_id"]), "reads": counts.reads})

    async def put_record(request: Request) -> Response:
        return JSONResponse({"id": request.path_params["record_id"]})

    async def create_order(_: Request) -> Response:
        counts.orders += 1
        return JSONResponse({"order": counts.orders}, 201)

    async def upload(request: Request) -> Response:
        counts.uploads.append(len(await request.body()))
        return JSONResponse({"size": counts.uploads[-1]})

    async def slow(_: Request) -> Response:
        counts.waiting += 1
        await asyncio.sleep(3600)
        return Response()

    async def broken(_: Request) -> Response:
        raise BrokenError("planted")

    async def stream(_: Request) -> Response:
        return StreamingResponse(pieces(), media_type="text/plain")

    return Starlette(
        routes=[
            Route("/records/{record_id:int}", get_record, methods=["GET"]),
            Route("/records/{record_id:int}", put_record, methods=["PUT"]),
            Route("/orders", create_order, methods=["POST"]),
            Route("/upload", upload, methods=["POST"]),
            Route("/slow", slow),
            Route("/broken", broken),
            Route("/stream", stream),
        ]
    )


def litestar(counts: Counts) -> ASGIApp:
    """Build it with Litestar."""
    from litestar import Litestar, Request, get, post, put
    from litestar.response import Stream

    @get("/records/{record_id:int}")
    async def get_record(request: Request) -> dict[str, int]:  # type: ignore[type-arg]  # as its docs write it
        counts.reads += 1
        return {"id": request.path_params["record_id"], "reads": counts.reads}

    @put("/records/{record_id:int}")
    async def put_record(request: Request) -> dict[str, int]:  # type: ignore[type-arg]  # as its docs write it
        return {"id": request.path_params["record_id"]}

    @post("/orders")
    async def create_order() -> dict[str, int]:
        counts.orders += 1
        return {"order": counts.orders}

    @post("/upload", status_code=200)
    async def upload(request: Request) -> dict[str, int]:  # type: ignore[type-arg]  # as its docs write it
        counts.uploads.append(len(await request.body()))
        return {"size": counts.uploads[-1]}

    @get("/slow")
    async def slow() -> None:
        counts.waiting += 1
        await asyncio.sleep(3600)

    @get("/broken")
    async def broken() -> None:
        raise BrokenError("planted")

    @get("/stream", media_type="text/plain")
    async def stream() -> Stream:
        return Stream(pieces())

    handlers = [get_record, put_record, create_order, upload, slow, broken, stream]
    return cast("ASGIApp", Litestar(handlers, debug=False, openapi_config=None))


def quart(counts: Counts) -> ASGIApp:
    """Build it with Quart."""
    from quart import Quart, request

    app = Quart("records")

    @app.get("/records/<int:record_id>")
    async def get_record(record_id: int) -> dict[str, int]:
        counts.reads += 1
        return {"id": record_id, "reads": counts.reads}

    @app.put("/records/<int:record_id>")
    async def put_record(record_id: int) -> dict[str, int]:
        return {"id": record_id}

    @app.post("/orders")
    async def create_order() -> tuple[dict[str, int], int]:
        counts.orders += 1
        return {"order": counts.orders}, 201

    @app.post("/upload")
    async def upload() -> dict[str, int]:
        counts.uploads.append(len(await request.get_data()))
        return {"size": counts.uploads[-1]}

    @app.get("/slow")
    async def slow() -> str:
        counts.waiting += 1
        await asyncio.sleep(3600)
        return ""

    @app.get("/broken")
    async def broken() -> str:
        raise BrokenError("planted")

    @app.get("/stream")
    async def stream() -> tuple[AsyncIterator[bytes], int, dict[str, str]]:
        return pieces(), 200, {"content-type": "text/plain"}

    return cast("ASGIApp", app)


def django(counts: Counts) -> ASGIApp:
    """Build it with Django, as one module with its settings."""
    from django.conf import settings
    from django.core.asgi import get_asgi_application
    from django.http import HttpRequest, HttpResponseBase, JsonResponse, StreamingHttpResponse
    from django.urls import clear_url_caches, path, set_urlconf

    async def record(request: HttpRequest, record_id: int) -> JsonResponse:
        if request.method == "PUT":
            return JsonResponse({"id": record_id})
        counts.reads += 1
        return JsonResponse({"id": record_id, "reads": counts.reads})

    async def create_order(_: HttpRequest) -> JsonResponse:
        counts.orders += 1
        return JsonResponse({"order": counts.orders}, status=201)

    async def upload(request: HttpRequest) -> JsonResponse:
        counts.uploads.append(len(request.body))
        return JsonResponse({"size": counts.uploads[-1]})

    async def slow(_: HttpRequest) -> JsonResponse:
        counts.waiting += 1
        await asyncio.sleep(3600)
        return JsonResponse({})

    async def broken(_: HttpRequest) -> JsonResponse:
        raise BrokenError("planted")

    async def stream(_: HttpRequest) -> HttpResponseBase:
        return StreamingHttpResponse(pieces(), content_type="text/plain")

    routes = type("Routes", (), {})()
    routes.urlpatterns = [
        path("records/<int:record_id>", record),
        path("orders", create_order),
        path("upload", upload),
        path("slow", slow),
        path("broken", broken),
        path("stream", stream),
    ]
    if not settings.configured:
        settings.configure(DEBUG=False, ALLOWED_HOSTS=["*"], SECRET_KEY="for-tests", MIDDLEWARE=[], LOGGING_CONFIG=None)
    settings.ROOT_URLCONF = routes
    clear_url_caches()
    set_urlconf(None)
    return cast("ASGIApp", get_asgi_application())


APPS: dict[str, Callable[[Counts], ASGIApp]] = {
    "fastapi": fastapi,
    "starlette": starlette,
    "litestar": litestar,
    "quart": quart,
    "django": django,
}
"""By the package's name."""
