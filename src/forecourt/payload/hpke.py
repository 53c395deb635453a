"""Hybrid public key encryption (RFC 9180) by `cryptography`, from 48 on: the one module that seals and opens by it.

Base mode, one message for each encapsulated key: HKDF-SHA256 and AES-256-GCM with X25519, or with ML-KEM-768 and X25519
together (draft-ietf-hpke-pq), which a quantum computer does not open either. Keys are JWKs: of `kty` OKP and `crv`
X25519 (RFC 8037), or of `kty` AKP and `alg` MLKEM768-X25519, whose `pub` is the public key (1,216 bytes) and whose
`priv` is the seed (32 bytes) that both private keys are expanded from.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from typing import NamedTuple, cast

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import mlkem, x25519
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, MLKEM768X25519PrivateKey, MLKEM768X25519PublicKey, Suite

from forecourt.auth.compact import decoded, encoded, json_object
from forecourt.core.payload import Header, Opened, UnfitKey, framed, info, unframed
from forecourt.core.sealed import Unopened

X25519 = "HPKE-X25519"
HYBRID = "HPKE-MLKEM768-X25519"

PrivateKey = x25519.X25519PrivateKey | MLKEM768X25519PrivateKey
PublicKey = x25519.X25519PublicKey | MLKEM768X25519PublicKey

_SUITES: Mapping[str, Suite] = {
    X25519: Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM),
    HYBRID: Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM),
}
_AKP = "MLKEM768-X25519"
_OLD = "this build of cryptography has no ML-KEM-768; its own wheels have"
_SEED, _LATTICE, _PUBLIC, _CURVE = 32, 64, 1184, 32


class _Private(NamedTuple):
    algorithm: str
    key: PrivateKey


class HpkeOpener:
    """Opens what was sealed to one of these private keys."""

    def __init__(self, jwks: Iterable[Mapping[str, object]]) -> None:
        self._keys = {kid_of(jwk): _private(jwk) for jwk in jwks}

    def open(self, message: bytes) -> Opened:
        """Return header and content of a frame; Unopened for whatever is wrong with it."""
        try:
            return self._opened(message)
        except Exception:  # noqa: BLE001  # libraries raise what they like on hostile input
            raise Unopened from None

    def _opened(self, message: bytes) -> Opened:
        beginning, written, text = unframed(message)
        header = json_object(written)
        algorithm, key = self._keys[cast("str", header["kid"])]
        if header["alg"] != algorithm:
            raise Unopened
        return Opened(header, _SUITES[algorithm].decrypt(text, key, info(beginning)))


class HpkeSealer:
    """Seals to one public key."""

    def __init__(self, jwk: Mapping[str, object]) -> None:
        self._algorithm, self._key = _public(jwk)
        self._kid = kid_of(jwk)

    def seal(self, header: Mapping[str, object], content: bytes) -> bytes:
        """Return a frame."""
        named = {**header, "alg": self._algorithm, "kid": self._kid}
        beginning = framed(json.dumps(named, separators=(",", ":")).encode())
        return beginning + _SUITES[self._algorithm].encrypt(content, self._key, info(beginning))


def kid_of(jwk: Mapping[str, object]) -> str:
    """Return a key's id: its `kid`, else its thumbprint (RFC 7638), of an AKP key over `alg`, `kty` and `pub`."""
    if isinstance(kid := jwk.get("kid"), str):
        return kid
    names = ("alg", "kty", "pub") if jwk.get("kty") == "AKP" else ("crv", "kty", "x")
    members = json.dumps({name: jwk[name] for name in names}, separators=(",", ":"), sort_keys=True)
    return encoded(hashlib.sha256(members.encode()).digest())


def generated(kind: str, kid: str) -> Header:
    """Return a new private JWK: kind `hybrid`, or `x25519` for HPKE alone."""
    if kind == "hybrid":
        seed = os.urandom(_SEED)
        return {"kty": "AKP", "alg": _AKP, "kid": kid, "use": "enc", "pub": encoded(_pub(seed)), "priv": encoded(seed)}
    key = x25519.X25519PrivateKey.generate()
    own, public = encoded(key.private_bytes_raw()), encoded(key.public_key().public_bytes_raw())
    return {"kty": "OKP", "crv": "X25519", "alg": X25519, "kid": kid, "use": "enc", "x": public, "d": own}


def _private(jwk: Mapping[str, object]) -> _Private:
    """Import a private JWK; ValueError or KeyError where it is none of ours."""
    if _kind(jwk) == HYBRID:
        lattice, curve = _expanded(decoded(cast("str", jwk["priv"])))
        return _Private(HYBRID, MLKEM768X25519PrivateKey(lattice, curve))
    return _Private(X25519, x25519.X25519PrivateKey.from_private_bytes(decoded(cast("str", jwk["d"]))))


def _public(jwk: Mapping[str, object]) -> tuple[str, PublicKey]:
    if _kind(jwk) == HYBRID:
        both = decoded(cast("str", jwk["pub"]))
        if len(both) != _PUBLIC + _CURVE:
            raise UnfitKey(f"its pub must have {_PUBLIC + _CURVE} bytes")
        try:
            lattice = mlkem.MLKEM768PublicKey.from_public_bytes(both[:_PUBLIC])
        except UnsupportedAlgorithm:
            raise UnfitKey(_OLD) from None
        return HYBRID, MLKEM768X25519PublicKey(lattice, x25519.X25519PublicKey.from_public_bytes(both[_PUBLIC:]))
    return X25519, x25519.X25519PublicKey.from_public_bytes(decoded(cast("str", jwk["x"])))


def _kind(jwk: Mapping[str, object]) -> str:
    if jwk.get("use", "enc") != "enc":
        raise UnfitKey("it is not meant to encrypt: see its use")
    if jwk.get("kty") == "AKP" and jwk.get("alg") == _AKP:
        return HYBRID
    if jwk.get("kty") == "OKP" and jwk.get("crv") == "X25519" and jwk.get("alg", X25519) == X25519:
        return X25519
    raise UnfitKey(f"it must be OKP of X25519, or AKP of {_AKP}")


def _expanded(seed: bytes) -> tuple[mlkem.MLKEM768PrivateKey, x25519.X25519PrivateKey]:
    """Return both private keys of a seed (draft-ietf-hpke-pq: SHAKE256, ML-KEM's 64 bytes, then X25519's 32)."""
    if len(seed) != _SEED:
        raise UnfitKey(f"its priv must have {_SEED} bytes")
    long = hashlib.shake_256(seed).digest(_LATTICE + _CURVE)
    try:
        lattice = mlkem.MLKEM768PrivateKey.from_seed_bytes(long[:_LATTICE])
    except UnsupportedAlgorithm:
        raise UnfitKey(_OLD) from None
    return lattice, x25519.X25519PrivateKey.from_private_bytes(long[_LATTICE:])


def _pub(seed: bytes) -> bytes:
    lattice, curve = _expanded(seed)
    return lattice.public_key().public_bytes_raw() + curve.public_key().public_bytes_raw()
