"""What a store may expect of the client: answers, order, urls, loops, closing."""

import asyncio
import gc
import time
from collections.abc import Callable, Coroutine

import pytest
import uvloop

from forecourt.errors import ConfigError, StoreDown, StoreOverloaded
from forecourt.stores.redis.client import Client, Item, ReplyError, Script, Unanswered
from tests.servers import Valkey, eventually
from tests.stores.redis.conftest import Connect
from tests.stores.redis.scripts import COUNT, HOLD, release

pytestmark = pytest.mark.valkey


async def test_thousands_of_callers_get_their_own_answers(valkey: Valkey, connect: Connect) -> None:
    """Answers are matched in order, over many flushes and windows, on both lanes."""
    client = await connect(valkey.url, deadline=10, flush=64)
    echo = Script("return ARGV[1]")
    asked = [str(number).encode() for number in range(2000)]
    answers = await asyncio.gather(
        *(client.run(echo, ["k"], [word]) for word in asked),
        *(client.call("ECHO", word, lane="bodies") for word in asked),
    )
    assert answers == asked * 2


async def test_what_is_asked_in_one_turn_leaves_together(valkey: Valkey, connect: Connect) -> None:
    """Sixty-four callers of one turn of the loop cost the server few reads, not sixty-four."""
    client = await connect(valkey.url)

    def reads() -> int:
        with valkey.client() as own:
            return int(own.info("stats")["total_reads_processed"])

    before = reads()
    overhead = reads() - before
    before = reads()
    await asyncio.gather(*(client.call("INCR", "n") for _ in range(64)))
    assert reads() - before - overhead <= 4


async def test_large_bodies_pass_whole(valkey: Valkey, connect: Connect) -> None:
    """A body is bytes, however large, and several flushes of them arrive in order."""
    client = await connect(valkey.url, deadline=10)
    bodies = [bytes([number]) * 600_000 for number in range(8)]
    await asyncio.gather(*(client.call("SET", f"b{n}", body, lane="bodies") for n, body in enumerate(bodies)))
    assert await asyncio.gather(*(client.call("GET", f"b{n}", lane="bodies") for n in range(8))) == bodies


async def test_what_the_server_does_not_read_is_not_written(valkey: Valkey, connect: Connect) -> None:
    """Bodies for a server that reads nothing wait here, not in the transport; all are stored once it reads."""
    client = await connect(valkey.url, deadline=3)
    wire = client._here().wire(0, "bodies")
    with valkey.stalled():
        storing = [asyncio.create_task(client.call("SET", f"b{n}", b"x" * 2**20, lane="bodies")) for n in range(40)]
        await eventually(lambda: wire._ticks.now > 2)
        assert wire._line is not None
        assert 2**20 < wire._line.transport.get_write_buffer_size() < 4 * 2**20
        assert len(wire._written) + len(wire._waiting) == 40
        assert len(wire._waiting) > 10
    assert await asyncio.gather(*storing) == [b"OK"] * 40


async def test_lanes_and_connections_are_separate(valkey: Valkey, connect: Connect) -> None:
    """Each lane has connections of its own, as many as asked for, and all of them are used."""
    client = await connect(valkey.url, connections=2)
    decisions = {await client.call("CLIENT", "ID")}
    bodies = {await client.call("CLIENT", "ID", lane="bodies")}
    decisions |= set(await asyncio.gather(*(client.call("CLIENT", "ID") for _ in range(4))))
    bodies |= set(await asyncio.gather(*(client.call("CLIENT", "ID", lane="bodies") for _ in range(4))))
    assert (len(decisions), len(bodies), len(decisions & bodies)) == (2, 2, 0)


async def test_answers_stay_bytes(valkey: Valkey, connect: Connect) -> None:
    """Nothing is decoded: text is bytes, numbers are int, nothing is None, lists nest."""
    client = await connect(valkey.url)
    script = Script("return {KEYS[1], ARGV[1] + 1, false, {ARGV[2]}}")
    assert await client.run(script, ["k"], [41, b"\xff"]) == [b"k", 42, None, [b"\xff"]]


