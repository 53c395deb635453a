"""When a call that failed is tried again."""

from typing import Annotated, Literal

from pydantic import Field, PlainValidator, model_validator

from forecourt.core.retrying import Plan
from forecourt.policies.quantities import Count, Delay, Duration, exact, microseconds
from forecourt.policies.switched import switched
from forecourt.policies.terms import Part, Statuses
from forecourt.policies.wording import Words, fault, refusal

MOST_ATTEMPTS = 10


class Retry(Words):
    """A handler that raises, or answers with a status of `on`, is called again: `max_attempts` times in all.

    Between attempts it waits a random share of `backoff` seconds, doubled each time up to `max_backoff`; a Retry-After
    is respected. `budget`: retries are so much of the traffic at most. Only idempotent methods, all others where the
    operator says `unsafe`; only while nothing was sent; and only requests whose body is at most `max_body` bytes.
    """

    max_attempts: Count = 3
    backoff: Delay = 0.1
    max_backoff: Duration = 2
    budget: Part = 0.2
    on: Statuses = frozenset({502, 503, 504})
    unsafe: bool = False
    max_body: Annotated[int, Field(ge=0, strict=True)] = 65_536

    def plan(self) -> Plan:
        """Return how often and when, in whole microseconds."""
        return Plan(self.max_attempts, microseconds(self.backoff), microseconds(self.max_backoff))

    @model_validator(mode="after")
    def _possible(self) -> "Retry":
        wrong = []
        if self.max_attempts > MOST_ATTEMPTS:
            wrong.append(fault("max_attempts", self.max_attempts, f"must be at most {MOST_ATTEMPTS}"))
        if exact(self.max_backoff) < exact(self.backoff):
            wrong.append(fault("max_backoff", self.max_backoff, f"must be at least backoff, {self.backoff}"))
        if wrong:
            raise refusal(type(self).__name__, wrong)
        return self


RetryField = Annotated[
    Retry | Literal["off"] | None,
    PlainValidator(switched(Retry), json_schema_input_type=Retry | Literal["off"] | None),
]
"""What the field `retry` takes."""
