"""Keys of HPKE: what they must be, and what is said of those that are not."""

from collections.abc import Mapping

import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import mlkem

from forecourt.auth.compact import encoded
from forecourt.core.payload import UnfitKey
from forecourt.errors import ConfigError
from forecourt.payload.hpke import kid_of
from forecourt.payload.keys import generated, opener, sealer
from tests.layers.sealed import private, public

HYBRID = {"kty": "AKP", "alg": "MLKEM768-X25519"}


@pytest.mark.parametrize(
    ("jwk", "reason"),
    [
        ({**HYBRID, "pub": encoded(b"x" * 1215)}, "its pub must have 1216 bytes"),
        ({"kty": "RSA", "n": "AQAB", "e": "AQAB"}, "it must be OKP of X25519, or AKP of MLKEM768-X25519"),
        ({"kty": "OKP", "crv": "X25519", "x": "AA", "alg": "ECDH-ES"}, "it must be OKP of X25519, or AKP"),
        ({"kty": "OKP", "crv": "X25519", "x": "AA", "use": "sig"}, "it is not meant to encrypt: see its use"),
        ({"kty": "OKP", "crv": "X25519", "x": "AA"}, "it is not a key that is understood"),
        (HYBRID, "it is not a key that is understood"),
    ],
)
def test_public_keys_that_are_of_no_use(jwk: Mapping[str, object], reason: str) -> None:
    """Each is told why."""
    with pytest.raises(UnfitKey, match=reason):
        sealer("hpke", jwk)


def test_a_seed_has_a_length() -> None:
    """32 bytes, of which both private keys are made."""
    with pytest.raises(ConfigError, match="its priv must have 32 bytes"):
        opener("hpke", [{**HYBRID, "pub": "", "priv": encoded(b"x" * 31)}])


def test_a_message_names_its_key_and_how_it_is_used() -> None:
    """Another algorithm than the key's does not open, nor does a key that is not ours."""
    own, hybrid = private("hpke", "own"), private("hybrid", "other")
    message = sealer("hpke", public(own)).seal({"iat": 1}, b"content")
    for keys in ([hybrid], [{**hybrid, "kid": "own"}], [{**private("hpke", "third"), "kid": "own"}]):
        with pytest.raises(ValueError, match="cannot be opened"):
            opener("hpke", keys).open(message)


def test_keys_without_an_id_have_one() -> None:
    """Their thumbprint: it changes with the key, and nothing secret is in it."""
    for kind in ("hpke", "hybrid"):
        own = {name: value for name, value in generated(kind, "a").items() if name != "kid"}
        assert kid_of(own) == kid_of(public(own))
        assert len(kid_of(own)) == 43
        message = sealer("hpke", public(own)).seal({}, b"content")
        assert opener("hpke", [own]).open(message).content == b"content"


def test_a_build_without_the_lattice(monkeypatch: pytest.MonkeyPatch) -> None:
    """X25519 alone goes on; of the hybrid it is said what is missing."""
    hybrid = private("hybrid", "other")

    def unsupported(_: bytes) -> None:
        raise UnsupportedAlgorithm("not here")

    monkeypatch.setattr(mlkem.MLKEM768PrivateKey, "from_seed_bytes", unsupported)
    monkeypatch.setattr(mlkem.MLKEM768PublicKey, "from_public_bytes", unsupported)
    missing = "this build of cryptography has no ML-KEM-768"
    with pytest.raises(UnfitKey, match=missing):
        sealer("hpke", public(hybrid))
    with pytest.raises(ConfigError, match=missing):
        opener("hpke", [hybrid])
    with pytest.raises(ConfigError, match=missing):
        generated("hybrid", "a")
    assert opener("hpke", [hybrid, private("hpke", "own")]) is not None
