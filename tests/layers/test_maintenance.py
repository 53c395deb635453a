"""Endpoints out of service: by the config, by switches of operators, in every process of a service."""

import asyncio
import logging
from datetime import UTC, datetime
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount, Route

from forecourt import (
    ConfigError,
    EndpointPolicy,
    FixedWindow,
    ForecourtError,
    JobConfig,
    Maintenance,
    MaintenanceMiddleware,
    Principal,
    Security,
    StoreDown,
)
from forecourt.stores.contract import Store
from forecourt.stores.memory import MemoryStore
from forecourt.testing import FakeClock
from forecourt.types import SECOND, Scope
from tests.asgi import Answer, call, get, http, websocket
from tests.callers import settle_down
from tests.layers.guarded import Guarded
from tests.servers import Valkey, eventually
from tests.services import starlette, text

ROLE = (b"x-role", b"operator")
SECURED = Security(schemes={"field"}, anonymous=True)


class ByRole:
    """Believes the field `x-role`."""

    challenge = "Field"

    async def authenticate(self, scope: Scope) -> Principal | None:
        """Return the caller; None without the field."""
        roles = frozenset(value.decode() for name, value in scope["headers"] if name == b"x-role")
        return Principal("field", "alice", roles=roles) if roles else None


def guarded(maintenance: Maintenance, **words: Any) -> Guarded:
    """Build a service that can be switched, and that knows callers by their role."""
    policy = EndpointPolicy(maintenance=maintenance, security=SECURED, **words)
    return Guarded(policy, authenticators={"field": ByRole()})


def service(
    store: Store | None = None, clock: FakeClock | None = None, url: str = "memory://", **words: Any
) -> tuple[Starlette, JobConfig]:
    """Build one process of a service: endpoints that can be switched, and health."""
    config = JobConfig(store=url, default=EndpointPolicy(maintenance=Maintenance()), **words)
    routes = [
        Route("/reports", text, name="reports.list"),
        Route("/records", text, name="records"),
        Mount("/health", config.health, name="health"),
    ]
    return starlette(config, *routes, store=store, clock=clock), config


async def test_a_config_takes_an_endpoint_out_of_service_until_an_instant() -> None:
    """503 with the exact seconds to the end and the operator's words; the handler does not run; then it does again."""
    end = datetime(2026, 1, 1, 0, 0, 10, tzinfo=UTC)
    process = guarded(Maintenance(on=True, until=end, why="the archive is moved"))
    process.clock.advance(end.timestamp() - process.clock.now() / SECOND - 9.5)
    answer = await process.call()
    assert (answer.status, answer.headers["retry-after"]) == (503, "10")
    assert answer.headers["content-type"] == "application/problem+json"
    assert b'problems/maintenance"' in answer.body
    assert b"In maintenance: the archive is moved" in answer.body
    assert (process.bodies, process.decisions[-1]) == ([], ("maintenance", "refused"))
    process.clock.advance(9.5)
    assert (await process.call()).status == 200


async def test_without_an_end_the_policy_says_when_to_come_back() -> None:
    """`retry_after`, in whole seconds, rounded up; WebSockets are refused before they are accepted."""
    process = guarded(Maintenance(on=True, retry_after=1.2))
    assert (await process.call()).headers["retry-after"] == "2"
    assert (await process.connect()).status == 503


async def test_a_role_passes_and_others_do_not() -> None:
    """Who has one of the roles reaches the handler; another role or none does not."""
    process = guarded(Maintenance(on=True, roles={"operator"}))
    statuses = [(await process.call("GET", *fields)).status for fields in ([ROLE], [(b"x-role", b"reader")], [])]
    assert statuses == [200, 503, 503]


@pytest.mark.parametrize("asks", [False, True])
async def test_a_call_in_maintenance_takes_nothing_of_its_limits(*, asks: bool) -> None:
    """Also where auth asks the store, and so for all layers: what was left before is left after."""
    limited = {"rate_limit": FixedWindow(limit=1, window=60)}
    policy = EndpointPolicy(maintenance=Maintenance(), security=SECURED, **limited)  # type: ignore[arg-type]  # its own word
    process = Guarded(policy, authenticators={"field": ByRole()}, revocation=asks)
    assert (await get(process.app, "/nowhere")).status == 404  # the stack has started
    config = process.app.user_middleware[0].kwargs["config"]
    assert isinstance(config, JobConfig)
    switch = config.maintenance
    await switch.on()
    assert [(await process.call("GET", ROLE)).status for _ in range(3)] == [503] * 3
    await switch.off()
    assert [(await process.call("GET", ROLE)).status for _ in range(2)] == [200, 429]


