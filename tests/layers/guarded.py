"""A service of one endpoint under one policy, which tells what reached its handler."""

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute

from forecourt import EndpointPolicy, JobConfig
from forecourt.testing import FakeClock
from forecourt.types import Message
from tests.asgi import Answer, call, http, websocket
from tests.services import echo, starlette

Header = tuple[bytes, bytes]


class Guarded:
    """Endpoints `/` (any method) and the WebSocket `/echo`; `bodies` are those that the handler has read."""

    def __init__(self, policy: EndpointPolicy, *, headers: dict[str, str] | None = None, **config: object) -> None:
        self.clock = FakeClock()
        self.bodies: list[bytes] = []
        self.seen: list[str] = []
        self._headers = headers
        self.decisions: list[tuple[str, str]] = []
        settings = JobConfig(
            default=policy,
            on_decision=lambda _, decision: self.decisions.append(decision[:2]),
            **config,  # type: ignore[arg-type]  # the tests' own words
        )
        routes = [
            Route("/", self._read, methods=["GET", "POST", "PUT"], name="read"),
            WebSocketRoute("/echo", echo, name="echo"),
        ]
        self.app = starlette(settings, *routes, clock=self.clock)

    async def call(self, method: str = "GET", *fields: Header, client: str = "192.0.2.1", **scope: object) -> Answer:
        """Make a call without a body."""
        return await call(self.app, {**http("/", method, client=client, headers=fields), **scope})

    async def send(self, pieces: Sequence[bytes], *fields: Header, **scope: object) -> Answer:
        """Post a body in pieces."""
        messages: list[Message] = [{"type": "http.request", "body": each, "more_body": True} for each in pieces[:-1]]
        messages.append({"type": "http.request", "body": pieces[-1], "more_body": False})
        return await call(self.app, {**http("/", "POST", headers=fields), **scope}, *messages)

    async def connect(self, *fields: Header) -> Answer:
        """Open the WebSocket."""
        scope = websocket("/echo")
        scope["headers"] = [*scope["headers"], *fields]
        return await call(self.app, scope)

    async def _read(self, request: Request) -> Response:
        self.seen = sorted(request.headers)
        self.bodies.append(await request.body())
        return PlainTextResponse("done", headers=self._headers)
