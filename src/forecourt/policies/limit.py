"""What every limit says: whom it counts, what a call costs, and what happens when the store is down."""

import re
from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, PlainSerializer, PlainValidator, ValidationError, model_validator

from forecourt.policies.quantities import Count, Share
from forecourt.policies.wording import Fault, Words, fault, faults, refusal, refused, unknown

Counted = Literal["request", "connect", "message", "failure"]
StoreErrorPolicy = Literal["local", "open", "closed"]

KEYS = ("principal", "client", "tenant", "endpoint")
"""The words of `key`; beside them there are `header:NAME` and the names in `key_functions`."""

KEY_REASON = "must be principal, client, tenant, endpoint, header:NAME or a name in key_functions"

_HEADER = re.compile(r"header:[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def _key(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise refused(value, KEY_REASON)
    if value.startswith("header:") and not _HEADER.fullmatch(value):
        raise refused(value, "must name a header, as in header:X-Org")
    return value


Key = Annotated[str, PlainValidator(_key, json_schema_input_type=str)]
"""Whom a policy counts: one of `KEYS`, a header, or the name of a key function."""


def _name(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise refused(value, "must be 1 to 64 letters, digits, _, . or -")
    return value


def _tiers(value: object) -> Mapping[str, Mapping[str, object]]:
    if not isinstance(value, Mapping) or not all(isinstance(tier, Mapping) for tier in value.values()):
        raise refused(value, 'must be a table of tiers, each a table such as {"gold": {"limit": 100}}')
    return MappingProxyType({str(name): MappingProxyType(dict(tier)) for name, tier in value.items()})


def _plain(tiers: Mapping[str, Mapping[str, object]]) -> dict[str, dict[str, object]]:
    return {name: dict(tier) for name, tier in tiers.items()}


Tiers = Annotated[
    Mapping[str, Mapping[str, float | timedelta]],
    PlainValidator(_tiers, json_schema_input_type=dict[str, dict[str, float]]),
    PlainSerializer(_plain),
]


class Limit(Words):
    """The fields that all limits share.

    `key`: whom to count: `principal` (an anonymous caller's is the client address), `client` (the address),
    `tenant`, `endpoint` (all callers together), `header:NAME`, or a name in the config's `key_functions`.
    `cost`: what one call takes. `name`: limits of one name share one bucket; without a name each endpoint has
    its own. `tiers`: other numbers for callers of a tier. `count`: what is counted: requests (of a WebSocket:
    its handshake), a WebSocket's `connect` or each `message`, or `failure`: taken before, given back when the
    answer is below 400. `on_store_error`: who decides when the store is down: this process with `local_share`
    of the limit (`local`), nobody (`open`), or the call is refused with 503 (`closed`). `batch`: a process
    takes the tokens of so many calls at a time. `shadow`: counted and reported, never refused.
    """

    key: Key = "principal"
    cost: Count = 1
    name: Annotated[str | None, PlainValidator(_name, json_schema_input_type=str | None)] = None
    tiers: Tiers = Field(default_factory=lambda: MappingProxyType({}))
    count: Counted = "request"
    on_store_error: StoreErrorPolicy = "local"
    local_share: Share = 1
    batch: Count = 1
    shadow: bool = False

    numbers: ClassVar[tuple[str, ...]] = ()
    """The model's own number fields: what a tier may override."""

    def __hash__(self) -> int:
        """Limits that are equal hash alike."""
        return hash((type(self), self.key, self.name, *(getattr(self, field) for field in self.numbers)))

    def of_tier(self, tier: str | None) -> Self:
        """Return this limit as it holds for callers of a tier; of no or an unknown tier, itself."""
        if tier is None or tier not in self.tiers:
            return self
        fields = {field: getattr(self, field) for field in type(self).model_fields}
        return self.model_validate({**fields, "tiers": {}, **self.tiers[tier]})

    def faults(self) -> list[Fault]:
        """Return what makes this limit impossible, whoever calls."""
        if self.batch > 1 and self.key != "endpoint":
            return [fault("batch", self.batch, 'must be 1 unless key is "endpoint"')]
        return []

    @model_validator(mode="after")
    def _possible(self) -> Self:
        wrong = self.faults() or [each for tier in self.tiers for each in self._faults_of(tier)]
        if wrong:
            raise refusal(type(self).__name__, wrong)
        return self

    def _faults_of(self, tier: str) -> list[Fault]:
        place = ("tiers", tier)
        strange = {word: value for word, value in self.tiers[tier].items() if word not in self.numbers}
        if strange:
            return [Fault((*place, word), value, self._not_of_a_tier(word)) for word, value in strange.items()]
        try:
            self.of_tier(tier)
        except ValidationError as error:
            return faults(error, place)
        return []

    def _not_of_a_tier(self, word: str) -> str:
        if word in type(self).model_fields:
            return f"a tier may change only {' and '.join(self.numbers)}"
        return unknown(word, self.numbers)
