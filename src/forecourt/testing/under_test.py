"""A service under test: its app and its policies in this process, without a server, a store or waiting.

    async with UnderTest(app, config) as service:
        answer = await service.get("/records/1")
        assert decisions(answer)["rate_limit"] == "allowed"
        service.clock.advance(60)

State lives in memory and time passes by `clock` alone. Give each test an app and a config of its own, from a function
that makes them: stacks of one config share their store and clock as long as they live.
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self
from urllib.parse import quote

from forecourt.config import JobConfig
from forecourt.decisions import Decision, Outcome
from forecourt.errors import ConfigError
from forecourt.observers import LISTENERS
from forecourt.responses import render
from forecourt.shared import shared_by
from forecourt.stores.contract import Store
from forecourt.stores.memory import MemoryStore
from forecourt.testing.clock import FakeClock
from forecourt.types import ASGIApp, Message, Scope


@dataclass(frozen=True)
class Answer:
    """One answer: `headers` by lower-case name (values of a repeated field joined by commas), and what was decided."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    decided: tuple[Decision, ...] = field(repr=False)

    def json(self) -> object:
        """Return the body, read as JSON."""
        return json.loads(self.body)


def decisions(answer: Answer) -> dict[str, Outcome]:
    """Return what each layer decided of the call, by the layer's name in the stack; its last word where it said more.

    A layer that was not reached, or that is off, is not there.
    """
    return {decision.layer: decision.outcome for decision in answer.decided}


class UnderTest:
    """Calls `app`, whose `PolicyMiddleware` has this `config`; a context manager that runs the app's lifespan.

    `clock` and `store` take the place of the config's: a `FakeClock` and an empty store in memory unless given. Make it
    before the app is called for the first time; ConfigError where the config is in use with another clock or store,
    and where it does not fit the app. `client` is the address that calls come from.
    """

    def __init__(
        self,
        app: ASGIApp,
        config: JobConfig,
        *,
        clock: FakeClock | None = None,
        store: Store | None = None,
        client: str = "192.0.2.1",
    ) -> None:
        self.app = app
        self.clock = clock or FakeClock()
        self.store: Store = store if store is not None else MemoryStore(self.clock)
        self.client = client
        self._shared = shared_by(config, self.store, self.clock, render)
        self._shared.listening = True
        self._to_app: asyncio.Queue[Message] = asyncio.Queue()
        self._from_app: asyncio.Queue[Message] = asyncio.Queue()
        self._lifespan: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Start the app, as a server does."""
        scope: Scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
        self._lifespan = asyncio.create_task(self._run(scope))
        await self._told("startup")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the app, as a server does."""
        assert self._lifespan is not None, "entered before"
        try:
            await self._told("shutdown")
        finally:
            await self._lifespan

    async def get(self, path: str, *, headers: Mapping[str, str] | None = None) -> Answer:
        """Call with GET."""
        return await self.call("GET", path, headers=headers)

    async def post(
        self, path: str, *, headers: Mapping[str, str] | None = None, json: object = None, body: bytes = b""
    ) -> Answer:
        """Call with POST; `json` is sent as JSON, `body` as it is."""
        return await self.call("POST", path, headers=headers, json=json, body=body)

    async def call(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        json: object = None,
        body: bytes = b"",
        client: str | None = None,
    ) -> Answer:
        """Call the app once and return the whole answer; what the app raises is raised.

        `path` may have a query. With `json` other than None, it is the body, and so says Content-Type.
        """
        fields = {name.lower(): value for name, value in (headers or {}).items()}
        if json is not None:
            body = _spelt(json)
            fields.setdefault("content-type", "application/json")
        if body:
            fields.setdefault("content-length", str(len(body)))
        exchange = _Call(body)
        scope = _scope(method, path, {"host": "testserver", **fields}, client or self.client)
        scope[LISTENERS] = (exchange.decided.append,)
        await self.app(scope, exchange.receive, exchange.send)
        return exchange.answer()

    async def _run(self, scope: Scope) -> None:
        await self.app(scope, self._to_app.get, self._from_app.put)

    async def _told(self, step: str) -> None:
        """Tell the app one step of its lifespan and wait until it is done; ConfigError when the app will not start."""
        assert self._lifespan is not None, "entered before"
        await self._to_app.put({"type": f"lifespan.{step}"})
        answered = asyncio.create_task(self._from_app.get())
        await asyncio.wait({answered, self._lifespan}, return_when=asyncio.FIRST_COMPLETED)
        if not answered.done():
            answered.cancel()
            return await self._lifespan
        message = answered.result()
        if message["type"] == "lifespan.startup.failed":
            await asyncio.wait({self._lifespan})
            if not self._lifespan.cancelled() and (error := self._lifespan.exception()):
                raise error
            raise ConfigError(message.get("message", "the app did not start"))


class _Call:
    """One request on its way, and what came back so far."""

    def __init__(self, body: bytes) -> None:
        self._request: Message | None = {"type": "http.request", "body": body, "more_body": False}
        self._start: Message = {}
        self._body = bytearray()
        self._over = asyncio.Event()
        self.decided: list[Decision] = []

    async def receive(self) -> Message:
        """Give the request; after the answer's end the client leaves."""
        request, self._request = self._request, None
        if request is not None:
            return request
        await self._over.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """Take the answer, message by message."""
        if message["type"] == "http.response.start":
            self._start = message
        elif message["type"] == "http.response.body":
            self._body += message.get("body", b"")
            if not message.get("more_body", False):
                self._over.set()

    def answer(self) -> Answer:
        """Return the whole answer."""
        fields: dict[str, str] = {}
        for name, value in self._start["headers"]:
            lower, text = name.decode("latin-1").lower(), value.decode("latin-1")
            fields[lower] = f"{fields[lower]}, {text}" if lower in fields else text
        return Answer(self._start["status"], fields, bytes(self._body), tuple(self.decided))


def _spelt(value: object) -> bytes:
    return json.dumps(value).encode()


def _scope(method: str, path: str, fields: Mapping[str, str], client: str) -> Scope:
    target, _, query = path.partition("?")
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": target,
        "raw_path": quote(target).encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields.items()],
        "client": (client, 50_000),
        "server": ("testserver", 80),
        "state": {},
    }
