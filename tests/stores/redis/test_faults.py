"""What becomes of questions when the server, the connection or the event loop fails.

Nothing hangs, nothing is applied twice, nothing granted is kept by nobody, and our own load is never a dead store.
"""

import asyncio
import time
from collections.abc import Awaitable

import pytest
import uvloop

from forecourt.errors import StoreDown, StoreOverloaded
from forecourt.stores.redis import wire as wires
from forecourt.stores.redis.client import Client, Reply, ReplyError, Script, Unanswered, Undo
from forecourt.stores.redis.commands import Command
from forecourt.stores.redis.wire import Wire
from tests.servers import HOST, Valkey, eventually, free_port
from tests.stores.redis.conftest import Connect
from tests.stores.redis.proxy import Proxy
from tests.stores.redis.scripts import COUNT, HOLD, release

pytestmark = pytest.mark.valkey


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


# Cancelled callers.


async def test_a_caller_cancelled_before_the_write_asked_nothing(valkey: Valkey, connect: Connect) -> None:
    """What was not written when its caller left is never sent."""
    client = await connect(valkey.url)
    asked = asyncio.create_task(client.run(COUNT, ["n"], []))
    await asyncio.sleep(0)
    asked.cancel()
    assert await client.run(COUNT, ["m"], []) == 1
    assert (valkey.ask("GET", "n"), asked.cancelled()) == (None, True)


async def test_a_cancelled_caller_disturbs_nobody(valkey: Valkey, connect: Connect) -> None:
    """Its reply is taken off the queue; those before and behind it get their own."""
    client = await connect(valkey.url)
    echo = Script("return ARGV[1]")
    with valkey.stalled():
        asked = [asyncio.create_task(client.run(echo, [], [str(number)])) for number in range(9)]
        await written(client, 9)
        for number in (0, 4, 8):
            asked[number].cancel()
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert [answer for answer in answers if isinstance(answer, bytes)] == [b"1", b"2", b"3", b"5", b"6", b"7"]
    assert client.state == "up"


async def test_what_a_cancelled_caller_was_granted_is_undone(valkey: Valkey, connect: Connect) -> None:
    """The late reply says what was granted: that is taken back, and only that."""
    client = await connect(valkey.url)
    valkey.ask("SET", "taken", "somebody")
    with valkey.stalled():
        asked = [
            asyncio.create_task(client.run(HOLD, [key], ["me"], undo=release(key, "me"))) for key in ("free", "taken")
        ]
        await written(client, 2)
        for task in asked:
            task.cancel()
    await eventually(lambda: valkey.count("evalsha") == 3)
    assert (holder(valkey, "free"), holder(valkey, "taken")) == (None, b"somebody")


async def test_a_reply_that_its_caller_never_saw_is_undone(valkey: Valkey, connect: Connect) -> None:
    """Cancelled between the arrival of the reply and its own turn, a caller keeps nothing either."""
    client = await connect(valkey.url)
    wire = wire_of(client)
    command = wire.send(HOLD.pack(["k"], ["me"]), HOLD, release("k", "me"))
    await asyncio.wait([command.future])
    assert holder(valkey, "k") == b"me"
    wire.forsake(command)
    await eventually(lambda: holder(valkey, "k") is None)


