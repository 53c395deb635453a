"""How an endpoint is taken out of service for a while, and who may still call it."""

from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, Field, PlainValidator, model_validator

from forecourt.policies.quantities import Duration
from forecourt.policies.switched import switched
from forecourt.policies.texts import Texts
from forecourt.policies.wording import Fault, Words, fault, refusal, refused

_LONGEST_WHY = 200


def why_text(value: str) -> str:
    """Return what callers are told of a maintenance; the error is a validator's."""
    if len(value) > _LONGEST_WHY or not value.isprintable():
        raise refused(value, f"must be at most {_LONGEST_WHY} printable characters on one line")
    return value


class Maintenance(Words):
    """The endpoint can be switched to maintenance while the service runs, and is `on` where the config says so.

    `roles`: callers with one of these pass. `retry_after`: the seconds that callers are told to wait where nobody knows
    the end. `until`: when the config's own maintenance ends. `why`: what callers are told of it.
    """

    on: Annotated[bool, Field(strict=True)] = False
    roles: Texts = frozenset()
    retry_after: Duration = 60
    until: AwareDatetime | None = None
    why: Annotated[str, AfterValidator(why_text)] = ""

    @model_validator(mode="after")
    def _possible(self) -> "Maintenance":
        wrong: list[Fault] = []
        if not self.on and self.until is not None:
            wrong.append(fault("until", self.until.isoformat(), "nothing ends that is not on; say on = true"))
        if not self.on and self.why:
            wrong.append(fault("why", self.why, "nobody is told of it unless it is on; say on = true"))
        if wrong:
            raise refusal(type(self).__name__, wrong)
        return self


MaintenanceField = Annotated[
    Maintenance | Literal["off"] | None,
    PlainValidator(switched(Maintenance), json_schema_input_type=Maintenance | Literal["off"] | None),
]
"""What the field `maintenance` takes."""
