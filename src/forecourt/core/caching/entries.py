"""A kept response: what is served again, how long, for which selection, and under which stamps of its tags.

In a store an entry is two values, a head and a body, so that a body is never copied to be read: the head's bytes are
ours (below) and then those of `core.stored_response` without a body.

    offset  bytes
    0       1      version, 1
    1       1      flags: 1 the body is compressed (zlib), 2 it must not be served stale
    2       8 × 5  µs: fresh, while_revalidate, if_error, age when filled, how long it took to make
    42      1      number of stamps
    43      …      each stamp: 1 byte length, the stamp
"""

import struct
from dataclasses import dataclass
from typing import NamedTuple

from forecourt.core.caching.directives import Header
from forecourt.core.caching.freshness import Life
from forecourt.core.stored_response import StoredResponse
from forecourt.core.stored_response import decode as decode_response
from forecourt.core.stored_response import encode as encode_response

VERSION = 1
COMPRESSED, FIRM = 1, 2
_FIXED = struct.Struct(">BBqqqqqB")

OVERHEAD = 512
"""Bytes that an entry takes in memory beside its fields and body, about."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One kept response. Times are µs of this process's clock.

    `zero`: when it would have been 0 old; `names`: the request fields that select it; `seen`: the position of the
    process tier when it was asked for; `stamps`: those of its tags then; `filled`: when the store took it, 0 where
    it is not there. `softened`: a soft purge made it stale. `groups`: ids of those it says it belongs to (RFC 9875).
    """

    status: int
    headers: tuple[Header, ...]
    body: bytes
    life: Life
    zero: int
    took: int = 0
    firm: bool = False
    names: tuple[bytes, ...] = ()
    seen: int = 0
    stamps: tuple[str, ...] = ()
    filled: int = 0
    softened: bool = False
    groups: tuple[str, ...] = ()

    def age(self, now: int) -> int:
        """Return its age in µs (RFC 9111 §4.2.3)."""
        return max(0, now - self.zero)

    @property
    def weight(self) -> int:
        """Return about how many bytes it takes in memory."""
        return OVERHEAD + len(self.body) + sum([len(name) + len(value) + 80 for name, value in self.headers])

    def stale_for(self, now: int) -> int:
        """Return how many µs ago it became stale; below 0: it is fresh for so many more."""
        return 0 if self.softened and now - self.zero < self.life.fresh else now - self.zero - self.life.fresh


class Head(NamedTuple):
    """What a head says: the entry without its body, its age when it was filled, and whether the body is compressed."""

    status: int
    headers: tuple[Header, ...]
    life: Life
    age: int
    took: int
    firm: bool
    stamps: tuple[str, ...]
    compressed: bool


def encode_head(entry: Entry, age: int, *, compressed: bool) -> bytes:
    """Return the bytes of a head; ValueError when it is too large to keep."""
    flags = (COMPRESSED if compressed else 0) | (FIRM if entry.firm else 0)
    fixed = _FIXED.pack(VERSION, flags, *entry.life, age, entry.took, len(entry.stamps))
    stamps = b"".join([bytes([len(stamp)]) + stamp.encode() for stamp in entry.stamps])
    return fixed + stamps + encode_response(StoredResponse(entry.status, entry.headers))


def decode_head(kept: bytes) -> Head:
    """Return what `encode_head` wrote; ValueError when these are not its bytes, or of another version."""
    if len(kept) < _FIXED.size or kept[0] != VERSION:
        raise ValueError("no head of this version")
    _, flags, fresh, revalidate, error, age, took, count = _FIXED.unpack_from(kept)
    at = _FIXED.size
    stamps: list[str] = []
    for _ in range(count):
        end = at + 1 + kept[at] if at < len(kept) else len(kept) + 1
        if end > len(kept):
            raise ValueError("a head that was cut off")
        stamps.append(kept[at + 1 : end].decode("ascii"))
        at = end
    response = decode_response(kept[at:])
    life = Life(fresh, revalidate, error)
    return Head(
        response.status, response.headers, life, age, took, bool(flags & FIRM), tuple(stamps), bool(flags & COMPRESSED)
    )
