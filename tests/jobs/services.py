"""A service whose endpoint is a job, for tests."""

import asyncio
import json
from typing import Annotated

from fastapi import FastAPI, HTTPException, Query, Request
from pydantic import BaseModel

from forecourt import (
    Credits,
    EndpointPolicy,
    Idempotency,
    JobConfig,
    Ledger,
    Offload,
    PolicyMiddleware,
    Principal,
    Quota,
)
from forecourt.exchange import exchange_of
from forecourt.policies import Accounts
from forecourt.stores.contract import Store
from forecourt.stores.memory import MemoryStore
from forecourt.testing import FakeClock
from forecourt.types import ASGIApp, Receive, Scope, Send
from tests.asgi import Answer, call, http
from tests.callers import settle_down

JSON = (b"content-type", b"application/json")


class Payload(BaseModel):
    """What the job takes."""

    size: int


class Reports:
    """`POST /reports/{name}` is a job; `GET /jobs/…` shows it. Callers are told apart by the field `x-user`.

    `go_on` lets handlers end; `status` is what they answer, `fails` how often they raise first.
    """

    def __init__(
        self,
        offload: Offload | None = None,
        *,
        credits_: Credits | None = None,
        idempotency: Idempotency | None = None,
        **config: object,
    ) -> None:
        self.clock = FakeClock()
        self.store: Store = MemoryStore(self.clock)
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.status = 200
        self.fails = 0
        self.runs: list[tuple[str, int, Principal | None]] = []
        self.seen: list[Request] = []
        policy = EndpointPolicy(offload=offload or Offload(), credits=credits_, idempotency=idempotency)
        self.config = JobConfig(
            default=EndpointPolicy(),
            endpoints={"make_report": policy},
            accounts=Accounts(quota=Quota(amount=100)),
            **config,  # type: ignore[arg-type]  # the tests' own words
        )
        self.api = self._api()
        self.app: ASGIApp = self.api

    def _api(self) -> FastAPI:
        api = FastAPI()
        api.add_middleware(_Users)
        api.add_middleware(PolicyMiddleware, config=self.config, store=self.store, clock=self.clock)

        @api.post("/reports/{name}")
        async def make_report(
            name: str, payload: Payload, request: Request, lines: Annotated[int, Query(ge=1)] = 1
        ) -> dict[str, object]:
            self.seen.append(request)
            self.runs.append((name, payload.size, request.state.forecourt.principal))
            request.state.forecourt.progress(0.5, "half")
            await self.go_on.wait()
            if self.fails > 0:
                self.fails -= 1
                raise RuntimeError("it failed")
            if self.status != 200:
                raise HTTPException(self.status, "as told")
            return {"name": name, "size": payload.size, "lines": lines}

        api.mount("/jobs", self.config.jobs, name="jobs")
        return api

    async def post(
        self, path: str = "/reports/a", body: object = None, *fields: tuple[bytes, bytes], user: str = "ali"
    ) -> Answer:
        """Ask for a report."""
        sent = json.dumps({"size": 3} if body is None else body).encode()
        scope = http(path, "POST", client=address(user), headers=[JSON, (b"x-user", user.encode()), *fields])
        path_, _, query = path.partition("?")
        scope.update({"path": path_, "query_string": query.encode()})
        return await call(self.app, scope, {"type": "http.request", "body": sent})

    async def ask(self, method: str, path: str, *fields: tuple[bytes, bytes], user: str = "ali") -> Answer:
        """Ask for a job."""
        return await call(self.app, http(path, method, client=address(user), headers=fields))

    async def status_of(self, location: str) -> dict[str, object]:
        """Return how a job stands, as its owner sees it."""
        shown: dict[str, object] = json.loads((await self.ask("GET", location)).body)
        return shown

    async def advance(self, seconds: float, step: float = 0.25) -> None:
        """Let time pass in steps, and everybody do what they wait for."""
        for _ in range(round(seconds / step)):
            self.clock.advance(step)
            await settle_down()

    async def balance(self, user: str = "ali") -> int:
        """Return what a caller has."""
        ledger = Ledger(self.store, self.config.namespace, self.config.accounts)
        return (await ledger.balance(("client", address(user)))).available


def address(user: str) -> str:
    """Return the client address of a user."""
    return f"192.0.2.{sum(user.encode()) % 250}"


class _Users:
    """Nothing of the stack: notes that jobs pass the app's own inner middlewares too."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            assert exchange_of(scope) is not None
        await self.app(scope, receive, send)
