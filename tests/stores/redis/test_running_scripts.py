"""Scripts: loaded on every connection, loaded again when forgotten, run once."""

import asyncio

import pytest

from forecourt.stores.redis.client import ReplyError, Script
from tests.servers import Valkey, eventually
from tests.stores.redis.asking import wire_of
from tests.stores.redis.conftest import Connect
from tests.stores.redis.scripts import COUNT

pytestmark = pytest.mark.valkey


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
