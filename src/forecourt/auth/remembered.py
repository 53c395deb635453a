"""Tokens that were verified a short while ago, so that the same one costs a look-up.

Only successes are kept, by a hash of 256 bits (BLAKE2b) of the whole Authorization value, so that nothing in memory is
a token. What could have changed is looked at each time: the instants of the token, and whether the key that it was
verified with is still on its ring. Scopes, roles, logins and revocations are never remembered; they are asked per call.
"""

import hashlib
from typing import NamedTuple

from forecourt.auth.credentials import Credential
from forecourt.auth.rings import Ring


class Entry(NamedTuple):
    """A credential, since when and until when (µs) it is believed unseen, and the ring and key that it depends on."""

    credential: Credential
    since: int
    until: int
    ring: Ring | None
    thumbprint: str


class Remembered:
    """At most `size` tokens, each for `ttl` µs; the oldest makes room."""

    def __init__(self, size: int, ttl: int) -> None:
        self._size = size
        self._ttl = ttl
        self._entries: dict[bytes, Entry] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, value: bytes, now: int) -> Credential | None:
        """Return the credential of an Authorization value, if it is known and still holds."""
        digest = _digest(value)
        entry = self._entries.get(digest)
        if entry is None:
            return None
        credential, since, until, ring, thumbprint = entry
        if since <= now < until and (ring is None or ring.holds(thumbprint, now)):
            return credential
        del self._entries[digest]
        return None

    def keep(
        self,
        value: bytes,
        credential: Credential,
        now: int,
        *,
        key: tuple[Ring, str] | None = None,
        ttl: int | None = None,
    ) -> None:
        """Remember a success; `key`: the ring and thumbprint it depends on; `ttl` in µs where it is not the usual."""
        until = now + (self._ttl if ttl is None else min(ttl, self._ttl))
        if credential.expires is not None:
            until = min(until, credential.expires)
        if len(self._entries) >= self._size:
            del self._entries[next(iter(self._entries))]
        since = max(credential.begins, now - self._ttl)
        self._entries[_digest(value)] = Entry(credential, since, until, *(key or (None, "")))


def _digest(value: bytes) -> bytes:
    return hashlib.blake2b(value, digest_size=32).digest()
