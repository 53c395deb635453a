"""A service that does things, and counts how often: for calls with idempotency keys."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence

from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute

from forecourt import Credits, EndpointPolicy, Exchange, Idempotency, JobConfig
from forecourt.stores.contract import Store
from forecourt.stores.memory import MemoryStore
from forecourt.testing import FakeClock
from forecourt.types import ASGIApp, Message, Scope
from tests.asgi import Answer, http
from tests.callers import Caller, settle_down
from tests.services import echo, starlette

TYPES = "https://forecourt.dev/problems/"
EVERY_METHOD = ["GET", "POST", "PUT", "PATCH", "DELETE"]


class Keyed:
    """Endpoints `/`, `/other`, `/deaf`, `/stream`, `/events` and the WebSocket `/echo` under one policy.

    `answer` is what `/` answers; its handler waits for `go_on` where `slow`. `runs` counts its runs.
    """

    def __init__(
        self,
        policy: EndpointPolicy | None = None,
        *,
        clock: FakeClock | None = None,
        store: Store | None = None,
        config: JobConfig | None = None,
        **idempotency: object,
    ) -> None:
        self.clock = clock or FakeClock()
        self.store: Store = MemoryStore(self.clock) if store is None else store
        self.go_on = asyncio.Event()
        self.slow = False
        self.fails: BaseException | None = None
        self.answer: Response = PlainTextResponse("made", 201, {"location": "/records/1"})
        self.runs = self.after = 0
        self.seen: list[bytes] = []
        self.exchange: Exchange | None = None
        words = {"key": "client", **idempotency}
        policy = policy or EndpointPolicy(idempotency=Idempotency(**words))  # type: ignore[arg-type]  # its own words
        names = ("work", "other", "deaf", "stream", "events", "echo")
        config = config or JobConfig(endpoints=dict.fromkeys(names, policy))
        routes = [
            Route("/", self._work, name="work", methods=EVERY_METHOD),
            Route("/other", self._work, name="other", methods=EVERY_METHOD),
            Route("/deaf", self._deaf, name="deaf", methods=["POST"]),
            Route("/stream", self._stream, name="stream", methods=["POST"]),
            Route("/events", self._events, name="events", methods=["POST"]),
            WebSocketRoute("/echo", echo, name="echo"),
        ]
        self.app: ASGIApp = starlette(config, *routes, clock=self.clock, store=self.store)

    async def post(
        self,
        key: str | None = "k1",
        body: bytes = b"{}",
        path: str = "/",
        *,
        client: str = "192.0.2.1",
        method: str = "POST",
        headers: Sequence[tuple[bytes, bytes]] = (),
    ) -> Answer:
        """Make a call to its end."""
        caller = await self.begin(key, body, path, client=client, method=method, headers=headers)
        return await caller.end()

    async def begin(
        self,
        key: str | None = "k1",
        body: bytes = b"{}",
        path: str = "/",
        *,
        client: str = "192.0.2.1",
        method: str = "POST",
        headers: Sequence[tuple[bytes, bytes]] = (),
    ) -> "Poster":
        """Begin a call, and let it come as far as it can."""
        fields = [*headers, *([(b"idempotency-key", key.encode())] if key is not None else [])]
        scope = http(path.partition("?")[0], method, client, fields)
        scope["query_string"] = path.partition("?")[2].encode()
        poster = Poster(self.app, scope, body)
        await settle_down()
        return poster

    async def advance(self, seconds: float, step: float = 1) -> None:
        """Let time pass in steps, and everybody do what they wait for."""
        for _ in range(round(seconds / step)):
            self.clock.advance(step)
            await settle_down()

    def die(self) -> None:
        """Stop the heartbeat, as if the process had been killed; what is at work stays as it is."""
        assert self.exchange is not None
        self.exchange.runtime.heartbeat.stop()

    async def _begun(self, request: Request) -> None:
        self.exchange = request.state.forecourt
        self.runs += 1

    async def _work(self, request: Request) -> Response:
        await self._begun(request)
        self.seen.append(await request.body())
        if self.slow:
            await self.go_on.wait()
        if self.fails is not None:
            raise self.fails
        return self.answer

    async def _deaf(self, request: Request) -> Response:
        """Answer without reading the request, and go on after the answer."""
        await self._begun(request)
        return PlainTextResponse("made", 201, background=BackgroundTask(self._afterwards))

    async def _afterwards(self) -> None:
        self.after += 1

    async def _stream(self, request: Request) -> Response:
        await self._begun(request)

        async def said() -> AsyncIterator[bytes]:
            yield b"one"
            await self.go_on.wait()
            yield b"two"

        return StreamingResponse(said(), headers={"content-length": "6"} if request.query_params else None)

    async def _events(self, request: Request) -> Response:
        await self._begun(request)

        async def said() -> AsyncIterator[bytes]:
            while True:
                yield b"data: tick\n\n"
                await self.go_on.wait()
                await asyncio.sleep(0)

        return StreamingResponse(said(), media_type="text/event-stream")


class Poster(Caller):
    """A caller with a body, who may send it in parts, and leave in between."""

    def __init__(
        self, app: ASGIApp, scope: Scope, body: bytes = b"{}", *, parts: Sequence[bytes] | None = None
    ) -> None:
        self._parts = list(parts if parts is not None else [body])
        self._more = parts is not None
        self.broken = False
        super().__init__(app, scope)

    async def _receive(self) -> Message:
        if self._parts:
            part = self._parts.pop(0)
            return {"type": "http.request", "body": part, "more_body": bool(self._parts) or self._more}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if self.broken:
            raise OSError("the client has left")
        await super()._send(message)


def problem(answer: Answer) -> tuple[int, str]:
    """Return status and type of a problem."""
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status, json.loads(answer.body)["type"].removeprefix(TYPES)


def priced(amount: int = 2, **idempotency: object) -> EndpointPolicy:
    """Build a policy of a price and idempotency."""
    words = {"key": "client", **idempotency}
    return EndpointPolicy(
        credits=Credits(amount=amount),
        idempotency=Idempotency(**words),  # type: ignore[arg-type]  # its own words
    )
