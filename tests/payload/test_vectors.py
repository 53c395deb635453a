"""The published vectors: each opens to what it must, or is refused cleanly; nothing that is invalid opens."""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, cast

import cryptography_vectors
import pytest
from cryptography.hazmat.bindings._rust import openssl
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from jwcrypto.jwe import JWE  # type: ignore[import-untyped]  # it has no types
from jwcrypto.jwk import JWK  # type: ignore[import-untyped]  # it has no types

from forecourt.auth.compact import decoded, encoded
from forecourt.core.payload import UnfitKey
from forecourt.core.sealed import Unopened
from forecourt.errors import ConfigError
from forecourt.payload import hpke
from forecourt.payload.jwe import ALGORITHMS, ENCRYPTIONS
from forecourt.payload.keys import Opens, opener

VECTORS = Path(__file__).parent.parent / "vectors"
HPKE = Path(cryptography_vectors.__file__).parent / "HPKE"

Vector = dict[str, Any]


def wycheproof() -> Iterator[tuple[Vector, Vector]]:
    """Yield each test with the private key of its group."""
    for group in json.loads((VECTORS / "wycheproof" / "json_web_encryption_test.json").read_text("utf-8"))[
        "testGroups"
    ]:
        for test in group["tests"]:
            yield group["private"], test


def opened(key: Vector, message: object) -> bytes | str:
    """Return what opens, or how it is refused."""
    opens = opener_of(json.dumps(key))
    if opens is None:
        return "key"
    text = message if isinstance(message, str) else json.dumps(message)
    try:
        return opens.open(text.encode()).content
    except Unopened:
        return "message"


@cache
def opener_of(key: str) -> Opens | None:
    """Return what opens by a key; None where that is of no use."""
    try:
        return opener("jwe", [json.loads(key)])
    except ConfigError:
        return None


def header_of(message: object) -> Vector:
    """Return what a compact message says of itself."""
    return cast("Vector", json.loads(decoded(message.split(".")[0]))) if isinstance(message, str) else {}


def is_ours(key: Vector, test: Vector) -> bool:
    """Return whether a valid vector is of the algorithms that count, by a key that says so."""
    header = header_of(test["jwe"])
    return header.get("alg") in ALGORITHMS and header.get("enc") in ENCRYPTIONS and "zip" not in header


def test_the_vectors_of_wycheproof_are_all_there() -> None:
    """139 of them, so that none is left out unseen."""
    assert len([*wycheproof()]) == 139


def test_nothing_invalid_opens() -> None:
    """Whatever is wrong with it, without an exception of a library."""
    for key, test in wycheproof():
        if test["result"] == "invalid":
            assert opened(key, test["jwe"]) in ("key", "message"), test["tcId"]


def test_what_is_valid_and_of_our_algorithms_opens() -> None:
    """To the right content, the examples of RFC 7520 §5.4 and §5.6 among them."""
    count = 0
    for key, test in wycheproof():
        if test["result"] == "valid" and is_ours(key, test):
            found = opened(key, test["jwe"])
            assert found == bytes.fromhex(test["pt"]), (test["tcId"], test["comment"], found)
            count += 1
    assert count > 10


def test_what_is_valid_and_not_of_our_algorithms_is_refused() -> None:
    """PKCS #1 v1.5, SHA-1, CBC, passwords, compression: by the key or by the message, cleanly."""
    for key, test in wycheproof():
        if test["result"] == "valid" and not is_ours(key, test):
            assert opened(key, test["jwe"]) in ("key", "message"), test["tcId"]


REFUSED = {
    "RFC 7516 A.1": "RSA-OAEP, with SHA-1",
    "RFC 7516 A.2": "RSA1_5 and A128CBC-HS256",
    "RFC 7516 A.3": "A128KW and A128CBC-HS256",
    "RFC 7516 A.4": "the JSON serialization",
    "RFC 7516 A.5": "the JSON serialization",
}
"""Why an example is none of ours."""


