"""Messages to callers whose jobs have ended: how they are signed, and where they may go."""

import base64
import binascii
from collections.abc import Sequence
from ipaddress import ip_network
from typing import Annotated

from pydantic import Field, PlainValidator

from forecourt.core.webhooks import Network, Rules
from forecourt.policies.keys import revealed
from forecourt.policies.quantities import Duration, microseconds
from forecourt.policies.wording import Fault, Words, refusal, refused, said

PREFIX = "whsec_"
_SHORTEST, _LONGEST = 24, 64


class Secrets:
    """Secrets in order, which no `repr` shows."""

    __slots__ = ("keys",)

    def __init__(self, keys: Sequence[bytes]) -> None:
        self.keys = tuple(keys)

    def __repr__(self) -> str:
        return f"<Secrets, {len(self.keys)}>"


def _secrets(value: object) -> Secrets:
    if isinstance(value, Secrets):
        return value
    given = value if isinstance(value, list | tuple) else [value]
    wrong: list[Fault] = []
    keys: list[bytes] = []
    for place, each in enumerate(given):
        try:
            keys.append(_key(revealed(each)))
        except ValueError as error:
            wrong.append(Fault((place,), "", str(error)))
    if wrong:
        raise refusal("secrets", wrong)
    if not keys:
        raise said("the list of secrets is empty: name one")
    return Secrets(keys)


def _key(text: bytes) -> bytes:
    """Return the key in `whsec_…`; the error does not show it."""
    name, _, encoded = text.decode("latin-1").partition("_")
    if f"{name}_" != PREFIX:
        raise ValueError("a secret is whsec_ and base64 (Standard Webhooks); this one is not, and is not shown")
    try:
        key = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        raise ValueError("a secret is whsec_ and base64; this one is not base64, and is not shown") from None
    if not _SHORTEST <= len(key) <= _LONGEST:
        raise ValueError(f"a secret of {len(key)} bytes is not allowed: must have {_SHORTEST} to {_LONGEST}")
    return key


def _networks(value: object) -> tuple[Network, ...]:
    if not isinstance(value, list | tuple):
        raise refused(value, 'must be a list of networks, as in ["10.0.0.0/8"]')
    found: list[Network] = []
    for each in value:
        try:
            found.append(ip_network(each))
        except ValueError:
            raise refused(each, "must be a network such as 10.0.0.0/8") from None
    return tuple(found)


class Webhooks(Words):
    """How callers are told that their jobs have ended (`Offload(callback=…)`).

    `secrets`: `whsec_` and base64 of 24 to 64 bytes, as `env:NAME` or `file:path`; each signs, so that a new one can
    stand beside the old one for a while. `allow`: networks that may be called though they are not public, such as a
    test's `127.0.0.0/8`. `plain_http`: addresses without TLS are allowed. `timeout`: seconds for one attempt.
    """

    secrets: Annotated[Secrets, PlainValidator(_secrets, json_schema_input_type=list[str])] = Field(repr=False)
    allow: Annotated[tuple[Network, ...], PlainValidator(_networks, json_schema_input_type=list[str])] = ()
    plain_http: Annotated[bool, Field(strict=True)] = False
    timeout: Duration = 15

    def rules(self) -> Rules:
        """Return which addresses may be called."""
        return Rules(self.allow, self.plain_http)

    def seconds(self) -> float:
        """Return how long one attempt may take."""
        return microseconds(self.timeout) / 1_000_000

    @staticmethod
    def spelt(keys: Sequence[bytes]) -> list[str]:
        """Return secrets as receivers are given them."""
        return [PREFIX + base64.b64encode(key).decode() for key in keys]
