"""Keys and signatures, by joserfc: the one module that imports it.

Only its typed keys and algorithms are used; tokens are taken apart in `auth.compact`, and what a key may be used for is
decided here: its kind and curve go with the algorithm, its own `alg`, `use` and `key_ops` allow it, and it is strong
enough (RFC 7518 §3.2, §3.3: HMAC keys as long as the hash, RSA keys of 2,048 bits).
"""

import json
import warnings
from collections.abc import Iterable, Mapping
from typing import Any, cast

from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import ECKey, JWKRegistry, OctKey, OKPKey, RSAKey, import_key, thumbprint
from joserfc.jws import JWSRegistry

from forecourt.auth.compact import encoded
from forecourt.auth.rings import Key

_BITS = 2048
_HASHES = {"256": 32, "384": 48, "512": 64}
_KINDS: Mapping[str, str] = {"HS": "oct", "RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}
_CURVES = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521", "EdDSA": "Ed25519", "Ed25519": "Ed25519"}
_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})

JoseKey = OctKey | RSAKey | ECKey | OKPKey


class WeakKeyError(ValueError):
    """A key cannot be used, for the reason it says; nothing of the key is in it."""


class VerifyingKey:
    """A key that signatures are verified with."""

    def __init__(self, key: JoseKey) -> None:
        self._key = key
        self.kid = key.kid
        self.thumbprint = key.thumbprint()

    def __repr__(self) -> str:
        return f"<{self._key.key_type} key {self.kid or ''}>"

    def flaw(self, algorithm: str) -> str | None:
        """Say why this key is of no use with an algorithm, or None."""
        key = self._key
        if key.key_type != _KINDS.get(algorithm[:2]):
            return f"its kind is {key.key_type}"
        if algorithm in _CURVES and key.get("crv") != _CURVES[algorithm]:
            return f"its curve is {key.get('crv')}"
        if not _is_meant_for(key, algorithm):
            return "it is meant for something else"
        if isinstance(key, OctKey) and len(key.raw_value) < _HASHES[algorithm[2:]]:
            return f"it is shorter than {_HASHES[algorithm[2:]]} bytes"
        if isinstance(key, RSAKey) and key.public_key.key_size < _BITS:
            return f"it is shorter than {_BITS} bits"
        return None

    def verifies(self, algorithm: str, signed: bytes, signature: bytes) -> bool:
        """Whether the signature is this key's; whatever goes wrong in a library is no."""
        if self.flaw(algorithm) is not None:
            return False
        try:
            return bool(JWSRegistry.algorithms[algorithm].verify(signed, signature, self._key))
        except Exception:  # noqa: BLE001  # libraries raise what they like on hostile input
            return False


def _is_meant_for(key: JoseKey, algorithm: str) -> bool:
    """Whether a key's own `alg`, `use` and `key_ops` allow it to verify (RFC 7517 §4.2 to §4.4)."""
    if key.get("alg", algorithm) != algorithm or key.get("use", "sig") != "sig":
        return False
    return "verify" in (key.get("key_ops") or ("verify",))


def shared(secret: str) -> VerifyingKey:
    """Return the key of a shared secret; WeakKeyError when it is none."""
    try:
        return VerifyingKey(_secret_key(secret.encode()))
    except (JoseError, ValueError) as error:
        raise WeakKeyError("it is not fit for a secret") from error


def imported(source: str | Mapping[str, object]) -> list[VerifyingKey]:
    """Import PEM, a JWK or a JWK set; WeakKeyError where it is none, or holds none."""
    try:
        if isinstance(source, str) and source.lstrip().startswith("{"):
            source = cast("Mapping[str, object]", json.loads(source))
        if isinstance(source, str):
            return [VerifyingKey(_pem(source))]
        if isinstance(source.get("keys"), list):
            return jwk_set(source)
        return [VerifyingKey(_jwk(source))]
    except WeakKeyError:
        raise
    except Exception as error:
        raise WeakKeyError("it is neither PEM nor a JWK that is understood") from error


