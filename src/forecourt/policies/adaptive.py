"""How many calls may be at work in a process, found by how long they take; and who is refused first."""

from typing import Annotated, Literal

from pydantic import Field, PlainValidator, model_validator

from forecourt.core.shedding import Priority, Terms
from forecourt.policies.quantities import Count, Duration
from forecourt.policies.terms import Name
from forecourt.policies.wording import Fault, Words, fault, nearest, refusal, refused

PRIORITIES: tuple[Priority, ...] = ("low", "normal", "high", "critical")


class Adaptive(Words):
    """Refuses calls with 503 when this process has more of them than it can carry, which it finds out by itself.

    The limit of calls at work begins at `initial` and moves between `min_limit` and `max_limit`: down while calls take
    more than `tolerance` times as long as they usually do, up while they do not. Calls are refused too while the event
    loop runs more than `max_lag` seconds late ("off": whatever its lag). `queue`: so many more wait for a place, those
    of a higher priority first, `max_wait` seconds at most. `name`: endpoints whose policies have one name share a
    limit, each by the `priority` of its own. `shadow`: counted and reported, never refused.
    """

    type: Literal["adaptive"] = "adaptive"
    initial: Count = 10
    min_limit: Count = 3
    max_limit: Count = 200
    tolerance: Annotated[float, Field(ge=1.05, le=10)] = 1.5
    max_lag: Duration | Literal["off"] = 0.25
    queue: Annotated[int, Field(ge=0, le=10_000, strict=True)] = 0
    max_wait: Duration = 0.5
    name: Name = None
    shadow: bool = False

    def terms(self) -> Terms:
        """Return what the limit is sought by."""
        return Terms(initial=self.initial, least=self.min_limit, most=self.max_limit, tolerance=self.tolerance)

    @model_validator(mode="after")
    def _possible(self) -> "Adaptive":
        wrong: list[Fault] = []
        if self.max_limit < self.min_limit:
            wrong.append(fault("max_limit", self.max_limit, f"must be at least min_limit, {self.min_limit}"))
        elif not self.min_limit <= self.initial <= self.max_limit:
            reason = f"must be from min_limit, {self.min_limit}, to max_limit, {self.max_limit}"
            wrong.append(fault("initial", self.initial, reason))
        if wrong:
            raise refusal(type(self).__name__, wrong)
        return self


def _priority(value: object) -> Priority | None:
    if value is None:
        return None
    for priority in PRIORITIES:
        if value == priority:
            return priority
    guess = nearest(value, PRIORITIES) if isinstance(value, str) else ""
    raise refused(value, f"must be {', '.join(PRIORITIES[:-1])} or {PRIORITIES[-1]}{guess}")


PriorityField = Annotated[Priority | None, PlainValidator(_priority, json_schema_input_type=Priority | None)]
"""What the field `priority` takes."""
