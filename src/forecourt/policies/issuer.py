"""Whose tokens are believed, and where their keys come from."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Annotated, ClassVar

from pydantic import Field, PlainValidator, model_validator

from forecourt.policies.quantities import Count, Delay, Duration
from forecourt.policies.texts import OneOrMore, Paths, SecretText, WebAddress
from forecourt.policies.wording import Fault, Words, fault, nearest, not_allowed, refusal, refused, said

SYMMETRIC = ("HS256", "HS384", "HS512")
ASYMMETRIC = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")
ALGORITHMS = (*SYMMETRIC, *ASYMMETRIC)
"""JWS algorithms that may be allowed (RFC 7518 §3.1, RFC 8037, RFC 9864); `none` never."""

DEVELOPMENT = "https://development.invalid"
"""The name of the issuer of `forecourt token`, unless another is given."""

Jwk = Mapping[str, object]


def _keys(value: object) -> tuple[str | Jwk, ...]:
    """Take a key or a list of keys: PEM or JWK as text, JWKs and JWK sets as tables."""
    found = [value] if isinstance(value, str | Mapping) else value
    if not isinstance(found, list | tuple) or not all(isinstance(each, str | Mapping) for each in found):
        raise said("must be a key or a list of keys: PEM or JWK, as text, file:path or a table")
    if not found:
        raise said("must hold a key")
    return tuple(found)


def _algorithms(value: object) -> frozenset[str]:
    if not isinstance(value, list | tuple | set | frozenset) or not value:
        raise refused(value, 'must be a list of algorithms, as in ["RS256"]')
    for each in value:
        if each not in ALGORITHMS:
            hint = nearest(each, ALGORITHMS) if isinstance(each, str) else ""
            raise refused(each, f"must be one of {', '.join(ALGORITHMS)}{hint}")
    return frozenset(value)


class Issuer(Words):
    """Tokens (JWT, RFC 7519 and 9068) whose `iss` is `issuer` and whose `aud` names one of `audience`.

    Keys come from exactly one of `jwks_url` (https, a JWK set that is fetched and followed), `discovery` (the JWK set
    that `<issuer>/.well-known/openid-configuration` names), `keys` (PEM or JWK, inline or as `file:path`), `secret` (a
    shared one of at least 32 bytes) and `development` (a key of this machine's user: such tokens count on loopback
    only, `forecourt token` signs them). `algorithms`: those allowed, by default HS256 for shared secrets and RS256,
    PS256, ES256 and Ed25519 for public keys. `types`: what `typ` may be, `at+jwt` (RFC 9068) unless given; with "JWT"
    a token without `typ` counts too. `leeway`: seconds by which clocks may differ. The `…_claim`s say where in a token
    scopes, roles, tenant and tier stand: names or dotted paths, the first that is there.
    """

    issuer: Annotated[str, Field(min_length=1)] = DEVELOPMENT
    audience: OneOrMore
    jwks_url: WebAddress | None = None
    discovery: Annotated[bool, Field(strict=True)] = False
    keys: Annotated[str | Jwk | Sequence[str | Jwk] | None, PlainValidator(_keys)] = Field(default=None, repr=False)
    secret: SecretText | None = Field(default=None, repr=False)
    development: Annotated[bool, Field(strict=True)] = False
    algorithms: Annotated[AbstractSet[str], PlainValidator(_algorithms)] = frozenset()
    types: OneOrMore = ("at+jwt",)
    leeway: Delay = 10
    scopes_claim: Paths = ("scope", "scp")
    roles_claim: Paths = ("roles", "realm_access.roles", "groups")
    tenant_claim: Paths | None = None
    tier_claim: Paths | None = None
    refresh: Duration = 300
    cooldown: Duration = 30
    fetch_timeout: Duration = 5

    sources: ClassVar[tuple[str, ...]] = ("jwks_url", "discovery", "keys", "secret", "development")

    @property
    def allowed(self) -> frozenset[str]:
        """The algorithms in force."""
        if self.algorithms:
            return frozenset(self.algorithms)
        shared = self.secret is not None or self.development
        return frozenset({"HS256"} if shared else {"RS256", "PS256", "ES256", "Ed25519", "EdDSA"})

    @model_validator(mode="after")
    def _possible(self) -> "Issuer":
        wrong = [*self._sourceless(), *self._mixed()]
        if self.issuer == DEVELOPMENT and not self.development:
            wrong.append(Fault(("issuer",), None, "must be given"))
        if self.discovery:
            try:
                WebAddressOf(address=self.issuer)
            except ValueError:
                wrong.append(fault("discovery", True, "the issuer must be an https address to be asked for its keys"))
        if wrong:
            raise refusal(type(self).__name__, wrong)
        return self

    def _sourceless(self) -> list[Fault]:
        given = [name for name in self.sources if getattr(self, name)]
        if len(given) == 1:
            return []
        choice = ", ".join(self.sources)
        what = f"{' and '.join(given)} are given" if given else "there are no keys"
        return [Fault((given[1] if given else "jwks_url",), None, f"{what}: give exactly one of {choice}")]

    def _mixed(self) -> list[Fault]:
        shared = self.secret is not None or self.development
        wrong = sorted(self.algorithms - set(SYMMETRIC if shared else ALGORITHMS))
        if not shared and self.algorithms & set(SYMMETRIC) and self.keys is None:
            wrong = sorted(self.algorithms & set(SYMMETRIC))
        kind = "a shared secret" if shared else "published keys"
        return [Fault(("algorithms",), each, not_allowed(each, f"it does not go with {kind}")) for each in wrong]


class WebAddressOf(Words):
    """An address that must be fit for the web."""

    address: WebAddress


class Introspection(Words):
    """Opaque tokens, asked of the server that issued them (RFC 7662).

    `url` is asked with the client's `client_id` and `client_secret`; answers are kept for `ttl` seconds at most, never
    beyond the token's `exp`, and 0 asks every time. What is not active is not kept. `issuer` is the one whose tokens
    they are; `audience`, if given, must be named by `aud`.
    """

    url: WebAddress
    issuer: Annotated[str, Field(min_length=1)]
    client_id: Annotated[str, Field(min_length=1)]
    client_secret: SecretText = Field(repr=False)
    audience: OneOrMore | None = None
    ttl: Delay = 10
    leeway: Delay = 10
    fetch_timeout: Duration = 5
    scopes_claim: Paths = ("scope", "scp")
    roles_claim: Paths = ("roles", "realm_access.roles", "groups")
    tenant_claim: Paths | None = None
    tier_claim: Paths | None = None


class Dpop(Words):
    """Proof of possession (RFC 9449): a token bound to a key counts only with a fresh proof by that key.

    `required`: tokens that are bound to no key are refused. `max_age`: seconds a proof counts. A proof counts once.
    `origin`: how callers address the service (`https://api.example`), where a proxy makes that unknown.
    `nonce`: proofs must carry a nonce of the service (§8), which counts for so many seconds at most; None: they need
    none. Several processes believe each other's by the config's `keys`.
    """

    required: Annotated[bool, Field(strict=True)] = False
    max_age: Duration = 60
    leeway: Delay = 5
    origin: WebAddress | None = None
    nonce: Duration | None = None


class TokenCache(Words):
    """Verified tokens that a process remembers: how many, and for how many seconds at most."""

    size: Count = 10_000
    ttl: Duration = 300
