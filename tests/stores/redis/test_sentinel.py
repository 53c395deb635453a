"""A primary that sentinels name: found at every connection, and found again after a failover."""

import asyncio
from collections.abc import Iterator

import pytest

from forecourt.errors import StoreDown
from forecourt.stores.redis import sentinel
from forecourt.stores.redis.client import Client
from forecourt.stores.redis.sentinel import Sentinels
from forecourt.stores.redis.single import Single
from forecourt.stores.redis.urls import Place
from tests.servers import HOST, eventually, free_port
from tests.servers import Sentinels as Servers
from tests.stores.redis.conftest import Connect
from tests.stores.redis.scripts import COUNT, HOLD, release

pytestmark = [pytest.mark.valkey, pytest.mark.slow]


@pytest.fixture(scope="module")
def sentinels() -> Iterator[Servers]:
    """A primary, its replica, and a sentinel with a password."""
    with Servers(password="watch") as watched:
        yield watched


async def answers(client: Client) -> int | None:
    """The port of the server that takes a write, if any does."""
    try:
        await client.run(COUNT, ["n"], [])
        reply = await client.call("CONFIG", "GET", "port")
    except StoreDown:
        return None
    assert isinstance(reply, list)
    assert isinstance(reply[1], bytes)
    return int(reply[1])


async def answered(client: Client, port: int, seconds: float) -> None:
    """Ask again and again until this server takes a write; TimeoutError after so many seconds."""
    async with asyncio.timeout(seconds):
        while await answers(client) != port:
            await asyncio.sleep(0.005)


async def test_a_failover_is_followed(sentinels: Servers, connect: Connect) -> None:
    """In order, then by a crash: questions go to the new primary, and undos with them."""
    url = sentinels.url + "?sentinel_password=watch"
    dead = f"{HOST}:{free_port()},"
    client = await connect(url.replace("redis+sentinel://", f"redis+sentinel://{dead}"), deadline=0.1)
    assert await client.run(COUNT, ["n"], []) == 1
    assert (client.slot("a"), client.health, client.state) == (0, None, "up")
    await asyncio.to_thread(sentinels.fail_over)
    # The old primary takes writes until sentinels demote it, ten seconds later: nobody may wait for that.
    await answered(client, sentinels.named(), 3)
    primary = next(each for each in (sentinels.primary, sentinels.replica) if each.port == sentinels.named())
    other = next(each for each in (sentinels.primary, sentinels.replica) if each is not primary)
    wire = client._here().wire(0, "decisions")
    other.ask("REPLICAOF", HOST, primary.port)
    await client.run(HOLD, ["lease"], ["me"])
    await eventually(lambda: other.ask("EXISTS", "lease") == 1)
    primary.kill()
    await eventually(lambda: client.state == "down")
    wire.undo(release("lease", "me"))
    await answered(client, other.port, 10)
    assert await client.call("EXISTS", "lease") == 0


async def test_sentinels_may_go_once_the_primary_is_known(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """Questions are answered without them."""
    monkeypatch.setattr(sentinel, "_INTERVAL", 0.02)
    looks: list[object] = []
    locate = Sentinels._locate

    async def counted(sentinels: Sentinels) -> Place:
        looks.append(sentinels)
        return await locate(sentinels)

    monkeypatch.setattr(Sentinels, "_locate", counted)
    with Servers() as watched:
        client = await connect(watched.url)
        connection = await client.call("CLIENT", "ID")
        await eventually(lambda: len(looks) > 5)
        assert await client.call("CLIENT", "ID") == connection
        watched.sentinels[0].kill()
        before = len(looks)
        await eventually(lambda: len(looks) > before + 3)
        assert await client.run(COUNT, ["n"], []) == 1
        await client.close()


def test_a_client_moves_to_another_loop(sentinels: Servers) -> None:
    """Forgotten on one event loop, it works on the next."""
    client = Client(f"{sentinels.url}?sentinel_password=watch", deadline=2)

    async def use() -> object:
        return await client.call("PING")

    async def start() -> object:
        await client.open()
        return await use()

    assert [asyncio.run(start()), asyncio.run(use())] == [b"PONG", b"PONG"]
    loop = asyncio.new_event_loop()
    assert loop.run_until_complete(use()) == b"PONG"
    old = client._route
    assert isinstance(old, Single)
    assert asyncio.run(use()) == b"PONG"
    loop.run_until_complete(asyncio.sleep(0.01))
    assert old._watching is not None
    assert old._watching.cancelled()
    loop.close()
    asyncio.run(client.close())


async def test_a_wrong_service_or_a_wrong_sentinel_is_told(sentinels: Servers, connect: Connect) -> None:
    """`health` says which sentinel said what, without the password."""
    url = sentinels.url + "?sentinel_password=watch"
    client = await connect(url.replace("/service", "/shop"), deadline=0.1)
    assert "no sentinel names 'shop'" in str(client.health)
    assert "it knows no service 'shop'" in str(client.health)
    client = await connect(url.replace("=watch", "=hunter2"), deadline=0.1)
    assert "invalid username-password pair" in str(client.health)
    assert "hunter2" not in str(client.health)


async def test_only_a_primary_is_taken(connect: Connect) -> None:
    """Sentinels may still name a server that was demoted: it is not asked anything, until it is a primary."""
    with Servers() as watched:
        watched.primary.ask("REPLICAOF", HOST, watched.replica.port)
        client = await connect(watched.url, deadline=0.1)
        assert f"{watched.primary.port} is not a primary" in str(client.health)
        watched.primary.ask("REPLICAOF", "NO", "ONE")
        await answered(client, watched.primary.port, 2)
