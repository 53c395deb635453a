"""Reads replies (RESP2 and RESP3) out of the bytes of a connection: by hiredis where it is installed, else in Python.

A reader is fed bytes as they come and gives whole replies, in order. Error replies are values here, `ReplyError`: what
they mean is for whoever asked. Bytes that are no reply raise ConnectionError, after which the connection is of no use.
"""

from collections.abc import Callable
from enum import Enum
from typing import Final, Protocol, cast

from forecourt.stores.redis.commands import Reply, ReplyError


class Incomplete(Enum):
    """What `gets` gives while the next reply is not there whole."""

    INCOMPLETE = 0


INCOMPLETE: Final = Incomplete.INCOMPLETE

_CRLF = b"\r\n"


class Reader(Protocol):
    """Bytes in, replies out."""

    def feed(self, data: bytes, /) -> None:
        """Take more bytes."""
        ...

    def gets(self) -> Reply | ReplyError | Incomplete:
        """Return the next reply, INCOMPLETE while there is none; ConnectionError when there will be none."""
        ...


def error_of(message: str | bytes) -> ReplyError:
    """Return an error reply: its first word is the code, unless it is written as text."""
    text = message if isinstance(message, str) else message.decode("utf-8", "replace")
    first, _, rest = text.partition(" ")
    return ReplyError(first, rest) if first.isupper() else ReplyError("ERR", text)


class PythonReader:
    """The reader for where hiredis is not installed.

    A reply of several parts is read anew from its beginning until all of it is there.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._at = 0

    def feed(self, data: bytes, /) -> None:
        """Take more bytes."""
        del self._buffer[: self._at]
        self._at = 0
        self._buffer += data

    def gets(self) -> Reply | ReplyError | Incomplete:
        """Return the next reply."""
        began = self._at
        try:
            return cast("Reply | ReplyError", self._reply())
        except _Missing:
            self._at = began
            return INCOMPLETE
        except ValueError as error:
            raise ConnectionError(f"that is no reply: {error}") from None

    def _reply(self) -> object:
        line = self._line()
        kind, rest = line[:1], line[1:]
        read = _KINDS.get(kind)
        if read is None:
            raise ValueError(repr(line[:20]))
        return read(self, rest)

    def _line(self) -> bytes:
        end = self._buffer.find(_CRLF, self._at)
        if end < 0:
            raise _Missing
        line = bytes(self._buffer[self._at : end])
        self._at = end + 2
        return line

    def _bulk(self, length: bytes) -> bytes | None:
        size = int(length)
        if size < 0:
            return None
        end = self._at + size
        if len(self._buffer) < end + 2:
            raise _Missing
        text = bytes(self._buffer[self._at : end])
        if self._buffer[end : end + 2] != _CRLF:
            raise ValueError("text without its end")
        self._at = end + 2
        return text

    def _verbatim(self, length: bytes) -> bytes:
        return (self._bulk(length) or b"")[4:]

    def _list(self, length: bytes) -> list[object] | None:
        size = int(length)
        return None if size < 0 else [self._reply() for _ in range(size)]

    def _map(self, length: bytes) -> dict[object, object]:
        return {self._reply(): self._reply() for _ in range(int(length))}


class _Missing(Exception):  # no error: the rest is on its way
    """The reply is not there whole."""


_KINDS: dict[bytes, Callable[[PythonReader, bytes], object]] = {
    b"+": lambda _, rest: rest,
    b"-": lambda _, rest: error_of(rest),
    b":": lambda _, rest: int(rest),
    b"$": PythonReader._bulk,
    b"*": PythonReader._list,
    b"~": PythonReader._list,
    b">": PythonReader._list,
    b"%": PythonReader._map,
    b"=": PythonReader._verbatim,
    b"_": lambda _, _rest: None,
    b"#": lambda _, rest: rest == b"t",
    b",": lambda _, rest: float(rest),
    b"(": lambda _, rest: rest,
}


def new_reader() -> Reader:
    """Return a reader for one connection."""
    try:
        import hiredis  # noqa: PLC0415  # faster, and not there on every platform
    except ImportError:
        return PythonReader()
    reader: Reader = hiredis.Reader(protocolError=ConnectionError, replyError=error_of, notEnoughData=INCOMPLETE)
    return reader
