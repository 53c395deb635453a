"""What is written down of an endpoint's calls."""

from string import Formatter
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, PlainValidator

from forecourt.policies.switched import switched
from forecourt.policies.wording import Words, refused


def _template(value: str) -> str:
    try:
        fields = [field for _, *field in Formatter().parse(value) if field[0] is not None]
    except ValueError:
        fields = [["", "", ""]]
    if any(not str(name).isidentifier() or form or conversion for name, form, conversion in fields):
        raise refused(value, "a placeholder is the name of a path parameter in braces, as in record:{record_id}")
    return value


class Audit(Words):
    """Who did what to which resource, with what outcome.

    `action`: what is done, in a word (default: the endpoint's name). `resource`: to what, with path parameters in
    braces (default: all path parameters). `required`: nothing is done that cannot be written down.
    """

    action: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    resource: Annotated[str, Field(max_length=200), AfterValidator(_template)] | None = None
    required: Annotated[bool, Field(strict=True)] = True


AuditField = Annotated[
    Audit | Literal["off"] | None,
    PlainValidator(switched(Audit), json_schema_input_type=Audit | Literal["off"] | None),
]
"""What the field `audit` takes."""
