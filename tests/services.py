"""Small services under the stack, for tests."""

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute
from starlette.websockets import WebSocket

from forecourt import EndpointPolicy, FixedWindow, JobConfig, PolicyMiddleware
from forecourt.stores.contract import Store
from forecourt.types import Clock

TWO_A_MINUTE = EndpointPolicy(rate_limit=FixedWindow(limit=2, window=60))


async def text(_: Request) -> Response:
    """Answer a request."""
    return PlainTextResponse("done")


async def echo(socket: WebSocket) -> None:
    """Accept and say back what is said."""
    await socket.accept()
    async for said in socket.iter_text():
        await socket.send_text(said)


def starlette(
    config: JobConfig, *routes: BaseRoute, clock: Clock | None = None, store: Store | None = None
) -> Starlette:
    """Build a Starlette app under the whole stack."""
    installed = Middleware(PolicyMiddleware, config=config, clock=clock, store=store)
    return Starlette(routes=list(routes), middleware=[installed])
