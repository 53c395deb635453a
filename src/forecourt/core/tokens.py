"""What the claims of a token say of its caller, once its signature holds; or why they are not believed.

`iss`, `sub`, `aud` and `exp` must be there (RFC 9068 §2.2, RFC 7519 §4.1); a claim of another kind than it must be
makes the whole token bad, as it may have been meant to restrict.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from forecourt.types import EXACT, SECOND

Claims = Mapping[str, object]
Paths = Sequence[str]

Flaw = Literal[
    "malformed", "type", "algorithm", "issuer", "audience", "expired", "early", "claims", "key", "signature", "inactive"
]
"""Why a token is not believed."""

DESCRIPTIONS: Mapping[Flaw, str] = {
    "malformed": "the token is malformed",
    "type": "the token is not an access token: its typ must be among the issuer's types, by default at+jwt",
    "algorithm": "the algorithm is not accepted",
    "issuer": "the issuer is not known",
    "audience": "the token is for another audience",
    "expired": "the token has expired",
    "early": "the token is not valid yet",
    "claims": "the token lacks a claim or has one that cannot be read",
    "key": "the key is not known",
    "signature": "the signature does not hold",
    "inactive": "the token is not active",
}

_LATEST = EXACT // SECOND
_LONGEST = 1024


class Rules(NamedTuple):
    """What the tokens of one issuer must say, and where they say it; `leeway` in µs."""

    issuer: str
    audience: frozenset[str] | None
    types: frozenset[str]
    leeway: int
    scopes: Paths
    roles: Paths
    tenant: Paths | None = None
    tier: Paths | None = None


class Told(NamedTuple):
    """What a token says of its caller; instants in µs, `begins` and `expires` with the leeway in them."""

    issuer: str
    subject: str
    tenant: str | None
    tier: str | None
    scopes: frozenset[str]
    roles: frozenset[str]
    begins: int
    expires: int | None
    issued: int
    id: str | None
    auth_time: int | None
    acr: str | None
    thumbprint: str | None


class _BadClaimError(ValueError):
    """A claim is missing, or is not of the kind that it must be."""


def typed(header: Mapping[str, object], rules: Rules) -> bool:
    """Whether the `typ` of a token is one that the rules accept (RFC 7515 §4.1.9); without one it is "JWT"."""
    typ = header.get("typ", "JWT")
    return isinstance(typ, str) and typ.lower().removeprefix("application/") in rules.types


def told(claims: Claims, rules: Rules, now: int, *, dated: bool = True) -> Told | Flaw:
    """Judge the claims of a token whose signature holds; `dated`: it must say when it expires."""
    try:
        return _told(claims, rules, now, dated=dated)
    except _BadClaimError:
        return "claims"


def _told(claims: Claims, rules: Rules, now: int, *, dated: bool) -> Told | Flaw:
    if claims.get("iss", None if dated else rules.issuer) != rules.issuer:
        return "issuer"
    if rules.audience is not None and rules.audience.isdisjoint(_audience(claims.get("aud"))):
        return "audience"
    begins = max(_instant(claims, "nbf") or 0, _instant(claims, "iat") or 0) - rules.leeway
    expires = _instant(claims, "exp")
    if expires is None and dated:
        return "claims"
    expires = expires if expires is None else expires + rules.leeway
    if expires is not None and expires <= now:
        return "expired"
    if begins > now:
        return "early"
    return Told(
        rules.issuer,
        _named(claims.get("sub")),
        _optional(claims, rules.tenant),
        _optional(claims, rules.tier),
        _words(claims, rules.scopes),
        _words(claims, rules.roles),
        begins,
        expires,
        _instant(claims, "iat") or 0,
        _text(claims, "jti"),
        _instant(claims, "auth_time"),
        _text(claims, "acr"),
        _thumbprint(claims),
    )


def found(claims: Claims, paths: Paths) -> object | None:
    """Return the first claim of these that is there: by its whole name, else by its dotted path."""
    for path in paths:
        if (value := claims.get(path)) is not None:
            return value
        at: object = claims
        for step in path.split("."):
            at = at.get(step) if isinstance(at, Mapping) else None
        if at is not None:
            return at
    return None


def _audience(value: object) -> Sequence[str]:
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return value
    return ()


def _instant(claims: Claims, name: str) -> int | None:
    """Return a NumericDate in µs."""
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _BadClaimError(name)
    if not 0 <= value < _LATEST:
        raise _BadClaimError(name)
    return int(value * SECOND)


def _named(value: object) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST:
        raise _BadClaimError("sub")
    return value


def _text(claims: Claims, name: str) -> str | None:
    value = claims.get(name)
    return None if value is None else _named(value)


def _optional(claims: Claims, paths: Paths | None) -> str | None:
    value = None if paths is None else found(claims, paths)
    return None if value is None else _named(value)


def _words(claims: Claims, paths: Paths) -> frozenset[str]:
    value = found(claims, paths)
    if value is None:
        return frozenset()
    if isinstance(value, str):
        return frozenset(value.split())
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return frozenset(value)
    raise _BadClaimError(paths[0])


def _thumbprint(claims: Claims) -> str | None:
    """Return the thumbprint of the key that a token is bound to (RFC 9449 §6.1); other bindings cannot be checked."""
    bound = claims.get("cnf")
    if bound is None:
        return None
    if not isinstance(bound, Mapping) or not isinstance(bound.get("jkt"), str):
        raise _BadClaimError("cnf")
    return _named(bound["jkt"])
