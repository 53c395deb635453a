"""Which other sites' pages may have browsers call an endpoint."""

from collections.abc import Collection
from collections.abc import Set as AbstractSet
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import PlainSerializer, PlainValidator

from forecourt.policies.switched import switched
from forecourt.policies.wording import Words, refused


def _origins(value: object) -> frozenset[str]:
    if isinstance(value, str) or not isinstance(value, Collection):
        raise refused(value, 'must be a list of origins, as in ["https://app.example"]')
    return frozenset(_origin(each) for each in value)


def _origin(value: object) -> str:
    reason = "must be an origin such as https://app.example, with nothing behind the host and port"
    if not isinstance(value, str):
        raise refused(value, reason)
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise refused(value, reason) from None
    if not parts.scheme or not host or value.lower() != f"{parts.scheme}://{parts.netloc.lower()}":
        raise refused(value, reason)
    if parts.username is not None or parts.password is not None:
        raise refused("…", reason)
    return value.lower()


Origins = Annotated[
    AbstractSet[str], PlainValidator(_origins, json_schema_input_type=list[str]), PlainSerializer(sorted)
]
"""Origins as browsers send them: scheme, host and port."""


class CrossOrigin(Words):
    """Of browsers, only the site's own pages and those of `origins` may call unsafe methods and open WebSockets."""

    origins: Origins = frozenset()


CrossOriginField = Annotated[
    CrossOrigin | Literal["off"] | None,
    PlainValidator(switched(CrossOrigin), json_schema_input_type=CrossOrigin | Literal["off"] | None),
]
"""What the field `cross_origin` takes."""
