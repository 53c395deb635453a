"""Callers that show a key."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, Field, PlainValidator, model_validator

from forecourt.core.webhooks import EVERYWHERE, target_of
from forecourt.policies.payload_keys import public_jwk
from forecourt.policies.quantities import Duration
from forecourt.policies.texts import SecretText, Texts
from forecourt.policies.wording import Fault, Words, refusal, refused

_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")
_PREFIX = re.compile(r"[A-Za-z][A-Za-z0-9]{0,15}")
_ID = re.compile(r"[0-9A-Za-z]{12}")
_HASH = re.compile(r"[0-9a-f]{64}")


def _header(value: object) -> str:
    if not isinstance(value, str) or not _HEADER.fullmatch(value):
        raise refused(value, "must be the name of a header, such as X-API-Key")
    if value.lower() in ("authorization", "cookie"):
        raise refused(value, "has a meaning of its own; take another, such as X-API-Key")
    return str(value)


def _prefix(value: object) -> str:
    if not isinstance(value, str) or not _PREFIX.fullmatch(value):
        raise refused(value, "must be 1 to 16 letters and digits, a letter first")
    return str(value)


def _zoned(value: datetime | None) -> datetime | None:
    if value is not None and value.tzinfo is None:
        raise refused(value.isoformat(), "must say its time zone, as in 2030-01-01T00:00:00Z")
    return value


class ApiKey(Words):
    """What is kept of a key: its id, the hash of its secret, whose it is, and what that caller may do.

    `webhook`: the address that is told of the ends of the caller's jobs (`Offload(callback="api_key")`).
    `encryption_key`: the public JWK that answers to the caller are sealed to (`Encryption(response="required")`).
    `hash`: SHA-256 of the whole key, or HMAC-SHA-256 with the pepper, in hexadecimal; `forecourt keys create` makes it.
    """

    id: str
    hash: str = Field(repr=False)
    owner: Annotated[str, Field(min_length=1, max_length=256)]
    tenant: str | None = None
    tier: str | None = None
    scopes: Texts = frozenset()
    roles: Texts = frozenset()
    created: Annotated[datetime | None, AfterValidator(_zoned)] = None
    expires: Annotated[datetime | None, AfterValidator(_zoned)] = None
    webhook: str | None = Field(default=None, repr=False)
    encryption_key: Mapping[str, object] | None = Field(default=None, repr=False)

    @model_validator(mode="after")
    def _possible(self) -> "ApiKey":
        wrong: list[Fault] = []
        if not _ID.fullmatch(self.id):
            wrong.append(Fault(("id",), None, "must be the middle part of the key, 12 letters and digits"))
        if not _HASH.fullmatch(self.hash):
            wrong.append(Fault(("hash",), None, "must be 64 hexadecimal digits, never the key itself"))
        if self.webhook is not None:
            try:
                target_of(self.webhook, EVERYWHERE)
            except ValueError as error:
                wrong.append(Fault(("webhook",), None, str(error)))
        if self.encryption_key is not None:
            try:
                public_jwk(self.encryption_key)
            except ValueError as error:
                wrong.append(Fault(("encryption_key",), None, str(error)))
        if wrong:
            raise refusal(type(self).__name__, wrong)
        return self


class ApiKeys(Words):
    """Keys `prefix_id_secret` in a header, kept as hashes.

    They are listed in `keys`, in a JSON `file` that is read again when it changes, in the `store`, or in several of
    these. `pepper` (at least 32 characters) keeps what is stored useless to who steals it. `issuer` is what their
    owners' principals are called by. `ttl`: seconds for which a process believes what the store said of a key, the
    longest that a revocation there goes unseen.
    """

    header: Annotated[str, PlainValidator(_header, json_schema_input_type=str)] = "X-API-Key"
    prefix: Annotated[str, PlainValidator(_prefix, json_schema_input_type=str)] = "fc"
    pepper: SecretText | None = Field(default=None, repr=False)
    keys: Annotated[Sequence[ApiKey], AfterValidator(tuple)] = ()
    file: str | None = None
    store: Annotated[bool, Field(strict=True)] = False
    issuer: Annotated[str, Field(min_length=1)] = "api-key"
    ttl: Duration = 5

    @model_validator(mode="after")
    def _possible(self) -> "ApiKeys":
        wrong: list[Fault] = []
        if not (self.keys or self.file or self.store):
            wrong.append(Fault(("keys",), None, "there are no keys: give `keys`, a `file`, or `store = true`"))
        if self.pepper is not None and len(self.pepper) < 32:
            wrong.append(Fault(("pepper",), None, "must be at least 32 characters; what was given is not shown"))
        ids = [each.id for each in self.keys]
        twice = sorted({each for each in ids if ids.count(each) > 1})
        wrong += [Fault(("keys",), None, f"the id {each} is given twice") for each in twice]
        if wrong:
            raise refusal(type(self).__name__, wrong)
        return self
