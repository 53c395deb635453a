"""The key ring: secrets that seal and sign what leaves this process, named and never written in a config.

The first key signs, all of them verify, so that a new one can be put in front before the old one goes. For each
purpose a key of its own is derived (HMAC-SHA256 of the purpose under the secret), so that no two uses share one.
"""

import hashlib
import hmac
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from forecourt.core.ring_file import read
from forecourt.core.sealed import KEY_ID
from forecourt.policies.wording import Fault, refusal, said

SHORTEST_SECRET = 32
"""Bytes; a signature is as hard to forge as its key is to guess."""


class KeyProvider(Protocol):
    """Returns the secrets in order; asked once, when the config is made, so it may ask a service that keeps keys."""

    def __call__(self) -> Sequence[bytes]:
        """Return at least one secret of 32 bytes or more; whatever is raised stops the start."""
        ...


_SALT = b"forecourt"
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

    def sign(self, purpose: str, signed: bytes) -> tuple[str, str]:
        """Return (key id, HMAC-SHA256 in hexadecimal) of some bytes, by the first key."""
        name, key = next(iter(self._keys(purpose).items()))
        return name, hmac.digest(key, signed, "sha256").hex()

    def verify(self, purpose: str, name: str, signature: str, signed: bytes) -> bool:
        """Tell whether the key of that id made this signature; an unknown id is no."""
        key = self._keys(purpose).get(name)
        if key is None:
            return False
        expected = hmac.digest(key, signed, "sha256").hex()
        return hmac.compare_digest(expected.encode(), signature.encode("utf-8", "replace"))

    def derived(self, purpose: bytes) -> Mapping[bytes, bytes]:
        """Return a key of 32 bytes for a purpose from each secret, by the secret's id, in order (RFC 5869)."""
        return {_derived(secret, b"id")[:KEY_ID]: _derived(secret, purpose) for secret in self._secrets}

    def ids(self) -> tuple[str, ...]:
        """Return the ids of the secrets in order, in hexadecimal, as sealed records carry them."""
        return tuple(key.hex() for key in self.derived(b"id"))

    def _keys(self, purpose: str) -> dict[str, bytes]:
        """Return the keys of a purpose by id: 8 hexadecimal digits of their digest, which say nothing of them."""
        keys = self._derived.get(purpose)
        if keys is None:
            derived = [hmac.digest(secret, b"forecourt " + purpose.encode(), "sha256") for secret in self._secrets]
            keys = {hashlib.sha256(b"id" + key).hexdigest()[:8]: key for key in derived}
            self._derived[purpose] = keys
        return keys


def key_ring(value: object) -> KeyRing | None:
    """Return the ring that a config names: a list of "env:NAME" and "file:path", of text read so, or of bytes."""
    if value is None or isinstance(value, KeyRing):
        return value
    if callable(value):
        value = _provided(value)
    given = value if isinstance(value, list | tuple) else [value]
    wrong: list[Fault] = []
    secrets: list[bytes] = []
    for place, each in enumerate(given):
        try:
            secrets += _secrets(each)
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


def _provided(provider: Callable[..., object]) -> list[object]:
    try:
        found = provider()
    except Exception as error:  # noqa: BLE001  # whatever a service that keeps keys may raise
        raise said(f"its provider raised {type(error).__name__}") from None
    if not isinstance(found, Sequence) or not all(isinstance(each, bytes) for each in found):
        raise said("its provider must return a list of bytes")
    return list(found)


def _derived(secret: bytes, purpose: bytes) -> bytes:
    """Return 32 bytes by HKDF-SHA256, which is one block of it."""
    extracted = hmac.digest(_SALT, secret, "sha256")
    return hmac.digest(extracted, purpose + b"\x01", "sha256")


def _secrets(value: object) -> Sequence[bytes]:
    """Return the secret that is named, or those of the ring file that is."""
    content = revealed(value)
    ring = read(content)
    secrets = [content] if ring is None else ring
    if not secrets:
        raise ValueError("the ring file holds no key; `forecourt secrets rotate FILE add` makes one")
    for secret in secrets:
        if len(secret) < SHORTEST_SECRET:
            raise ValueError(f"a secret of {len(secret)} bytes is not allowed: must have at least {SHORTEST_SECRET}")
    return secrets


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
