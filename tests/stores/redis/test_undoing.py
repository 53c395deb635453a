"""Undos: what nobody knows to be granted is taken back, whatever else fails, or somebody is told."""

import asyncio

import pytest

from forecourt.stores.redis import wire as wires
from forecourt.stores.redis.client import Client, Script, Unanswered
from tests.servers import HOST, Valkey, eventually
from tests.stores.redis.asking import disconnected, holder, outcome, wire_of, written
from tests.stores.redis.conftest import Connect
from tests.stores.redis.proxy import Proxy
from tests.stores.redis.scripts import COUNT, HOLD, Undo, release

pytestmark = pytest.mark.valkey


async def test_a_late_grant_is_undone(valkey: Valkey, connect: Connect) -> None:
    """Nobody owns what was granted after the deadline: it is taken back when the reply arrives."""
    client = await connect(valkey.url, deadline=0.05)
    client_failures: list[object] = []
    with valkey.stalled():
        asked = [
            outcome(client.run(HOLD, [f"lease:{number}"], ["me"], undo=release(f"lease:{number}", "me")))
            for number in range(20)
        ]
        client_failures += await asyncio.gather(*asked)
    assert {type(error) for error in client_failures} == {Unanswered}
    await eventually(lambda: valkey.count("evalsha") == 40)
    assert valkey.ask("DBSIZE") == 0


async def test_a_late_refusal_is_not_undone(valkey: Valkey, connect: Connect) -> None:
    """A reply that granted nothing needs nothing; nor does one without an undo."""
    client = await connect(valkey.url, deadline=0.05)
    valkey.ask("SET", "k", "somebody")
    with valkey.stalled():
        await outcome(client.run(HOLD, ["k"], ["me"], undo=release("k", "somebody")))
        await eventually(lambda: client.state == "down")
    await eventually(lambda: client.state == "up")
    assert await client.run(HOLD, ["other"], ["me"]) == 1
    assert (holder(valkey, "k"), valkey.count("evalsha")) == (b"somebody", 2)


