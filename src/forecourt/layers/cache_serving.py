"""Gives a kept response to a client: whole, its fields alone, a part of it, or the word that it is unchanged."""

from collections.abc import Mapping

from forecourt.core.caching import status
from forecourt.core.caching.directives import Header
from forecourt.core.caching.entries import Entry
from forecourt.core.caching.validators import IN_304, not_modified, part_of
from forecourt.types import SECOND, Message, Send

CONDITIONS = frozenset({b"if-none-match", b"if-modified-since", b"range"})


async def serve(
    entry: Entry, now: int, method: str, fields: Mapping[bytes, bytes], send: Send, *, said: bytes | None = None
) -> None:
    """Send an entry as the request asks for it; its body is the one object that is kept, never a copy.

    `said`: what Cache-Status says instead of "hit".
    """
    age = entry.age(now)
    told: list[Header] = [
        (b"age", b"%d" % (age // SECOND)),  # RFC 9111 §5.1
        (status.FIELD, said or status.hit(-entry.stale_for(now))),
    ]
    answer = entry.status
    headers: list[Header] = [*entry.headers, *told]
    body = entry.body
    if entry.status == 200 and not CONDITIONS.isdisjoint(fields):
        answer, headers, body = _asked_for(entry, method, fields, told)
    start: Message = {"type": "http.response.start", "status": answer, "headers": headers}
    await send(start)
    await send({"type": "http.response.body", "body": b"" if method == "HEAD" else body})


def _asked_for(
    entry: Entry, method: str, fields: Mapping[bytes, bytes], told: list[Header]
) -> tuple[int, list[Header], bytes]:
    """Return status, fields and body for a request with conditions or a range (RFC 9110 §13.2.2: in this order)."""
    if not_modified(fields, entry.headers):
        return 304, [*(header for header in entry.headers if header[0] in IN_304), *told], b""
    part = part_of(fields, entry.headers, len(entry.body)) if method == "GET" else None
    if part is None:
        return 200, [*entry.headers, *told], entry.body
    first, end = part
    rest = [header for header in entry.headers if header[0] != b"content-length"]
    if end == 0:
        unsatisfied = (b"content-range", b"bytes */%d" % len(entry.body))
        return 416, [unsatisfied, (b"content-length", b"0"), *told], b""
    where = (b"content-range", b"bytes %d-%d/%d" % (first, end - 1, len(entry.body)))
    return 206, [*rest, where, (b"content-length", b"%d" % (end - first)), *told], entry.body[first:end]


async def serve_as_it_is(entry: Entry, now: int, method: str, send: Send) -> None:
    """Send a fresh entry to a request without conditions: what `serve` would, in fewer steps."""
    age = max(0, now - entry.zero)
    headers = [
        *entry.headers,
        (b"age", b"%d" % (age // SECOND)),
        (status.FIELD, b"forecourt; hit; ttl=%d" % ((entry.life.fresh - age) // SECOND)),
    ]
    await send({"type": "http.response.start", "status": entry.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if method == "HEAD" else entry.body})