def test_the_examples_of_rfc_7516() -> None:
    """Each opens by jwcrypto, and is refused here for what it is: a key of its kind that says nothing else is fine."""
    examples = json.loads((VECTORS / "rfc7516.json").read_text("utf-8"))
    assert [each["example"] for each in examples] == [*REFUSED]
    for each in examples:
        message = each["jwe"] if isinstance(each["jwe"], str) else json.dumps(each["jwe"])
        theirs = JWE(algs=["RSA-OAEP", "RSA1_5", "A128KW", "A256GCM", "A128CBC-HS256"])
        theirs.deserialize(message, JWK(**each["key"]))
        assert theirs.payload.decode() == each["plaintext"]
        key = {name: value for name, value in each["key"].items() if name != "alg"}
        assert opened(key, message) == "message", REFUSED[each["example"]]


def rfc9180() -> Iterator[Vector]:
    """Yield the vectors of base mode that encrypt."""
    for vector in json.loads((HPKE / "test-vectors.json").read_text("utf-8")):
        if vector["mode"] == 0 and vector["kem_id"] == 32 and vector["aead_id"] != 0xFFFF:
            yield vector


SUITES = {
    (kdf, aead): Suite(KEM.X25519, kdfs, aeads)
    for kdf, kdfs in ((1, KDF.HKDF_SHA256), (3, KDF.HKDF_SHA512))
    for aead, aeads in ((1, AEAD.AES_128_GCM), (2, AEAD.AES_256_GCM), (3, AEAD.CHACHA20_POLY1305))
}


def test_rfc_9180_by_the_suite_that_seals() -> None:
    """The first message of each vector of X25519; for our suite with the very objects that open messages."""
    count = 0
    for vector in rfc9180():
        jwk = {"kty": "OKP", "crv": "X25519", "d": encoded(bytes.fromhex(vector["skRm"]))}
        key = hpke._private(jwk).key
        ours = (vector["kdf_id"], vector["aead_id"]) == (1, 2)
        suite = hpke._SUITES[hpke.X25519] if ours else SUITES[vector["kdf_id"], vector["aead_id"]]
        assert _first(suite, key, vector) == bytes.fromhex(vector["encryptions"][0]["pt"])
        count += 1
    assert count == 6


def test_the_hybrid_by_its_vectors() -> None:
    """The seed is expanded as the draft says, to the public key that it says, and opens with it."""
    vectors = json.loads((HPKE / "hpke-pq-test-vectors.json").read_text("utf-8"))
    ours = [each for each in vectors if each["kem_id"] == 0x647A and each["kdf_id"] == 1]
    (vector,) = ours
    seed = bytes.fromhex(vector["skRm"])
    assert hpke._pub(seed) == bytes.fromhex(vector["pkRm"])
    key = hpke._private({"kty": "AKP", "alg": "MLKEM768-X25519", "priv": encoded(seed)}).key
    suite = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)
    assert _first(suite, key, vector) == bytes.fromhex(vector["encryptions"][0]["pt"])


def _first(suite: Suite, key: hpke.PrivateKey, vector: Vector) -> bytes:
    """Open the first message of a vector: those have associated data, which only this function of theirs takes."""
    one = vector["encryptions"][0]
    text = bytes.fromhex(vector["enc"] + one["ct"])
    return openssl.hpke._decrypt_with_aad(suite, text, key, bytes.fromhex(vector["info"]), bytes.fromhex(one["aad"]))


@pytest.mark.parametrize("jwk", [{"kty": "OKP", "crv": "X25519", "d": "AA"}, {"kty": "AKP", "alg": "MLKEM768-X25519"}])
def test_keys_that_are_none(jwk: Vector) -> None:
    """Their own error, with nothing of the key in it."""
    with pytest.raises(ConfigError, match="it is not a key that is understood"):
        opener("hpke", [jwk])
    assert issubclass(UnfitKey, ValueError)
