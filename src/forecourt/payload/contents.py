"""How contents look that are sealed from end to end; what servers and clients do alike.

    whole      the message is the content: `application/jose`, or `application/vnd.forecourt.hpke`
    member     `{"encData": "<message>"}`, the JWE alone in a JSON object
    fields     JSON in which chosen values are `{"sealed": "<message>"}`, an HPKE message in base64url

What is inside keeps its media type in the message's header; of a field it is JSON.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from forecourt.auth.compact import decoded, encoded, json_object
from forecourt.core.content import media_type
from forecourt.core.idempotency_fields import Pointer
from forecourt.core.json_places import places, replaced
from forecourt.core.payload import Header, text_of
from forecourt.core.sealed import Unopened
from forecourt.payload.keys import Opens, Seals
from forecourt.policies.encryption import Encryption, Format

MEDIA_TYPES: Mapping[Format, str] = {"jwe": "application/jose", "hpke": "application/vnd.forecourt.hpke"}
JSON = "application/json"
SEALED = "sealed"
"""The one member of an object that stands in place of a sealed value."""

Check = Callable[[Header, str | None], None]
"""Raises Unopened unless a header is of this call, for this pointer."""

Say = Callable[[str, str | None], Header]
"""Returns what a header says of content of this media type, for this pointer."""


class NotSealed(ValueError):
    """Content that nobody sealed, or not all of what must be."""


class Inside(NamedTuple):
    """What was sealed: the content, its media type and coding (None: it does not say), and one message's header.

    `in_place`: only fields of it were sealed, so that it had its media type all along.
    """

    content: bytes
    header: Header
    content_type: str | None = None
    coding: str | None = None
    in_place: bool = False


class Contents:
    """Seals and opens contents in one of the three ways."""

    def __init__(self, form: Format, member: str | None = None, pointers: Sequence[Pointer] = ()) -> None:
        self._binary = form == "hpke"
        self._member = member
        self._pointers = pointers
        self.whole = member is None and not pointers
        """Whether the message is all there is, so that its media type tells of it."""
        self.media_type = MEDIA_TYPES[form] if self.whole else JSON

    @classmethod
    def of(cls, policy: Encryption) -> "Contents":
        """Return the way that a policy says."""
        return cls(policy.format, policy.member, policy.pointers())

    def takes(self, content_type: bytes) -> bool:
        """Whether content of this type may be sealed."""
        kind = media_type(content_type)
        return kind == self.media_type or (not self.whole and is_json(kind))

    def seal(self, seals: Seals, content: bytes, content_type: str, say: Say) -> tuple[bytes, str]:
        """Return (sealed content, its media type); ValueError where there are fields to seal and this is no JSON."""
        if self._pointers:
            return self._seal_fields(seals, content, content_type, say), content_type
        message = seals.seal(say(content_type, None), content)
        if self._member is not None:
            message = json.dumps({self._member: message.decode()}, separators=(",", ":")).encode()
        return message, self.media_type

    def open(self, opens: Opens, body: bytes, check: Check, *, all_of_it: bool = True) -> Inside:
        """Return what was sealed; NotSealed where nothing was, or with `all_of_it` not every field; else Unopened."""
        if self._pointers:
            return self._open_fields(opens, body, check, all_of_it=all_of_it)
        header, content = opens.open(body if self._member is None else _member_of(body, self._member))
        check(header, None)
        kind = text_of(header, "cty") or (JSON if self._member is not None else None)
        if kind is not None and "/" not in kind:
            kind = f"application/{kind}"  # RFC 7516 §4.1.12
        return Inside(content, header, kind, text_of(header, "ce"))

    def _seal_fields(self, seals: Seals, content: bytes, content_type: str, say: Say) -> bytes:
        if not is_json(media_type(content_type.encode("latin-1"))):
            raise ValueError("its fields cannot be found")
        text = content.decode()
        at = places(text, self._pointers)
        new = {}
        for pointer, place in at.items():
            message = seals.seal(say(JSON, pointer), text[place].encode())
            new[pointer] = json.dumps({SEALED: encoded(message) if self._binary else message.decode()})
        return replaced(text, new, at).encode()

    def _open_fields(self, opens: Opens, body: bytes, check: Check, *, all_of_it: bool) -> Inside:
        try:
            text = body.decode()
            at = places(text, self._pointers)
        except ValueError:
            raise NotSealed from None
        new: dict[str, str] = {}
        first: Header = {}
        for pointer, place in at.items():
            message = self._message(text[place])
            if message is None:
                if all_of_it:
                    raise NotSealed
                continue
            first, new[pointer] = self._open_field(opens, message, check, pointer, first)
        if at and not new:
            raise NotSealed
        return Inside(replaced(text, new, at).encode(), first, in_place=True)

    @staticmethod
    def _open_field(opens: Opens, message: bytes, check: Check, pointer: str, first: Header) -> tuple[Header, str]:
        header, content = opens.open(message)
        check(header, pointer)
        if first and header.get("jti") != first.get("jti"):
            raise Unopened
        try:
            text = content.decode()
            places(text, ())
        except ValueError:
            raise Unopened from None
        return header, text

    def _message(self, text: str) -> bytes | None:
        value = json.loads(text)
        if not isinstance(value, dict) or value.keys() != {SEALED} or not isinstance(value[SEALED], str):
            return None
        try:
            return decoded(value[SEALED]) if self._binary else value[SEALED].encode()
        except ValueError:
            raise Unopened from None


def is_json(kind: str) -> bool:
    """Whether a media type is one of JSON (RFC 6839 §3.1)."""
    return kind == JSON or kind.endswith("+json")


def _member_of(body: bytes, member: str) -> bytes:
    """Return the message that stands in this member alone; NotSealed where that is not so."""
    try:
        found = json_object(body)
    except (ValueError, RecursionError):
        raise NotSealed from None
    message = found.get(member)
    if found.keys() != {member} or not isinstance(message, str):
        raise NotSealed
    return message.encode("utf-8", "replace")
