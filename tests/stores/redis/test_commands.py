"""Commands as bytes, scripts and their hashes, and errors that keep secrets."""

import asyncio
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio.connection import Connection

from forecourt.stores.redis import commands
from forecourt.stores.redis.commands import Item, Packing, ReplyError, Script, Unanswered, pack, settle

ITEMS = st.lists(
    st.integers() | st.booleans() | st.text(max_size=40) | st.binary(max_size=40) | st.just(b"x" * 5000), max_size=12
)


PEER = Connection()


def packed_by_redis_py(*items: Item) -> bytes:
    """What redis-py would write."""
    texts = [int(item) if isinstance(item, bool) else item for item in items]
    return b"".join(PEER.pack_command(*texts))


@given(ITEMS)
def test_commands_are_packed_as_redis_py_packs_them(items: list[Item]) -> None:
    """Byte for byte, whatever the items; integers and booleans as digits."""
    assert pack("ECHO", *items) == packed_by_redis_py("ECHO", *items)


@given(keys=st.lists(st.text(max_size=20) | st.binary(max_size=20), max_size=4), args=ITEMS)
def test_a_script_is_run_by_its_hash(keys: list[str | bytes], args: list[Item]) -> None:
    """EVALSHA, hash, number of keys, keys, arguments."""
    script = Script("return 1")
    expected = packed_by_redis_py("EVALSHA", script.sha, len(keys), *keys, *args)
    assert script.pack(keys, args) == expected
    assert script.pack(keys, args) == expected


def test_a_script_knows_its_hash_and_how_it_is_loaded() -> None:
    """The hash is what the server computes: SHA-1 of the source."""
    script = Script(b"return 1")
    assert script.sha == hashlib.sha1(b"return 1").hexdigest().encode()
    assert script.load == packed_by_redis_py("SCRIPT", "LOAD", b"return 1")
    assert repr(script) == f"Script({script.sha.decode()})"


def test_remembered_integers_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many different integers are packed, few are kept."""
    monkeypatch.setattr(commands, "_MOST_PACKED", 10)
    packing = Packing()
    packing.add([], range(8))
    assert set(packing._packed) == set(range(8))
    packing.add([], range(1000))
    assert len(packing._packed) <= 10


def test_an_error_reply_does_not_repeat_arguments() -> None:
    """Servers quote the arguments of a command they do not know; those may be secret."""
    error = ReplyError("ERR", "unknown command 'X', with args beginning with: 'hunter2' ")
    assert str(error) == "ERR unknown command 'X'"
    assert (error.code, error.written) == ("ERR", False)


async def test_settling_is_once_and_silent() -> None:
    """A future keeps its first outcome, and an error that nobody awaits makes no noise when it is collected."""
    future: asyncio.Future[commands.Reply] = asyncio.get_running_loop().create_future()
    settle(future, Unanswered("late", written=True))
    settle(future, 1)
    assert isinstance(future.exception(), Unanswered)
