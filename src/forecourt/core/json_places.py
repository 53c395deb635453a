"""Where in a JSON text the values stand that pointers name (RFC 6901), so that they, and they alone, can be replaced.

What stands around them stays byte for byte as it was written: numbers keep their digits, members their order. A text
in which a name stands twice in an object is refused, as what it means nobody knows (RFC 8259 §4).
"""

import json
from collections.abc import Mapping, Sequence
from typing import NoReturn

from forecourt.core.idempotency_fields import Pointer

_SPACE = " \t\n\r"
_DECODER = json.JSONDecoder()


def places(text: str, pointers: Sequence[Pointer]) -> Mapping[str, slice]:
    """Return where the values stand, by the pointer's text; those that are not there are left out.

    No pointer may be within another. ValueError where the text is no JSON.
    """
    try:
        json.loads(text, object_pairs_hook=_once, parse_constant=_refused)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    found: dict[str, slice] = {}
    _walk(text, _past_space(text, 0), [(pointer.names, pointer.text) for pointer in pointers], found)
    return found


def replaced(text: str, new: Mapping[str, str], at: Mapping[str, slice]) -> str:
    """Return the text with these values, JSON by the pointer's text, in place of those that stand there."""
    for name in sorted(new, key=lambda each: at[each].start, reverse=True):
        text = text[: at[name].start] + new[name] + text[at[name].stop :]
    return text


_Sought = list[tuple[tuple[str, ...], str]]


def _walk(text: str, at: int, sought: _Sought, found: dict[str, slice]) -> int:
    """Return where the value that begins at `at` ends; note what is sought in it."""
    opening = text[at]
    if not sought or opening not in "{[":
        return _DECODER.raw_decode(text, at)[1]
    number = 0
    at = _past_space(text, at + 1)
    while text[at] not in "}]":
        name = str(number)
        if opening == "{":
            name, at = _DECODER.raw_decode(text, at)
            at = _past_space(text, _past_space(text, at) + 1)
        at = _past_space(text, _noted(text, at, name, sought, found))
        if text[at] == ",":
            at = _past_space(text, at + 1)
        number += 1
    return at + 1


def _noted(text: str, at: int, name: str, sought: _Sought, found: dict[str, slice]) -> int:
    """Return where one member ends; note it where it is sought itself."""
    here = [(names[1:], pointer) for names, pointer in sought if names[0] == name]
    end = _walk(text, at, [each for each in here if each[0]], found)
    found.update({pointer: slice(at, end) for names, pointer in here if not names})
    return end


def _past_space(text: str, at: int) -> int:
    while at < len(text) and text[at] in _SPACE:
        at += 1
    return at


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a name stands twice")
    return members


def _refused(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")
