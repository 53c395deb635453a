"""A cluster: slots, redirections, migrations, failover, and a map that is kept fresh by one reader at a time."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot as redis_py_key_slot

from forecourt.errors import StoreDown
from forecourt.stores.redis import cluster as clusters
from forecourt.stores.redis.client import Client, ReplyError, Script, Unanswered
from forecourt.stores.redis.cluster import Cluster, key_slot
from forecourt.stores.redis.urls import Place
from tests.servers import HOST, ClusterNode, Valkey, eventually, free_port
from tests.servers import Cluster as Servers
from tests.stores.redis.asking import key_in, route_of
from tests.stores.redis.conftest import Connect
from tests.stores.redis.scripts import COUNT, HOLD, release

pytestmark = pytest.mark.valkey


@given(st.text("ab{}", max_size=12) | st.binary(max_size=12))
def test_slots_are_those_of_the_specification(key: str | bytes) -> None:
    """CRC16 of the hash tag, or of the whole key, as redis-py computes it."""
    assert key_slot(key) == redis_py_key_slot(key.encode() if isinstance(key, str) else key)


def test_a_known_slot() -> None:
    """The example of the specification: CRC16 of 123456789 is 31C3."""
    assert key_slot(b"123456789") == 0x31C3 % 16384
    assert key_slot("{user}.a") == key_slot("{user}.b") == key_slot("user")


async def test_questions_go_to_the_node_of_their_keys(valkey_cluster: Servers, connect: Connect) -> None:
    """Every key is found where it was put, no redirection is needed, and every node was used."""
    client = await connect(valkey_cluster.url)
    keys = [f"k{number}" for number in range(300)]
    assert await asyncio.gather(*(client.run(COUNT, [key], []) for key in keys)) == [1] * 300
    assert await asyncio.gather(*(client.call("GET", key) for key in keys)) == [b"1"] * 300
    assert await client.call("OBJECT", "ENCODING", "k1", key="k1") == b"int"
    assert all(int(str(node.ask("DBSIZE"))) > 50 for node in valkey_cluster.primaries)
    assert client.clustered
    assert client.slot("a{tag}") == key_slot("tag")
    assert (client.state, client.health) == ("up", None)


async def test_keys_of_one_script_share_a_slot(valkey_cluster: Servers, connect: Connect) -> None:
    """A hash tag makes them; otherwise ValueError, before anything is sent. No keys: any node."""
    client = await connect(valkey_cluster.url)
    script = Script("return #KEYS")
    assert await client.run(script, ["{a}1", "{a}2", b"{a}3"], []) == 3
    with pytest.raises(ValueError, match="must share a slot"):
        await client.run(script, ["a", "b"], [])
    assert await client.run(script, [], []) == 0
    assert await client.call("PING") == b"PONG"


async def test_moved_slots_are_followed(valkey_cluster: Servers, connect: Connect) -> None:
    """A wrong map costs one redirection, and is read again."""
    client = await connect(valkey_cluster.url)
    route = route_of(client)
    await eventually(route._reading.done)
    right = list(route.slots)
    route.slots = [right[(slot + 6000) % 16384] for slot in range(16384)]
    assert await asyncio.gather(*(client.run(COUNT, [f"k{number}"], []) for number in range(100))) == [1] * 100
    await eventually(lambda: route.slots == right)
    assert client.state == "up"


async def test_a_migrating_slot_is_asked_for(valkey_cluster: Servers, connect: Connect) -> None:
    """ASK, one key: asked at the new node, nothing lost; several keys on both: TRYAGAIN within the deadline."""
    client = await connect(valkey_cluster.url, deadline=0.2)
    slot = 100
    key = key_in(slot)
    old, new = valkey_cluster.primaries[0], valkey_cluster.primaries[1]
    await client.run(COUNT, [key], [])
    await client.run(HOLD, [f"{{{key}}}stays"], ["me"])
    new.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", old.id)
    old.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", new.id)
    try:
        old.ask("MIGRATE", HOST, new.port, key, 0, 5000)
        new.ask("SCRIPT", "FLUSH")
        answers = await asyncio.gather(*(client.run(COUNT, [key], []) for _ in range(50)))
        assert sorted(answers) == list(range(2, 52))  # type: ignore[type-var]  # they are int
        with pytest.raises(ReplyError) as raised:
            await client.run(Script("return redis.call('EXISTS', KEYS[1], KEYS[2])"), [key, f"{{{key}}}stays"], [])
        assert raised.value.code == "TRYAGAIN"
        new_wire = route_of(client).wire(slot, "decisions")
        new_wire.undo(release(f"{{{key}}}gone", "me"))
        old.ask("MIGRATE", HOST, new.port, f"{{{key}}}stays", 0, 5000)
        for node in (new, old):
            node.ask("CLUSTER", "SETSLOT", slot, "NODE", new.id)
        assert await client.run(COUNT, [key], []) == 52
        assert await client.call("GET", key) == b"52"
        await eventually(lambda: not client._persisting)
    finally:
        _move_back(valkey_cluster, slot, key)


def _move_back(servers: Servers, slot: int, key: str) -> None:
    """Give the slot back to its first node, empty."""
    old, new = servers.primaries[0], servers.primaries[1]
    new.ask("FLUSHALL")
    old.ask("FLUSHALL")
    for node in (old, new, servers.primaries[2]):
        node.ask("CLUSTER", "SETSLOT", slot, "NODE", old.id)
    old.ask("CLUSTER", "BUMPEPOCH")
    servers.settle()


async def test_an_undo_follows_its_key(valkey_cluster: Servers, connect: Connect) -> None:
    """Sent to a node that does not serve its key, an undo reaches the one that does."""
    client = await connect(valkey_cluster.url)
    await client.run(HOLD, ["k"], ["me"])
    route = route_of(client)
    other = next(node for place, node in route._nodes.items() if place != route.slots[key_slot("k")])
    other.wire("decisions").undo(release("k", "me"))
    await eventually(lambda: valkey_cluster.serving(key_slot("k")).ask("EXISTS", "k") == 0)
    await eventually(lambda: not client._persisting)


async def test_a_node_that_is_gone_does_not_hurt_the_others(valkey_cluster: Servers, connect: Connect) -> None:
    """Its slots are StoreDown at once; the others are served; told once; and it is found again."""
    client = await connect(valkey_cluster.url, deadline=0.1)
    changes: list[tuple[str, str]] = []
    client.on_state = lambda state, reason: changes.append((state, reason))
    gone = valkey_cluster.primaries[2]
    gone.kill()
    await eventually(lambda: client.state == "down")
    with pytest.raises(Unanswered, match=str(gone.port)):
        await client.run(COUNT, [key_in(16000)], [])
    assert await client.run(COUNT, [key_in(10)], []) == 1
    gone.start()
    await eventually(lambda: client.state == "up", 2)
    valkey_cluster.settle()
    assert await client.run(COUNT, [key_in(16000)], []) == 1
    assert [state for state, _ in changes] == ["down", "up"]
    assert str(gone.port) in changes[0][1]


async def test_the_map_is_read_by_one_task_at_a_time(valkey_cluster: Servers, connect: Connect) -> None:
    """However many signs of an old map there are, it is read at most every tenth of a second."""
    client = await connect(valkey_cluster.url)
    route = route_of(client)
    before = sum(node.count("cluster|slots") for node in valkey_cluster.primaries)
    for _ in range(500):
        route.troubled()
        await asyncio.sleep(0)
    await eventually(route._reading.done)
    assert sum(node.count("cluster|slots") for node in valkey_cluster.primaries) - before <= 2


async def test_a_slot_that_nobody_serves(valkey_cluster: Servers, connect: Connect) -> None:
    """StoreDown, by the node's CLUSTERDOWN or by the map, which is read again; an undo for it is given up."""
    client = await connect(valkey_cluster.url, deadline=0.05)
    given_up: list[object] = []
    client.on_unknown = given_up.append
    route = route_of(client)
    node, slot = valkey_cluster.primaries[0], 7
    key, undo = key_in(slot), release(key_in(slot), "me")
    for each in valkey_cluster.primaries:
        each.ask("CLUSTER", "DELSLOTS", slot)
    try:
        with pytest.raises(StoreDown, match=r"CLUSTERDOWN|slot 7 is served by no node"):
            await client.run(COUNT, [key], [])
        await eventually(lambda: route.slots[slot] is None)
        with pytest.raises(Unanswered, match="slot 7 is served by no node") as raised:
            await client.run(COUNT, [key], [])
        assert not raised.value.written
        route._terms.on_orphan("decisions", undo, ReplyError("TRYAGAIN", ""))
        await eventually(lambda: given_up == [undo])
    finally:
        node.ask("CLUSTER", "ADDSLOTS", slot)
        valkey_cluster.settle()
    route.troubled()
    await eventually(lambda: route.slots[slot] is not None)
    assert await client.run(COUNT, [key], []) == 1


