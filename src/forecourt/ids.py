"""Ids that nobody can guess, drawn many at a time."""

import os

_ids: list[str] = []
"""Ids drawn and not yet given: the machine is asked for random bits once for many."""

_DRAWN = 128


def some_id() -> str:
    """Return 96 random bits in hexadecimal."""
    try:
        return _ids.pop()
    except IndexError:
        bits = os.urandom(12 * _DRAWN).hex()
        drawn = [bits[at : at + 24] for at in range(0, len(bits), 24)]
        _ids.extend(drawn[1:])
        return drawn[0]


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_ids.clear)  # a child would give the same ones
