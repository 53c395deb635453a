"""How long a call may take."""

from typing import Annotated, Literal

from pydantic import PlainValidator, model_validator

from forecourt.policies.quantities import Duration, exact, microseconds
from forecourt.policies.switched import switched
from forecourt.policies.wording import Words, fault, refusal


class Timeout(Words):
    """A call that takes longer than `seconds` is cancelled and answered with 504.

    `until`: to the `end` of its response, or to its `start` only, for streams. Once the response has begun it is broken
    off instead. `per_attempt`: the same for each attempt of a `retry`, within `seconds` for all. Of WebSockets only the
    handshake is limited.
    """

    seconds: Duration
    per_attempt: Duration | None = None
    until: Literal["end", "start"] = "end"

    def limit(self) -> int:
        """Return the longest in µs."""
        return microseconds(self.seconds)

    def attempt(self) -> int | None:
        """Return the longest of one attempt in µs; None: as long as all."""
        return None if self.per_attempt is None else microseconds(self.per_attempt)

    @model_validator(mode="after")
    def _possible(self) -> "Timeout":
        if self.per_attempt is not None and exact(self.per_attempt) > exact(self.seconds):
            reason = f"must be at most seconds, {self.seconds}"
            raise refusal(type(self).__name__, [fault("per_attempt", self.per_attempt, reason)])
        return self


TimeoutField = Annotated[
    Timeout | Literal["off"] | None,
    PlainValidator(switched(Timeout), json_schema_input_type=Timeout | Literal["off"] | None),
]
"""What the field `timeout` takes."""
