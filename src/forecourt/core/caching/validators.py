"""What a client is told that has a part of it already: validators, 304, ranges.

RFC 9110 §8.8, §13, §14; RFC 9111 §4.3.2.
"""

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence

from forecourt.core.caching import dates
from forecourt.core.caching.directives import Header

IN_304 = frozenset({b"cache-control", b"content-location", b"date", b"etag", b"expires", b"vary"})
"""RFC 9110 §15.4.5: the fields of a 304, of those that the 200 would have had."""

_ETAG = re.compile(rb'\s*((?:W/)?"[\x21\x23-\x7e\x80-\xff]*")\s*(?:,|$)')
_RANGE = re.compile(rb"bytes=[ \t]*(?:(\d{1,18})-(\d{1,18})?|-(\d{1,18}))[ \t]*", re.IGNORECASE)


def etag_of(body: bytes) -> bytes:
    """Return a strong entity tag (RFC 9110 §8.8.3): the same bytes have the same tag, in every process."""
    return b'"%b"' % base64.urlsafe_b64encode(hashlib.blake2b(body, digest_size=12).digest())


def not_modified(fields: Mapping[bytes, bytes], headers: Sequence[Header]) -> bool:
    """Return whether a request's conditions say that its client has this very response.

    RFC 9110 §13.1.2: If-None-Match is compared weakly, `*` is anything. §13.1.3: If-Modified-Since counts only without
    it, and only when it is a date.
    """
    if (tags := fields.get(b"if-none-match")) is not None:
        own = next((value for name, value in headers if name == b"etag"), None)
        return tags.strip() == b"*" or (own is not None and _weak(own) in {_weak(tag) for tag in entity_tags(tags)})
    since = fields.get(b"if-modified-since")
    modified = next((value for name, value in headers if name == b"last-modified"), None)
    if since is None or modified is None:
        return False
    then, last = dates.parsed(since.decode("latin-1")), dates.parsed(modified.decode("latin-1"))
    return then is not None and last is not None and last <= then


def entity_tags(line: bytes) -> list[bytes]:
    """Return the entity tags of a list; none where any of it is no such list."""
    tags: list[bytes] = []
    at = 0
    while at < len(line):
        match = _ETAG.match(line, at)
        if match is None:
            return []
        tags.append(match[1])
        at = match.end()
    return tags


def _weak(tag: bytes) -> bytes:
    return tag.strip().removeprefix(b"W/")


def part_of(fields: Mapping[bytes, bytes], headers: Sequence[Header], size: int) -> tuple[int, int] | None:
    """Return the first byte and the byte after the last of what is asked; None: all of it; (0, 0): nothing there is.

    RFC 9110 §14.2: a Range that is not understood is ignored, as are several ranges, which a server may. §13.1.5:
    with If-Range only where that is the strong tag or the exact date of what is kept.
    """
    asked = fields.get(b"range")
    if asked is None or not _still(fields.get(b"if-range"), headers):
        return None
    match = _RANGE.fullmatch(asked)
    if match is None:
        return None
    first, last, suffix = match.groups()
    if suffix is not None:
        return (max(0, size - int(suffix)), size) if int(suffix) and size else (0, 0)
    if last is not None and int(last) < int(first):
        return None
    if int(first) >= size:
        return 0, 0
    return int(first), size if last is None else min(int(last) + 1, size)


def _still(condition: bytes | None, headers: Sequence[Header]) -> bool:
    if condition is None:
        return True
    name = b"etag" if condition.lstrip().startswith((b'"', b"W/")) else b"last-modified"
    own = next((value for field, value in headers if field == name), None)
    return own is not None and own == condition.strip() and not own.startswith(b"W/")
