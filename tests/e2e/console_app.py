"""A service with every kind of trouble that its console should show, on a real port."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from forecourt import JobConfig, PolicyMiddleware, Principal
from forecourt.types import Scope
from tests.e2e.served import served
from tests.servers import free_port

POLICIES = """
keys = ["env:CONSOLE_KEY"]

[default]
rate_limit = { type = "token_bucket", max_tokens = 1000, refill_rate = 500 }

[endpoints."console:*"]
security = { roles = ["operator"] }
rate_limit = "off"

[endpoints."console:page"]
security = { public = true }

[endpoints.get_order]
cache = { ttl = 60, partition = "everyone" }
timeout = { seconds = 2 }

[endpoints.create_order]
circuit_breaker = { name = "payments", fail_max = 1000 }
credits = { amount = 2 }
max_body = 65536

[endpoints.list_orders]
rate_limit = { type = "fixed_window", limit = 3, window = 600, name = "listing", key = "client" }

[endpoints.quote]
circuit_breaker = { name = "exchange", fail_max = 3 }
retry = { max_attempts = 2, backoff = 0.001 }

[endpoints.make_report]
offload = { max_attempts = 1 }

[endpoints."admin:*"]
security = { roles = ["operator"] }

[accounts]
quota = { amount = 10000, every = "day" }
"""


class Bearer:
    """Believes `Bearer <role>`, for tests."""

    challenge = "Bearer"

    async def authenticate(self, scope: Scope) -> Principal | None:
        """Return a caller of that role."""
        said = dict(scope["headers"]).get(b"authorization", b"").decode()
        role = said.removeprefix("Bearer ")
        known = role in ("operator", "reader")
        return Principal("https://issuer.example", "night-shift", roles=frozenset({role})) if known else None


class Orders:
    """Handlers; every third order and every quote fails while `broken`."""

    def __init__(self) -> None:
        self.broken = True
        self.count = 0
        self.hangs = threading.Event()
        """Cleared: reports take until it is set."""
        self.hangs.set()

    async def get(self, _: Request) -> Response:
        """Return an order."""
        return JSONResponse({"id": 1})

    async def create(self, _: Request) -> Response:
        """Create one, or fail."""
        self.count += 1
        return Response(status_code=502 if self.broken and self.count % 3 == 0 else 201)

    async def quote(self, _: Request) -> Response:
        """Ask for a price, or fail."""
        return Response(status_code=503 if self.broken else 200)

    async def report(self, _: Request) -> Response:
        """Fail for good: the job dies."""
        while not self.hangs.is_set():
            await asyncio.sleep(0.02)
        raise RuntimeError("no paper")


class Running:
    """The service while it runs: its address, its config, its handlers."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "policies.toml"
        self.file.write_text(POLICIES, "utf-8")
        self.config = JobConfig.from_file(self.file, authenticators={"tests": Bearer()})
        self.orders = Orders()
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.app = Starlette(
            routes=[
                Route("/orders/{order_id:int}", self.orders.get, name="get_order"),
                Route("/orders", self.orders.create, methods=["POST"], name="create_order"),
                Route("/orders", self.orders.get, name="list_orders"),
                Route("/quotes", self.orders.quote, name="quote"),
                Route("/reports", self.orders.report, methods=["POST"], name="make_report"),
                Mount("/admin", routes=[Route("/users", self.orders.get, name="users")], name="admin"),
                Mount("/jobs", self.config.jobs, name="jobs"),
                Mount("/console", self.config.console, name="console"),
            ],
            middleware=[Middleware(PolicyMiddleware, config=self.config)],
        )

    def call(self) -> None:
        """Have callers meet all of it."""
        with httpx2.Client(base_url=self.url) as client:
            for _ in range(12):
                client.get("/orders/1")
                client.post("/orders")
                client.get("/orders")
                client.get("/quotes")
            client.get("/admin/users")
            client.get("/nowhere")
        self.report()

    def report(self) -> None:
        """Have a job."""
        with httpx2.Client(base_url=self.url) as client:
            assert client.post("/reports").status_code == 202

    def change_file(self) -> None:
        """Have the file say otherwise than what runs."""
        self.file.write_text(POLICIES.replace("limit = 3,", "limit = 30,").replace("max_body = 65536\n", ""), "utf-8")


@contextmanager
def running(folder: Path) -> Iterator[Running]:
    """Serve it from a thread until the block ends."""
    service = Running(folder)
    with served(service.app, service.port):
        yield service
