"""What we seal others open, and what others seal we open: jwcrypto for JWE, pyhpke for HPKE."""

import json
import struct

import pytest
from jwcrypto import jwe as theirs  # type: ignore[import-untyped]  # it has no types
from jwcrypto import jwk
from pyhpke import AEADId, CipherSuite, KDFId, KEMId, KEMKey

from forecourt.core.payload import Header
from forecourt.payload import hpke, jwe
from forecourt.payload.keys import opener, sealer
from tests.layers.sealed import private, public

HEADER: Header = {"cty": "application/json", "iat": 1_700_000_000, "htm": "POST", "jti": "a"}
CONTENT = b'{"amount":1}' * 10

ALGORITHMS = [
    ("x25519", "ECDH-ES"),
    ("x25519", "ECDH-ES+A256KW"),
    ("p256", "ECDH-ES"),
    ("p256", "ECDH-ES+A128KW"),
    ("rsa", "RSA-OAEP-256"),
]


def of_kind(kind: str) -> Header:
    """Return a private key of ours."""
    return private(kind, "own")


@pytest.mark.parametrize("kind", ["x25519", "p256", "rsa"])
def test_jwcrypto_opens_what_we_seal(kind: str) -> None:
    """Header and content."""
    own = of_kind(kind)
    message = sealer("jwe", public(own)).seal(HEADER, CONTENT).decode()
    token = theirs.JWE(algs=[*jwe.ALGORITHMS, *jwe.ENCRYPTIONS])
    token.deserialize(message, jwk.JWK(**own))
    assert token.payload == CONTENT
    assert json.loads(token.objects["protected"]).items() >= HEADER.items()


@pytest.mark.parametrize(("kind", "algorithm"), ALGORITHMS)
@pytest.mark.parametrize("encryption", jwe.ENCRYPTIONS)
def test_we_open_what_jwcrypto_seals(kind: str, algorithm: str, encryption: str) -> None:
    """Every algorithm that counts, with both sizes of content key."""
    own = of_kind(kind)
    header = {**HEADER, "alg": algorithm, "enc": encryption, "kid": "own"}
    token = theirs.JWE(CONTENT, json.dumps(header), algs=[algorithm, encryption])
    token.add_recipient(jwk.JWK(**public(own)))
    opened = opener("jwe", [own]).open(token.serialize(compact=True).encode())
    assert opened.content == CONTENT
    assert opened.header.items() >= header.items()


def test_a_shared_secret_with_jwcrypto() -> None:
    """`dir`, both ways."""
    own = json.loads(jwk.JWK.generate(kty="oct", size=256, kid="own").export())
    message = sealer("jwe", own).seal(HEADER, CONTENT).decode()
    token = theirs.JWE(algs=["dir", "A256GCM"])
    token.deserialize(message, jwk.JWK(**own))
    assert token.payload == CONTENT
    back = theirs.JWE(CONTENT, json.dumps({"alg": "dir", "enc": "A256GCM", "kid": "own"}), algs=["dir", "A256GCM"])
    back.add_recipient(jwk.JWK(**own))
    assert opener("jwe", [own]).open(back.serialize(compact=True).encode()).content == CONTENT


SUITE = CipherSuite.new(KEMId.DHKEM_X25519_HKDF_SHA256, KDFId.HKDF_SHA256, AEADId.AES256_GCM)
ENCAPSULATED = 32


def test_pyhpke_opens_what_we_seal() -> None:
    """By the frame as it is documented: written here by hand, not by our own functions."""
    own = of_kind("hpke")
    frame = sealer("hpke", public(own)).seal(HEADER, CONTENT)
    assert frame[:4] == b"FCH1"
    (length,) = struct.unpack(">H", frame[4:6])
    beginning, text = frame[: 6 + length], frame[6 + length :]
    header = json.loads(frame[6 : 6 + length])
    assert header == {**HEADER, "alg": "HPKE-X25519", "kid": "own"}
    key = KEMKey.from_jwk({name: str(own[name]) for name in ("kty", "crv", "x", "d")})
    context = SUITE.create_recipient_context(text[:ENCAPSULATED], key, info=b"forecourt hpke 1 " + beginning)
    assert context.open(text[ENCAPSULATED:]) == CONTENT


def test_we_open_what_pyhpke_seals() -> None:
    """The same way round."""
    own = of_kind("hpke")
    header = json.dumps({**HEADER, "alg": "HPKE-X25519", "kid": "own"}).encode()
    beginning = b"FCH1" + struct.pack(">H", len(header)) + header
    key = KEMKey.from_jwk({name: str(own[name]) for name in ("kty", "crv", "x")})
    encapsulated, context = SUITE.create_sender_context(key, info=b"forecourt hpke 1 " + beginning)
    opened = opener("hpke", [own]).open(beginning + encapsulated + context.seal(CONTENT))
    assert (opened.content, opened.header["jti"]) == (CONTENT, "a")
    assert hpke.kid_of({**own, "kid": None}) == jwk.JWK(**public(own)).thumbprint()
