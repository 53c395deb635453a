"""Connections that are lost: nothing is applied twice, nothing hangs, and they come back soon."""

import asyncio
from contextlib import suppress
from select import select

import pytest

from forecourt.stores.redis import wire as wires
from forecourt.stores.redis.client import Client, Unanswered
from forecourt.stores.redis.connection import Connection, backoff
from tests.servers import HOST, Valkey, eventually, free_port
from tests.stores.redis.asking import disconnected, holder, outcome, wire_of, written
from tests.stores.redis.conftest import Connect
from tests.stores.redis.proxy import Proxy
from tests.stores.redis.scripts import COUNT, HOLD, release

pytestmark = pytest.mark.valkey


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


async def test_what_was_not_sent_goes_with_its_connection(valkey: Valkey, connect: Connect) -> None:
    """A connection that is given up is closed at once, however much of a body a stalled server did not read."""
    client = await connect(valkey.url)
    wire = wire_of(client)
    await client.call("PING")
    assert wire._line is not None
    transport = wire._line.transport
    with valkey.stalled():
        asked = asyncio.create_task(client.call("SET", "k", b"x" * 2**25))
        await eventually(lambda: transport.get_write_buffer_size() > 0)
        wire.drop("it stands still")
        assert isinstance(await outcome(asked), Unanswered)
        await eventually(lambda: transport.get_extra_info("socket").fileno() == -1, 2)
    await eventually(lambda: client.state == "up" and wire._connected)
    assert valkey.ask("EXISTS", "k") == 0


async def test_a_reply_to_a_connection_that_is_given_up_is_not_taken(valkey: Valkey, connect: Connect) -> None:
    """It arrives in the turn in which the connection is dropped: its question failed, what was granted is undone."""
    client = await connect(valkey.url)
    wire = wire_of(client)
    with valkey.stalled():
        asked = asyncio.create_task(client.run(HOLD, ["k"], ["me"], undo=release("k", "me")))
        await written(client)
    assert wire._line is not None
    select([wire._line.transport.get_extra_info("socket")], [], [], 5)
    await asyncio.sleep(0)  # the loop has seen that there is something to read, and reads it after this turn of ours
    wire.drop("to see what becomes of the reply")
    error = await outcome(asked)
    assert isinstance(error, Unanswered)
    assert error.written
    assert "connection lost: to see what becomes of the reply" in str(error)
    await eventually(lambda: holder(valkey, "k") is None)


@pytest.mark.parametrize("cuts", [False, True])
async def test_closing_while_things_go_wrong(valkey: Valkey, cuts: bool) -> None:
    """A late reply, or a lost connection, while a close waits for answers: it ends, and opens nothing again."""
    async with Proxy(valkey) as proxy:
        client = Client(proxy.url, deadline=2)
        await client.open()
        await client.run(COUNT, ["n"], [])
        wire = wire_of(client)
        told: list[object] = []
        wire._terms = wire._terms._replace(on_trouble=lambda: told.append(wire))
        proxy.hold()
        asked = [asyncio.create_task(client.run(COUNT, ["n"], [])) for _ in range(2)]
        await written(client, 2)
        asked[1].add_done_callback(lambda _: told.append(wire.down))
        asked[0].cancel()
        closing = asyncio.create_task(client.close())
        await eventually(lambda: wire.down == "closed")
        if cuts:
            proxy.cut()
        proxy.release()
        await asyncio.wait_for(closing, 1)
        assert isinstance(await outcome(asked[1]), Unanswered if cuts else int)
        assert told == ["closed"]


@pytest.mark.parametrize(("steady", "failures"), [(0.0, [0, 0, 0]), (60.0, [0, 1, 2])])
async def test_a_connection_that_does_not_last_is_not_made_again_at_once(
    valkey: Valkey, connect: Connect, monkeypatch: pytest.MonkeyPatch, steady: float, failures: list[int]
) -> None:
    """After one that lasted the next attempt is immediate; each that did not makes the pause longer."""
    monkeypatch.setattr(wires, "_STEADY", steady)
    paused: list[int] = []

    def pause(failed: int) -> float:
        paused.append(failed)
        return 0

    monkeypatch.setattr(wires, "backoff", pause)
    client = await connect(valkey.url)
    wire = wire_of(client)
    for number in range(1, 4):
        wire.drop("to see when the next is made")
        await eventually(lambda: len(paused) == number and wire._connected)  # noqa: B023  # awaited at once
    assert paused == failures


async def test_no_mistake_ends_the_attempts(valkey: Valkey, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever an attempt to connect raises, it is told, and there is another one."""
    client = await connect(valkey.url)
    wire = wire_of(client)
    dial = wire._dial

    async def mistaken() -> Connection:
        raise LookupError("a mistake")

    monkeypatch.setattr(wire, "_dial", mistaken)
    wire.drop("to see the next attempt")
    await eventually(lambda: client.state == "down")
    assert "cannot connect: a mistake" in str(client.health)
    monkeypatch.setattr(wire, "_dial", dial)
    await eventually(lambda: client.state == "up")


def test_pauses_between_attempts_grow_to_half_a_second() -> None:
    """None at first; with jitter, so that clients do not come back all at once; recovery is within a second."""
    assert backoff(0) == 0
    for failures in (1, 2, 3, 4, 5, 6, 7, 8, 100, 10_000):
        longest = min(0.5, 0.005 * 2 ** min(failures, 7))
        pauses = {backoff(failures) for _ in range(20)}
        assert all(longest / 2 <= pause <= longest for pause in pauses)
        assert len(pauses) > 1


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
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                commands = sum(line.startswith(b"*") for line in data.split(b"\r\n"))
                writer.write(b"+PONG\r\n" * (commands + data.count(b"SURPRISE")))
        writer.close()

    async with await asyncio.start_server(answer, HOST, port):
        client = await connect(f"redis://{HOST}:{port}")
        assert await client.call("GET", "SURPRISE") == b"PONG"
        await eventually(lambda: len(connections) == 3)
        await client.close()