async def test_a_caller_cancelled_in_the_turn_of_its_reply_is_undone(
    valkey: Valkey, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same through the client: the reply is matched, and the caller is cancelled before it runs again."""
    client = await connect(valkey.url)
    send = Wire.send

    def send_and_cancel(wire: Wire, packed: bytes, script: Script | None, undo: Undo | None) -> Command:
        command = send(wire, packed, script, undo)
        command.future.add_done_callback(lambda _: asked.cancel())
        return command

    monkeypatch.setattr(Wire, "send", send_and_cancel)
    asked = asyncio.create_task(client.run(HOLD, ["k"], ["me"], undo=release("k", "me")))
    await asyncio.wait([asked])
    assert asked.cancelled()
    await eventually(lambda: valkey.count("evalsha") == 2)
    assert holder(valkey, "k") is None


# Deadlines.


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


# Lost connections.


async def test_what_was_not_written_is_sent_after_reconnecting(valkey: Valkey, connect: Connect) -> None:
    """A question asked while there is no connection is answered on the next one, within its deadline, once."""
    async with Proxy(valkey) as proxy:
        client = await connect(proxy.url)
        assert await client.run(COUNT, ["n"], []) == 1
        proxy.cut()
        await disconnected(client)
        assert await client.run(COUNT, ["n"], []) == 2
        assert client.state == "up"


async def test_what_was_written_is_not_sent_again(valkey: Valkey, connect: Connect) -> None:
    """A connection lost with questions unanswered: StoreDown, `written`, and each was applied at most once."""
    async with Proxy(valkey) as proxy:
        client = await connect(proxy.url)
        await client.run(COUNT, ["n"], [])
        proxy.hold()
        asked = [asyncio.create_task(client.run(COUNT, ["n"], [])) for _ in range(50)]
        await eventually(lambda: valkey.ask("GET", "n") == b"51")
        proxy.cut()
        proxy.release()
        failures = [await outcome(task) for task in asked]
        assert {type(error) for error in failures} == {Unanswered}
        assert all(getattr(error, "written", False) for error in failures)
        assert "connection lost" in str(failures[0])
        assert await client.run(COUNT, ["n"], []) == 52


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


async def test_closing_while_things_go_wrong(valkey: Valkey) -> None:
    """A late reply, or a lost connection, while a close waits for answers: it ends, and opens nothing again."""
    async with Proxy(valkey) as proxy:
        for cuts in (False, True):
            client = Client(proxy.url, deadline=2)
            await client.open()
            await client.run(COUNT, ["n"], [])
            wire = wire_of(client)
            proxy.hold()
            asked = [asyncio.create_task(client.run(COUNT, ["n"], [])) for _ in range(2)]
            await written(client, 2)
            asked[0].cancel()
            closing = asyncio.create_task(client.close())
            await eventually(lambda: wire.down == "closed")  # noqa: B023  # awaited at once
            if cuts:
                proxy.cut()
            proxy.release()
            await asyncio.wait_for(closing, 1)
            assert isinstance(await outcome(asked[1]), Unanswered if cuts else int)
            assert wire.down == "closed"


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


async def test_a_killed_server_is_found_again_within_a_second(valkey: Valkey, connect: Connect) -> None:
    """Down is known at once and told once; a second after the start questions are answered."""
    client = await connect(valkey.url, deadline=0.05)
    changes: list[str] = []
    client.on_state = lambda state, reason: changes.append(state)
    for _ in range(2):
        valkey.kill()
        await eventually(lambda: client.state == "down")
        failures = await asyncio.gather(*(outcome(client.run(COUNT, ["n"], [])) for _ in range(100)))
        assert {type(error) for error in failures} == {Unanswered}
        valkey.start()
        await eventually(lambda: client.state == "up", 1)
        assert await client.run(COUNT, ["n"], []) == 1
    assert changes == ["down", "up"] * 2


async def test_an_unasked_reply_ends_the_connection(valkey: Valkey, connect: Connect) -> None:
    """After a reply that answers nothing no reply could be trusted: the connection is given up."""
    port, connections = free_port(), []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        while data := await reader.read(65536):
            commands = sum(line.startswith(b"*") for line in data.split(b"\r\n"))
            writer.write(b"+PONG\r\n" * (commands + data.count(b"SURPRISE")))
        writer.close()

    async with await asyncio.start_server(answer, HOST, port):
        client = await connect(f"redis://{HOST}:{port}")
        assert await client.call("GET", "SURPRISE") == b"PONG"
        await eventually(lambda: len(connections) == 3)
        await client.close()


# Scripts.


async def test_a_forgotten_script_is_loaded_again_and_runs_once(valkey: Valkey, connect: Connect) -> None:
    """SCRIPT FLUSH under load: every caller succeeds, each is applied once, and the script is loaded a few times."""
    client = await connect(valkey.url, deadline=5)
    await client.run(COUNT, ["n"], [])
    valkey.ask("SCRIPT", "FLUSH")

    async def flush() -> None:
        for _ in range(5):
            await asyncio.to_thread(valkey.ask, "SCRIPT", "FLUSH")

    answers = await asyncio.gather(*(client.run(COUNT, ["n"], []) for _ in range(500)), flush())
    assert sorted(answers[:500]) == list(range(2, 502))  # type: ignore[type-var]  # they are int
    assert valkey.count("script|load") < 20


async def test_every_connection_knows_all_scripts(valkey: Valkey, connect: Connect) -> None:
    """The handshake loads what the client has run: the first question after a restart costs one trip."""
    client = await connect(valkey.url)
    await client.run(COUNT, ["n"], [])
    valkey.kill()
    await eventually(lambda: client.state == "down")
    valkey.start()
    await eventually(lambda: client.state == "up")
    assert await client.run(COUNT, ["n"], []) == 1
    assert valkey.count("evalsha") == 1
    assert valkey.count("script|load") == 2


async def test_a_script_that_does_not_compile_says_so(valkey: Valkey, connect: Connect) -> None:
    """The error is the server's, not only that it does not know the script; the connection serves on."""
    client = await connect(valkey.url)
    wrong = Script("return nil nil")
    for _ in range(2):
        with pytest.raises(ReplyError, match=r"NOSCRIPT Script\(.*\) does not load: ERR Error compiling script"):
            await client.run(wrong, ["k"], [])
    assert await client.run(COUNT, ["n"], []) == 1
    wire_of(client).drop("to see whether the handshake bears it")
    with pytest.raises(ReplyError, match="does not load"):
        await client.run(wrong, ["k"], [])
    assert client.state == "up"


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


# Servers that answer, and do not serve.


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


async def test_undos_that_stay_refused_are_given_up(
    valkey: Valkey, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused for good at once; refused for the moment after some seconds; those still tried at close."""
    monkeypatch.setattr("forecourt.stores.redis.client._PERSISTENCE", 0.05)
    client = await connect(valkey.url)
    given_up: list[object] = []
    wire = wire_of(client)
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
    monkeypatch.setattr("forecourt.stores.redis.client._PERSISTENCE", 60)
    wire.undo(later)
    await eventually(lambda: bool(client._persisting))
    await client.close()
    assert given_up == [never, later, later]
