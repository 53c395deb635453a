"""Which media types an endpoint takes, and which it can answer with."""

import re
from collections.abc import Collection
from collections.abc import Set as AbstractSet
from typing import Annotated, Literal

from pydantic import PlainSerializer, PlainValidator, model_validator

from forecourt.policies.switched import switched
from forecourt.policies.wording import Words, fault, refusal, refused

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105  # a token of RFC 9110 §5.6.2
_RANGE = re.compile(rf"\*/\*|{_TOKEN}/(\*|{_TOKEN})")


def _ranges(value: object) -> frozenset[str]:
    if isinstance(value, str) or not isinstance(value, Collection):
        raise refused(value, 'must be a list of media types, as in ["application/json"]')
    for each in value:
        if not isinstance(each, str) or not _RANGE.fullmatch(each):
            raise refused(each, "must be a media type such as application/json or image/*, without parameters")
    return frozenset(str(each).lower() for each in value)


MediaTypes = Annotated[
    AbstractSet[str], PlainValidator(_ranges, json_schema_input_type=list[str]), PlainSerializer(sorted)
]
"""Media types, or ranges of them such as `image/*`."""


class Content(Words):
    """`accepts`: the media types that requests may have, ranges (`image/*`) included; others are answered with 415.

    `produces`: the media types that the endpoint answers with; a caller that accepts none of them is answered with 406.
    """

    accepts: MediaTypes = frozenset()
    produces: MediaTypes = frozenset()

    @model_validator(mode="after")
    def _possible(self) -> "Content":
        if not self.accepts and not self.produces:
            raise refusal(type(self).__name__, [fault("accepts", [], "give accepts, produces, or both")])
        if wild := [each for each in sorted(self.produces) if "*" in each]:
            raise refusal(type(self).__name__, [fault("produces", wild[0], "must be a whole media type, not a range")])
        return self


ContentField = Annotated[
    Content | Literal["off"] | None,
    PlainValidator(switched(Content), json_schema_input_type=Content | Literal["off"] | None),
]
"""What the field `content` takes."""
