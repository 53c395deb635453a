"""The first line: every request of an address counts."""

import pytest
from starlette.routing import Route

from forecourt import (
    EndpointPolicy,
    FloodGuard,
    JobConfig,
)
from tests.asgi import call, get, http
from tests.services import TWO_A_MINUTE, starlette, text


async def test_unknown_paths_and_wrong_methods_count_against_the_flood_guard() -> None:
    """404, 405 and a preflight are answered by the app, and are no way around the guard."""
    config = JobConfig(default=EndpointPolicy(), flood_guard=FloodGuard(limit=3, window=60))
    app = starlette(config, Route("/here", text, name="here"))
    preflight = http(
        "/here", "OPTIONS", headers=[(b"origin", b"https://a"), (b"access-control-request-method", b"GET")]
    )
    statuses = [
        (await get(app, "/nowhere")).status,
        (await get(app, "/here", "POST")).status,
        (await call(app, preflight)).status,
        (refused := await get(app, "/here")).status,
        (await get(app, "/nowhere")).status,
    ]
    assert statuses == [404, 405, 405, 429, 429]
    assert refused.headers["retry-after"] == "60"
    assert (await get(app, "/here", client="192.0.2.9")).status == 200


async def test_two_headers_do_not_open_a_handler_of_options() -> None:
    """A preflight passes limits only where the endpoint does not handle OPTIONS itself."""
    app = starlette(JobConfig(default=TWO_A_MINUTE), Route("/", text, methods=["OPTIONS"], name="options"))
    scope = http("/", "OPTIONS", headers=[(b"origin", b"https://a"), (b"access-control-request-method", b"GET")])
    assert [(await call(app, dict(scope))).status for _ in range(3)] == [200, 200, 429]


async def test_a_full_flood_guard_refuses_as_overloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """With its table of addresses full of live ones, a new address gets 503 and a known one goes on."""
    monkeypatch.setattr("forecourt.layers.flood_guard._MAX_ADDRESSES", 1)
    config = JobConfig(default=EndpointPolicy(), flood_guard=FloodGuard(limit=9, window=60))
    app = starlette(config, Route("/", text, name="t"))
    assert [(await get(app, "/", client=client)).status for client in ("192.0.2.1", "192.0.2.2", "192.0.2.1")] == [
        200,
        503,
        200,
    ]
