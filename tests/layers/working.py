"""A service whose calls are at work until a test says that they may go on."""

import asyncio
from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute

from forecourt import EndpointPolicy, Exchange, JobConfig
from forecourt.stores.contract import Store
from forecourt.stores.memory import MemoryStore
from forecourt.testing import FakeClock
from forecourt.types import ASGIApp
from tests.callers import Caller, settle_down
from tests.services import echo, starlette


class Service:
    """Endpoints `/`, `/stream` and the WebSocket `/echo`, all under one policy, on a clock that stands still.

    `price` is what the handlers charge for each thing they do; `status` what they answer with.
    """

    def __init__(
        self,
        policy: EndpointPolicy,
        *,
        clock: FakeClock | None = None,
        store: Store | None = None,
        **config: object,
    ) -> None:
        self.clock = clock or FakeClock()
        self.store: Store = MemoryStore(self.clock) if store is None else store
        self.go_on = asyncio.Event()
        self.fails = False
        self.price: int | None = None
        self.status = 200
        self.exchange: Exchange | None = None
        self.at_work = self.most = self.calls = 0
        routes = [
            Route("/", self._work, name="work"),
            Route("/stream", self._stream, name="stream"),
            WebSocketRoute("/echo", echo, name="echo"),
        ]
        settings = JobConfig(default=policy, **config)  # type: ignore[arg-type]  # the tests' own words
        self.app: ASGIApp = starlette(settings, *routes, clock=self.clock, store=self.store)

    async def begin(self, path: str = "/", client: str = "192.0.2.1") -> Caller:
        """Begin a call."""
        return await Caller.begin(self.app, path, client)

    async def call(self, path: str = "/", client: str = "192.0.2.1") -> Caller:
        """Make a call that is not held up, to its end."""
        self.go_on.set()
        caller = await self.begin(path, client)
        await caller.end()
        self.go_on.clear()
        return caller

    async def advance(self, seconds: float, step: float = 1) -> None:
        """Let time pass in steps, and everybody do what they wait for."""
        for _ in range(round(seconds / step)):
            self.clock.advance(step)
            await settle_down()

    def die(self) -> None:
        """Stop the heartbeat, as if the process had been killed; what is at work stays as it is."""
        assert self.exchange is not None
        self.exchange.runtime.heartbeat.stop()

    async def _work(self, request: Request) -> Response:
        self._begun(request)
        self.most = max(self.most, self.at_work)
        try:
            await self.go_on.wait()
            self._charge()
            if self.fails:
                raise RuntimeError("it failed")
            return PlainTextResponse("done", self.status)
        finally:
            self.at_work -= 1

    async def _stream(self, request: Request) -> Response:
        self._begun(request)

        async def said() -> AsyncIterator[str]:
            self._charge()
            yield "one"
            await self.go_on.wait()
            if self.fails:
                raise RuntimeError("it failed")
            self._charge()
            yield "two"

        self.at_work -= 1
        return StreamingResponse(said(), self.status)

    def _begun(self, request: Request) -> None:
        self.exchange = request.state.forecourt
        self.calls += 1
        self.at_work += 1

    def _charge(self) -> None:
        if self.price is not None:
            assert self.exchange is not None
            self.exchange.charge(self.price)
