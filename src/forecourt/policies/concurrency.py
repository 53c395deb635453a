"""How many calls of an endpoint may be at work at once."""

import math
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, PlainValidator, model_validator

from forecourt.policies.adaptive import Adaptive
from forecourt.policies.limit import Key, StoreErrorPolicy
from forecourt.policies.quantities import Count, Duration, Share, exact, microseconds
from forecourt.policies.switched import switched
from forecourt.policies.wording import Fault, Words, fault, nearest, not_allowed, refusal

SHORTEST_LEASE = 1
"""Seconds: renewals, a third of it apart, must have time to be tried again."""

LeaseArgs = tuple[int, int, int, int]
"""(limit, lease in µs, shadow, batch)."""


class Concurrency(Words):
    """At most `limit` calls at work at once, each from its question to the end of its response.

    `key`: whom to count together, as for limits: `principal`, `client`, `tenant`, `endpoint`, `header:NAME`, or a
    name in `key_functions`. `queue`: so many more calls of one process and key wait for a place, `max_wait` seconds
    at most. `lease`: a place that nobody renews for so many seconds is free again, which frees those of a process
    that died. `on_store_error`: who decides when the store is down: this process with `local_share` of the limit
    (`local`), nobody (`open`), or the call is refused with 503 (`closed`). `shadow`: counted and reported, never
    refused.
    """

    limit: Count
    key: Key = "principal"
    queue: Annotated[int, Field(ge=0, strict=True)] = 0
    max_wait: Duration = 1
    lease: Duration = 15
    on_store_error: StoreErrorPolicy = "local"
    local_share: Share = 1
    shadow: bool = False

    def args(self) -> LeaseArgs:
        """Return (limit, lease in µs, shadow, batch); a call takes one lease."""
        return self.limit, microseconds(self.lease), int(self.shadow), 1

    def local_args(self) -> LeaseArgs:
        """Return the same for one process while the store is down: its share of the limit, at least 1."""
        _, lease, shadow, _ = self.args()
        return max(1, math.floor(self.limit * exact(self.local_share))), lease, shadow, 1

    @model_validator(mode="after")
    def _possible(self) -> "Concurrency":
        if wrong := list(self._faults()):
            raise refusal(type(self).__name__, wrong)
        return self

    def _faults(self) -> list[Fault]:
        wrong: list[Fault] = []
        if exact(self.lease) < SHORTEST_LEASE:
            wrong.append(fault("lease", self.lease, f"must be at least {SHORTEST_LEASE} second, to be renewed in time"))
        return wrong


_fixed = switched(Concurrency)


def _either(value: object) -> Concurrency | Adaptive | Literal["off"] | None:
    if isinstance(value, Adaptive):
        return value
    if isinstance(value, Mapping) and "type" in value:
        kind = value["type"]
        if kind != "adaptive":
            guess = nearest(kind, ["adaptive"]) if isinstance(kind, str) else ""
            wrong = Fault(("type",), kind, not_allowed(kind, f"must be adaptive, or not given{guess}"))
            raise refusal("Concurrency", [wrong])
        return Adaptive.model_validate(value)
    return _fixed(value)


ConcurrencyField = Annotated[
    Concurrency | Adaptive | Literal["off"] | None,
    PlainValidator(_either, json_schema_input_type=Concurrency | Adaptive | Literal["off"] | None),
]
"""What the field `concurrency` takes: a fixed limit, or one that is found; in files `type = "adaptive"` says so."""
