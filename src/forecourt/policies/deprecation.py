"""Until when an endpoint is there, and what its callers are told of it."""

from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, Field, PlainValidator, model_validator

from forecourt.policies.switched import switched
from forecourt.policies.texts import WebAddress
from forecourt.policies.wording import Fault, Words, fault, refusal, refused


def _reference(value: str) -> str:
    if not value.isascii() or not value.isprintable() or any(sign in value for sign in '<>" '):
        raise refused(value, 'must be an address or a path without spaces, <, > and "')
    return value


class Brownout(Words):
    """From `start` to `end` the endpoint answers 503, so that whoever still calls it notices in time."""

    start: AwareDatetime
    end: AwareDatetime

    @model_validator(mode="after")
    def _possible(self) -> "Brownout":
        if self.end <= self.start:
            raise refusal(type(self).__name__, [fault("end", self.end.isoformat(), "must be after start")])
        return self


class Deprecation(Words):
    """The endpoint is deprecated `since` (RFC 9745) and goes away at `sunset` (RFC 8594); instants have a time zone.

    `link`: where people read about it. `successor`: what to call instead, an address or a path. `brownouts`: times at
    which it answers 503. `gone`: after its sunset it answers 410.
    """

    since: AwareDatetime
    sunset: AwareDatetime | None = None
    link: WebAddress | None = None
    successor: Annotated[str, AfterValidator(_reference)] | None = None
    brownouts: tuple[Brownout, ...] = ()
    gone: Annotated[bool, Field(strict=True)] = False

    @model_validator(mode="after")
    def _possible(self) -> "Deprecation":
        wrong: list[Fault] = []
        if self.sunset is not None and self.sunset < self.since:
            wrong.append(fault("sunset", self.sunset.isoformat(), "must not be before since (RFC 9745 §5)"))
        if self.gone and self.sunset is None:
            wrong.append(fault("gone", True, "it is never gone without a sunset; add one"))
        if wrong:
            raise refusal(type(self).__name__, wrong)
        return self


DeprecationField = Annotated[
    Deprecation | Literal["off"] | None,
    PlainValidator(switched(Deprecation), json_schema_input_type=Deprecation | Literal["off"] | None),
]
"""What the field `deprecation` takes."""