def jwk_set(document: Mapping[str, object], *, public: bool = False) -> list[VerifyingKey]:
    """Import what is usable of a JWK set, as sets may hold keys of newer kinds; WeakKeyError when nothing is.

    `public`: a shared secret in it is no key, since all the world can read it.
    """
    listed = document.get("keys")
    keys: list[VerifyingKey] = []
    for each in listed if isinstance(listed, list) else ():
        if isinstance(each, dict) and not (public and each.get("kty") == "oct"):
            try:
                keys.append(VerifyingKey(_jwk(each)))
            except Exception:  # noqa: BLE001, S112  # a key that is not understood is not used
                continue
    if not keys:
        raise WeakKeyError("it holds no key that is understood")
    return keys


def public_jwk(jwk: object) -> Key | None:
    """Import the public key in the header of a proof (RFC 9449 §4.3); None when it is none, or holds a private part."""
    if not isinstance(jwk, dict) or jwk.get("kty") == "oct" or _PRIVATE & jwk.keys():
        return None
    try:
        return VerifyingKey(_jwk(jwk))
    except Exception:  # noqa: BLE001  # libraries raise what they like on hostile input
        return None


class SigningKey:
    """A key that tokens are signed with, for development and tests."""

    def __init__(self, key: JoseKey, algorithm: str) -> None:
        self._key = key
        self.algorithm = algorithm
        self.verifying = VerifyingKey(key)

    @classmethod
    def of_secret(cls, secret: str) -> "SigningKey":
        """Sign by HS256."""
        return cls(_secret_key(secret.encode()), "HS256")

    @classmethod
    def generate(cls, algorithm: str = "ES256", kid: str | None = None) -> "SigningKey":
        """Generate a key of the algorithm's kind."""
        kind = _KINDS[algorithm[:2]]
        size: object = _CURVES.get(algorithm, 2048 if kind == "RSA" else 512)
        parameters = {"kid": kid} if kid else None
        key = JWKRegistry.generate_key(cast("Any", kind), cast("Any", size), cast("Any", parameters), private=True)
        return cls(key, algorithm)

    def jwk(self) -> dict[str, object]:
        """Return the half that verifies: the public one, of a shared secret all of it."""
        is_shared = isinstance(self._key, OctKey)
        return {**self._key.as_dict(private=is_shared), "alg": self.algorithm, "use": "sig"}

    def sign(self, claims: Mapping[str, object], header: Mapping[str, object] | None = None) -> str:
        """Return a token in compact form."""
        named = {"kid": self.verifying.kid} if self.verifying.kid else {}
        full = {"alg": self.algorithm, **named, **(header or {})}
        signed = ".".join(encoded(json.dumps(part).encode()) for part in (full, claims))
        signature = JWSRegistry.algorithms[self.algorithm].sign(signed.encode(), self._key)
        return f"{signed}.{encoded(signature)}"


def _secret_key(secret: bytes) -> OctKey:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SecurityWarning)  # weakness is judged here, by `flaw`
        return OctKey.import_key(secret)


def _jwk(jwk: Mapping[str, object]) -> JoseKey:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SecurityWarning)
        return import_key(cast("Any", dict(jwk)))


def _pem(text: str) -> JoseKey:
    failures: list[Exception] = []
    kinds: Iterable[type[RSAKey | ECKey | OKPKey]] = (RSAKey, ECKey, OKPKey)
    for kind in kinds:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SecurityWarning)
                return kind.import_key(text)
        except Exception as error:  # noqa: BLE001  # the next kind may understand it
            failures.append(error)
    raise WeakKeyError("it is neither PEM nor a JWK that is understood") from failures[0]


__all__ = ["JoseError", "SigningKey", "VerifyingKey", "WeakKeyError", "imported", "jwk_set", "shared", "thumbprint"]
