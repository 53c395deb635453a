"""The key ring: secrets that seal and sign what leaves this process, named and never written in a config.

The first key signs, all of them verify, so that a new one can be put in front before the old one goes. For each
purpose a key of its own is derived (HMAC-SHA256 of the purpose under the secret), so that no two uses share one.
"""

import hashlib
import hmac
import os
from collections.abc import Sequence
from pathlib import Path

from forecourt.policies.wording import Fault, refusal, said

SHORTEST_SECRET = 32
"""Bytes; a signature is as hard to forge as its key is to guess."""

_FORMS = 'must be "env:NAME" or "file:path": secrets do not stand in a config'


class KeyRing:
    """Secrets in order; `repr` tells how many there are."""

    __slots__ = ("_derived", "_secrets")

    def __init__(self, secrets: Sequence[bytes]) -> None:
        self._secrets = tuple(secrets)
        self._derived: dict[str, dict[str, bytes]] = {}

    def __repr__(self) -> str:
        return f"<KeyRing of {len(self._secrets)}>"

    @classmethod
    def random(cls) -> "KeyRing":
        """Return a ring that only this process knows."""
        return cls([os.urandom(32)])

    def ids(self) -> tuple[str, ...]:
        """Return the ids of the keys in their order, by which two rings are told apart; they say nothing of them."""
        return tuple(self._keys("ids"))

    def sign(self, purpose: str, signed: bytes) -> tuple[str, str]:
        """Return (key id, HMAC-SHA256 in hexadecimal) of some bytes, by the first key."""
        name, key = next(iter(self._keys(purpose).items()))
        return name, hmac.new(key, signed, hashlib.sha256).hexdigest()

    def verify(self, purpose: str, name: str, signature: str, signed: bytes) -> bool:
        """Tell whether the key of that id made this signature; an unknown id is no."""
        key = self._keys(purpose).get(name)
        if key is None:
            return False
        expected = hmac.new(key, signed, hashlib.sha256).hexdigest()
        return hmac.compare_digest(expected.encode(), signature.encode("utf-8", "replace"))

    def _keys(self, purpose: str) -> dict[str, bytes]:
        """Return the keys of a purpose by id: 8 hexadecimal digits of their digest, which say nothing of them."""
        keys = self._derived.get(purpose)
        if keys is None:
            derived = [hmac.new(secret, b"forecourt " + purpose.encode(), hashlib.sha256) for secret in self._secrets]
            keys = {hashlib.sha256(b"id" + key.digest()).hexdigest()[:8]: key.digest() for key in derived}
            self._derived[purpose] = keys
        return keys


def key_ring(value: object) -> KeyRing | None:
    """Return the ring that a config names: a list of "env:NAME" and "file:path", of text read so, or of bytes."""
    if value is None or isinstance(value, KeyRing):
        return value
    given = value if isinstance(value, list | tuple) else [value]
    wrong: list[Fault] = []
    secrets: list[bytes] = []
    for place, each in enumerate(given):
        try:
            secrets.append(_secret(each))
        except ValueError as error:
            wrong.append(Fault((place,), "", str(error)))
    if wrong:
        raise refusal("keys", wrong)
    if not secrets:
        raise said("the list of keys is empty; leave the field out, or name one")
    return KeyRing(secrets)


def revealed(value: object) -> bytes:
    """Return the secret that "env:NAME" or "file:path" names, or bytes as they are; ValueError says why it cannot."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str) and hasattr(value, "origin"):  # a config file's, read from where it is kept
        return value.encode()
    if isinstance(value, str):
        return _named(value)
    raise ValueError(f"a value of type {type(value).__name__} is not allowed: {_FORMS}")


def _secret(value: object) -> bytes:
    secret = revealed(value)
    if len(secret) < SHORTEST_SECRET:
        raise ValueError(f"a secret of {len(secret)} bytes is not allowed: must have at least {SHORTEST_SECRET}")
    return secret


def _named(text: str) -> bytes:
    kind, _, name = text.partition(":")
    if kind == "env":
        if name not in os.environ:
            raise ValueError(f"environment variable {name} is not set")
        return os.environ[name].encode()
    if kind == "file":
        try:
            return Path(name).read_bytes().rstrip(b"\r\n")
        except OSError as error:
            raise ValueError(f'file "{name}" cannot be read: {error.strerror}') from None
    raise ValueError(f"inline text is not allowed: {_FORMS}")
