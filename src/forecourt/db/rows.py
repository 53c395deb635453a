"""Rows as bytes that are kept, and as plain values that are given: JSON with the types that JSON has not, no pickle.

What JSON has stands for itself; all else is a list of its kind's letter and its text. Arrays are tuples and tables
are read-only mappings, so that nobody changes what others are given too. A member of an enum is kept as its value.
"""

import json
from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from types import MappingProxyType
from uuid import UUID

_EXACT = (int, str, bool, type(None))
_MICROSECOND = timedelta(microseconds=1)
_MOST_REMEMBERED = 32 * 1024

_WRITTEN: tuple[tuple[type, str, Callable[..., str]], ...] = (
    (float, "f", repr),
    (bytes, "b", bytes.hex),
    (datetime, "d", datetime.isoformat),
    (date, "D", date.isoformat),
    (time, "t", time.isoformat),
    (timedelta, "i", lambda value: str(value // _MICROSECOND)),
    (Decimal, "n", str),
    (UUID, "u", str),
)

_READ: Mapping[str, Callable[[str], object]] = {
    "f": float,
    "b": bytes.fromhex,
    "d": datetime.fromisoformat,
    "D": date.fromisoformat,
    "t": time.fromisoformat,
    "i": lambda text: int(text) * _MICROSECOND,
    "n": Decimal,
    "u": UUID,
}


def written(value: object) -> object:
    """Return a value as JSON can hold it, its type with it; TypeError where it is of a type that is not plain."""
    if type(value) in _EXACT:
        return value
    if isinstance(value, Enum):
        return written(value.value)
    for kind, letter, write in _WRITTEN:
        if isinstance(value, kind):
            return [letter, write(value)]
    if isinstance(value, Mapping):
        return ["m", [[written(key), written(each)] for key, each in value.items()]]
    if isinstance(value, list | tuple | set | frozenset):
        return ["l", [written(each) for each in value]]
    raise TypeError(f"a value of type {type(value).__name__} cannot be kept: it is not plain")


def read(value: object) -> object:
    """Return what `written` was given, as a plain value."""
    if not isinstance(value, list):
        return value
    letter, what = value
    if letter == "l":
        return tuple([read(each) for each in what])
    if letter == "m":
        return MappingProxyType({read(key): read(each) for key, each in what})
    return _READ[letter](what)


def packed(names: Sequence[str], rows: Sequence[Sequence[object]]) -> bytes:
    """Return rows as they are kept."""
    kept = [list(names), [[written(value) for value in row] for row in rows]]
    return json.dumps(kept, separators=(",", ":")).encode()


def unpacked(kept: bytes) -> tuple[tuple[object, ...], ...]:
    """Return kept rows as named tuples; those of a few kilobytes are remembered, as nobody can change them."""
    return _remembered(kept) if len(kept) <= _MOST_REMEMBERED else _unpacked(kept)


def _unpacked(kept: bytes) -> tuple[tuple[object, ...], ...]:
    names, rows = json.loads(kept)
    row = _row(tuple(names))
    return tuple([row(*[read(value) for value in values]) for values in rows])


_remembered = lru_cache(maxsize=128)(_unpacked)
"""The process tier gives the same bytes again and again, and bytes know their hash."""


@lru_cache(maxsize=1024)
def _row(names: tuple[str, ...]) -> Callable[..., tuple[object, ...]]:
    return namedtuple("Row", names, rename=True)
