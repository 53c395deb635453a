"""Whose credentials a config believes, and whether its policies could be met with them."""

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from types import MappingProxyType
from typing import Annotated, Protocol
from urllib.parse import urlsplit, urlunsplit

from pydantic import AfterValidator, BeforeValidator, PlainValidator

from forecourt.auth.credentials import Authenticator
from forecourt.config_check import EndpointLike
from forecourt.config_policies import Policies
from forecourt.errors import ConfigError
from forecourt.policies.api_keys import ApiKeys
from forecourt.policies.issuer import Dpop, Introspection, Issuer
from forecourt.policies.keys import KeyRing
from forecourt.policies.security import SCHEMES
from forecourt.policies.wording import Fault, nearest, not_allowed, refusal, refused


def _listed(value: object) -> object:
    return (value,) if isinstance(value, Issuer | Mapping) else value


def _once_each(issuers: Sequence[Issuer]) -> Sequence[Issuer]:
    names = [each.issuer for each in issuers]
    twice = [place for place, name in enumerate(names) if name in names[:place]]
    if twice:
        faults = [
            Fault((place, "issuer"), names[place], not_allowed(names[place], "is given twice")) for place in twice
        ]
        raise refusal("issuers", faults)
    return tuple(issuers)


def _authenticators(value: object) -> Mapping[str, Authenticator]:
    if not isinstance(value, Mapping):
        raise refused(value, "must be a table of Python objects; beside a file, from_file(path, authenticators={…})")
    wrong: list[Fault] = []
    for name, own in value.items():
        if name in SCHEMES:
            wrong.append(Fault((name,), name, not_allowed(name, "is a scheme already; give it another name")))
        elif not callable(getattr(own, "authenticate", None)) or not isinstance(getattr(own, "challenge", None), str):
            wrong.append(Fault((name,), own, not_allowed(own, "must have `authenticate` and the text `challenge`")))
    if wrong:
        raise refusal("authenticators", wrong)
    return MappingProxyType(dict(value))


Issuers = Annotated[Sequence[Issuer], BeforeValidator(_listed), AfterValidator(_once_each)]
"""One issuer or several."""

Authenticators = Annotated[Mapping[str, Authenticator], PlainValidator(_authenticators)]
"""Ways to authenticate of the app's own, by name."""


UNSHARED = (
    "dpop.nonce: processes that share a store must believe each other's nonces; "
    'give them a key, as in keys = ["env:FORECOURT_KEY"]'
)


class Believing(Protocol):
    """What a check needs to know of a config."""

    issuers: Issuers
    api_keys: ApiKeys | None
    introspection: Introspection | None
    authenticators: Authenticators
    dpop: Dpop | None
    store: str

    @property
    def key_ring(self) -> KeyRing | None:
        """The keys that `keys` names."""
        ...


def uncredited(config: Believing, policies: Policies, endpoints: Sequence[EndpointLike]) -> list[str]:
    """Return a line for each policy that nobody could meet, once for each place in the config."""
    known = _schemes(config)
    lines: list[str] = []
    if config.dpop is not None and config.dpop.nonce is not None and _is_shared(config.store) and not config.key_ring:
        lines.append(UNSHARED)
    for endpoint in endpoints:
        with suppress(ConfigError):  # told by the check of the policies themselves
            policy = policies.of(endpoint.name, endpoint.protocol)
            if policy is not None and policy.security is not None and not policy.security.public:
                place = f"security of {policy.fields['security'].source}"
                lines += _unmet(place, policy.security.schemes, known)
    return list(dict.fromkeys(lines))


def _is_shared(store: str) -> bool:
    return not store.startswith("memory:")


def metadata_address(resource: str) -> str:
    """Return where a resource is described: the well-known part goes between its host and its path (RFC 9728 §3.1)."""
    parts = urlsplit(resource)
    path = "/.well-known/oauth-protected-resource" + parts.path.rstrip("/")
    return urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))


def _unmet(place: str, schemes: AbstractSet[str] | None, known: frozenset[str]) -> Iterator[str]:
    if not known:
        yield (
            f"{place}: nobody could authenticate: the config has no issuers, api_keys, introspection or authenticators;"
            " give one of them, or security = { public = true }"
        )
        return
    for name in sorted({*(schemes or ())} - known):
        reason = f"the config has only {', '.join(sorted(known))}"
        yield f"{place}: schemes: {not_allowed(name, reason)}{nearest(name, known)}"


def _schemes(config: Believing) -> frozenset[str]:
    have = {
        "bearer": bool(config.issuers),
        "api_key": config.api_keys is not None,
        "introspection": config.introspection is not None,
    }
    return frozenset({name for name, given in have.items() if given} | {*config.authenticators})
