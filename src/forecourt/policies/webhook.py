"""Whose webhooks an endpoint receives."""

import base64
import binascii
from collections.abc import Sequence
from typing import Annotated, Literal, cast

from pydantic import Field, PlainSerializer, PlainValidator, model_validator

from forecourt.core.inbound import Scheme
from forecourt.policies.keys import revealed
from forecourt.policies.quantities import Count, Duration, exact, microseconds
from forecourt.policies.switched import switched
from forecourt.policies.wording import Words, fault, refusal, said

MIB = 1024 * 1024
_PREFIX = b"whsec_"


class Secrets(tuple[bytes, ...]):
    """Secrets in order; `repr` tells how many there are."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{len(self)} secrets>"


def _secrets(value: object) -> Secrets:
    given = value if isinstance(value, list | tuple) else [value]
    if not given:
        raise said('must name at least one secret, as in ["env:WEBHOOK_SECRET"]')
    try:
        found = Secrets(revealed(each) for each in given)
    except ValueError as error:
        raise said(str(error)) from None
    if not all(found):
        raise said("a secret is empty")
    return found


def _key(secret: bytes) -> bytes | None:
    """Return the key that a secret of Standard Webhooks spells, base64 behind `whsec_` or bare; None if it is none."""
    try:
        return base64.b64decode(secret.removeprefix(_PREFIX), validate=True) or None
    except binascii.Error:
        return None


class Webhook(Words):
    """Only what one of the `secrets` signed is let in, once.

    `scheme`: `standard` (Standard Webhooks), `github` or `stripe`. `secrets`: `env:NAME` or `file:path`, several while
    one is rotated. `tolerance`: seconds that a signature's time may be off. `replay`: whether the same one is let in
    again; otherwise it is known again for `remember` seconds, across processes. `max_body`: bytes that are read.
    """

    scheme: Scheme = "standard"
    secrets: Annotated[
        Sequence[str | bytes] | str | bytes,
        PlainValidator(_secrets, json_schema_input_type=str | list[str]),
        PlainSerializer(repr),
    ]
    tolerance: Duration = 300
    replay: Annotated[bool, Field(strict=True)] = False
    remember: Duration = 86_400
    max_body: Count = MIB

    def keys(self) -> tuple[bytes, ...]:
        """Return the keys that sign."""
        secrets = cast("Secrets", self.secrets)
        if self.scheme != "standard":
            return secrets
        return tuple(key for secret in secrets if (key := _key(secret)))

    def tolerated(self) -> int:
        """Return how many whole seconds a signature's time may be off."""
        return int(exact(self.tolerance))

    def remembered(self) -> int:
        """Return for how many µs one is known again."""
        return microseconds(self.remember)

    @model_validator(mode="after")
    def _possible(self) -> "Webhook":
        if len(self.keys()) < len(self.secrets):
            reason = "a secret of Standard Webhooks is base64, behind whsec_; for GitHub and Stripe name their scheme"
            raise refusal(type(self).__name__, [fault("secrets", Secrets(), reason)])
        if not self.replay and self.scheme != "github" and exact(self.remember) < 2 * exact(self.tolerance):
            reason = f"must be at least twice the tolerance, {2 * self.tolerated()}: until then it is still accepted"
            raise refusal(type(self).__name__, [fault("remember", self.remember, reason)])
        return self


WebhookField = Annotated[
    Webhook | Literal["off"] | None,
    PlainValidator(switched(Webhook), json_schema_input_type=Webhook | Literal["off"] | None),
]
"""What the field `webhook` takes."""
