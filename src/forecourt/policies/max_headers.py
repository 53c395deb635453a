"""How much a request's header may weigh."""

from typing import Annotated, Literal

from pydantic import PlainValidator

from forecourt.policies.quantities import count
from forecourt.policies.wording import nearest, refused


def _size(value: object) -> int | Literal["off"] | None:
    if value is None:
        return None
    if value == "off":
        return "off"
    if isinstance(value, str) and not value.isdigit():
        raise refused(value, 'must be a number of bytes, or "off"' + nearest(value, ["off"]))
    return count(value)


MaxHeadersField = Annotated[
    int | Literal["off"] | None, PlainValidator(_size, json_schema_input_type=int | Literal["off"] | None)
]
"""What the field `max_headers` takes: the most bytes of names and values of a request's fields."""