@pytest.mark.parametrize("protocol", [2, 3])
async def test_both_protocols_work(valkey: Valkey, connect: Connect, protocol: int) -> None:
    """RESP3 is the URL's choice, and says the same."""
    client = await connect(f"{valkey.url}?protocol={protocol}")
    assert await client.run(COUNT, ["n"], []) == 1
    assert await client.call("GET", "nothing") is None


async def test_a_socket_will_do(valkey: Valkey, connect: Connect) -> None:
    """unix:// reaches the same server."""
    client = await connect(f"{valkey.unix_url}?db=3")
    await client.call("SET", "here", 1)
    assert valkey.ask("SWAPDB", 0, 3) == b"OK"
    assert valkey.ask("GET", "here") == b"1"


async def test_an_unknown_command_is_an_error_without_its_arguments(valkey: Valkey, connect: Connect) -> None:
    """Other error replies are StoreDown with the server's code and text, and what was asked is not in it."""
    client = await connect(valkey.url)
    with pytest.raises(ReplyError, match="ERR unknown command 'NOSUCH'") as raised:
        await client.call("NOSUCH", "hunter2")
    assert isinstance(raised.value, StoreDown)
    assert "hunter2" not in str(raised.value)
    await client.call("SET", "text", "x")
    with pytest.raises(ReplyError) as raised:
        await client.call("LPUSH", "text", "x")
    assert raised.value.code == "WRONGTYPE"
    assert client.state == "up"


async def test_a_full_server_is_not_a_script_that_failed(valkey: Valkey, connect: Connect) -> None:
    """Out of memory is an error reply of its own code."""
    client = await connect(valkey.url)
    valkey.ask("CONFIG", "SET", "maxmemory", "1")
    try:
        with pytest.raises(ReplyError) as raised:
            await client.run(HOLD, ["k"], ["me"])
    finally:
        valkey.ask("CONFIG", "SET", "maxmemory", "0")
    assert raised.value.code == "OOM"


@pytest.mark.parametrize(
    "command",
    [
        (),
        ("subscribe", "channel"),
        (b"MULTI",),
        ("SELECT", 1),
        ("BLPOP", "queue", 0),
        ("CLIENT", "REPLY", "OFF"),
        ("XREAD", "BLOCK", 0, "STREAMS", "s", "$"),
        ("XREADGROUP", "GROUP", "g", "c", b"block", 0, "STREAMS", "s", ">"),
    ],
)
async def test_what_would_block_everybody_is_refused(
    valkey: Valkey, connect: Connect, command: tuple[Item, ...]
) -> None:
    """Commands that wait, or change the connection, are ValueErrors before anything is sent."""
    client = await connect(valkey.url)
    with pytest.raises(ValueError, match="needs a connection of its own"):
        await client.call(*command)


async def test_reading_a_stream_without_waiting_is_fine(valkey: Valkey, connect: Connect) -> None:
    """XREAD blocks only when told to."""
    client = await connect(valkey.url)
    assert await client.call("XREAD", "STREAMS", "block-list", 0, key="block-list") is None


async def test_one_primary_has_one_slot(valkey: Valkey, connect: Connect) -> None:
    """Any keys may go into one script; no hash tags are needed."""
    client = await connect(valkey.url)
    assert (client.slot("a"), client.slot(b"b"), client.clustered) == (0, 0, False)
    assert Client(valkey.url).slot("a") == 0
    assert Client("redis+cluster://host").slot("a") == 15495


@pytest.mark.parametrize(
    "wrong", [{"deadline": 0}, {"bodies_deadline": -1}, {"connections": 0}, {"max_waiting": 0}, {"flush": 0}]
)
def test_bounds_that_cannot_be_are_refused(wrong: dict[str, int]) -> None:
    """A deadline is above zero, a number of something at least one."""
    with pytest.raises(ValueError, match="deadlines must be above 0"):
        Client("redis://host", **wrong)


def test_a_wrong_url_is_refused_at_once() -> None:
    """Before anything is opened."""
    with pytest.raises(ConfigError, match="unknown scheme"):
        Client("rediz://host")


