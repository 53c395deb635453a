"""Who shows what: finds the credentials of a call and has them verified by whoever knows their kind.

One object for each config and process: rings, remembered tokens and clients are shared by all endpoints. A call whose
token is remembered is answered without an await.
"""

import hashlib
import logging
import re
from collections.abc import Awaitable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, NamedTuple

from forecourt.auth.api_keys import ApiKeyVerifier, Find
from forecourt.auth.compact import encoded
from forecourt.auth.credentials import Authenticator, Credential, Denied, Rejected, credential, plain
from forecourt.auth.dpop import ProofReader
from forecourt.auth.introspection import Introspector
from forecourt.auth.jwks import RemoteRing
from forecourt.auth.opening import jose, new_fetcher, trusted
from forecourt.auth.remembered import Remembered
from forecourt.auth.tokens import NoKeys, Proven, TokenVerifier, Trusted
from forecourt.core.permits import Challenge
from forecourt.core.tokens import DESCRIPTIONS
from forecourt.errors import ConfigError
from forecourt.policies.api_keys import ApiKeys
from forecourt.policies.issuer import Dpop, Introspection, Issuer, TokenCache
from forecourt.policies.keys import KeyRing
from forecourt.policies.quantities import microseconds
from forecourt.policies.texts import loopback
from forecourt.types import Clock, Scope

if TYPE_CHECKING:
    from forecourt.auth.fetching import Fetcher

logger = logging.getLogger("forecourt")

BEARER = "bearer"

_TOKEN68 = re.compile(rb"[A-Za-z0-9\-._~+/]+=*")
_SCHEME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FORWARDING = frozenset({b"forwarded", b"x-forwarded-for", b"x-real-ip", b"via"})

TWICE = Rejected("request", "credentials are given twice")
MALFORMED = Rejected("request", "the Authorization field is malformed")
OTHER_SCHEME = Rejected("token", "the scheme is not accepted")
NOT_HERE = Rejected("local", "tokens of the development issuer count on this machine only")
UNAVAILABLE = Rejected("unavailable")
AS_BEARER = Rejected("token", "the token is bound to a key and must be shown by DPoP")
AS_DPOP = Rejected("token", "the token is bound to no key and must be shown as Bearer")

Outcome = Credential | Rejected | None


class Means(NamedTuple):
    """The parts of a config that say who is believed."""

    issuers: Sequence[Issuer] = ()
    api_keys: ApiKeys | None = None
    introspection: Introspection | None = None
    authenticators: Mapping[str, Authenticator] = {}
    dpop: Dpop | None = None
    cache: TokenCache = TokenCache()
    realm: str = "api"
    ring: KeyRing | None = None


