"""What a caller has proved, or failed to prove; and what handlers see of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, NamedTuple, Protocol

from starlette.authentication import BaseUser

from forecourt.core.permits import Standing
from forecourt.core.tokens import Claims, Told
from forecourt.principals import Principal
from forecourt.types import Scope

NO_CLAIMS: Claims = MappingProxyType({})

Fault = Literal["request", "token", "proof", "nonce", "local", "unavailable"]
"""What is wrong: the form, the token, its proof, the proof's nonce, where it came from, or nobody can tell now."""


class Rejected(NamedTuple):
    """Credentials that are not believed; `why` may be told to the caller and holds nothing of theirs."""

    fault: Fault
    why: str = ""


class User(BaseUser):
    """The caller as `request.user`: Starlette's words, the principal, and the token's claims (read-only)."""

    def __init__(self, principal: Principal, claims: Claims = NO_CLAIMS) -> None:
        self.principal = principal
        self.claims: Claims = _read_only(claims)

    def __repr__(self) -> str:
        return f"<User {self.principal.subject!r} of {self.principal.issuer!r}>"

    @property
    def is_authenticated(self) -> bool:
        """Always: an anonymous caller is Starlette's UnauthenticatedUser."""
        return True

    @property
    def display_name(self) -> str:
        """The subject."""
        return self.principal.subject

    @property
    def identity(self) -> str:
        """The subject; unique for its issuer only."""
        return self.principal.subject


@dataclass(frozen=True, slots=True)
class Credential:
    """A caller who is known, by `scheme`; instants in µs.

    `standing`: what endpoints may ask of the caller. It holds from `begins` until `expires` (None: no end is known).
    `id` and `issued` are what revocations are asked by. `thumbprint`: the key that a token is bound to, and `ath` the
    hash that a proof must name. `local`: it counts on this machine only.
    """

    principal: Principal
    user: User
    scheme: str
    standing: Standing
    begins: int = 0
    expires: int | None = None
    issued: int = 0
    id: str | None = None
    thumbprint: str | None = None
    ath: str = ""
    local: bool = False


class Denied(Exception):  # a refusal in an authenticator's own words
    """Raised by an authenticator: there are credentials of its kind, and they are not good."""


class Authenticator(Protocol):
    """A way to authenticate of the app's own, by any header: `JobConfig(authenticators={"name": …})`."""

    @property
    def challenge(self) -> str:
        """What a 401 says of it in WWW-Authenticate, such as `Basic realm="records"`."""
        ...

    async def authenticate(self, scope: Scope) -> Principal | None:
        """Return the caller, or None where there are no credentials of this kind; raise Denied for bad ones.

        Any other exception refuses the call with 503.
        """
        ...


def credential(told: Told, scheme: str, claims: Claims, *, ath: str = "", local: bool = False) -> Credential:
    """Build the credential of a token that holds."""
    principal = Principal(told.issuer, told.subject, told.tenant, told.tier, told.scopes, told.roles)
    return Credential(
        principal,
        User(principal, claims),
        scheme,
        Standing(told.scopes, told.roles, told.auth_time, told.acr),
        told.begins,
        told.expires,
        told.issued,
        told.id,
        told.thumbprint,
        ath,
        local,
    )


def plain(principal: Principal, scheme: str) -> Credential:
    """Build the credential of a caller of whom no more is known than who they are."""
    return Credential(principal, User(principal), scheme, Standing(principal.scopes, principal.roles))


def _read_only(claims: Claims) -> Claims:
    return MappingProxyType({name: _frozen(value) for name, value in claims.items()})


def _frozen(value: object) -> object:
    if isinstance(value, Mapping):
        return _read_only(value)
    return tuple(_frozen(each) for each in value) if isinstance(value, list) else value
