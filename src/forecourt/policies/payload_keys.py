"""The keys that content is sealed by from end to end: the service's own, and those of its callers."""

import json
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, cast

from pydantic import Field, PlainSerializer, PlainValidator

from forecourt.policies.keys import revealed
from forecourt.policies.wording import Fault, Words, refusal, refused, said

Jwk = Mapping[str, object]

CallerKeys = Callable[..., Jwk | None]
"""Says a caller's public key: called with the principal, returns a JWK, or None where the caller has none."""

PRIVATE = frozenset({"d", "k", "p", "q", "dp", "dq", "qi", "oth", "priv"})
"""Members of a JWK that must stay its owner's."""

_FORM = "must be a JWK, or a JWK set, in JSON"


class Jwks(tuple[Jwk, ...]):
    """Keys in order; `repr` tells how many there are."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{len(self)} keys>"


class Registered(dict[str, Mapping[str, Jwk]]):
    """Callers' keys by issuer and subject; `repr` tells how many there are."""

    def __repr__(self) -> str:
        return f"<{sum(map(len, self.values()))} callers>"


def jwks_in(value: object) -> Jwks:
    """Return the keys that "env:NAME", "file:path" or bytes of JSON hold; ValueError says why there are none."""
    try:
        document = json.loads(revealed(value))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError):
        raise ValueError(_FORM) from None
    listed = document.get("keys", [document]) if isinstance(document, dict) else None
    if not listed or not isinstance(listed, list) or not all(_is_jwk(each) for each in listed):
        raise ValueError(_FORM)
    return Jwks(MappingProxyType(each) for each in listed)


def public_jwk(value: object) -> Jwk:
    """Return a public key as it stands in a config; ValueError where it is none, or shows a private part."""
    if not isinstance(value, Mapping) or not _is_jwk(value):
        raise ValueError("must be a public JWK, a table with kty")
    if PRIVATE & value.keys():
        raise ValueError("holds a private part, which must stay its owner's: register the public key")
    return MappingProxyType(dict(value))


def _is_jwk(value: object) -> bool:
    return isinstance(value, Mapping) and isinstance(value.get("kty"), str)


def _own(value: object) -> Jwks:
    given = value if isinstance(value, list | tuple) else [value]
    found: list[Jwk] = []
    wrong: list[Fault] = []
    for place, each in enumerate(given):
        try:
            keys = jwks_in(each)
            found += keys
            if not all(PRIVATE & key.keys() for key in keys):
                wrong.append(Fault((place,), None, "has no private part, so it opens nothing"))
        except ValueError as error:
            wrong.append(Fault((place,), None, str(error)))
    if wrong:
        raise refusal("own", wrong)
    return Jwks(found)


def _callers(value: object) -> Registered | CallerKeys:
    if callable(value):
        return cast("CallerKeys", value)
    if not isinstance(value, Mapping):
        raise refused(value, "must be a table of issuers, each a table of subjects and their keys; or a function")
    wrong: list[Fault] = []
    registered = Registered()
    for issuer, callers in value.items():
        if not isinstance(callers, Mapping):
            wrong.append(Fault((issuer,), None, "must be a table of subjects and their keys"))
            continue
        keys: dict[str, Jwk] = {}
        for subject, each in callers.items():
            try:
                keys[subject] = public_jwk(each) if isinstance(each, Mapping) else _one(each)
            except ValueError as error:
                wrong.append(Fault((issuer, subject), None, str(error)))
        registered[issuer] = MappingProxyType(keys)
    if wrong:
        raise refusal("callers", wrong)
    return registered


def _one(value: object) -> Jwk:
    """Return the one key that is kept elsewhere: public, or a secret that is shared with this caller."""
    keys = jwks_in(value)
    if len(keys) != 1:
        raise said("must be one key")
    return keys[0] if keys[0].get("kty") == "oct" else public_jwk(keys[0])


class PayloadKeys(Words):
    """What `Encryption(request=…, response=…)` opens and seals by; all keys are JWKs (RFC 7517).

    `own`: the service's private keys, `env:NAME` or `file:path` of a JWK or JWK set in JSON; all of them open, so that
    callers may change from one to the next. `callers`: the keys that answers are sealed to, by issuer and subject
    (`{"https://issuer.example": {"alice": {…}}}`), or in Python a function from the principal; the record of an API key
    may hold one as well, which goes first.
    """

    own: Annotated[
        Sequence[str | bytes] | str | bytes,
        PlainValidator(_own, json_schema_input_type=str | list[str]),
        PlainSerializer(repr),
    ] = ()
    callers: Annotated[
        Mapping[str, Mapping[str, Jwk | str | bytes]] | CallerKeys,
        PlainValidator(_callers, json_schema_input_type=dict[str, dict[str, dict[str, object] | str]]),
        PlainSerializer(repr),
    ] = Field(default_factory=Registered)

    def owned(self) -> Sequence[Jwk]:
        """Return the service's private keys."""
        return cast("Jwks", self.own)

    def table(self) -> Mapping[tuple[str, str], Jwk]:
        """Return callers' keys by issuer and subject; empty where a function says them."""
        if callable(self.callers):
            return {}
        registered = cast("Registered", self.callers)
        return {(issuer, subject): jwk for issuer, of in registered.items() for subject, jwk in of.items()}

    @property
    def function(self) -> CallerKeys | None:
        """What is asked for a caller's key; None where a table says it."""
        return self.callers if callable(self.callers) else None
