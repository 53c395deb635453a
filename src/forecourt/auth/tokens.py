"""Verifies tokens against the issuers of a config: parse, find the issuer and its key, check, judge the claims.

Whatever can be decided without a key is decided first. The order of the checks is told nowhere: a caller learns what
is wrong with a token only in words that help who holds an honest one.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

from forecourt.auth.compact import Compact, compact
from forecourt.auth.rings import Ring
from forecourt.core.tokens import Claims, Flaw, Rules, Told, told, typed


class Trusted(NamedTuple):
    """An issuer whose tokens are believed; `local`: only on this machine."""

    rules: Rules
    algorithms: frozenset[str]
    ring: Ring
    local: bool = False


class Proven(NamedTuple):
    """A token that holds: what it tells, its claims, and by whose key."""

    told: Told
    claims: Claims
    trusted: Trusted
    thumbprint: str


class NoKeys(NamedTuple):
    """No key of the issuer was ever obtained."""


Verdict = Proven | Flaw | NoKeys | Awaitable[None]
"""An awaitable: keys are being fetched; verify again once it is done."""


class TokenVerifier:
    """Verifies signed tokens; `verify` neither blocks nor raises."""

    def __init__(self, issuers: Mapping[str, Trusted], clock: Callable[[], int]) -> None:
        self._issuers = issuers
        self._now = clock

    def verify(self, token: str) -> Verdict:
        """Judge a token in compact form."""
        parsed = compact(token)
        if parsed is None:
            return "malformed"
        issuer = parsed.claims.get("iss")
        trusted = self._issuers.get(issuer) if isinstance(issuer, str) else None
        if trusted is None:
            return "issuer"
        if parsed.algorithm not in trusted.algorithms:
            return "algorithm"
        if not typed(parsed.header, trusted.rules):
            return "type"
        return self._by_its_key(parsed, trusted)

    def _by_its_key(self, token: Compact, trusted: Trusted) -> Verdict:
        keys = trusted.ring.keys(token.key_id)
        if keys is None:
            return NoKeys()
        if isinstance(keys, Awaitable):
            return keys
        key = next((each for each in keys if each.verifies(token.algorithm, token.signed, token.signature)), None)
        if key is None:
            return "signature" if keys else "key"
        verdict = told(token.claims, trusted.rules, self._now())
        return Proven(verdict, token.claims, trusted, key.thumbprint) if isinstance(verdict, Told) else verdict
