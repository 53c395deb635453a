"""Who is calling, and the store keys that their limits, leases and accounts live under.

Identities never reach the store: a key holds a digest of (what kind of identity, which one), as the hash tag that
keeps all keys of one identity on one cluster slot.
"""

import base64
import hashlib
from dataclasses import dataclass, field
from functools import lru_cache

_KNOWN_TAGS = 10_000


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated caller: (issuer, subject), and what the policies of endpoints ask about them."""

    issuer: str
    subject: str
    tenant: str | None = None
    tier: str | None = None
    scopes: frozenset[str] = field(default=frozenset())
    roles: frozenset[str] = field(default=frozenset())
    webhook: str | None = field(default=None, repr=False, compare=False)
    """Where the ends of their jobs are told, as the record of their API key says."""
    encryption_key: str | None = field(default=None, repr=False, compare=False)
    """The public key that answers to them are sealed to, a JWK in JSON, as the record of their API key says."""


class Keys:
    """Builds store keys `<namespace>:{<digest>}:<kind>:<name>`."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._tags: dict[tuple[str, ...], str] = {}

    def key(self, kind: str, name: str, *identity: str) -> str:
        """Return the key of `name` (a limit, an account …) for an identity such as ("client", "192.0.2.7")."""
        return self.of_digest(kind, name, self._tag(identity))

    def of_digest(self, kind: str, name: str, tag: str) -> str:
        """Return the key of `name` for an identity of which only its digest is known."""
        return f"{self._namespace}:{{{tag}}}:{kind}:{name}"

    def _tag(self, identity: tuple[str, ...]) -> str:
        tag = self._tags.get(identity)
        if tag is None:
            if len(self._tags) >= _KNOWN_TAGS:
                self._tags.clear()
            tag = self._tags[identity] = digest(*identity)
        return tag


def digest(*parts: str) -> str:
    """Return 96 bits of BLAKE2b over the parts, each preceded by its length, as 16 characters.

    Enough that nobody finds a second identity with the digest of a given one; every key of a caller carries it.
    """
    hashed = hashlib.blake2b(digest_size=12)
    for part in parts:
        encoded = part.encode("utf-8", "surrogatepass")
        hashed.update(b"%d:%b" % (len(encoded), encoded))
    return base64.urlsafe_b64encode(hashed.digest()).decode()


known_digest = lru_cache(maxsize=_KNOWN_TAGS)(digest)
"""The same, remembered for callers who come again."""
