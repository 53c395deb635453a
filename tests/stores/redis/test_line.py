"""What a line does with a transport: replies in order, no more bytes than the server reads, one end."""

import asyncio
import struct

import pytest

from forecourt.stores.contract import Question
from forecourt.stores.redis import commands
from forecourt.stores.redis.commands import Reply, ReplyError, pack_args, pack_together
from forecourt.stores.redis.connection import Connection
from forecourt.stores.redis.line import Line
from forecourt.stores.redis.trips import deciding
from tests.servers import HOST


class Peer:
    """A connection to a server that says nothing, as redis-py would hold one."""

    def __init__(self, writer: asyncio.StreamWriter | None) -> None:
        self._writer = writer

    async def disconnect(self, nowait: bool = False) -> None:
        """Close."""
        assert nowait
        assert self._writer is not None
        self._writer.close()


async def test_a_line_tells_what_its_transport_tells() -> None:
    """Replies before what is no reply count; the end is told once, and nothing after it."""
    told: list[object] = []
    accepted: asyncio.Future[asyncio.StreamWriter] = asyncio.get_running_loop().create_future()
    async with await asyncio.start_server(lambda _, theirs: accepted.set_result(theirs), HOST, 0) as server:
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())

        def replied(replies: list[Reply | ReplyError]) -> None:
            told.append(replies)

        peer: Connection = Peer(writer)  # type: ignore[assignment]  # as much of one as a line uses
        line = Line(peer, replied=replied, ready=lambda: told.append("ready"), lost=told.append)
        line.data_received(b":1\r\n:")
        line.pause_writing()
        told.append(line.full)
        line.resume_writing()
        told.append(line.full)
        line.data_received(b"2\r\n:3\r\n?\r\n")
        line.data_received(b":4\r\n")
        line.connection_lost(None)
        assert told[:5] == [[1], True, "ready", False, [2, 3]]
        assert len(told) == 6
        await line.close()
        theirs = await accepted
        theirs.close()
        await theirs.wait_closed()


async def test_a_line_needs_a_connection() -> None:
    """One that is closed already is an error."""
    peer: Connection = Peer(None)  # type: ignore[assignment]  # as much of one as a line uses
    with pytest.raises(ConnectionError, match="no connection"):
        Line(peer, replied=print, ready=print, lost=print)


def test_remembered_arguments_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many are packed, few are kept; those with text are not."""
    monkeypatch.setattr(commands, "_MOST_PACKED", 2)
    monkeypatch.setattr(commands, "_packed_args", {})
    for number in range(9):
        assert pack_args((number, 7)) == b"\r\n$1\r\n%d\r\n$1\r\n7" % number
    pack_args(("own", 1))
    assert 0 < len(commands._packed_args) <= 2


def test_remembered_numbers_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Packed in one piece or one by one: however many there are, few are kept."""
    monkeypatch.setattr(commands, "_MOST_PACKED", 2)
    monkeypatch.setattr(commands, "_packed_together", {})
    for number in range(9):
        assert pack_together((number, -7)) == b"\r\n$16\r\n" + struct.pack("<qq", number, -7)
    assert 0 < len(commands._packed_together) <= 2


def test_a_wrong_number_of_arguments_is_told() -> None:
    """Of one operation, and of one among several."""
    bad = Question("lease", "k", (1, 2))
    with pytest.raises(ValueError, match="lease takes 5 arguments, not 2"):
        deciding(("lease",), given_time=False).pack([bad])
    with pytest.raises(ValueError, match="lease takes 5 arguments, not 2"):
        deciding(("lease", "lease"), given_time=False).pack([bad, bad])
