"""Callers who leave: they disturb nobody, and keep nothing."""

import asyncio

import pytest

from forecourt.stores.redis.client import Script
from forecourt.stores.redis.commands import Command
from forecourt.stores.redis.wire import Wire
from tests.servers import Valkey, eventually
from tests.stores.redis.asking import holder, wire_of, written
from tests.stores.redis.conftest import Connect
from tests.stores.redis.scripts import COUNT, HOLD, Undo, release

pytestmark = pytest.mark.valkey


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


@pytest.mark.parametrize(("command", "undoes"), [(HOLD, True), (HOLD, False), (Script("return nosuch()"), True)])
async def test_a_caller_cancelled_in_the_turn_of_its_reply(
    valkey: Valkey, connect: Connect, monkeypatch: pytest.MonkeyPatch, command: Script, undoes: bool
) -> None:
    """The reply is matched, and its caller is cancelled before it runs again: it is cancelled, a grant is undone."""
    client = await connect(valkey.url)
    mistakes: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: mistakes.append(context))
    send = Wire.send

    def send_and_cancel(wire: Wire, packed: bytes, script: Script | None, undo: Undo | None) -> Command:
        command = send(wire, packed, script, undo)
        command.future.add_done_callback(lambda _: asked.cancel())
        return command

    monkeypatch.setattr(Wire, "send", send_and_cancel)
    undo = release("k", "me") if undoes else None
    asked = asyncio.create_task(client.run(command, ["k"], ["me"], undo=undo))
    await asyncio.wait([asked])
    assert asked.cancelled()
    monkeypatch.undo()
    undone = undoes and command is HOLD
    await eventually(lambda: valkey.count("evalsha") == (2 if undone else 1))
    assert await client.call("GET", "k") == (None if undoes else b"me")
    assert mistakes == []


async def test_a_caller_cancelled_in_the_turn_of_its_second_reply(
    valkey: Valkey, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked again, because it could not be served for the moment, it keeps nothing of that either."""
    client = await connect(valkey.url)
    passing = Script(
        "if redis.call('INCR', KEYS[1]) == 1 then return redis.error_reply('TRYAGAIN later') end "
        "return redis.call('SET', KEYS[2], ARGV[1], 'NX') and 1 or 0"
    )
    send = Wire.send

    def send_and_cancel(
        wire: Wire, packed: bytes, script: Script | None, undo: Undo | None, *, asking: bool = False
    ) -> Command:
        command = send(wire, packed, script, undo, asking=asking)
        command.future.add_done_callback(lambda future: None if future.exception() else asked.cancel())
        return command

    monkeypatch.setattr(Wire, "send", send_and_cancel)
    asked = asyncio.create_task(client.run(passing, ["n", "k"], ["me"], undo=release("k", "me")))
    await asyncio.wait([asked])
    assert asked.cancelled()
    monkeypatch.undo()
    await eventually(lambda: valkey.count("evalsha") == 3)
    assert (valkey.ask("GET", "n"), holder(valkey, "k")) == (b"2", None)
