"""Short ways to ask a route table."""

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.websockets import WebSocket

from forecourt.routing import Endpoint, Resolution, RouteTable
from forecourt.types import ASGIApp, Receive, Scope, Send
from tests.asgi import http, websocket


async def get_record(request: Request) -> Response:
    """Answer a request."""
    return PlainTextResponse("record")


async def put_record(request: Request) -> Response:
    """Answer another."""
    return PlainTextResponse("put")


async def listen(socket: WebSocket) -> None:
    """Take a WebSocket."""
    await socket.close()


async def opaque(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer without a router."""
    await PlainTextResponse("opaque")(scope, receive, send)


def resolve(app: ASGIApp, path: str, method: str = "GET", **more: object) -> Resolution:
    """Resolve one request on a new table."""
    return RouteTable.compile(app).resolve({**http(path, method), **more})


def websocket_name(app: ASGIApp, path: str) -> str | None:
    """Return the name of the endpoint of one WebSocket."""
    endpoint = RouteTable.compile(app).resolve(websocket(path)).endpoint
    return None if endpoint is None else endpoint.name


def name(app: ASGIApp, path: str, method: str = "GET", **more: object) -> str | None:
    """Return the name of the endpoint of one request, None where the router answers."""
    endpoint = resolve(app, path, method, **more).endpoint
    return None if endpoint is None else endpoint.name


def endpoints(app: ASGIApp, patterns: Mapping[str, str] | None = None) -> dict[str, Endpoint]:
    """Return the endpoints of an app by name."""
    return {endpoint.name: endpoint for endpoint in RouteTable.compile(app, patterns or {}).endpoints}
