"""The binary form of a response that is kept in a store: versioned, bounded, and nothing in it is ever executed.

    offset  bytes
    0       2      b"FR"
    2       1      version, 1
    3       1      nothing yet, 0
    4       2      flags: 16 bits, whose meaning is that of who stores
    6       2      status, 100 to 999
    8       8      created: µs since the epoch
    16      2      number of fields
    18      4      bytes of all fields together
    22      …      each field: 2 bytes length of the name, 4 of the value, the name, the value
    …       …      the body, to the end

Numbers are big-endian. Fields keep their order and their repetitions, as bytes: a response may have several
`Set-Cookie` or `Link`. What this version cannot read is a ValueError, never a guess: readers treat it as absent.
"""

import struct
from collections.abc import Iterable
from typing import NamedTuple

MAGIC = b"FR"
VERSION = 1

MOST_FIELDS = 1_000
MOST_FIELD_BYTES = 256 * 1024
"""Of names and values together: more is no response that anybody sends."""

_HEAD = struct.Struct(">2sBBHHqHI")
_FIELD = struct.Struct(">HI")


class StoredResponse(NamedTuple):
    """A whole response: status, fields as they were sent, body, when it was made (µs), and 16 bits for the storer."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes = b""
    created: int = 0
    flags: int = 0


def encode(response: StoredResponse) -> bytes:
    """Return the bytes of a response; ValueError when it has more, or more in its fields, than can be kept."""
    fields = _fields(response.headers)
    if len(response.headers) > MOST_FIELDS or len(fields) > MOST_FIELD_BYTES:
        raise ValueError(f"{len(response.headers)} fields of {len(fields)} bytes are too many to keep")
    if not (100 <= response.status <= 999 and 0 <= response.flags < 1 << 16 and 0 <= response.created < 1 << 63):
        raise ValueError(f"status {response.status}, flags {response.flags} or time {response.created} out of range")
    head = _HEAD.pack(
        MAGIC, VERSION, 0, response.flags, response.status, response.created, len(response.headers), len(fields)
    )
    return b"".join((head, fields, response.body))


def decode(kept: bytes) -> StoredResponse:
    """Return the response that `encode` wrote; ValueError when these are not its bytes, or of another version."""
    if len(kept) < _HEAD.size:
        raise ValueError(f"{len(kept)} bytes are no stored response")
    magic, version, unused, flags, status, created, count, size = _HEAD.unpack_from(kept)
    if (magic, version, unused) != (MAGIC, VERSION, 0):
        raise ValueError("no stored response of this version")
    end = _HEAD.size + size
    if len(kept) < end or count > MOST_FIELDS or size > MOST_FIELD_BYTES or not (100 <= status <= 999 and created >= 0):
        raise ValueError("a stored response that was cut off or damaged")
    return StoredResponse(status, _read_fields(kept, count, end), kept[end:], created, flags)


def _fields(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    parts: list[bytes] = []
    for name, value in headers:
        if len(name) > 0xFFFF or len(value) > MOST_FIELD_BYTES:
            raise ValueError("a field is too long to keep")
        parts += (_FIELD.pack(len(name), len(value)), name, value)
    return b"".join(parts)


def _read_fields(kept: bytes, count: int, end: int) -> tuple[tuple[bytes, bytes], ...]:
    """Read so many fields, which must end exactly where they should."""
    headers: list[tuple[bytes, bytes]] = []
    at = _HEAD.size
    for _ in range(count):
        if at + _FIELD.size > end:
            raise ValueError("a stored response whose fields were cut off")
        name_size, value_size = _FIELD.unpack_from(kept, at)
        value_at = at + _FIELD.size + name_size
        headers.append((kept[at + _FIELD.size : value_at], kept[value_at : value_at + value_size]))
        at = value_at + value_size
    if at != end:
        raise ValueError("a stored response whose fields do not fit")
    return tuple(headers)
