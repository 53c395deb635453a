"""A service of records behind the cache: what it answers is up to each test."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from forecourt import EndpointPolicy, JobConfig, PolicyMiddleware
from forecourt.exchange import exchange_of
from forecourt.principals import Principal
from forecourt.stack import LAYERS
from forecourt.stores.contract import Store
from forecourt.stores.memory import MemoryStore
from forecourt.testing import FakeClock
from forecourt.types import ASGIApp, Receive, Scope, Send
from tests.asgi import Answer, call, http

Fields = Sequence[tuple[bytes, bytes]]


class SignedIn:
    """Stands where auth does: the caller is who `x-user` says."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Name the principal and call on."""
        user = dict(scope.get("headers", ())).get(b"x-user")
        if user is not None:
            exchange_of(scope).principal = Principal("https://issuer", user.decode(), tenant=user.decode()[:1])
        await self.app(scope, receive, send)


class Records:
    """`/records/{record_id}` answers `answer(request)`, by default the number of the run; a POST there writes.

    `held`: runs wait for `go_on`.
    """

    def __init__(
        self,
        policy: EndpointPolicy,
        *,
        clock: FakeClock | None = None,
        store: Store | None = None,
        answer: Callable[[Request, int], Response] | None = None,
        writes: EndpointPolicy | None = None,
        **config: object,
    ) -> None:
        self.clock = clock or FakeClock()
        self.store: Store = MemoryStore(self.clock) if store is None else store
        self.runs = 0
        self.requests: list[Request] = []
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.fails = False
        self.write: Callable[[Request], Awaitable[Response]] | None = None
        self._answer = answer or (lambda _, run: Response(f"run {run}", media_type="text/plain"))
        self.config = JobConfig(
            endpoints={"get_record": policy, "write_record": writes or EndpointPolicy()},
            default=EndpointPolicy(),
            **config,  # type: ignore[arg-type]  # the tests' own words
        )
        routes = [
            Route("/records/{record_id}", self._get, methods=["GET"], name="get_record"),
            Route("/records/{record_id}", self._write, methods=["PUT"], name="write_record"),
            Route("/records", self._write, methods=["POST"], name="create_record"),
        ]
        inner = PolicyMiddleware(
            Starlette(routes=routes), config=self.config, layers=LAYERS[1:], clock=self.clock, store=self.store
        )
        self.app = PolicyMiddleware(SignedIn(inner), config=self.config, layers=LAYERS[:1])

    async def get(self, path: str = "/records/1", *fields: tuple[bytes, bytes], method: str = "GET") -> Answer:
        """Make a request with these fields."""
        path, _, query = path.partition("?")
        scope = http(path, method, headers=list(fields))
        scope["query_string"] = query.encode()
        return await call(self.app, scope)

    async def _get(self, request: Request) -> Response:
        self.runs += 1
        run = self.runs
        self.requests.append(request)
        await self.go_on.wait()
        if self.fails:
            raise RuntimeError("it failed")
        return self._answer(request, run)

    async def _write(self, request: Request) -> Response:
        self.requests.append(request)
        return await self.write(request) if self.write else self._answer(request, 0)