class Authentication:
    """Verifies the credentials of one config's callers; ConfigError for what can never work."""

    def __init__(self, means: Means, clock: Clock, find_key: Find | None = None) -> None:
        self._clock = clock
        self._fetcher: Fetcher | None = None if means.introspection is None else new_fetcher()
        self.realm = means.realm
        self._issuers = self._opened(means.issuers)
        self._tokens = TokenVerifier(self._issuers, clock.now)
        self._remembered = Remembered(means.cache.size, microseconds(means.cache.ttl))
        self._introspected = 0 if means.introspection is None else microseconds(means.introspection.ttl)
        self._introspector = (
            Introspector(means.introspection, self._fetcher.post, clock)
            if means.introspection is not None and self._fetcher is not None
            else None
        )
        self._own = dict(means.authenticators)
        keys = means.api_keys
        self.key_header = "" if keys is None else keys.header
        self._fields = frozenset({b"authorization", self.key_header.lower().encode()})
        self._keys = None if keys is None else ApiKeyVerifier(keys, clock, find_key if keys.store else None)
        self._proofs = self._proof_reader(means.dpop, means.ring)
        self._must_prove = means.dpop is not None and means.dpop.required
        self._takes_tokens = bool(self._issuers) or self._introspector is not None

    def authenticate(self, scope: Scope) -> Outcome | Awaitable[Outcome]:
        """Return the caller, None for one without credentials, or why theirs are not believed.

        An awaitable where a server or the store must be asked.
        """
        shown: bytes | None = None
        is_key, fields = False, self._fields
        for name, value in scope["headers"]:
            if name in fields:
                if shown is not None:
                    return TWICE
                shown, is_key = value, name != b"authorization"
        if shown is None:
            return self._by_own_means(scope, None) if self._own else None
        if is_key and self._keys is not None:
            return self._keys.verify(shown)
        known = self._remembered.get(shown, self._clock.now())
        if known is None:
            return self._read(shown, scope)
        return NOT_HERE if known.local and not on_this_machine(scope) else known

    def proof_reader(self) -> ProofReader | None:
        """Return what judges proofs of possession, where they are accepted."""
        return self._proofs

    def challenges(self, schemes: AbstractSet[str] | None = None) -> list[Challenge]:
        """Return how callers may authenticate, by these schemes only or by all that are configured."""
        told: list[Challenge] = []
        if self._takes_tokens and _allows(schemes, "bearer", "introspection"):
            if not self._must_prove:
                told.append(Challenge("Bearer", {"realm": self.realm}))
            if self._proofs is not None:
                told.append(Challenge("DPoP", {"realm": self.realm, "algs": "ES256 RS256 PS256 Ed25519"}))
        if self._keys is not None and _allows(schemes, "api_key"):
            told.append(Challenge("ApiKey", {"realm": self.realm, "header": self.key_header}))
        for name, own in self._own.items():
            if _allows(schemes, name):
                scheme, _, params = own.challenge.partition(" ")
                told.append(Challenge(scheme, _params(params)))
        return told

    async def close(self) -> None:
        """Stop what is under way to other servers, and let go of the connections."""
        for each in self._issuers.values():
            if isinstance(each.ring, RemoteRing):
                await each.ring.close()
        if self._introspector is not None:
            await self._introspector.close()
        if self._fetcher is not None:
            await self._fetcher.close()

    def _opened(self, issuers: Sequence[Issuer]) -> dict[str, Trusted]:
        opened: dict[str, Trusted] = {}
        for place, issuer in enumerate(issuers):
            if issuer.issuer in opened:
                raise ConfigError(f'issuers[{place}].issuer: "{issuer.issuer}" is given twice')
            opened[issuer.issuer] = trusted(issuer, place, self._fetching, self._clock)
        return opened

    def _fetching(self) -> "Fetcher":
        self._fetcher = self._fetcher or new_fetcher()
        return self._fetcher

    def _proof_reader(self, policy: Dpop | None, ring: KeyRing | None) -> ProofReader | None:
        if policy is None:
            return None
        jose()
        from forecourt.auth.jose import public_jwk  # noqa: PLC0415  # the extra `auth` is optional

        return ProofReader(policy, public_jwk, self._clock.now, ring)

    def _read(self, value: bytes, scope: Scope) -> Outcome | Awaitable[Outcome]:
        scheme, space, token = value.partition(b" ")
        if not _SCHEME.fullmatch(scheme):
            return MALFORMED
        kind = scheme.lower()
        if kind not in (b"bearer", b"dpop") or not self._takes_tokens or (kind == b"dpop" and self._proofs is None):
            return self._by_own_means(scope, OTHER_SCHEME) if self._own else OTHER_SCHEME
        token = token.lstrip(b" ")
        if not space or not _TOKEN68.fullmatch(token):
            return MALFORMED
        return self._verified(value, token.decode("ascii"), scope, proving=kind == b"dpop")

    def _verified(self, value: bytes, token: str, scope: Scope, *, proving: bool) -> Outcome | Awaitable[Outcome]:
        verdict = self._tokens.verify(token)
        if isinstance(verdict, Proven):
            return self._proven(value, token, verdict, scope, proving=proving)
        if isinstance(verdict, NoKeys):
            return UNAVAILABLE
        if isinstance(verdict, str):
            if verdict in ("malformed", "issuer") and self._introspector is not None:
                return self._introspect(value, token, proving=proving)
            return Rejected("token", DESCRIPTIONS[verdict])
        return self._once_known(verdict, value, token, scope, proving=proving)

    async def _once_known(
        self, keys: Awaitable[None], value: bytes, token: str, scope: Scope, *, proving: bool
    ) -> Outcome:
        await keys
        outcome = self._verified(value, token, scope, proving=proving)
        return await outcome if isinstance(outcome, Awaitable) else outcome

    def _proven(self, value: bytes, token: str, proven: Proven, scope: Scope, *, proving: bool) -> Outcome:
        ath = encoded(hashlib.sha256(token.encode()).digest()) if proven.told.thumbprint else ""
        caller = credential(proven.told, BEARER, proven.claims, ath=ath, local=proven.trusted.local)
        if caller.local and not on_this_machine(scope):
            return NOT_HERE
        if flaw := self._misused(caller, proving=proving):
            return flaw
        now = self._clock.now()
        self._remembered.keep(value, caller, now, key=(proven.trusted.ring, proven.thumbprint))
        return caller

    async def _introspect(self, value: bytes, token: str, *, proving: bool) -> Outcome:
        assert self._introspector is not None
        outcome = await self._introspector.verify(token)
        if isinstance(outcome, Rejected):
            return outcome
        if flaw := self._misused(outcome, proving=proving):
            return flaw
        if self._introspected:
            self._remembered.keep(value, outcome, self._clock.now(), ttl=self._introspected)
        return outcome

    def _misused(self, caller: Credential, *, proving: bool) -> Rejected | None:
        """Refuse a bound token shown as Bearer, the downgrade that RFC 9449 §7.2 forbids, and the reverse."""
        if caller.thumbprint is not None and not proving:
            return AS_BEARER
        if caller.thumbprint is None and (proving or self._must_prove):
            return AS_DPOP if proving else AS_BEARER
        return None

    async def _by_own_means(self, scope: Scope, otherwise: Outcome) -> Outcome:
        """Ask the app's own authenticators, in their order; the first that knows the caller says who it is."""
        for name, own in self._own.items():
            try:
                principal = await own.authenticate(scope)
            except Denied:
                return Rejected("token", "the credentials are not accepted")
            except Exception as error:
                logger.exception("authenticator %r failed: %s", name, type(error).__name__)
                return UNAVAILABLE
            if principal is not None:
                return plain(principal, name)
        return otherwise


def on_this_machine(scope: Scope) -> bool:
    """Whether a call comes from this machine, and not through a proxy on it."""
    client = scope.get("client")
    if not client or not loopback(client[0]):
        return False
    return not any(name in _FORWARDING for name, _ in scope["headers"])


def _allows(schemes: AbstractSet[str] | None, *names: str) -> bool:
    return schemes is None or any(name in schemes for name in names)


def _params(text: str) -> dict[str, str]:
    return {name.strip(): value for name, value in re.findall(r'([^=,]+)="([^"]*)"', text)}
