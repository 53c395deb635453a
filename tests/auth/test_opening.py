"""Keys of a config that can never work stop the start, with their place and never their text."""

import sys
from pathlib import Path
from typing import cast

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from forecourt import ConfigError, Issuer
from forecourt.auth.authentication import Authentication, Means
from forecourt.auth.fetching import Fetcher
from forecourt.auth.jose import SigningKey
from forecourt.auth.opening import DEVELOPMENT_KEY, development_secret
from forecourt.auth.remembered import Remembered
from forecourt.testing import FakeClock
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


@pytest.mark.parametrize(
    ("module", "line"), [("jose", "tokens need joserfc"), ("fetching", "fetching keys needs httpx")]
)
async def test_a_missing_extra_is_named(module: str, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """ConfigError says what to install."""
    monkeypatch.setitem(sys.modules, f"forecourt.auth.{module}", None)
    published = issuer(jwks_url="https://issuer.example/keys")
    with pytest.raises(ConfigError, match=rf"{line}: pip install 'forecourt\[auth\]'"):
        Authentication(Means([published]), FakeClock())


def test_an_issuer_is_given_once() -> None:
    """Also where no config has looked at them."""
    with pytest.raises(ConfigError, match="is given twice"):
        Authentication(Means([issuer(keys=pem())] * 2), FakeClock())


def test_a_development_key_that_cannot_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ConfigError names its file: no text in it, or no way to make it."""
    path = tmp_path / "key"
    path.write_bytes(b"\xff\xfe")
    for named, line in ((path, "cannot be read: UnicodeDecodeError"), (tmp_path / ("x" * 300), "cannot be")):
        monkeypatch.setenv(DEVELOPMENT_KEY, str(named))
        with pytest.raises(ConfigError, match=line):
            development_secret()


async def test_nothing_was_fetched_yet() -> None:
    """Closing what was never used does nothing."""
    await Fetcher().close()


def test_a_key_shows_its_kind_alone() -> None:
    """Its id too; and what a library raises over a signature is no."""
    key = SigningKey.generate("ES256", "one").verifying
    assert repr(key) == "<EC key one>"
    assert not key.verifies("ES256", cast("bytes", None), b"x" * 64)


def test_what_is_remembered_is_counted() -> None:
    """Nothing at first."""
    assert len(Remembered(1, 1)) == 0
