"""A primary that sentinels name: found at every connection, and found again after a failover."""

import asyncio
from collections.abc import Iterator

import pytest

from forecourt.errors import StoreDown
from forecourt.stores.redis import sentinel
from forecourt.stores.redis.client import Client
from forecourt.stores.redis.sentinel import Sentinels
from forecourt.stores.redis.single import Single
from forecourt.stores.redis.urls import Place, parse
from tests.servers import HOST, Sentinel, Valkey, eventually, free_port
from tests.servers import Sentinels as Servers
from tests.stores.redis.conftest import Connect
from tests.stores.redis.scripts import COUNT, HOLD, release

pytestmark = pytest.mark.valkey


@pytest.fixture
def sentinels() -> Iterator[Servers]:
    """A primary, its replica, and a sentinel with a password."""
    with Servers(password="watch") as servers:
        yield servers


@pytest.fixture
def watched() -> Iterator[tuple[Valkey, Sentinel]]:
    """A primary without a replica, and a sentinel with a password that watches it."""
    with Valkey() as primary, Sentinel(primary, quorum=1, password="watch") as watching:
        yield primary, watching


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Have sentinels asked a hundred times a second; one entry for each time."""
    monkeypatch.setattr(sentinel, "_INTERVAL", 0.01)
    looks: list[object] = []
    locate = Sentinels._locate

    async def counted(sentinels: Sentinels) -> Place:
        looks.append(sentinels)
        return await locate(sentinels)

    monkeypatch.setattr(Sentinels, "_locate", counted)
    return looks


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


@pytest.mark.slow
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


async def test_whom_sentinels_name_is_asked(
    watched: tuple[Valkey, Sentinel], looks: list[object], valkey: Valkey, connect: Connect
) -> None:
    """Another primary is named while the one before lives on: the connections to that one are given up, once."""
    primary, watching = watched
    client = await connect(watching.service_url)
    assert await client.call("CONFIG", "GET", "port") == [b"port", b"%d" % primary.port]
    watching.watch(valkey)
    await answered(client, valkey.port, 2)
    connection, before = await client.call("CLIENT", "ID"), len(looks)
    await eventually(lambda: len(looks) > before + 3)
    assert await client.call("CLIENT", "ID") == connection


async def test_sentinels_may_go_once_the_primary_is_known(
    watched: tuple[Valkey, Sentinel], looks: list[object], connect: Connect
) -> None:
    """Questions are answered without them, and nobody connects anew while the primary is the same."""
    _, watching = watched
    client = await connect(watching.service_url)
    connection = await client.call("CLIENT", "ID")
    await eventually(lambda: len(looks) > 5)
    assert await client.call("CLIENT", "ID") == connection
    watching.kill()
    before = len(looks)
    await eventually(lambda: len(looks) > before + 3)
    assert await client.call("CLIENT", "ID") == connection


async def test_the_sentinel_that_answered_is_asked_first(watched: tuple[Valkey, Sentinel]) -> None:
    """One that is gone costs its attempt once; when none answers, each one's reason is told in the order of asking."""
    primary, watching = watched
    gone = f"{HOST}:{free_port()}"
    sentinels = Sentinels(parse(watching.service_url.replace("://", f"://{gone},")), 1)
    assert await sentinels._locate() == Place(HOST, primary.port)
    watching.kill()
    with pytest.raises(ConnectionError, match=rf"no sentinel names 'service': {HOST}:{watching.port}: .*; {gone}: "):
        await sentinels.dial()


async def test_a_sentinel_that_stands_still_leaves_time_for_the_others(
    watched: tuple[Valkey, Sentinel], connect: Connect
) -> None:
    """It is given up early enough for the next one to be asked in the same attempt."""
    primary, watching = watched
    with Sentinel(primary, quorum=1) as still, still.stalled():
        url = watching.service_url.replace("://", f"://{HOST}:{still.port},")
        client = await connect(f"{url}&socket_connect_timeout=0.3")
        assert client.health is None


def test_a_client_moves_to_another_loop(watched: tuple[Valkey, Sentinel]) -> None:
    """Forgotten on one event loop, it works on the next."""
    _, watching = watched
    client = Client(watching.service_url, deadline=2)

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


async def test_a_wrong_service_or_a_wrong_sentinel_is_told(watched: tuple[Valkey, Sentinel], connect: Connect) -> None:
    """`health` says which sentinel said what, without the password."""
    _, watching = watched
    url = watching.service_url
    client = await connect(url.replace("/service", "/shop"), deadline=0.1)
    assert "no sentinel names 'shop'" in str(client.health)
    assert "it knows no service 'shop'" in str(client.health)
    client = await connect(url.replace("=watch", "=hunter2"), deadline=0.1)
    assert "invalid username-password pair" in str(client.health)
    assert "hunter2" not in str(client.health)


async def test_only_a_primary_is_taken(watched: tuple[Valkey, Sentinel], connect: Connect) -> None:
    """Sentinels may still name a server that was demoted: it is not asked anything, until it is a primary."""
    primary, watching = watched
    primary.ask("REPLICAOF", HOST, free_port())
    client = await connect(watching.service_url, deadline=0.1)
    assert f"{primary.port} is not a primary" in str(client.health)
    primary.ask("REPLICAOF", "NO", "ONE")
    await answered(client, primary.port, 2)
