"""What of a JSON body makes its call the same: the values that JSON pointers (RFC 6901) name, however they are written.

A body counts as a whole, byte by byte, wherever choosing would be a guess: it is larger than `MOST_PARSED`, it is no
JSON, a name stands twice in an object (RFC 8259 §4: what that means nobody knows), or not one pointer finds anything.
Numbers are compared as they are written, so that no two amounts are taken for one because a float cannot tell them.
"""

import json
import re
from collections.abc import Sequence
from typing import NamedTuple, NoReturn, Self

MOST_PARSED = 64 * 1024
"""Bytes of a body that are kept and parsed to find the chosen values."""

MOST_POINTERS = 32

_POINTER = re.compile(r"(/([^/~]|~[01])*)*")
_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")


class Pointer(NamedTuple):
    """One JSON pointer, cut into its names; without any it is the whole document."""

    text: str
    names: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a pointer as it is written (RFC 6901 §3); ValueError when it is none."""
        if not _POINTER.fullmatch(text):
            raise ValueError(f"{text!r} is no JSON pointer")
        names = [name.replace("~1", "/").replace("~0", "~") for name in text.split("/")[1:]]
        return cls(text, tuple(names))

    def find(self, value: object) -> object:
        """Return what it names (§4); LookupError when that is not there."""
        for name in self.names:
            if isinstance(value, dict):
                value = value[name]
            elif isinstance(value, list) and _INDEX.fullmatch(name):
                value = value[int(name)]
            else:
                raise LookupError(name)
        return value


class _Number(NamedTuple):
    text: str


def chosen(body: bytes, pointers: Sequence[Pointer]) -> bytes | None:
    """Return the chosen values in one spelling; None where the body counts as a whole."""
    try:
        document = json.loads(
            body,
            parse_float=_Number,
            parse_int=_Number,
            parse_constant=_refused,
            object_pairs_hook=_object,
        )
        found = [[pointer.text, *_found(document, pointer)] for pointer in pointers]
        if all(len(each) == 1 for each in found):
            return None
        return json.dumps(_spelt(found), sort_keys=True, separators=(",", ":")).encode()
    except (ValueError, RecursionError):
        return None


def _found(document: object, pointer: Pointer) -> list[object]:
    try:
        return [pointer.find(document)]
    except LookupError:
        return []


def _spelt(value: object) -> object:
    """Return a value in which a number is told from a text of the same characters."""
    if isinstance(value, _Number):
        return {"": value.text}
    if isinstance(value, dict):
        return [[name, _spelt(each)] for name, each in sorted(value.items())]
    if isinstance(value, list):
        return {"list": [_spelt(each) for each in value]}
    return value


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a name stands twice")
    return members


def _refused(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")
