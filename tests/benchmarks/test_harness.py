"""The harness: variants take turns, a wrong status stops it, and a server's trips are counted."""

import asyncio
from itertools import pairwise
from typing import Any

import pytest
import redis.asyncio

from benchmarks.calls import Call, Caller, lifespan
from benchmarks.harness import Plan, Variant, Work, measure, measure_works
from benchmarks.valkey import running

SHORT = Plan(3, 2, 0.001)


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answer 200, or 418 where the path is /teapot; knows no lifespan."""
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 418 if scope["path"] == "/teapot" else 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def test_each_variant_has_a_figure_for_each_round() -> None:
    """And the one that takes longer shows it."""

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        for _ in range(50):
            await asyncio.sleep(0)
        await app(scope, receive, send)

    rows = await measure([Variant("quick", app), Variant("slow", slow)], SHORT)
    assert [(row.name, len(row.rounds), len(row.cpu)) for row in rows] == [("quick", 3, 3), ("slow", 3, 3)]
    assert all(one < two for one, two in zip(rows[0].rounds, rows[1].rounds, strict=True))


async def test_a_wrong_status_stops_the_run() -> None:
    """An app that refuses what it should answer is not quick."""
    with pytest.raises(RuntimeError, match="tea: answered 418, not 200"):
        await measure([Variant("tea", app, Call(path="/teapot"))], SHORT)
    await measure([Variant("tea", app, Call(path="/teapot"), status=418)], SHORT)


async def test_variants_take_turns() -> None:
    """No variant makes all its calls in one go."""
    order: list[str] = []

    def work(name: str) -> Work:
        async def run() -> None:
            order.append(name)

        return Work(name, run)

    await measure_works([work("a"), work("b")], SHORT)
    changes = sum(one != other for one, other in pairwise(order))
    assert changes >= 6


async def test_many_at_a_time_overlap() -> None:
    """So many calls are under way at once."""
    under_way, most = 0, 0

    async def run() -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1

    await measure_works([Work("a", run)], SHORT, tasks=8)
    assert most == 8


async def test_each_call_has_a_scope_of_its_own() -> None:
    """Unique headers and paths differ, and what an app writes into its scope is gone with the next call."""
    seen: list[tuple[str, Any]] = []

    async def noting(scope: Any, receive: Any, send: Any) -> None:
        assert "mark" not in scope
        assert "mark" not in scope["state"]
        scope["mark"] = scope["state"]["mark"] = True
        message = await receive()
        assert message["body"] == b"{}"
        seen.append((scope["path"], dict(scope["headers"])[b"key"]))
        await app(scope, receive, send)

    caller = Caller(noting, Call("POST", "/{}", body=b"{}", unique=b"key"))
    assert [await caller(), await caller()] == [200, 200]
    assert len({path for path, _ in seen}) == len({key for _, key in seen}) == 2


async def test_a_lifespan_is_run_and_its_state_kept() -> None:
    """Startup before, shutdown after; an app that fails to start is an error; one that knows none is left alone."""
    happened: list[str] = []

    async def living(scope: Any, receive: Any, send: Any) -> None:
        scope["state"]["opened"] = True
        for word in ("startup", "shutdown"):
            assert (await receive())["type"] == f"lifespan.{word}"
            happened.append(word)
            await send({"type": f"lifespan.{word}.complete"})

    async def failing(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    state: dict[str, object] = {}
    async with lifespan(living, state):
        assert happened == ["startup"]
    assert (happened, state) == (["startup", "shutdown"], {"opened": True})
    async with lifespan(app, {}):
        pass
    with pytest.raises(RuntimeError, match="no database"):
        async with lifespan(failing, {}):
            pass


@pytest.mark.valkey
async def test_trips_and_commands_are_what_the_server_saw() -> None:
    """Two commands in one write are one trip; commands inside a script are not counted, the script is."""
    with running() as server:
        client = redis.asyncio.Redis.from_url(server.url)

        async def store(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http":
                both: Any = client.pipeline(transaction=False)
                await both.set("a", 1).get("a").execute()
                await client.eval("redis.call('INCR', KEYS[1])", 1, "n")
                await app(scope, receive, send)

        (row,) = await measure([Variant("store", store)], SHORT, server=server)
        await client.aclose()
        server.client.close()
    assert row.trips == 2
    assert row.commands == {"SET": 1, "GET": 1, "EVAL": 1}