async def test_authentication_works_and_its_failure_is_told() -> None:
    """A right password opens; a wrong one shows in `health`, in the state and in errors, without the password."""
    with Valkey(password="right") as server:
        good, bad = Client(server.url), Client(server.url.replace("right", "hunter2"))
        changes: list[tuple[str, str]] = []
        bad.on_state = lambda state, reason: changes.append((state, reason))
        assert (good.health, good.state) == ("not open", "down")
        await good.open()
        await bad.open()
        assert await good.call("PING") == b"PONG"
        assert (good.health, good.state) == (None, "up")
        assert bad.state == "down"
        assert "cannot connect" in str(bad.health)
        with pytest.raises(Unanswered, match="invalid username-password pair") as raised:
            await bad.call("PING")
        assert not raised.value.written
        await eventually(lambda: bool(changes))
        assert [state for state, _ in changes] == ["down"]
        assert "hunter2" not in f"{bad.health} {raised.value} {changes} {bad!r}"
        await good.close()
        await bad.close()


async def test_opening_without_a_server_neither_fails_nor_waits_long(valkey: Valkey, connect: Connect) -> None:
    """The stack starts; questions fail at once; within a second of the server's start they are answered."""
    valkey.stop()
    before = time.monotonic()
    client = await connect(valkey.url, deadline=0.05)
    with pytest.raises(Unanswered, match="cannot connect"):
        await client.run(COUNT, ["n"], [])
    assert time.monotonic() - before < 0.5
    assert repr(client).startswith(f"<Client single 127.0.0.1:{valkey.port}: 127.0.0.1:{valkey.port} (decisions)")
    valkey.start()
    await eventually(lambda: client.state == "up", 1)
    assert await client.run(COUNT, ["n"], []) == 1
    assert repr(client) == f"<Client single 127.0.0.1:{valkey.port}: up>"


