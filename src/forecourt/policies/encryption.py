"""What of an endpoint is encrypted."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, PlainValidator

from forecourt.policies.switched import switched
from forecourt.policies.wording import Words


class Encryption(Words):
    """How what is stored for an endpoint is kept from those who can read the store.

    `at_rest`: kept answers, answers to replay, jobs and their results are sealed by the config's `keys`.
    """

    at_rest: Annotated[bool, Field(strict=True)] = False

    later: ClassVar[frozenset[str]] = frozenset({"fields", "format", "request", "response"})


EncryptionField = Annotated[
    Encryption | Literal["off"] | None,
    PlainValidator(switched(Encryption), json_schema_input_type=Encryption | Literal["off"] | None),
]
"""What the field `encryption` takes."""
