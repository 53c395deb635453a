"""What of an endpoint is encrypted."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, PlainValidator, model_validator

from forecourt.core.idempotency_fields import MOST_POINTERS, Pointer
from forecourt.core.payload import Terms
from forecourt.policies.quantities import Count, Duration, exact
from forecourt.policies.switched import switched
from forecourt.policies.wording import Fault, Words, fault, not_allowed, refusal

Format = Literal["jwe", "hpke"]
Sealing = Literal["off", "optional", "required"]

MIB = 1024 * 1024


class Encryption(Words):
    """How an endpoint's content is kept from those who can read the store, or what passes between it and its callers.

    `at_rest`: kept answers, answers to replay, jobs and their results are sealed by the config's `keys`.

    `request`, `response`: whether contents are sealed from end to end, to the service's `payload_keys.own` and to the
    caller's registered key. `optional`: those who seal their request, or accept sealed content, get such an answer.
    `format`: `jwe` (RFC 7516) or `hpke` (RFC 9180). `member`: a JWE stands in this member of a JSON object, alone.
    `fields`: JSON pointers to the values that are sealed in place, instead of the whole content. `max_body`: bytes of a
    sealed request that are read, and of an answer that is held to be sealed. `max_age`: seconds that a message's time
    may be off. `bound`: requests must name method, path and an id; without it those that do are held to it.
    """

    at_rest: Annotated[bool, Field(strict=True)] = False
    request: Sealing = "off"
    response: Sealing = "off"
    format: Format = "jwe"
    member: str | None = None
    fields: Sequence[str] = ()
    max_body: Count = MIB
    max_age: Duration = 300
    bound: Annotated[bool, Field(strict=True)] = True

    @property
    def end_to_end(self) -> bool:
        """Whether anything is sealed from end to end."""
        return self.request != "off" or self.response != "off"

    def terms(self) -> Terms:
        """Return what is asked of a message."""
        return Terms(int(exact(self.max_age)), self.bound)

    def pointers(self) -> tuple[Pointer, ...]:
        """Return where values are sealed in place."""
        return tuple(map(Pointer.parse, self.fields))

    @model_validator(mode="after")
    def _possible(self) -> "Encryption":
        wrong = [*self._idle(), *self._mispointed()]
        if self.member is not None and (self.format != "jwe" or self.fields):
            other = "fields" if self.fields else "format hpke"
            wrong.append(fault("member", self.member, f"a JWE stands there, alone; it does not go with {other}"))
        if self.member == "":
            wrong.append(fault("member", "", "must be a name, such as encData"))
        if wrong:
            raise refusal(type(self).__name__, wrong)
        return self

    def _idle(self) -> list[Fault]:
        """Tell of what is said and would do nothing."""
        if self.end_to_end:
            return []
        said = [name for name in ("member", "fields") if getattr(self, name)]
        return [fault(name, getattr(self, name), "give request, response, or both") for name in said]

    def _mispointed(self) -> list[Fault]:
        found: list[Fault] = []
        for place, text in enumerate(self.fields):
            try:
                if not Pointer.parse(text).names:
                    raise ValueError("it is all of the content; leave fields out to seal that")
            except ValueError as error:
                found.append(Fault(("fields", place), text, not_allowed(text, str(error))))
        if len(self.fields) > MOST_POINTERS:
            found.append(Fault(("fields",), None, f"must be at most {MOST_POINTERS}"))
        if not found:
            found += [
                Fault(("fields", place), text, not_allowed(text, f"it is within {other}, which is sealed already"))
                for place, text in enumerate(self.fields)
                for at, other in enumerate(self.fields)
                if at != place and f"{text}/".startswith(f"{other}/")
            ]
        return found


EncryptionField = Annotated[
    Encryption | Literal["off"] | None,
    PlainValidator(switched(Encryption), json_schema_input_type=Encryption | Literal["off"] | None),
]
"""What the field `encryption` takes."""
