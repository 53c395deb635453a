"""Scripts that tests run: what is granted is a key, what is done is an entry of the list `log`."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from forecourt.stores.redis.client import Item, Reply, Script

HOLD = Script("return redis.call('SET', KEYS[1], ARGV[1], 'NX') and 1 or 0")
"""Grants `KEYS[1]` to the holder `ARGV[1]`: 1, or 0 when somebody holds it."""

RELEASE = Script("if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0")
"""Takes back `KEYS[1]` from the holder `ARGV[1]`, if it is the holder."""

COUNT = Script("return redis.call('INCR', KEYS[1])")


class Undo(NamedTuple):
    """What takes back a command, laid out beforehand; without a word, whatever answered something granted it."""

    script: Script
    keys: Sequence[str | bytes]
    args: Sequence[Item]
    granted: Callable[[Reply], bool] = bool


def granted(reply: Reply) -> bool:
    """Whether HOLD granted something."""
    return reply == 1


def release(key: str, holder: str) -> Undo:
    """Return what undoes a HOLD."""
    return Undo(RELEASE, [key], [holder], granted)
