"""The app that says how the service is, to be mounted: `app.mount("/health", config.health, name="health")`.

The routes are there from the start, so that they can be mounted, named and put under policies; what answers them is
bound by the stack.
"""

from collections.abc import Awaitable, Callable
from typing import Protocol

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router

Check = Callable[[], Awaitable[str | None]]
"""Returns None where all is well, a word for operators where it is degraded; raises where it is not there."""


class TellsHealth(Protocol):
    """What answers the endpoints of health."""

    async def ready(self, request: Request) -> Response:
        """Say whether calls may come."""
        ...


class HealthApp(Router):
    """The endpoints `live`, `ready` and `startup`, an ASGI app to mount; equal only to itself.

    `live`: this process answers. `startup`: its stack has started. `ready`: calls may come.
    """

    def __init__(self) -> None:
        self._bound: TellsHealth | None = None
        self.checks: dict[str, Check] = {}
        """What `ready` asks, by name."""
        super().__init__(
            [
                Route("/live", self._live, methods=["GET"], name="live"),
                Route("/ready", self._ready, methods=["GET"], name="ready"),
                Route("/startup", self._startup, methods=["GET"], name="startup"),
            ]
        )

    def add(self, name: str, check: Check) -> None:
        """Have `ready` ask one thing more: an async function that returns None, a word, or raises."""
        self.checks[name] = check

    def bind(self, tells: TellsHealth | None) -> None:
        """Have `ready` answered; None: the service has not started, or is about to end."""
        self._bound = tells

    async def _live(self, _: Request) -> Response:
        return answer(200, b'{"status":"pass"}')

    async def _startup(self, _: Request) -> Response:
        return answer(200, b'{"status":"pass"}') if self._bound else answer(503, b'{"status":"fail"}')

    async def _ready(self, request: Request) -> Response:
        return await self._bound.ready(request) if self._bound else answer(503, b'{"status":"fail"}')


def answer(status: int, body: bytes) -> Response:
    """Return an answer in the format for health (draft-inadarei-api-health-check-06), never to be kept."""
    return Response(body, status, {"cache-control": "no-store"}, "application/health+json")
