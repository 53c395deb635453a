"""How large a request's body may be."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import PlainValidator, model_validator

from forecourt.policies.quantities import Count
from forecourt.policies.switched import switched
from forecourt.policies.wording import Words, fault, refusal

Encoding = Literal["gzip", "deflate"]

_TIMES = 10
"""What a compressed body may become, where nobody says: so many times its size."""


class MaxBody(Words):
    """At most `size` bytes of body are received; `max_body = 1048576` is the same as `max_body = {size = 1048576}`.

    `encodings`: compressed bodies (Content-Encoding) of these kinds are unpacked here, to at most `decoded` bytes
    (default: 10 × size); other kinds are refused. Without any, compressed bodies reach the handler as they are.
    """

    size: Count
    encodings: tuple[Encoding, ...] = ()
    decoded: Count | None = None

    @property
    def most_decoded(self) -> int:
        """The most bytes that a compressed body may become."""
        return self.decoded or self.size * _TIMES

    @model_validator(mode="after")
    def _possible(self) -> "MaxBody":
        if self.decoded is not None and not self.encodings:
            reason = "nothing is unpacked without encodings; add encodings, or leave it out"
            raise refusal(type(self).__name__, [fault("decoded", self.decoded, reason)])
        if self.decoded is not None and self.decoded < self.size:
            reason = f"must be at least size, {self.size}"
            raise refusal(type(self).__name__, [fault("decoded", self.decoded, reason)])
        return self


_switch = switched(MaxBody)


def _sized(value: object) -> MaxBody | Literal["off"] | None:
    number = value is not None and not isinstance(value, MaxBody | Mapping) and value != "off"
    return _switch({"size": value} if number else value)


MaxBodyField = Annotated[
    MaxBody | int | Literal["off"] | None,
    PlainValidator(_sized, json_schema_input_type=MaxBody | int | Literal["off"] | None),
]
"""What the field `max_body` takes: a number of bytes, or the model."""
