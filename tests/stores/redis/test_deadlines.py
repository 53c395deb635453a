"""Late answers: what a deadline costs, whose fault it was, and how it ends."""

import asyncio
import time

import pytest
import uvloop

from forecourt.errors import StoreOverloaded
from forecourt.stores.redis.client import Client, Unanswered
from tests.servers import Valkey, eventually
from tests.stores.redis.asking import outcome, wire_of, written
from tests.stores.redis.conftest import Connect
from tests.stores.redis.proxy import Proxy
from tests.stores.redis.scripts import COUNT

pytestmark = pytest.mark.valkey


async def test_a_stalled_server_costs_one_deadline(valkey: Valkey, connect: Connect) -> None:
    """First callers wait for the deadline, later ones fail at once; the first late reply ends it; each told once."""
    client = await connect(valkey.url, deadline=0.3)
    changes: list[tuple[str, str]] = []
    client.on_state = lambda state, reason: changes.append((state, reason))
    await client.run(COUNT, ["n"], [])
    with valkey.stalled():
        before = time.monotonic()
        first = await asyncio.gather(*(outcome(client.run(COUNT, ["n"], [])) for _ in range(20)))
        waited = time.monotonic() - before
        before = time.monotonic()
        later = await asyncio.gather(*(outcome(client.run(COUNT, ["n"], [])) for _ in range(100)))
        at_once = time.monotonic() - before
    assert {type(error) for error in first + later} == {Unanswered}
    assert [getattr(error, "written", None) for error in first + later] == [True] * 20 + [False] * 100
    assert 0.3 <= waited < 1
    assert at_once < 0.15
    await eventually(lambda: client.state == "up")
    assert await client.run(COUNT, ["n"], []) == 22
    assert [state for state, _ in changes] == ["down", "up"]
    assert "no answer within 300 ms" in changes[0][1]


async def test_each_lane_has_its_own_deadline(valkey: Valkey, connect: Connect) -> None:
    """Bodies may take longer than decisions, and a lane that is late does not make the other one late."""
    client = await connect(valkey.url, deadline=0.05, bodies_deadline=5)
    with valkey.stalled():
        body = asyncio.create_task(client.call("PING", lane="bodies"))
        assert isinstance(await outcome(client.call("PING")), Unanswered)
        assert client.state == "down"
        assert client._here().wire(0, "bodies").down is None
    assert await body == b"PONG"


async def test_a_server_that_stands_still_is_left(valkey: Valkey, connect: Connect) -> None:
    """After a second without any reply the connection is given up, and another made when the server lives again."""
    client = await connect(valkey.url, deadline=0.02)
    connection = await client.call("CLIENT", "ID")
    wire = wire_of(client)
    with valkey.stalled():
        await outcome(client.call("PING"))
        assert wire._connected
        await eventually(lambda: not wire._connected, 3)
        await eventually(lambda: "stands still" in str(client.health) or "cannot connect" in str(client.health), 3)
    await eventually(lambda: client.state == "up", 1)
    assert await client.call("CLIENT", "ID") != connection


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_a_blocked_loop_is_not_a_dead_store(valkey: Valkey, run: object) -> None:
    """However long the loop is blocked after a write, the reply counts, nobody is refused, and nothing is reported."""

    async def lag() -> None:
        client = Client(valkey.url, deadline=0.05)
        changes: list[str] = []
        client.on_state = lambda state, reason: changes.append(reason)
        await client.open()
        await client.run(COUNT, ["n"], [])
        for blocked in (0.04, 0.06, 0.3):
            asked = [asyncio.create_task(client.run(COUNT, ["n"], [])) for _ in range(64)]
            await written(client, 64)
            time.sleep(blocked)
            await asyncio.gather(*asked)
        assert (client.state, changes) == ("up", [])
        await client.close()

    run(lag())  # type: ignore[operator]  # one of two runners


async def test_waiting_behind_our_own_load_is_overload(valkey: Valkey, connect: Connect) -> None:
    """Who is not written within the deadline, because too many are before, gets StoreOverloaded; the store is up."""
    async with Proxy(valkey, latency=0.01) as proxy:
        client = await connect(proxy.url, deadline=0.1, flush=1)
        changes: list[str] = []
        client.on_state = lambda state, reason: changes.append(reason)
        outcomes = await asyncio.gather(*(outcome(client.run(COUNT, ["n"], [])) for _ in range(100)))
        counted = [answer for answer in outcomes if isinstance(answer, int)]
        refused = [error for error in outcomes if isinstance(error, StoreOverloaded)]
        assert len(counted) + len(refused) == 100
        assert len(refused) > 50
        assert counted == list(range(1, len(counted) + 1))
        assert (client.state, changes) == ("up", [])
        assert valkey.ask("GET", "n") == str(len(counted)).encode()


async def test_a_window_bounds_what_waits_at_the_server(valkey: Valkey, connect: Connect) -> None:
    """Of a hundred questions to a stalled server only twice `flush` were written; the others' fate is known."""
    client = await connect(valkey.url, deadline=0.1, flush=4)
    await client.run(COUNT, ["n"], [])
    with valkey.stalled():
        failures = await asyncio.gather(*(outcome(client.run(COUNT, ["n"], [])) for _ in range(100)))
    assert sorted(getattr(error, "written", None) for error in failures) == [False] * 92 + [True] * 8  # type: ignore[type-var]
    await eventually(lambda: client.state == "up")
    assert await client.run(COUNT, ["n"], []) == 10