async def test_an_undo_that_raises_hurts_nobody(valkey: Valkey, connect: Connect) -> None:
    """A mistake in `granted` goes to the loop's handler, not to the connection."""
    client = await connect(valkey.url, deadline=0.05)
    mistakes: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: mistakes.append(context["exception"]))
    undo = Undo(COUNT, ["n"], [], lambda reply: bool(1 // 0))
    with valkey.stalled():
        await outcome(client.run(COUNT, ["n"], [], undo=undo))
    await eventually(lambda: bool(mistakes))
    assert await client.run(COUNT, ["n"], []) == 2
    assert isinstance(mistakes[0], ZeroDivisionError)


async def test_a_lost_grant_is_undone_first_on_the_next_connection(valkey: Valkey, connect: Connect) -> None:
    """Before any question: whoever asks next finds the lease free."""
    async with Proxy(valkey) as proxy:
        client = await connect(proxy.url)
        await client.run(COUNT, ["n"], [])
        proxy.hold()
        asked = [
            asyncio.create_task(client.run(HOLD, [f"k{number}"], ["me"], undo=release(f"k{number}", "me")))
            for number in range(3)
        ]
        asked[0].cancel()
        await eventually(lambda: valkey.ask("EXISTS", "k1", "k2") == 2)
        asked[1].cancel()
        proxy.cut()
        proxy.release()
        assert isinstance(await outcome(asked[2]), Unanswered)
        next_question = asyncio.create_task(client.run(HOLD, ["k2"], ["you"]))
        assert await next_question == 1
        assert valkey.ask("EXISTS", "k0", "k1") == 0
        assert holder(valkey, "k2") == b"you"


async def test_an_undo_survives_a_lost_connection(valkey: Valkey, connect: Connect) -> None:
    """An undo that was written and not answered is sent again, as often as it takes."""
    async with Proxy(valkey) as proxy:
        client = await connect(proxy.url, deadline=0.1)
        await client.run(COUNT, ["n"], [])
        proxy.hold()
        await outcome(client.run(HOLD, ["k"], ["me"], undo=release("k", "me")))
        for _ in range(3):
            proxy.cut()
            await disconnected(client)
        proxy.release()
        await eventually(lambda: holder(valkey, "k") is None)
        await eventually(lambda: client.state == "up" and not wire_of(client)._undos)


async def test_an_undo_waits_for_its_turn_whatever_happens(valkey: Valkey, connect: Connect) -> None:
    """Not yet written when the server stands still, nor when the connection is lost, it is sent in the end."""
    async with Proxy(valkey) as proxy:
        client = await connect(proxy.url, deadline=0.05, flush=1)
        await client.run(HOLD, ["k"], ["me"])
        await client.run(release("k", "you").script, ["k"], ["you"])
        wire = wire_of(client)
        assert repr(wire) == f"<Wire {HOST}:{proxy.port} (decisions): connected, 0 waiting, 0 written>"
        proxy.hold()
        asked = [outcome(client.run(HOLD, ["other"], [number])) for number in range(2)]
        failing = asyncio.gather(*asked)
        await written(client, 2)
        wire.undo(release("k", "me"))
        assert {type(error) for error in await failing} == {Unanswered}
        assert (len(wire._urgent), client.state) == (1, "down")
        proxy.cut()
        proxy.release()
        await eventually(lambda: holder(valkey, "k") is None)
        await client.close()
        for _ in range(2):
            wire.drop("nothing is left of it")
        assert repr(wire).startswith(f"<Wire {HOST}:{proxy.port} (decisions): closed")


async def test_an_undo_refused_for_the_moment_survives_a_restart(valkey: Valkey, connect: Connect) -> None:
    """While it is tried again the server goes: it is sent first on the next connection."""
    client = await connect(valkey.url, deadline=0.1)
    script = Script("if redis.call('SET', KEYS[1], 1, 'NX', 'GET') then return 1 end return redis.error_reply(ARGV[1])")
    later = Undo(script, ["tried"], ["TRYAGAIN later"])
    await client.run(COUNT, ["n"], [])
    wire_of(client).undo(later)
    await eventually(lambda: bool(client._persisting))
    valkey.kill()
    await eventually(lambda: not client._persisting and len(wire_of(client)._undos) == 1)
    valkey.start()
    await eventually(lambda: valkey.ask("EXISTS", "tried") == 1)
    await eventually(lambda: client.state == "up" and not client._persisting and not wire_of(client)._written)


async def test_undos_move_to_another_loop_with_their_client(valkey: Valkey, connect: Connect) -> None:
    """What a client had still to undo on one event loop it undoes on the next."""
    client = Client(valkey.url, deadline=5)
    await client.open()
    await client.run(HOLD, ["k"], ["me"])
    valkey.stop()
    await eventually(lambda: client.state == "down")
    wire_of(client).undo(release("k", "me"))
    valkey.start()
    valkey.ask("SET", "k", "me")

    async def use() -> None:
        await client.run(COUNT, ["n"], [])
        await client.close()

    await asyncio.to_thread(asyncio.run, use())
    assert holder(valkey, "k") is None
    client._terms.on_trouble()


async def test_undos_are_bounded_and_the_oldest_given_up(
    valkey: Valkey, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list of undos to send has an end; who is dropped is told of, and so is who is left at close."""
    monkeypatch.setattr(wires, "MOST_UNDOS", 2)
    given_up: list[object] = []
    async with Proxy(valkey) as proxy:
        client = await connect(proxy.url)
        client.on_unknown = given_up.append
        undos = [release(f"k{number}", "me") for number in range(4)]
        await client.run(COUNT, ["n"], [])
        proxy.hold()
        asked = [asyncio.create_task(client.run(HOLD, [*undo.keys], ["me"], undo=undo)) for undo in undos]
        await written(client, 4)
        valkey.stop()
        for task in asked:
            await outcome(task)
        assert given_up == undos[:2]
        await client.close()
        assert given_up == undos
    valkey.start()


async def test_undos_that_stay_refused_are_given_up(
    valkey: Valkey, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused for good at once; refused for the moment after some seconds; those still tried at close."""
    monkeypatch.setattr("forecourt.stores.redis.client._PERSISTENCE", 0.05)
    client = await connect(valkey.url)
    given_up: list[object] = []
    wire = wire_of(client)
    connection = await client.call("CLIENT", "ID")
    never = Undo(Script("return redis.call('NOSUCH')"), ["k"], [])
    wire.undo(never)
    await eventually(lambda: valkey.count("evalsha") == 1 and not wire._written)
    assert await client.call("PING") == b"PONG"
    client.on_unknown = given_up.append
    wire.undo(never)
    await eventually(lambda: given_up == [never])
    later = Undo(Script("redis.call('INCR', KEYS[1]) return redis.error_reply('TRYAGAIN later')"), ["tries"], [])
    wire.undo(later)
    await eventually(lambda: given_up == [never, later])
    assert int(str(valkey.ask("GET", "tries"), "ascii")) > 2  # type: ignore[call-overload]  # bytes
    # To ask again is no reason for another connection.
    assert await client.call("CLIENT", "ID") == connection
    monkeypatch.setattr("forecourt.stores.redis.client._PERSISTENCE", 60)
    wire.undo(later)
    await eventually(lambda: bool(client._persisting))
    await client.close()
    assert given_up == [never, later, later]


async def test_a_forgotten_undo_script_is_loaded_too(valkey: Valkey, connect: Connect) -> None:
    """An undo does not depend on the server's cache of scripts."""
    client = await connect(valkey.url, deadline=0.05)
    await client.run(release("k", "me").script, ["k"], ["me"])
    await client.run(HOLD, ["other"], ["me"])
    valkey.ask("SCRIPT", "FLUSH")
    with valkey.stalled():
        await outcome(client.run(HOLD, ["k"], ["me"], undo=release("k", "me")))
    await eventually(lambda: client.state == "up")
    # It was never granted: the server did not know the script, and nobody waits for the second try.
    await client.run(HOLD, ["k"], ["you"])
    assert holder(valkey, "k") == b"you"
