"""Keys of a config that can never work stop the start, with their place and never their text."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from forecourt import ConfigError, Issuer
from forecourt.auth.jose import SigningKey
from tests.auth.service import Guarded


def pem(bits: int = 2048) -> str:
    """Return a public RSA key."""
    form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    return rsa.generate_private_key(public_exponent=65537, key_size=bits).public_key().public_bytes(*form).decode()


def issuer(**fields: object) -> Issuer:
    """Build an issuer with these keys."""
    return Issuer.model_validate({"issuer": "https://issuer.example", "audience": "a", **fields})


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"secret": "short"}, "issuers[0].secret: this key cannot be used with HS256: it is shorter than 32 bytes"),
        ({"secret": "s" * 40, "algorithms": ["HS512"]}, "it is shorter than 64 bytes"),
        ({"secret": pem()}, "issuers[0].secret: this key cannot be used: it is not fit for a secret"),
        ({"keys": ["rubbish"]}, "issuers[0].keys[0]: this key cannot be used: it is neither PEM nor a JWK"),
        ({"keys": pem(1024), "algorithms": ["RS256"]}, "it is shorter than 2048 bits"),
        ({"keys": pem(), "algorithms": ["ES256"]}, "its kind is RSA"),
        ({"keys": SigningKey.generate("ES384").jwk(), "algorithms": ["ES256"]}, "its curve is P-384"),
        ({"keys": {**SigningKey.generate().jwk(), "use": "enc"}}, "it is meant for something else"),
        ({"keys": "file:/nowhere/key.pem"}, 'issuers[0].keys[0]: "/nowhere/key.pem" cannot be read'),
    ],
)
async def test_a_key_that_cannot_be_used(fields: dict[str, object], line: str) -> None:
    """ConfigError on the first request, as at startup."""
    with pytest.raises(ConfigError) as raised:
        await Guarded(issuers=[issuer(**fields)]).showing()
    assert line in str(raised.value)
    assert "BEGIN PUBLIC" not in str(raised.value)


async def test_keys_come_as_pem_jwk_or_sets(tmp_path: Path) -> None:
    """Inline, as text, as a table, or from a file."""
    path = tmp_path / "key.pem"
    path.write_text(pem())
    jwk = SigningKey.generate().jwk()
    service = Guarded(issuers=[issuer(keys=[pem(), f"file:{path}", jwk, {"keys": [jwk, {"kty": "new"}]}])])
    assert (await service.showing()).status == 401
