"""Replies are read alike by hiredis and without it, however their bytes are cut."""

import sys
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import cast

import hiredis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecourt.stores.redis import line, replies
from forecourt.stores.redis.commands import ReplyError
from forecourt.stores.redis.replies import INCOMPLETE, PythonReader, Reader, new_reader
from tests.servers import Valkey
from tests.stores.redis.conftest import Connect
from tests.stores.redis.scripts import COUNT

LINES = st.text(st.characters(codec="ascii", exclude_characters="\r\n"), max_size=20).map(str.encode)
BULKS = st.binary(max_size=30)
SIMPLE: st.SearchStrategy[bytes] = st.one_of(
    LINES.map(lambda line: b"+%b\r\n" % line),
    LINES.map(lambda line: b"-ERR %b\r\n" % line),
    st.integers(-(2**63), 2**63 - 1).map(lambda number: b":%d\r\n" % number),
    BULKS.map(lambda text: b"$%d\r\n%b\r\n" % (len(text), text)),
    BULKS.map(lambda text: b"=%d\r\ntxt:%b\r\n" % (len(text) + 4, text)),
    st.floats(allow_nan=False).map(lambda number: b",%b\r\n" % repr(number).encode()),
    st.sampled_from([b"$-1\r\n", b"*-1\r\n", b"_\r\n", b"#t\r\n", b"#f\r\n", b"(12345678901234567890\r\n"]),
)
KEYS = LINES.map(lambda line: b"+%b\r\n" % line)


def listed(parts: list[bytes]) -> bytes:
    """Return these replies as one."""
    return b"*%d\r\n%b" % (len(parts), b"".join(parts))


def mapped(parts: dict[bytes, bytes]) -> bytes:
    """Return these replies as one map."""
    return b"%%%d\r\n%b" % (len(parts), b"".join(key + value for key, value in parts.items()))


REPLIES = st.recursive(
    SIMPLE, lambda inner: st.lists(inner, max_size=4).map(listed) | st.dictionaries(KEYS, inner, max_size=3).map(mapped)
)


def read(reader: Reader, pieces: Iterable[bytes]) -> list[object]:
    """Return all replies in these bytes."""
    told: list[object] = []
    for piece in pieces:
        reader.feed(piece)
        while (reply := reader.gets()) is not INCOMPLETE:
            told.append(reply)
    return told


@given(st.lists(REPLIES, max_size=5).map(b"".join), st.lists(st.integers(0, 200), max_size=5))
def test_both_readers_read_alike(stream: bytes, cuts: list[int]) -> None:
    """What hiredis makes of a stream of replies, whole or in pieces, the reader in Python makes of it too."""
    places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    pieces = [stream[begin:end] for begin, end in pairwise(places)]
    theirs = read(new_reader(), [stream] if stream else [])
    assert repr(read(PythonReader(), pieces)) == repr(theirs)


@pytest.mark.parametrize(
    ("make", "stream"), [(new_reader, b"?5\r\n"), (PythonReader, b"?5\r\n"), (PythonReader, b"$1\r\nab\r\n")]
)
def test_what_is_no_reply_is_an_error(make: Callable[[], Reader], stream: bytes) -> None:
    """The connection is of no more use; what came before it was read."""
    reader = make()
    reader.feed(b":1\r\n" + stream)
    assert reader.gets() == 1
    with pytest.raises(ConnectionError, match=r"no reply|Protocol error"):
        reader.gets()


def test_hiredis_reads_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere Python does."""
    assert isinstance(new_reader(), hiredis.Reader)
    monkeypatch.setitem(sys.modules, "hiredis", None)
    assert isinstance(new_reader(), PythonReader)


@pytest.mark.parametrize(
    ("message", "code", "text"),
    [
        ("NOSCRIPT No matching script.", "NOSCRIPT", "No matching script."),
        (b"MOVED 1 127.0.0.1:7000", "MOVED", "1 127.0.0.1:7000"),
        ("something went wrong", "ERR", "something went wrong"),
        (b"\xff", "ERR", "\ufffd"),
        ("", "ERR", ""),
    ],
)
def test_an_error_is_known_by_its_first_word(message: str | bytes, code: str, text: str) -> None:
    """Unless it has none."""
    error = replies.error_of(message)
    assert (error.code, error.text) == (code, text)


@pytest.mark.valkey
async def test_without_hiredis_a_server_is_asked_all_the_same(
    valkey: Valkey, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scripts, errors and large bodies."""
    monkeypatch.setattr(line, "new_reader", PythonReader)
    client = await connect(valkey.url, deadline=5)
    assert await client.run(COUNT, ["k"], []) == 1
    body = b"x" * 2**20
    await client.call("SET", "body", body, lane="bodies")
    assert await client.call("GET", "body", lane="bodies") == body
    with pytest.raises(ReplyError, match="WRONGTYPE"):
        await client.call("LPUSH", "body", "x")
    assert cast("list[object]", await client.call("MGET", "body", "k", "none"))[1:] == [b"1", None]
