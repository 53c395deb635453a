"""How the service says how it is."""

import asyncio
import json

import pytest
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from forecourt import CircuitBreaker, ConfigError, EndpointPolicy, HealthChecks, JobConfig, Principal, Security
from forecourt.config_health import HealthApp
from forecourt.stores.memory import MemoryStore
from forecourt.testing import FakeClock
from forecourt.types import Scope
from tests.asgi import call, get, http
from tests.layers.shared import Shared
from tests.servers import Valkey
from tests.services import starlette, text


class ByHeader:
    """Believes the header `x-role`, for tests."""

    challenge = "Header"

    async def authenticate(self, scope: Scope) -> Principal | None:
        """Return a caller of that role."""
        role = dict(scope["headers"]).get(b"x-role")
        return Principal("test", "somebody", roles=frozenset({role.decode()})) if role else None


class Watched:
    """A service with its health mounted, on a clock that stands still."""

    def __init__(self, url: str = "memory://", **words: object) -> None:
        self.clock = FakeClock()
        self.store = Shared(MemoryStore(self.clock))
        breaker = EndpointPolicy(circuit_breaker=CircuitBreaker(fail_max=1, name="upstream"))
        self.config = JobConfig(
            default=EndpointPolicy(),
            endpoints={"here": breaker, "health:*": EndpointPolicy(security=Security(anonymous=True))},
            authenticators={"header": ByHeader()},
            store=url,
            health_checks=HealthChecks(**words),  # type: ignore[arg-type]  # its own words
        )
        routes = [Mount("/health", self.config.health, name="health"), Route("/here", text, name="here")]
        store = None if url != "memory://" else self.store
        self.app = starlette(self.config, *routes, clock=self.clock, store=store)

    async def ask(self, path: str = "/health/ready") -> tuple[int, dict[str, object]]:
        """Return status and document."""
        answer = await get(self.app, path)
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["content-type"] == "application/health+json"
        return answer.status, json.loads(answer.body)

    async def found(self, role: str) -> dict[str, tuple[str, str]]:
        """Return what each check found, as a caller of this role is told."""
        told = json.loads((await call(self.app, http("/health/ready", headers=[(b"x-role", role.encode())]))).body)
        checks = told.get("checks", {})
        return {name: (each["status"], each.get("output", "")) for name, (each,) in checks.items()}


async def test_all_is_well() -> None:
    """All three say so, and nobody but the role is told of checks."""
    service = Watched(role="operator")
    for path in ("/health/live", "/health/ready", "/health/startup"):
        assert await service.ask(path) == (200, {"status": "pass"})


async def test_a_store_that_is_gone_makes_it_degraded_not_dead() -> None:
    """As each policy says what happens then; fatal only where the operator says so."""
    service, strict = Watched(cache=0), Watched(cache=0, fatal={"store"})
    await service.ask()
    await strict.ask()
    service.store.down = strict.store.down = True
    assert await service.ask() == (200, {"status": "warn"})
    assert await strict.ask() == (503, {"status": "fail"})
    strict.store.down = False
    assert await strict.ask() == (200, {"status": "pass"})


async def test_a_real_server_gone_is_degraded(valkey: Valkey) -> None:
    """Within the deadline of the checks, and well again by itself."""
    service = Watched(valkey.url, cache=0)
    assert await service.ask() == (200, {"status": "pass"})
    valkey.stop()
    try:
        assert await service.ask() == (200, {"status": "warn"})
    finally:
        valkey.start()


async def test_open_breakers_make_it_degraded() -> None:
    """And are named to the role."""
    service = Watched(role="operator")
    await service.ask()
    service.config.breaker("upstream").open()
    service.clock.advance(2)
    assert await service.ask() == (200, {"status": "warn"})
    assert await service.found("operator") == {"store": ("pass", ""), "breakers": ("warn", "not closed: upstream")}
    assert await service.found("reader") == {}


async def test_what_one_adds_is_asked_too() -> None:
    """Well, degraded, failed or too slow; a `database` that fails is fatal, as calls would fail with it."""
    service = Watched(cache=0, deadline=0.01, role="operator")
    word: list[str | None] = [None]

    async def check() -> str | None:
        return word[0]

    async def fail() -> str | None:
        raise OSError("postgres://user:planted@db refused")

    async def hang() -> str | None:
        await asyncio.Event().wait()
        return None

    service.config.health.add("queue", check)
    assert await service.ask() == (200, {"status": "pass"})
    word[0] = "long"
    assert await service.ask() == (200, {"status": "warn"})
    service.config.health.add("mail", hang)
    assert await service.ask() == (200, {"status": "warn"})
    service.config.health.add("database:main", fail)
    assert await service.ask() == (503, {"status": "fail"})
    found = await service.found("operator")
    assert found["mail"] == ("fail", "does not answer in time")
    assert found["database:main"] == ("fail", "OSError")


async def test_many_who_ask_cost_as_much_as_one() -> None:
    """An outcome is told again for a moment, and those who ask at once wait for the same."""
    service = Watched(cache=5)
    asked = 0

    async def check() -> str | None:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0)
        return None

    service.config.health.add("own", check)
    await asyncio.gather(*(service.ask() for _ in range(50)))
    service.clock.advance(4.9)
    await service.ask()
    assert asked == 1
    service.clock.advance(0.1)
    await service.ask()
    assert asked == 2


async def test_without_a_stack_it_has_not_started() -> None:
    """The process lives; it is not ready, and says so."""
    app = HealthApp()
    statuses = [(await get(app, path)).status for path in ("/live", "/ready", "/startup")]
    assert statuses == [200, 503, 503]


def test_it_is_ready_from_the_lifespans_start_to_its_end() -> None:
    """While the service ends no more calls may come."""
    service = Watched()
    with TestClient(service.app) as client:
        assert client.get("/health/startup").status_code == 200
    assert service.config.health._bound is None


def test_wrong_words_stop_the_start() -> None:
    """As everywhere."""
    with pytest.raises(ConfigError, match=r"health_checks\.deadline: 0 is not allowed: must be greater than 0"):
        JobConfig(default=EndpointPolicy(), health_checks={"deadline": 0})  # type: ignore[arg-type]  # as in a file
