"""A cluster whose primaries change: by a crash, and in order."""

import asyncio
import random
from collections.abc import Iterator

import pytest

from forecourt.errors import StoreDown
from forecourt.stores.redis.urls import Place
from tests.servers import HOST, Cluster, eventually
from tests.stores.redis.asking import key_in, route_of
from tests.stores.redis.conftest import Connect
from tests.stores.redis.scripts import COUNT, HOLD, release

pytestmark = [pytest.mark.valkey, pytest.mark.slow]


@pytest.fixture(scope="module")
def replicated() -> Iterator[Cluster]:
    """A cluster with a replica of each primary."""
    with Cluster(replicas=1, node_timeout=500) as servers:
        yield servers


async def test_a_failover_is_followed(replicated: Cluster, connect: Connect) -> None:
    """Killed primary: the map shows its replica as soon as somebody knows; held undos reach it."""
    client = await connect(replicated.url, deadline=0.1)
    slot = random.randrange(5000)
    key = key_in(slot)
    primary, replica = replicated.primaries[0], replicated.replicas[0]
    await client.run(HOLD, [f"{{{key}}}lease"], ["me"])
    with primary.client() as own:
        assert own.execute_command("WAIT", 1, 5000) == 1
    wire = route_of(client).wire(slot, "decisions")
    primary.kill()
    await eventually(lambda: client.state == "down")
    wire.undo(release(f"{{{key}}}lease", "me"))
    async with asyncio.timeout(10):
        while True:
            try:
                await client.run(COUNT, [key], [])
                break
            except StoreDown:
                await asyncio.sleep(0.01)
    assert route_of(client).slots[slot] == Place(HOST, replica.port)
    await eventually(lambda: client.state == "up")
    await eventually(lambda: replica.ask("EXISTS", f"{{{key}}}lease") == 0)
    primary.start()


async def test_a_demoted_primary_is_left(replicated: Cluster, connect: Connect) -> None:
    """A failover in order: no question fails for longer than it takes."""
    replicated.settle()
    client = await connect(replicated.url, deadline=0.5)
    key = key_in(8000)
    assert await client.run(COUNT, [key], []) == 1
    replica = replicated.replicas[1]
    await eventually(lambda: replica.ask("CLUSTER", "FAILOVER") == b"OK")
    for expected in range(2, 200):
        answer = await client.run(COUNT, [key], [])
        assert answer == expected
        if route_of(client).slots[8000] == Place(HOST, replica.port):
            break
        await asyncio.sleep(0.01)
    assert route_of(client).slots[8000] == Place(HOST, replica.port)
