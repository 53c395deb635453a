"""Idempotency's rules on values: how a key is written, what a fingerprint is made of, which answers are kept.

The key is a String of structured fields, or the same without its quotation marks, as most clients send it
(draft-ietf-httpapi-idempotency-key-header-07 §2.1, RFC 9651 §3.3.3).
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from typing import Literal

from forecourt.core.idempotency_fields import MOST_PARSED, Pointer, chosen

MOST_KEY = 255

_QUOTED = re.compile(rb'"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"')
_BARE = re.compile(rb"[!#-+\-.-:<-\[\]-~]+")
_ESCAPED = re.compile(rb"\\(.)")

UNSTABLE = frozenset({401, 403, 405, 406, 408, 409, 411, 413, 414, 415, 421, 422, 425, 429, 431})
"""4xx that another moment or a corrected request would not get again: they are not kept, the key stays free."""

_NOT_KEPT = frozenset(
    {
        b"age",
        b"connection",
        b"date",
        b"idempotent-replayed",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-connection",
        b"set-cookie",
        b"set-cookie2",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
_OF_THE_CONTENT = frozenset({b"content-encoding", b"content-length", b"content-range", b"content-type", b"etag"})

Ending = Literal["complete", "release", "forsake"]
"""What a claim's holder tells: the answer, that nothing was done, or that nobody knows."""


def parse_key(values: Sequence[bytes]) -> str | None:
    """Return the key of a request's header fields, None without one; ValueError when it is not one key."""
    if not values:
        return None
    if len(values) > 1:
        raise ValueError("it is given more than once")
    text = values[0].strip(b" \t")
    if quoted := _QUOTED.fullmatch(text):
        text = _ESCAPED.sub(rb"\1", quoted[1])
    elif not _BARE.fullmatch(text):
        raise ValueError('it must be a string such as "8e03978e-40d5-43dd-bc93-6894a57f9324"')
    if not 0 < len(text) <= MOST_KEY:
        raise ValueError(f"it must have 1 to {MOST_KEY} characters")
    return text.decode("ascii")


class Fingerprint:
    """The digest of a request's parts; those of the body come as they stream. Each part is preceded by its length.

    With `pointers` only what they choose of a JSON body counts, see `core.idempotency_fields`; so much of a body is
    kept until it ends.
    """

    __slots__ = ("_body", "_kept", "_of_body", "_pointers")

    def __init__(self, parts: Iterable[bytes], *, of_body: bool, pointers: Sequence[Pointer] = ()) -> None:
        self._body = hashlib.blake2b(digest_size=16)
        for part in parts:
            self._body.update(b"%d:%b" % (len(part), part))
        self._body.update(b":")
        self._of_body = of_body
        self._pointers = pointers
        self._kept = b""

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the body."""
        if self._pointers and len(self._kept) + len(chunk) <= MOST_PARSED:
            self._kept += chunk
        elif self._of_body:
            self._whole()
            self._body.update(chunk)

    def digest(self) -> bytes:
        """Return 128 bits, once the body has ended; once only."""
        values = chosen(self._kept, self._pointers) if self._pointers else None
        if values is None:
            self._whole()
        else:
            self._body.update(b"fields:" + values)
        return self._body.digest()

    def _whole(self) -> None:
        """Have the whole body count, from its beginning."""
        if self._pointers:
            self._body.update(self._kept)
            self._pointers, self._kept = (), b""


def kept_fields(headers: Iterable[tuple[bytes, bytes]], *, body: bool = True) -> tuple[tuple[bytes, bytes], ...]:
    """Return the fields of an answer that a replay has too; without those of its content where that is not kept.

    Cookies are for one answer only, limits and times for one moment, connections for one hop (RFC 9110 §7.6.1).
    """
    lower = [(name.lower(), value) for name, value in headers]
    hop = {each.strip().lower() for name, value in lower if name == b"connection" for each in value.split(b",")}
    dropped = _NOT_KEPT | hop if body else _NOT_KEPT | hop | _OF_THE_CONTENT
    return tuple(
        (name, value)
        for name, value in lower
        if name not in dropped and not name.startswith((b"ratelimit", b"x-ratelimit"))
    )


def ending(*, reached: bool, refused: bool, status: int | None, finished: bool, errors_too: bool) -> Ending:
    """Return what became of a claim.

    `reached`: the call came to the handler. `refused`: a layer below answered instead of it. `status`: of the
    answer that began (None: none did), `finished`: it came to its end. `errors_too`: a handler's 5xx is an answer to
    keep.
    """
    if not reached or refused:
        return "release"
    if status is None or not finished:
        return "forsake"
    if status >= 500:
        return "complete" if errors_too else "forsake"
    return "release" if status in UNSTABLE else "complete"
