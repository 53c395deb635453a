"""Tokens of the development issuer: signed by a key of this machine's user, believed on this machine only."""

import time
from collections.abc import Collection, Sequence
from typing import cast

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
    tenant: str | None = None,
    tier: str | None = None,
    seconds: float = 3600,
) -> str:
    """Sign a token for the first audience of an issuer that is for development; ConfigError for another.

    Scopes, roles, tenant and tier stand where the issuer's `…_claim`s look first; one that looks nowhere is named.
    """
    if not issuer.development:
        raise ConfigError(f'issuer "{issuer.issuer}" is not for development; its tokens are its own to sign')
    jose()
    from forecourt.auth.jose import SigningKey  # noqa: PLC0415  # the extra `auth` is optional

    now = int(time.time())
    claims: dict[str, object] = {
        "iss": issuer.issuer,
        "aud": listed(issuer.audience)[0],
        "sub": subject,
        "iat": now,
        "exp": now + round(seconds),
        "jti": id,
    }
    _say(claims, "scopes_claim", issuer.scopes_claim, " ".join(scopes))
    _say(claims, "roles_claim", issuer.roles_claim, [*roles])
    _say(claims, "tenant_claim", issuer.tenant_claim, tenant)
    _say(claims, "tier_claim", issuer.tier_claim, tier)
    return SigningKey.of_secret(development_secret()).sign(claims, {"typ": "at+jwt"})


def _say(claims: dict[str, object], field: str, paths: str | Sequence[str] | None, value: object) -> None:
    """Put a value where the first of these dotted paths leads."""
    if not value:
        return
    if paths is None:
        raise ConfigError(f"issuers: {field} is not given, so no token can say it; name a claim")
    *around, name = listed(paths)[0].split(".")
    for each in around:
        claims = cast("dict[str, object]", claims.setdefault(each, {}))
    claims[name] = value
