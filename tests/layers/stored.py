"""A service that stores answers, replays, jobs and results, and what of it is in a store."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import cast

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route

from forecourt import Cache, Encryption, EndpointPolicy, Idempotency, JobConfig, Offload, PolicyMiddleware, Principal
from forecourt.inspection import stack_of
from forecourt.jobs.queues import queue_at
from forecourt.jobs.worker import Worker
from forecourt.policies import Security, Webhooks
from forecourt.stores.contract import Store
from forecourt.stores.lanes import LanedStore
from forecourt.stores.redis.client import Client
from forecourt.stores.redis.store import RedisStore
from forecourt.types import ASGIApp, Message, Scope, SystemClock
from tests.asgi import Answer, call, http
from tests.jobs.receivers import SPELT
from tests.servers import Valkey

OLD, NEW = b"o" * 32, b"n" * 32
PLANTED = "PLANTED-IN-PLAIN"
ASKED = "ASKED-IN-PLAIN"
CALLED = "CALLED-IN-PLAIN"


class ByTenant:
    """Believes the field `x-tenant`; the subject is always the same."""

    challenge = "Field"

    async def authenticate(self, scope: Scope) -> Principal | None:
        """Return the caller."""
        tenant = next((value for name, value in scope["headers"] if name == b"x-tenant"), b"acme")
        return Principal("field", "alice", tenant.decode())


class Stores:
    """`POST /pay` is idempotent, `GET /record` cached, `POST /report` a job; `runs` counts handlers."""

    def __init__(
        self, url: str, keys: Sequence[bytes] = (NEW,), *, at_rest: bool = True, store: Store | None = None
    ) -> None:
        self.runs = 0
        encryption = Encryption(at_rest=at_rest)
        known = Security(schemes={"field"})
        in_process = url.startswith("memory:")
        self.config = JobConfig(
            store=url,
            webhooks=None if in_process else Webhooks.model_validate({"secrets": [SPELT.encode()]}),
            keys=keys,
            authenticators={"field": ByTenant()},
            default=EndpointPolicy(encryption=encryption, security=known, logging="off"),
            endpoints={
                "pay": EndpointPolicy(idempotency=Idempotency()),
                "record": EndpointPolicy(cache=Cache(ttl=60, vary=("x-kind",))),
                "report": EndpointPolicy(
                    offload=Offload(callback=None if in_process else f"https://a.example/{CALLED}")
                ),
            },
        )
        routes = [
            Route("/pay", self._answer, methods=["POST"], name="pay"),
            Route("/record", self._answer, name="record"),
            Route("/report", self._answer, methods=["POST"], name="report"),
            Mount("/jobs", self.config.jobs, name="jobs"),
        ]
        self.app = Starlette(routes=routes)
        if store is None and not in_process:
            store = patient(url)
        self.app.add_middleware(PolicyMiddleware, config=self.config, store=store)

    async def _answer(self, request: Request) -> Response:
        self.runs += 1
        await request.body()
        return PlainTextResponse(f"{PLANTED} {self.runs}", headers={"x-said": PLANTED})

    async def pay(self, key: str = "k", tenant: str = "acme") -> Answer:
        """Make the call that is carried out once."""
        return await self._post("/pay", (b"idempotency-key", key.encode()), (b"x-tenant", tenant.encode()))

    async def record(self, kind: str = "a") -> Answer:
        """Read what is cached, of one kind."""
        return await call(self.app, http("/record", headers=[(b"x-kind", kind.encode())]))

    async def report(self, *fields: tuple[bytes, bytes]) -> Answer:
        """Ask for the job."""
        return await self._post("/report", *fields)

    async def job(self, location: str, tenant: str = "acme") -> Answer:
        """Look at a job, or its result."""
        return await call(self.app, http(location, headers=[(b"x-tenant", tenant.encode())]))

    async def _post(self, path: str, *fields: tuple[bytes, bytes]) -> Answer:
        received: Message = {"type": "http.request", "body": ASKED.encode(), "more_body": False}
        return await call(self.app, http(path, "POST", headers=fields), received)

    async def ended(self, location: str) -> Answer:
        """Return how a job stands once it has ended."""
        async with asyncio.timeout(10):
            while True:
                answer = await self.job(location)
                if b'"queued"' not in answer.body and b'"running"' not in answer.body:
                    return answer
                await asyncio.sleep(0.01)

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Work on the jobs of a queue outside of the process, as the command does."""
        stack = stack_of(self.app, "offload")
        clock = SystemClock()
        queue = queue_at(self.config.store, self.config.namespace, "default", clock)
        await queue.open()
        worker = Worker(queue, stack.jobs.queues.envelopes("default"), stack.jobs.run, stack.jobs.ended, clock)
        worker.start()
        try:
            yield
        finally:
            await worker.drain(1)
            await queue.close()


@asynccontextmanager
async def started(*services: Stores) -> AsyncIterator[None]:
    """Have these apps started, and stop them."""
    async with asyncio.TaskGroup() as group:
        lives = [_Life(service.app) for service in services]
        for life in lives:
            life.begin(group)
            await life.started.wait()
        yield
        for life in lives:
            life.stopping.set()


class _Life:
    """The lifespan of an app."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.started, self.stopping = asyncio.Event(), asyncio.Event()
        self._first = True

    def begin(self, group: asyncio.TaskGroup) -> None:
        scope: Scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
        group.create_task(self._run(scope))

    async def _run(self, scope: Scope) -> None:
        await self.app(scope, self._receive, self._send)

    async def _receive(self) -> Message:
        if self._first:
            self._first = False
            return {"type": "lifespan.startup"}
        await self.stopping.wait()
        return {"type": "lifespan.shutdown"}

    async def _send(self, message: Message) -> None:
        assert not message["type"].endswith("failed"), message
        self.started.set()


def patient(url: str) -> Store:
    """Return the store as it is, but for its deadlines: what is tested here is not how fast a busy machine answers."""
    client = Client(url, deadline=5, bodies_deadline=5)
    return LanedStore(RedisStore(client), RedisStore(client, lane="bodies"))


Held = tuple[bytes, bytes | None, bytes]
"""A key, the field of a hash there, and what it holds."""


def dumped(valkey: Valkey) -> list[Held]:
    """Return all that a server holds: keys, the fields of hashes, members, and values."""
    keys = cast("list[bytes]", valkey.ask("KEYS", "*"))
    return [held for key in keys for held in _held(valkey, key)]


_READS: dict[object, tuple[str | int, ...]] = {
    b"string": ("GET",),
    b"list": ("LRANGE", 0, -1),
    b"zset": ("ZRANGE", 0, -1),
    b"set": ("SMEMBERS",),
    b"hash": ("HGETALL",),
}


def _held(valkey: Valkey, key: bytes) -> list[Held]:
    kind = valkey.ask("TYPE", key)
    if kind == b"none":
        return []  # its time was over in between
    command, *rest = _READS[kind]
    read = valkey.ask(command, key, *rest)
    if kind == b"string":
        return [(key, None, cast("bytes", read))]
    found = cast("list[bytes]", read)
    if kind == b"hash":
        return [(key, field, value) for field, value in zip(found[::2], found[1::2], strict=True)]
    return [(key, None, member) for member in found]
