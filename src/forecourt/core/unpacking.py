"""Bodies as they were before they were compressed, piece by piece, and never more of them than allowed.

A kilobyte can unpack to a megabyte. So no piece is unpacked further than what is still allowed: memory is bounded by
that, whatever is sent (RFC 9110 §8.4.1; gzip is RFC 1952, deflate RFC 1950).
"""

import zlib
from typing import Literal

_WINDOW = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}


class TooLargeError(Exception):
    """More would come out than is allowed."""


class CorruptError(Exception):
    """What came in is not what it says it is."""


class Unpacking:
    """Unpacks one body to `most` bytes at most."""

    def __init__(self, encoding: Literal["gzip", "deflate"], most: int) -> None:
        self._open = zlib.decompressobj(_WINDOW[encoding])
        self._left = most

    def more(self, packed: bytes, *, last: bool) -> bytes:
        """Return what this piece unpacks to; raises TooLargeError, CorruptError (also where the end is missing)."""
        try:
            piece = self._open.decompress(packed, self._left + 1)
        except zlib.error as error:
            raise CorruptError(str(error)) from None
        self._left -= len(piece)
        if self._left < 0:
            raise TooLargeError
        if self._open.unused_data or (last and not self._open.eof):
            raise CorruptError("it does not end where it should")
        return piece
