"""Seals and opens records with AES-256-GCM. The one module that needs `cryptography`.

A key for each layer and endpoint is derived from each secret of the ring. The first seals; a record says which one
opens it, so that none is tried in vain. Nonces are random: with 96 bits, a key may seal 2³² records (NIST SP 800-38D
§8.3) before another one must stand first.
"""

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from forecourt.core.sealed import NONCE, Sealed, Unopened, associated, place, read, written
from forecourt.policies.keys import KeyRing


class RingSeal:
    """Seals and opens the records of one layer and endpoint by the keys of a ring."""

    __slots__ = ("_ciphers", "_first", "_place")

    def __init__(self, ring: KeyRing, layer: str, endpoint: str) -> None:
        self._place = place(layer, endpoint)
        keys = ring.derived(b"seal " + self._place)
        self._ciphers = {name: AESGCM(key) for name, key in keys.items()}
        self._first = next(iter(self._ciphers))

    def seal(self, record: bytes, stored: str, tenant: str | None = None) -> bytes:
        """Return a record sealed by the first key, for the place `stored` in a store."""
        key, nonce = self._first, os.urandom(NONCE)
        text = self._ciphers[key].encrypt(nonce, record, associated(self._place, key, stored, tenant))
        return written(Sealed(key, nonce, text))

    def open(self, record: bytes, stored: str, tenant: str | None = None) -> bytes:
        """Return what was sealed for this place; Unopened otherwise."""
        sealed = read(record)
        cipher = self._ciphers.get(sealed.key)
        if cipher is None:
            raise Unopened
        try:
            return cipher.decrypt(sealed.nonce, sealed.text, associated(self._place, sealed.key, stored, tenant))
        except InvalidTag:
            raise Unopened from None
