"""Services with the console mounted, in process, for tests."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from forecourt import (
    Accounts,
    Cache,
    CircuitBreaker,
    Credits,
    EndpointPolicy,
    FixedWindow,
    JobConfig,
    Offload,
    Principal,
    Quota,
    Security,
)
from forecourt.stores.contract import Store
from forecourt.testing import FakeClock
from forecourt.types import Message, Scope
from tests.asgi import Answer, call, http
from tests.services import starlette, text

Told = dict[str, Any]

OPERATORS = EndpointPolicy(security=Security(roles={"operator"}))
PUBLIC = EndpointPolicy(security=Security(public=True))
GUARDED: Mapping[str, EndpointPolicy] = {"console:*": OPERATORS, "console:page": PUBLIC}


class ByHeader:
    """Believes `Bearer <role>`, and a cookie that says the role, which browsers would send by themselves."""

    challenge = "Bearer"

    async def authenticate(self, scope: Scope) -> Principal | None:
        """Return a caller of that role."""
        fields = dict(scope["headers"])
        said = fields.get(b"authorization", b"").decode().removeprefix("Bearer ")
        role = said or fields.get(b"cookie", b"").decode().removeprefix("role=")
        return Principal("https://issuer", "somebody", roles=frozenset({role})) if role else None


class Sink:
    """An audit sink that a test may break."""

    def __init__(self) -> None:
        self.records: list[dict[str, object]] = []
        self.broken = False

    async def keep(self, lines: Sequence[bytes]) -> None:
        """Keep, or fail."""
        if self.broken:
            raise OSError("disk full")
        self.records += [json.loads(line) for line in lines]

    def told(self) -> list[tuple[object, ...]]:
        """Return (event, action, outcome) of what operators did."""
        return [(each["event"], each["action"], each.get("outcome")) for each in self.records if "action" in each]


async def fails(_: Request) -> Response:
    """Answer 502."""
    return Response(status_code=502)


async def breaks(_: Request) -> Response:
    """Raise."""
    raise RuntimeError("planted")


async def kept(_: Request) -> Response:
    """Answer something that may be kept."""
    return PlainTextResponse("kept", headers={"cache-control": "max-age=60"})


def policies() -> dict[str, EndpointPolicy]:
    """Return policies with a bit of everything."""
    return {
        **GUARDED,
        "limited": EndpointPolicy(rate_limit=FixedWindow(limit=1, window=60, name="few", key="client")),
        "cached": EndpointPolicy(cache=Cache(partition="everyone")),
        "guarded": EndpointPolicy(circuit_breaker=CircuitBreaker(fail_max=2, name="upstream", reset_timeout=30)),
        "charged": EndpointPolicy(credits=Credits(amount=3)),
        "later": EndpointPolicy(offload=Offload(max_attempts=1)),
    }


class Service:
    """A service with the console mounted, on a clock that stands still."""

    def __init__(
        self,
        endpoints: Mapping[str, EndpointPolicy] | None = None,
        *more: BaseRoute,
        config: JobConfig | None = None,
        store: Store | None = None,
        clock: FakeClock | None = None,
        **words: object,
    ) -> None:
        self.clock = clock or FakeClock()
        self.config = config or JobConfig(
            default=EndpointPolicy(),
            endpoints=policies() if endpoints is None else endpoints,
            authenticators={"header": ByHeader()},
            accounts=Accounts(quota=Quota(amount=1000)),
            **words,  # type: ignore[arg-type]  # fields of the config
        )
        routes: list[BaseRoute] = [
            Route("/limited", text, name="limited"),
            Route("/cached", kept, name="cached"),
            Route("/guarded", fails, name="guarded"),
            Route("/charged", text, name="charged"),
            Route("/broken", breaks, name="broken"),
            Route("/later", breaks, methods=["POST"], name="later"),
            *more,
            Mount("/jobs", self.config.jobs, name="jobs"),
            Mount("/console", self.config.console, name="console"),
        ]
        self.app: Starlette = starlette(self.config, *routes, clock=self.clock, store=store)

    async def ask(
        self, path: str, role: str = "operator", method: str = "GET", body: bytes = b"", **fields: str
    ) -> Answer:
        """Ask the console for something."""
        headers = [(name.replace("_", "-").encode(), value.encode()) for name, value in fields.items()]
        if role:
            headers.append((b"authorization", f"Bearer {role}".encode()))
        path, _, query = path.partition("?")
        scope = {**http(f"/console/{path}", method, headers=headers), "query_string": query.encode()}
        received: Message = {"type": "http.request", "body": body, "more_body": False}
        return await call(self.app, scope, received)

    async def stream(self) -> list[str]:
        """Return the lines of a stream of events, heard to its end while time passes."""
        lines: list[str] = []
        begun: list[Message] = [{"type": "http.request", "body": b"", "more_body": False}]

        async def receive() -> Message:
            if begun:
                return begun.pop()
            await asyncio.Event().wait()
            raise AssertionError

        async def send(message: Message) -> None:
            lines.extend(message.get("body", b"").decode().splitlines())

        scope = http("/console/api/events", headers=[(b"authorization", b"Bearer operator")])
        hearing = asyncio.ensure_future(self.app(scope, receive, send))
        while not hearing.done():
            await asyncio.sleep(0.001)
            self.clock.advance(0.5)
        await hearing
        return lines

    async def state(self) -> Told:
        """Return what the console shows, gathered anew."""
        self.clock.advance(1)
        answer = await self.ask("api/state")
        assert answer.status == 200, answer.body
        told: Told = json.loads(answer.body)
        return told

    async def part(self, name: str) -> list[Told]:
        """Return one list of what the console shows."""
        told: list[Told] = (await self.state())[name]
        return told

    async def act(self, kind: str, role: str = "operator", /, **given: object) -> Answer:
        """Have the console act, of the worker that it shows."""
        worker = (await self.state())["worker"]
        body = json.dumps({"worker": worker["id"], **given}).encode()
        return await self.ask(f"api/actions/{kind}", role, "POST", body)

    async def visit(self, path: str, times: int = 1, method: str = "GET", client: str = "192.0.2.1") -> list[int]:
        """Call an endpoint; return the statuses (500 where it raised)."""
        statuses: list[int] = []
        for _ in range(times):
            try:
                statuses.append((await call(self.app, http(path, method, client))).status)
            except RuntimeError:
                statuses.append(500)
        return statuses


async def until(service: Service, name: str, true: str) -> Told:
    """Return the job of a queue once it stands so."""
    for _ in range(500):
        told = (await service.state())["jobs"]
        for queue in told["queues"]:
            for job in queue["jobs"]:
                if queue["name"] == name and job["status"] == true:
                    return {**job, "queue": name}
        await asyncio.sleep(0.01)
    raise TimeoutError(true)
