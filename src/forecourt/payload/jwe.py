"""JSON Web Encryption (RFC 7516) in its compact form, by joserfc: the one module that seals and opens by it.

A message is taken apart here, strictly, before any key is looked at: base64url in its one form, a header without a name
given twice, no `crit` (no extension is understood), no `zip` (what is small may become large). Only the algorithms
below count, and only with a key of their kind whose own `alg`, `use` and `key_ops` allow it. Where an encrypted key
does not open, a random one takes its place (RFC 7516 §11.5), so that both kinds of failure take the same way.

Whatever goes wrong is Unopened, which says no more than that.
"""

import binascii
import json
import os
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

from joserfc import jwe
from joserfc.errors import SecurityWarning
from joserfc.jwe import CompactEncryption, JWERegistry, Recipient
from joserfc.jwk import ECKey, Key, OctKey, OKPKey, RSAKey, import_key

from forecourt.auth.compact import json_object
from forecourt.core.payload import MOST_HEADER, Header, Opened, UnfitKey
from forecourt.core.sealed import Unopened

ENCRYPTIONS = ("A256GCM", "A128GCM")
"""What content is encrypted with; the first seals (RFC 7518 §5.3)."""

AGREED = ("ECDH-ES", "ECDH-ES+A256KW", "ECDH-ES+A128KW")
ENCRYPTED = ("RSA-OAEP-256",)
DIRECT = ("dir",)
ALGORITHMS = (*AGREED, *ENCRYPTED, *DIRECT)
"""How the key of the content is come by (RFC 7518 §4.3 to §4.6)."""

_BITS = 2048
_CURVES = frozenset({"P-256", "P-384", "P-521", "X25519"})
_SIZES = {32: "A256GCM", 16: "A128GCM"}
_IV, _TAG = 12, 16
_OPENS = frozenset({"decrypt", "unwrapKey", "deriveKey", "deriveBits"})
_SEALS = frozenset({"encrypt", "wrapKey", "deriveKey", "deriveBits"})


class JweOpener:
    """Opens what was sealed to one of these private keys."""

    def __init__(self, jwks: Iterable[Mapping[str, object]]) -> None:
        keys = [_Usable(jwk, _OPENS) for jwk in jwks]
        self._keys = {key.kid: key for key in keys}
        self._alone = keys[0] if len(keys) == 1 else None

    def open(self, message: bytes) -> Opened:
        """Return header and content of a compact JWE; Unopened for whatever is wrong with it."""
        try:
            return self._opened(message)
        except Exception:  # noqa: BLE001  # libraries raise what they like on hostile input
            raise Unopened from None

    def _opened(self, message: bytes) -> Opened:
        first, *rest = message.split(b".", 5)
        if len(rest) != 4 or len(first) > MOST_HEADER:
            raise Unopened
        header = json_object(_decoded(first))
        encrypted_key, iv, text, tag = map(_decoded, rest)
        if header.keys() & {"crit", "zip", "b64"} or len(iv) != _IV or len(tag) != _TAG:
            raise Unopened
        key = self._key(header)
        encryption = JWERegistry.algorithms["enc"][key.encryption(header)]
        cek = key.content_key(header, encryption, encrypted_key)
        return Opened(header, encryption.decrypt(text, tag, cek, iv, first))

    def _key(self, header: Header) -> "_Usable":
        kid = header.get("kid")
        key = self._alone if kid is None else self._keys.get(cast("str", kid))
        if key is None:
            raise Unopened
        return key


class JweSealer:
    """Seals to one public key, or by one secret that is shared."""

    def __init__(self, jwk: Mapping[str, object]) -> None:
        key = _Usable(jwk, _SEALS)
        self._key = key.key
        self._named = {"alg": key.algorithms[0], "enc": key.encryptions[0], "kid": key.kid}

    def seal(self, header: Mapping[str, object], content: bytes) -> bytes:
        """Return a compact JWE, ASCII."""
        return jwe.encrypt_compact({**header, **self._named}, content, self._key, registry=_REGISTRY).encode()


