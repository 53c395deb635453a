"""For whom and for what a response is kept: the parts of its key.

A key is a tuple of parts, never joined text, so that no part can pretend to be two; in a store it is a digest of the
parts, each with its length. What a response varies on (RFC 9111 §4.1) selects among those kept under one key.
"""

import base64
import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Literal, TypeAlias

Partition = Literal["anonymous", "principal", "tenant", "scopes", "everyone"]
Part: TypeAlias = "str | bytes | tuple[Part, ...] | None"
Parts = tuple[Part, ...]
Selection = tuple[bytes | None, ...]
"""The request's values of the fields that are varied on, None where it has none."""


def selected(names: Sequence[bytes], fields: Mapping[bytes, bytes]) -> Selection:
    """Return what a request says in these fields.

    RFC 9111 §4.1: fields match when they can be transformed into each other by white space and by combining lines; the
    caller has combined them.
    """
    if not names:
        return ()
    return tuple([_normal(fields.get(name)) for name in names])


def _normal(value: bytes | None) -> bytes | None:
    if value is None:
        return None
    return b",".join([part.strip() for part in value.split(b",")])


def combined(headers: Sequence[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Return a request's fields by name, several lines of one as one (RFC 9110 §5.3)."""
    fields = dict(headers)
    if len(fields) == len(headers):
        return fields
    fields = {}
    for name, value in headers:
        fields[name] = fields[name] + b", " + value if name in fields else value
    return fields


def digest(parts: Sequence[Part]) -> str:
    """Return 144 bits of BLAKE2b over the parts, each with its length and kind, as 24 characters."""
    hashed = hashlib.blake2b(b"".join(_spelt(parts)), digest_size=18)
    return base64.urlsafe_b64encode(hashed.digest()).decode()


def _spelt(parts: Sequence[Part]) -> Iterator[bytes]:
    yield b"%d(" % len(parts)
    for part in parts:
        if part is None:
            yield b"-:"
        elif isinstance(part, tuple):
            yield from _spelt(part)
        else:
            text = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
            yield b"%d:%b" % (len(text), text)


def with_wildcards(tags: Collection[str]) -> frozenset[str]:
    """Return tags and, for those of rows such as `records:42`, the one that all rows of theirs have: `records:*`."""
    return frozenset({*tags, *(f"{tag.partition(':')[0]}:*" for tag in tags if ":" in tag)})
