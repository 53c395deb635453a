"""Servers that answer, and do not serve: loading, busy, or a replica."""

import asyncio

import pytest
import redis

from forecourt.errors import StoreDown
from forecourt.stores.redis.client import Client, Unanswered
from tests.servers import HOST, Valkey, eventually, free_port
from tests.stores.redis.asking import holder, outcome, wire_of
from tests.stores.redis.conftest import Connect
from tests.stores.redis.scripts import COUNT, HOLD, release

pytestmark = pytest.mark.valkey


async def test_a_loading_server_is_down_until_it_has_loaded() -> None:
    """LOADING ends the handshake: down, with the reason; up when the server serves."""
    with Valkey(append_only=True, key_load_delay=300, aof_use_rdb_preamble="no") as server:
        with server.client() as own, own.pipeline(transaction=False) as many:
            for number in range(5000):  # it looks up from loading every 1,024 commands
                many.set(f"k{number}", 1)
            many.execute()
        client = Client(server.url, deadline=0.05)
        await client.open()
        starting = asyncio.get_running_loop().run_in_executor(None, _restart, server)
        await eventually(lambda: "LOADING" in str(client.health))
        assert isinstance(await outcome(client.call("GET", "k1")), Unanswered)
        await starting
        await eventually(lambda: client.state == "up", 1)
        assert await client.call("GET", "k1") == b"1"
        await client.close()


def _restart(server: Valkey) -> None:
    server.kill()
    server.start()


async def test_a_busy_server_is_down_until_its_script_ends(connect: Connect) -> None:
    """An error reply of a code of its own ends the handshake like any other: down, with that code; up afterwards."""
    with Valkey(busy_reply_threshold=1) as server, server.client() as own:
        forever = asyncio.get_running_loop().run_in_executor(None, outlast, own)
        await eventually(lambda: is_busy(server))
        client = await connect(server.url, deadline=0.1)
        assert "(decisions): cannot connect: BUSY " in str(client.health)
        server.ask("SCRIPT", "KILL")
        assert "killed" in str(await forever)
        await eventually(lambda: client.state == "up", 1)


def outlast(own: redis.Redis) -> redis.ResponseError:
    """Run a script that does not end; return what it is told when it is ended."""
    with pytest.raises(redis.ResponseError) as ended:
        own.eval("while true do end", 0)
    return ended.value


def is_busy(server: Valkey) -> bool:
    """Whether the server refuses commands because a script has run for too long."""
    try:
        server.ask("PING")
    except redis.ResponseError as error:
        return str(error).startswith("BUSY")
    return False


async def test_a_replica_is_not_a_primary(valkey: Valkey, connect: Connect) -> None:
    """READONLY: asked again within the deadline on a new connection, then StoreDown; undone when it can be."""
    client = await connect(valkey.url, deadline=0.1)
    given_up: list[object] = []
    client.on_unknown = given_up.append
    await client.run(HOLD, ["k"], ["me"])
    connection = await client.call("CLIENT", "ID")
    wire = wire_of(client)
    valkey.ask("REPLICAOF", HOST, free_port())
    try:
        error = await outcome(client.run(COUNT, ["n"], []))
        assert isinstance(error, StoreDown)
        await eventually(lambda: wire._connected)
        wire.undo(release("k", "me"))
        await eventually(lambda: bool(client._persisting))
    finally:
        valkey.ask("REPLICAOF", "NO", "ONE")
    await eventually(lambda: holder(valkey, "k") is None)
    await eventually(lambda: not client._persisting)
    assert await client.call("CLIENT", "ID") != connection
    assert given_up == []
