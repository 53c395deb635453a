"""What a JWE may say, made by hand: a header that means more than is understood is refused, however right the rest."""

import os
import warnings
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from joserfc.errors import SecurityWarning
from joserfc.jwe import JWERegistry
from joserfc.jwk import RSAKey

from forecourt.auth.compact import encoded
from forecourt.core.sealed import Unopened
from forecourt.errors import ConfigError
from forecourt.payload.keys import opener, sealer
from tests.layers.sealed import private, public

SECRET = b"s" * 32
SHARED = {"kty": "oct", "kid": "one", "k": encoded(SECRET)}


def direct(header: str, nonce: int = 12) -> bytes:
    """Return a message that is sealed by the shared secret under this header, as it is written."""
    first, iv = encoded(header.encode()), os.urandom(nonce)
    text = AESGCM(SECRET).encrypt(iv, b"content", first.encode())
    return ".".join((first, "", encoded(iv), encoded(text[:-16]), encoded(text[-16:]))).encode()


def test_what_is_right_opens() -> None:
    """So that what follows fails for its own reason only; members that mean nothing to us mean nothing."""
    for header in (
        '{"alg":"dir","enc":"A256GCM"}',
        '{"alg":"dir","enc":"A256GCM","kid":"one","jku":"https://a.example"}',
    ):
        assert opener("jwe", [SHARED]).open(direct(header)).content == b"content"


@pytest.mark.parametrize(
    "header",
    [
        '{"alg":"dir","enc":"A256GCM","crit":["x"],"x":1}',
        '{"alg":"dir","enc":"A256GCM","crit":[]}',
        '{"alg":"dir","enc":"A256GCM","zip":"DEF"}',
        '{"alg":"dir","enc":"A256GCM","b64":false}',
        '{"alg":"dir","enc":"A256GCM","kid":"two"}',
        '{"alg":"dir","enc":"A256GCM","kid":1}',
        '{"alg":"dir","enc":"A256GCM","kid":["one"]}',
        '{"alg":"dir","enc":"A128GCM"}',
        '{"alg":"dir","enc":"A256CBC-HS512"}',
        '{"alg":"dir","enc":["A256GCM"]}',
        '{"alg":"dir"}',
        '{"alg":"A256KW","enc":"A256GCM"}',
        '{"alg":"none","enc":"A256GCM"}',
        '{"enc":"A256GCM"}',
        '{"alg":"dir","alg":"dir","enc":"A256GCM"}',
        '{"alg":"dir","enc":"A256GCM","x":NaN}',
        '["dir"]',
        '{"alg":"dir","enc":"A256GCM","x":"' + 4096 * "x" + '"}',
    ],
)
def test_headers_that_are_not_understood(header: str) -> None:
    """Though every byte of it is authenticated."""
    with pytest.raises(Unopened):
        opener("jwe", [SHARED]).open(direct(header))


def test_nonces_of_other_lengths() -> None:
    """RFC 7518 §5.3 knows one."""
    with pytest.raises(Unopened):
        opener("jwe", [SHARED]).open(direct('{"alg":"dir","enc":"A256GCM"}', nonce=16))


def test_an_rsa_key_that_is_too_short() -> None:
    """RFC 7518 §4.3 asks for 2048 bits; the start says so."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SecurityWarning)
        short = RSAKey.generate_key(1024).as_dict(private=True)
    with pytest.raises(ConfigError, match="it is shorter than 2048 bits"):
        opener("jwe", [short])


@pytest.mark.parametrize("kind", ["rsa", "x25519"])
def test_a_key_that_does_not_open_takes_the_way_of_one_that_does(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 7516 §11.5: the content is decrypted all the same, by a random key, so that nobody can tell which failed."""
    own = private(kind, "own")
    if kind == "x25519":
        own = {**own, "alg": "ECDH-ES+A256KW"}
    message = sealer("jwe", public(own)).seal({}, b"content")
    head, key, *rest = message.split(b".")
    broken = (b"A" if key[:1] != b"A" else b"B") + key[1:]
    seen: list[bytes] = []
    cipher: Any = JWERegistry.algorithms["enc"]["A256GCM"]
    decrypt = cipher.decrypt

    def watched(text: bytes, tag: bytes, cek: bytes, iv: bytes, aad: bytes) -> bytes:
        seen.append(cek)
        found: bytes = decrypt(text, tag, cek, iv, aad)
        return found

    monkeypatch.setattr(cipher, "decrypt", watched)
    opens = opener("jwe", [own])
    assert opens.open(message).content == b"content"
    for _ in range(2):
        with pytest.raises(Unopened):
            opens.open(b".".join((head, broken, *rest)))
    assert len(set(seen)) == 3, "each failure has a key of its own"
    assert {len(each) for each in seen} == {32}
