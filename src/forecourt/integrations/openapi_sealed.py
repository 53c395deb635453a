"""How an operation's contents are told in an OpenAPI schema where they are sealed from end to end.

The plaintext's schema stays where it was and is told to be inside: `contentMediaType` and `contentSchema` of what a
message is (JSON Schema 2020-12 §8). Where sealing is at will, both media types are told. Of sealed fields it is told
which they are (`x-sealed-fields`). What layers answer themselves is plain and told by them.
"""

from collections.abc import Iterable

from forecourt.payload.contents import MEDIA_TYPES, SEALED, Contents, is_json
from forecourt.policies.encryption import Encryption, Sealing

Schema = dict[str, object]

REFUSAL: Schema = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
"""How a refusal of forecourt's own is told: it is plain."""


def tell_sealed(operation: Schema, policy: Encryption, responses: Iterable[Schema]) -> None:
    """Write into an operation how its content, and that of these responses, is sealed."""
    body = operation.get("requestBody")
    if isinstance(body, dict):
        _tell(body, policy, policy.request)
    for response in responses:
        _tell(response, policy, policy.response)


def _tell(told: Schema, policy: Encryption, sealing: Sealing) -> None:
    content = told.get("content")
    if sealing == "off" or not isinstance(content, dict) or not content or content == REFUSAL:
        return
    if policy.fields:
        for media, each in content.items():
            if is_json(media) and isinstance(each, dict):
                each["x-sealed-fields"] = _fields(policy)
        return
    sealed = [_message(policy, media, each) for media, each in content.items()]
    schema: object = sealed[0] if len(sealed) == 1 else {"oneOf": sealed}
    media = Contents.of(policy).media_type
    if policy.member is not None:
        schema = {"type": "object", "properties": {policy.member: schema}, "required": [policy.member]}
    if sealing == "optional" and media in content and isinstance(content[media], dict):
        schema = {"oneOf": [content[media].get("schema", {}), schema]}
    told["content"] = {**(content if sealing == "optional" else {}), media: {"schema": schema}}


def _message(policy: Encryption, media: str, told: object) -> Schema:
    """Return the schema of a message whose content has this media type and what is told of it."""
    inside = told.get("schema") if isinstance(told, dict) else None
    message: Schema = {"type": "string", "contentMediaType": media}
    if policy.format == "hpke":
        message["format"] = "binary"
    return {**message, "contentSchema": inside} if inside is not None else message


def _fields(policy: Encryption) -> Schema:
    return {"pointers": list(policy.fields), "member": SEALED, "format": MEDIA_TYPES[policy.format]}
