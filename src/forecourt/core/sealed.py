"""The form of a sealed record, and what it is bound to. Pure: the cipher is `forecourt.ciphers`.

    offset  bytes
    0       1      version, 1: AES-256-GCM
    1       4      id of the key that sealed it
    5       12     nonce, random
    17      …      ciphertext and its tag of 16 bytes

Version, key id and what the record belongs to (layer, endpoint, the store's key, tenant) are authenticated and not
stored: a record that is found elsewhere than where it was put does not open. Each of them is preceded by its length,
so that no two places are spelt alike.
"""

import struct
from typing import NamedTuple

VERSION = b"\x01"
KEY_ID, NONCE, TAG = 4, 12, 16
OVERHEAD = len(VERSION) + KEY_ID + NONCE + TAG
"""Bytes that a sealed record is longer than what is in it."""

_NONCE_AT = len(VERSION) + KEY_ID
_TEXT_AT = _NONCE_AT + NONCE
_SIZE = struct.Struct(">I")


class Unopened(ValueError):
    """A record that no key of the ring sealed for this place, or that was changed; it says no more than that."""

    def __init__(self) -> None:
        super().__init__("a record that cannot be opened")


class Sealed(NamedTuple):
    """The parts of a record."""

    key: bytes
    nonce: bytes
    text: bytes


def written(sealed: Sealed) -> bytes:
    """Return the bytes of a record."""
    return b"".join((VERSION, sealed.key, sealed.nonce, sealed.text))


def read(record: bytes) -> Sealed:
    """Return the parts of a record; Unopened where these are not its bytes, or of another version."""
    if len(record) < OVERHEAD or record[: len(VERSION)] != VERSION:
        raise Unopened
    return Sealed(record[len(VERSION) : _NONCE_AT], record[_NONCE_AT:_TEXT_AT], record[_TEXT_AT:])


def place(layer: str, endpoint: str) -> bytes:
    """Return the part of what a record is bound to that all records of one layer and endpoint share."""
    return _spelt(layer.encode()) + _spelt(endpoint.encode())


def associated(place: bytes, key: bytes, stored: str, tenant: str | None) -> bytes:
    """Return what is authenticated beside the text: version, key id, place, the store's key, and whose tenant it is."""
    whose = b"-" if tenant is None else b"+" + tenant.encode("utf-8", "surrogatepass")
    return b"".join((VERSION, key, place, _spelt(stored.encode("utf-8", "surrogatepass")), whose))


def _spelt(part: bytes) -> bytes:
    return _SIZE.pack(len(part)) + part
