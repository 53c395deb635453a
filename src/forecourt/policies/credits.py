"""What a call costs its caller, and what callers are given to pay with."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, PlainValidator, model_validator

from forecourt.policies.quantities import Count, Duration, exact, microseconds
from forecourt.policies.switched import switched
from forecourt.policies.wording import Fault, Words, fault, refusal, refused

RefundOn = Literal["5xx", "4xx", "timeout", "cancelled", "hit", "304"]
Every = Literal["day", "week", "month"]

MOST_CREDITS = 10**12
"""The largest price, quota or grant, so that sums over years stay exact."""

MOST_ROLLOVERS = 1000
"""How many times its amount a quota may roll over at most."""

SHORTEST_HOLD = 1
HOLD = 60
"""Seconds that an amount is reserved for unless the policy says otherwise."""

_EVERY: dict[Every, int] = {"day": 1, "week": 2, "month": 3}


def _at_most(amount: int) -> int:
    if amount > MOST_CREDITS:
        raise refused(amount, f"must be at most {MOST_CREDITS}, to be counted exactly")
    return amount


Amount = Annotated[Count, AfterValidator(_at_most)]
"""A whole number of credits, at least 1."""


class Credits(Words):
    """A call costs its caller `amount` credits, unless the handler says another price.

    The amount is reserved before the handler runs, for `hold` seconds (60 unless given) that are renewed while it
    works, and settled when the response has ended: so a process that dies costs nobody anything.
    `request.state.forecourt.charge(n)` sets the price instead, several calls add up. `refund_on`: outcomes that cost
    nothing: `5xx`, `4xx`, `timeout` (our 504), `cancelled` (before the first byte; after it, what was used is
    settled), and from the cache `hit` and `304`. With the store down calls are refused with 503.
    """

    amount: Amount
    refund_on: Annotated[AbstractSet[RefundOn], AfterValidator(frozenset)] = frozenset({"5xx", "timeout"})
    hold: Duration | None = None

    def ttl(self) -> int:
        """Return how long the amount is reserved, in µs, unless it is renewed."""
        return microseconds(HOLD if self.hold is None else self.hold)

    @model_validator(mode="after")
    def _possible(self) -> "Credits":
        if self.hold is not None and exact(self.hold) < SHORTEST_HOLD:
            reason = f"must be at least {SHORTEST_HOLD} second, to be renewed in time"
            raise refusal(type(self).__name__, [fault("hold", self.hold, reason)])
        return self


class Quota(Words):
    """`amount` credits anew in each day, week (from Monday) or month of the calendar, in UTC.

    What is left at the end of a period rolls over, up to `rollover` credits in all; the rest lapses.
    """

    amount: Amount
    every: Every = "month"
    rollover: Annotated[int, Field(ge=0, strict=True)] = 0

    def terms(self) -> tuple[int, int, int]:
        """Return (kind of period, amount, rollover), as operations are told them."""
        return _EVERY[self.every], self.amount, self.rollover

    @model_validator(mode="after")
    def _possible(self) -> "Quota":
        if self.rollover > MOST_ROLLOVERS * self.amount:
            reason = f"must be at most {MOST_ROLLOVERS} times amount, {MOST_ROLLOVERS * self.amount}"
            raise refusal(
                type(self).__name__, [Fault(("rollover",), self.rollover, f"{self.rollover} is not allowed: {reason}")]
            )
        return self


class Accounts(Words):
    """What callers are given: a `quota` for everyone, or others by tier; without one, accounts are prepaid only.

    What is granted to an account stands beside its quota and does not lapse. `journal`: so many changes of each account
    are kept to be read.
    """

    quota: Quota | None = None
    tiers: Annotated[Mapping[str, Quota], AfterValidator(lambda tiers: MappingProxyType(dict(tiers)))] = Field(
        default_factory=lambda: MappingProxyType({})
    )
    journal: Count = 1000

    def terms(self, tier: str | None) -> tuple[int, int, int]:
        """Return the terms for callers of a tier: its quota, else everyone's, else (0, 0, 0) for none."""
        quota = self.quota if tier is None else self.tiers.get(tier, self.quota)
        return quota.terms() if quota else (0, 0, 0)


CreditsField = Annotated[
    Credits | Literal["off"] | None,
    PlainValidator(switched(Credits), json_schema_input_type=Credits | Literal["off"] | None),
]
"""What the field `credits` takes."""