class _Usable:
    """A key, and what it may be used with; UnfitKey where that is nothing."""

    def __init__(self, jwk: Mapping[str, object], operations: frozenset[str]) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SecurityWarning)  # weakness is judged here
            self.key: Key = import_key(cast("Any", dict(jwk)))
        self.kid = self.key.kid or self.key.thumbprint()
        self.encryptions: tuple[str, ...] = ENCRYPTIONS
        kinds = _kinds(self.key)
        if isinstance(self.key, OctKey):
            self.encryptions = (_SIZES[len(self.key.raw_value)],)
        own = jwk.get("alg")
        if isinstance(self.key, OctKey) and own in self.encryptions:
            own = None  # RFC 7520 §5.6: a secret that is used directly says what it encrypts
        self.algorithms = tuple(each for each in kinds if own in (None, each))
        if not self.algorithms:
            raise UnfitKey(f"its alg is {own}: {', '.join(kinds)} are understood of such a key")
        allowed = jwk.get("key_ops")
        if jwk.get("use", "enc") != "enc" or (isinstance(allowed, list) and not operations.intersection(allowed)):
            raise UnfitKey("it is not meant to encrypt: see its use and key_ops")

    def encryption(self, header: Header) -> str:
        """Return what the content is encrypted with, where this key allows that and the header's algorithm."""
        enc = header.get("enc")
        if header.get("alg") not in self.algorithms or not isinstance(enc, str) or enc not in self.encryptions:
            raise Unopened
        return enc

    def content_key(self, header: Header, encryption: Any, encrypted_key: bytes) -> bytes:
        """Return the key of the content, or a random one in place of what does not open."""
        alg: Any = JWERegistry.algorithms["alg"][cast("str", header["alg"])]
        recipient: Recipient[Any] = Recipient(CompactEncryption(header))
        recipient.recipient_key, recipient.encrypted_key = self.key, encrypted_key
        if alg.direct_mode and encrypted_key:
            raise Unopened
        if alg.name in DIRECT:
            return cast("bytes", alg.compute_cek(encryption.cek_size, recipient))
        if alg.name == "ECDH-ES":
            return cast("bytes", alg.decrypt_agreed_upon_key(encryption, recipient))
        return _unwrapped(lambda: _of_recipient(alg, encryption, recipient), encryption.cek_size // 8)


def _of_recipient(alg: Any, encryption: Any, recipient: Recipient[Any]) -> bytes:
    if alg.name in ENCRYPTED:
        return cast("bytes", alg.decrypt_cek(recipient))
    return cast(
        "bytes",
        alg.unwrap_cek_with_auk(recipient.encrypted_key, alg.decrypt_agreed_upon_key(encryption, recipient)),
    )


def _unwrapped(unwrap: Callable[[], bytes], size: int) -> bytes:
    instead = os.urandom(size)
    try:
        key = unwrap()
    except Exception:  # noqa: BLE001  # how it failed is nobody's business
        return instead
    return key if len(key) == size else instead


_STANDARD = bytes.maketrans(b"-_+/=", b"+/   ")


def _decoded(part: bytes) -> bytes:
    """Decode base64url without padding; ValueError where it is not the one form of what it encodes.

    As `auth.compact.decoded` does, at a third of the cost: contents are large, so only the end is encoded again.
    """
    octets = binascii.a2b_base64(part.translate(_STANDARD) + b"=" * (-len(part) % 4), strict_mode=True)
    last = len(part) % 4
    if last and binascii.b2a_base64(octets[-(last - 1) :], newline=False)[:last] != part[-last:].translate(_STANDARD):
        raise ValueError("another form of the same octets")
    return octets


def _kinds(key: Key) -> tuple[str, ...]:
    if isinstance(key, RSAKey):
        if key.public_key.key_size < _BITS:
            raise UnfitKey(f"it is shorter than {_BITS} bits")
        return ENCRYPTED
    if isinstance(key, ECKey | OKPKey) and key.get("crv") in _CURVES:
        return AGREED
    if isinstance(key, OctKey) and len(key.raw_value) in _SIZES:
        return DIRECT
    raise UnfitKey("it must be RSA, EC, OKP of X25519, or oct of 16 or 32 bytes")


_REGISTRY = JWERegistry(algorithms=[*ALGORITHMS, *ENCRYPTIONS], strict_check_header=False)


def generated(kind: str, kid: str) -> Header:
    """Return a new private JWK: kind `x25519`, `p256` or `rsa`."""
    parameters: Any = {"kid": kid, "use": "enc"}
    key: Key
    if kind == "rsa":
        key = RSAKey.generate_key(3072, parameters)
    elif kind == "p256":
        key = ECKey.generate_key("P-256", parameters)
    else:
        key = OKPKey.generate_key("X25519", parameters)
    return cast("Header", json.loads(json.dumps(key.as_dict(private=True))))
