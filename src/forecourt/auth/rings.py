"""Key rings: the keys of one issuer, to be asked by key id.

A token that was verified is remembered only as long as its key stays on the ring.
"""

from collections.abc import Awaitable, Iterable, Sequence
from typing import Protocol

_MOST_TRIED = 8
"""Keys that a token without a key id is tried with."""


class Key(Protocol):
    """A key that signatures are verified with."""

    @property
    def kid(self) -> str | None:
        """Its id on the ring."""
        ...

    @property
    def thumbprint(self) -> str:
        """What it is known by (RFC 7638)."""
        ...

    def flaw(self, algorithm: str) -> str | None:
        """Say why it is of no use with an algorithm, or None."""
        ...

    def verifies(self, algorithm: str, signed: bytes, signature: bytes) -> bool:
        """Whether the signature is this key's."""
        ...


class Ring(Protocol):
    """The keys of one issuer."""

    def holds(self, thumbprint: str, now: int) -> bool:
        """Whether a key is still on it; at `now`, in µs, it may be time to look again, which no one waits for."""
        ...

    def keys(self, kid: str | None) -> Sequence[Key] | Awaitable[None] | None:
        """Return the keys for this id (None: the token names none).

        Empty: the id is not known. An awaitable: ask again once it is done. None: no key was ever obtained, and none
        can be had now.
        """
        ...


class FixedRing:
    """Keys that stand in the config."""

    def __init__(self, keys: Iterable[Key]) -> None:
        self._keys = tuple(keys)
        self._live = frozenset(key.thumbprint for key in self._keys)

    def holds(self, thumbprint: str, _now: int) -> bool:
        """Whether a key is one of them."""
        return thumbprint in self._live

    def keys(self, kid: str | None) -> Sequence[Key]:
        """Return the keys of this id, and those that have none."""
        return of_id(self._keys, kid)


def of_id(keys: Sequence[Key], kid: str | None) -> Sequence[Key]:
    """Return the keys that a token may be signed with: by its key id, or by those that have none."""
    named = [key for key in keys if kid is None or key.kid is None or key.kid == kid]
    return named[:_MOST_TRIED]
