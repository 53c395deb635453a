"""Tokens of the development issuer: signed by a key of this machine's user, believed on this machine only."""

import time
from collections.abc import Collection

from forecourt.auth.opening import development_secret, jose
from forecourt.errors import ConfigError
from forecourt.policies.issuer import Issuer
from forecourt.policies.texts import listed


def development_token(
    issuer: Issuer,
    subject: str,
    *,
    id: str,  # noqa: A002  # its word
    scopes: Collection[str] = (),
    roles: Collection[str] = (),
    seconds: float = 3600,
) -> str:
    """Sign a token for the first audience of an issuer that is for development; ConfigError for another."""
    if not issuer.development:
        raise ConfigError(f'issuer "{issuer.issuer}" is not for development; its tokens are its own to sign')
    jose()
    from forecourt.auth.jose import SigningKey  # noqa: PLC0415  # the extra `auth` is optional

    now = int(time.time())
    claims = {
        "iss": issuer.issuer,
        "aud": listed(issuer.audience)[0],
        "sub": subject,
        "iat": now,
        "exp": now + round(seconds),
        "jti": id,
        "scope": " ".join(scopes),
        "roles": [*roles],
    }
    return SigningKey.of_secret(development_secret()).sign(claims, {"typ": "at+jwt"})