async def test_a_cluster_that_is_not_there_yet(connect: Connect) -> None:
    """No map: down, with each reason; questions fail at once; found when it starts. A single server is no cluster."""
    with Valkey() as server:
        client = await connect(f"redis+cluster://{HOST}:{server.port},{HOST}:{free_port()}", deadline=0.05)
        assert client.state == "down"
        assert "no map of slots" in str(client.health)
        assert "cluster support disabled" in str(client.health)
        assert "refused" in str(client.health).lower() or "Connect call failed" in str(client.health)
        with pytest.raises(Unanswered, match="no map of slots"):
            await client.call("GET", "k")
        given_up: list[object] = []
        client.on_unknown = given_up.append
        undo = release("k", "me")
        client._stray("decisions", undo)
        assert given_up == [undo]
    node = ClusterNode(1000)
    node.port = server.port
    node._settings["port"] = str(server.port)
    with node:
        node.ask("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        await eventually(lambda: client.state == "up", 3)
        await eventually(lambda: node.knows()["cluster_state"] == "ok")
        assert await client.run(COUNT, ["k"], []) == 1
        slots = route_of(client).slots
        node.kill()
        await eventually(lambda: client.state == "down")
        with pytest.raises(Unanswered, match=r"cannot connect|connection lost"):
            await client.run(COUNT, ["k"], [])
        node.start()
        await eventually(lambda: client.state == "up", 3)
        assert route_of(client).slots == slots


async def test_wires_to_a_node_that_left_are_ended(valkey_cluster: Servers, connect: Connect) -> None:
    """A place that the map does not name any more: its tasks end, its undos go to who serves their keys."""
    client = await connect(valkey_cluster.url)
    route = route_of(client)
    await client.run(HOLD, ["k"], ["me"])
    left = route._node(Place(HOST, free_port()))
    left.wire("decisions").undo(release("k", "me"))
    route.troubled()
    await eventually(lambda: valkey_cluster.serving(key_slot("k")).ask("EXISTS", "k") == 0)
    assert left not in route._nodes.values()
    assert all(wire._life.done() for wire in left.wires)


async def test_closing_while_the_map_is_read_and_a_node_is_ended(valkey_cluster: Servers, connect: Connect) -> None:
    """Nothing is left running, and no undo is lost unheard."""
    client = await connect(valkey_cluster.url, deadline=0.1)
    given_up: list[object] = []
    client.on_unknown = given_up.append
    route = route_of(client)
    undo = release("k", "me")
    route._node(Place(HOST, free_port())).wire("decisions").undo(undo)
    route._adopt(route.slots)
    route.troubled()
    await asyncio.sleep(0)
    await client.close()
    assert route._reading.done()
    assert len(given_up) <= 1
    route.troubled()
    assert route._reading.done()


async def test_before_the_map_is_read_nothing_is_sent(valkey_cluster: Servers) -> None:
    """A question that comes before the first map is StoreDown, and says why."""
    client = Client(valkey_cluster.url)
    opening = asyncio.create_task(client.open())
    await asyncio.sleep(0)
    with pytest.raises(Unanswered, match="no map of slots yet"):
        await client.run(COUNT, ["k"], [])
    await opening
    assert await client.run(COUNT, ["k"], []) == 1
    await client.close()


async def test_an_unreadable_map_is_no_trouble_while_the_nodes_answer(
    valkey_cluster: Servers, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is refused for want of a newer map."""
    client = await connect(valkey_cluster.url)
    route = route_of(client)
    await eventually(route._reading.done)

    async def unreadable(asked: Place) -> list[Place | None]:
        raise ConnectionError(f"{asked} says nothing")

    monkeypatch.setattr(route, "_slots_by", unreadable)
    route.troubled()
    await asyncio.wait([route._reading])
    assert (client.health, client.state) == (None, "up")
    assert await client.run(COUNT, ["k"], []) == 1


def test_a_cluster_client_leaves_a_loop_that_may_run_on(valkey_cluster: Servers) -> None:
    """What was under way on the old loop ends there, and touches nothing of the new one."""
    client = Client(valkey_cluster.url, deadline=2)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(client.open())
    loop.run_until_complete(client.run(HOLD, ["k"], ["me"]))
    old, undo = route_of_loop(client, loop), release("k", "me")

    async def leave_things_undone() -> None:
        await eventually(old._reading.done)
        old._node(Place(HOST, free_port())).wire("decisions").undo(undo)
        old._adopt(old.slots)
        old.troubled()

    loop.run_until_complete(leave_things_undone())

    async def use() -> object:
        client._here()
        assert client.health is None
        return await client.run(COUNT, ["n"], [])

    assert asyncio.run(use()) == 1
    loop.run_until_complete(asyncio.sleep(0.05))
    assert old._reading.cancelled()
    assert old._strays == [("decisions", undo)]
    assert valkey_cluster.serving(key_slot("k")).ask("EXISTS", "k") == 1
    loop.close()
    asyncio.run(client.close())


def route_of_loop(client: Client, loop: asyncio.AbstractEventLoop) -> Cluster:
    """The client's route, looked up on its loop."""

    async def look() -> Cluster:
        return route_of(client)

    return loop.run_until_complete(look())


def test_a_cluster_client_moves_to_another_loop(valkey_cluster: Servers) -> None:
    """The map comes along: the first question on the new loop is answered."""
    client = Client(valkey_cluster.url, deadline=2)

    async def use(key: str) -> object:
        return await client.run(COUNT, [key], [])

    async def start() -> object:
        await client.open()
        return await use("a")

    assert [asyncio.run(start()), *(asyncio.run(use(key)) for key in ("a", "b"))] == [1, 2, 1]
    loop = asyncio.new_event_loop()
    assert loop.run_until_complete(use("a")) == 3
    assert asyncio.run(use("a")) == 4
    loop.run_until_complete(asyncio.sleep(0.01))
    loop.close()
    asyncio.run(client.close())


def test_redirections_without_a_host_mean_the_same_host() -> None:
    """MOVED and CLUSTER SLOTS may leave the host empty, null or unknown."""
    asked = Place("10.0.0.1", 1)
    rows = [[0, 5, [None, 7, b"id"]], [6, 9, [b"", 8, b"id"], [b"replica", 9]], [10, 16383, [b"h", 9, b"id", []]]]
    assert clusters._ranges(rows, asked) == [  # type: ignore[arg-type]  # rows are replies
        (0, 5, Place("10.0.0.1", 7)),
        (6, 9, Place("10.0.0.1", 8)),
        (10, 16383, Place("h", 9)),
    ]
    assert clusters._ranges([], asked) == []
    for reply in ([b"x"], [[0, 1]], b"OK", None):
        with pytest.raises(ConnectionError, match="unreadable"):
            clusters._ranges(reply, asked)  # type: ignore[arg-type]  # lists of lists are replies