async def test_opening_waits_a_second_for_a_server_that_does_not_answer(
    valkey: Valkey, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that accepts and says nothing delays a start by a bounded time."""
    monkeypatch.setattr("forecourt.stores.redis.client._OPENING", 0.05)
    with valkey.stalled():
        client = await connect(valkey.url, deadline=0.02)
        wire = client._here().wire(0, "decisions")
        assert repr(wire) == f"<Wire 127.0.0.1:{valkey.port} (decisions): connecting, 0 waiting, 0 written>"
        with pytest.raises(Unanswered, match="no connection within 20 ms"):
            await client.call("PING")
        assert client.state == "down"
    await eventually(lambda: client.state == "up", 1)


async def test_a_client_that_is_not_open_says_so(valkey: Valkey) -> None:
    """Before open, and after close, questions are StoreDown and were not sent."""
    client = Client(valkey.url)
    with pytest.raises(Unanswered, match="not open") as raised:
        await client.call("PING")
    assert not raised.value.written
    await client.open()
    await client.open()
    await client.close()
    await client.close()
    with pytest.raises(Unanswered, match="not open"):
        await client.run(COUNT, ["n"], [])
    assert valkey.count("ping") == 2
    given_up: list[object] = []
    client.on_unknown = given_up.append
    undo = release("k", "me")
    client._stray("decisions", undo)
    assert given_up == [undo]


async def test_closing_lets_what_was_asked_be_answered(valkey: Valkey) -> None:
    """Written or still waiting for its write, it is answered; then no task and no connection is left."""
    client = Client(valkey.url, deadline=2, flush=4)
    await client.open()
    before = asyncio.all_tasks()
    asked = [asyncio.create_task(client.run(COUNT, ["n"], [])) for _ in range(100)]
    await asyncio.sleep(0)
    await client.close()
    assert sorted(await asyncio.gather(*asked)) == list(range(1, 101))  # type: ignore[type-var]  # they are int
    assert asyncio.all_tasks() - before - set(asked) == set()
    await eventually(lambda: "cmd=evalsha" not in str(valkey.ask("CLIENT", "LIST")))
    assert client.state == "down"


async def test_closing_does_not_wait_for_a_dead_server(valkey: Valkey) -> None:
    """A deadline at most; what was written and not answered is StoreDown."""
    client = Client(valkey.url, deadline=0.1)
    await client.open()
    with valkey.stalled():
        asked = asyncio.create_task(client.run(COUNT, ["n"], []))
        await asyncio.sleep(0)
        before = time.monotonic()
        await client.close()
        assert time.monotonic() - before < 0.4
        with pytest.raises(Unanswered) as raised:
            await asked
        assert raised.value.written


async def test_closing_a_client_that_never_connected(valkey: Valkey) -> None:
    """Nothing to drain, nothing left; who waited for the connection is told."""
    with valkey.stalled():
        client = Client(valkey.url, deadline=5)
        opening = asyncio.create_task(client.open())
        await asyncio.sleep(0)
        asked = asyncio.create_task(client.call("PING"))
        await asyncio.sleep(0)
        await client.close()
        with pytest.raises(Unanswered, match="closed") as raised:
            await asked
        assert not raised.value.written
        await opening


RUNNERS: list[Callable[[Coroutine[object, object, object]], object]] = [asyncio.run, uvloop.run]


@pytest.mark.parametrize("run", RUNNERS)
@pytest.mark.parametrize("closes", [True, False])
def test_a_client_moves_to_another_loop(
    valkey: Valkey, run: Callable[[Coroutine[object, object, object]], object], closes: bool
) -> None:
    """Closed or forgotten, it works on the next event loop, with new connections and the scripts it knows."""
    client = Client(valkey.url, deadline=1)

    async def use(*, opens: bool) -> object:
        if opens:
            await client.open()
        answer = await client.run(COUNT, ["n"], [])
        if closes:
            await client.close()
        return answer

    assert run(use(opens=True)) == 1
    assert run(use(opens=closes)) == 2
    assert run(use(opens=True)) == 3
    run(client.close())
    gc.collect()


def test_a_client_leaves_a_loop_that_is_closed(valkey: Valkey) -> None:
    """Opened on a loop that was closed under it, closed on another: no hang, no error."""
    client = Client(valkey.url, deadline=1)
    asyncio.run(client.open())
    asyncio.run(client.close())
    assert client.health == "not open"


def test_what_a_closed_loop_still_tried_is_given_up(valkey: Valkey) -> None:
    """An undo whose task ended with its loop is not lost unheard."""
    client = Client(valkey.url, deadline=1)
    given_up: list[object] = []
    client.on_unknown = given_up.append
    undo = release("k", "me")
    loop = asyncio.new_event_loop()
    trying = loop.create_task(asyncio.sleep(0))
    loop.run_until_complete(trying)
    loop.close()
    client._persisting[trying] = ("decisions", undo)

    async def open_and_close() -> None:
        await client.open()
        await client.close()

    asyncio.run(open_and_close())
    assert given_up == [undo]


def test_a_client_leaves_a_loop_that_still_runs(valkey: Valkey) -> None:
    """Used from two loops at once it belongs to the last; questions on the first are told, and nothing hangs."""
    client = Client(valkey.url, deadline=5)

    async def second() -> object:
        return await client.run(COUNT, ["n"], [])

    async def first() -> None:
        await client.open()
        with valkey.stalled():
            asked = asyncio.create_task(client.run(HOLD, ["k"], ["me"]))
            await asyncio.sleep(0)
            answer = asyncio.create_task(asyncio.to_thread(asyncio.run, second()))
            with pytest.raises(Unanswered):
                await asked
        assert await answer == 1

    asyncio.run(first())
    asyncio.run(client.close())


async def test_a_full_queue_is_overload(valkey: Valkey, connect: Connect) -> None:
    """With `max_waiting` questions waiting for their write the next is refused at once, and the store is not down."""
    client = await connect(valkey.url, flush=1, max_waiting=5)
    valkey.stall()
    asked = [asyncio.create_task(client.call("INCR", "n")) for _ in range(2)]
    while valkey_written(client) < 2:
        await asyncio.sleep(0)
    asked += [asyncio.create_task(client.call("INCR", "n")) for _ in range(5)]
    await asyncio.sleep(0)
    with pytest.raises(StoreOverloaded, match="5 questions are waiting already"):
        await client.call("INCR", "n")
    assert client.state == "up"
    valkey.resume()
    assert await asyncio.gather(*asked) == [1, 2, 3, 4, 5, 6, 7]


def valkey_written(client: Client) -> int:
    """How many commands of the lane for decisions were written and not answered."""
    wire = client._here().wire(0, "decisions")
    return len(wire._written)
