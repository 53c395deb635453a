"""What tests of faults ask of a client, and look up in it."""

import asyncio
from collections.abc import Awaitable

from forecourt.stores.redis.client import Client, Reply
from forecourt.stores.redis.cluster import Cluster, key_slot
from forecourt.stores.redis.wire import Wire
from tests.servers import Valkey


def wire_of(client: Client) -> Wire:
    """The client's wire for decisions."""
    return client._here().wire(0, "decisions")


async def written(client: Client, commands: int = 1) -> None:
    """Wait until so many commands, at least, are written and not answered."""
    async with asyncio.timeout(5):
        while len(wire_of(client)._written) < commands:
            await asyncio.sleep(0)


async def disconnected(client: Client) -> None:
    """Wait until the client knows that its connection is lost; it may be back soon after."""
    async with asyncio.timeout(5):
        while wire_of(client)._connected:
            await asyncio.sleep(0)


async def outcome(asked: Awaitable[Reply]) -> Reply | Exception:
    """What a question came to."""
    try:
        return await asked
    except Exception as error:  # noqa: BLE001  # whatever it is, the test looks at it
        return error


def holder(valkey: Valkey, key: str) -> object:
    """Who holds a key."""
    return valkey.ask("GET", key)


def route_of(client: Client) -> Cluster:
    """The client's route."""
    route = client._here()
    assert isinstance(route, Cluster)
    return route


def key_in(slot: int) -> str:
    """A key of this slot."""
    return next(key for key in map(str, range(1_000_000)) if key_slot(key) == slot)