async def test_a_switch_is_about_an_endpoint_a_glob_or_all() -> None:
    """Names as the config calls them; the longest of several says when to come back; off takes one back."""
    clock = FakeClock()
    app, config = service(clock=clock)
    paths = ("/reports", "/records")
    statuses = [[(await get(app, path)).status for path in paths]]
    for glob, lasts in (("reports.*", 30), ("reports.list", 90), ("records", None)):
        switched = await config.maintenance.on(glob, lasts=lasts)
        assert switched.until == (None if lasts is None else clock.now() + lasts * SECOND)
        statuses.append([(await get(app, path)).status for path in paths])
    assert statuses == [[200, 200], [503, 200], [503, 200], [503, 503]]
    assert (await get(app, "/reports")).headers["retry-after"] == "90"
    assert [each.glob for each in await config.maintenance.list()] == ["records", "reports.*", "reports.list"]
    assert await config.maintenance.off("records")
    assert not await config.maintenance.off("records")
    clock.advance(30)
    assert [each.glob for each in await config.maintenance.list()] == ["reports.list"]
    assert (await get(app, "/reports")).headers["retry-after"] == "60"
    clock.advance(60)
    assert [(await get(app, path)).status for path in paths] == [200, 200]


async def test_health_passes_unless_its_own_policy_says_otherwise() -> None:
    """A glob or the default is about the service's own work; `endpoints."health:live"` is meant."""
    app, config = service()
    await get(app, "/nowhere")
    await config.maintenance.on()
    statuses = [(await get(app, path)).status for path in ("/records", "/health/live")]
    assert statuses == [503, 200]
    app, config = service(endpoints={"health:live": EndpointPolicy(maintenance=Maintenance())})
    await get(app, "/nowhere")
    await config.maintenance.on("health:*")
    assert [(await get(app, path)).status for path in ("/health/live", "/health/startup")] == [503, 200]


async def test_what_cannot_be_meant_is_refused() -> None:
    """Names that no endpoint with the policy has, with the nearest; times and words that cannot be; nothing started."""
    app, config = service(endpoints={"records": EndpointPolicy(maintenance="off")})
    with pytest.raises(ForecourtError, match="once the app has started"):
        await config.maintenance.on()
    await get(app, "/records")
    with pytest.raises(ConfigError, match=r'called "reports.lst" .* did you mean "reports.list"'):
        await config.maintenance.on("reports.lst")
    with pytest.raises(ConfigError, match='called "records"'):
        await config.maintenance.on("records")
    with pytest.raises(ValueError, match="must be greater than 0"):
        await config.maintenance.on("reports.list", lasts=0)
    with pytest.raises(ValueError, match="printable"):
        await config.maintenance.on("reports.list", why="two\nlines")
    assert repr(config.maintenance) == "<MaintenanceSwitch nothing in maintenance>"


@pytest.mark.parametrize(
    ("maintenance", "message"),
    [
        ({"until": "2026-01-01T00:00:00Z"}, "maintenance.until: .*say on = true"),
        ({"why": "moved"}, "maintenance.why: .*say on = true"),
        ({"on": True, "why": "x" * 201}, "at most 200 printable"),
        ({"on": "yes"}, "maintenance.on"),
    ],
)
def test_wrong_words_stop_the_start(maintenance: dict[str, object], message: str) -> None:
    """What would be told to nobody, or cannot be told."""
    with pytest.raises(ConfigError, match=message):
        JobConfig(default={"maintenance": maintenance})  # type: ignore[arg-type]  # as in a file


async def test_every_process_follows_within_half_a_second_and_asks_nothing_per_request() -> None:
    """Two processes on one store: one is switched, the other follows at its next reading; requests ask no store."""
    store, clock = MemoryStore(), FakeClock()
    (one, config), (two, _) = service(store, clock), service(store, clock)
    assert [(await get(each, "/records")).status for each in (one, two)] == [200, 200]
    await config.maintenance.on("records", why="moved")
    assert [(await get(each, "/records")).status for each in (one, two)] == [503, 200]
    await settle_down()
    clock.advance(0.5)
    await settle_down()
    assert [(await get(each, "/records")).status for each in (one, two)] == [503, 503]
    late, _ = service(store, clock)
    assert (await get(late, "/records")).status == 503


def test_it_is_a_middleware_of_its_own() -> None:
    """The stack with that one layer."""
    assert MaintenanceMiddleware.installs == ("maintenance",)


async def test_a_dead_store_leaves_what_was_known(valkey: Valkey, caplog: pytest.LogCaptureFixture) -> None:
    """On a real server: both processes know within a second; gone, it changes nothing, and nothing can be switched."""
    (one, config), (two, other) = service(url=valkey.url), service(url=valkey.url)
    for app in (one, two):
        assert (await get(app, "/records")).status == 200
    await config.maintenance.on("records")
    await eventually(lambda: bool(other.maintenance.switches), 1)
    commands = valkey.count("evalsha") + valkey.count("eval")
    assert [(await get(two, "/records")).status for _ in range(50)] == [503] * 50
    assert valkey.count("evalsha") + valkey.count("eval") - commands <= 4
    with caplog.at_level(logging.CRITICAL, "forecourt"):
        valkey.kill()
        await asyncio.sleep(0.6)
        assert [(await get(each, "/records")).status for each in (one, two)] == [503, 503]
        with pytest.raises(StoreDown):
            await config.maintenance.off("records")
        valkey.start()
        await eventually(lambda: not other.maintenance.switches, 3)  # it came back empty
    assert (await call(two, http("/records"))).status == 200


async def test_sockets_that_are_open_go_on() -> None:
    """Only new handshakes are refused."""
    process = guarded(Maintenance())
    before: Answer = await call(process.app, websocket("/echo"))
    assert before.kinds[0] == "websocket.accept"
