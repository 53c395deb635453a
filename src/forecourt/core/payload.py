"""What a sealed message says of itself, and to which call it belongs. Pure: the ciphers are in `forecourt.payload`.

Beside its content a message has a header: a JSON object that can be read by all and changed by none, as it is
authenticated. It names the key and how it is used (`alg`, `enc`, `kid`: RFC 7516 §4.1) and what is inside (`cty`: the
media type, `ce`: its Content-Encoding, if any). The rest binds it, so that a message which is put elsewhere does not
open:

    iat   when it was sealed, in seconds since the epoch (RFC 7519 §4.1.6)
    htm   the method of the call, as in RFC 9449 §4.2
    pth   base64url of SHA-256 of the path and query, as they stand in the request line
    jti   of a request: an id that its sender chose; `rid` of an answer: the same
    sub   of a request, at will: the subject of the caller whose credentials go with it
    sts   of an answer: its status
    ptr   of a single field: the JSON pointer where it stands (RFC 6901)

An HPKE message is a frame, all of which before the text is authenticated with it as `info` (RFC 9180 §5.1):

    offset  bytes
    0       4      "FCH1"
    4       2      length of the header, big-endian
    6       n      the header, JSON in UTF-8
    6+n     …      encapsulated key, ciphertext and its tag of 16 bytes
"""

import base64
import hashlib
import hmac
import struct
from collections.abc import Mapping
from typing import NamedTuple

from forecourt.core.sealed import Unopened

Header = dict[str, object]

MAGIC = b"FCH1"
MOST_HEADER = 4096
"""Bytes of a header; more is not looked at."""

_LENGTH = struct.Struct(">H")
_AT = len(MAGIC) + _LENGTH.size
_INFO = b"forecourt hpke 1 "
_MOST_ID = 128
_ANSWERS_ONLY = ("sts", "rid")


class UnfitKey(ValueError):
    """A key that cannot be used, for the reason it says; nothing of the key is in it."""


class Call(NamedTuple):
    """The call that a message belongs to: its method, path and query as sent, and who makes it."""

    method: str
    target: bytes
    subject: str | None = None


class Terms(NamedTuple):
    """What is asked of a message: seconds that its time may be off, and whether it must name its call."""

    max_age: int
    bound: bool = True


class Opened(NamedTuple):
    """A message that was opened: its header, which is authenticated, and its content."""

    header: Header
    content: bytes


def of_request(call: Call, now: int, request_id: str, content_type: str, *, pointer: str | None = None) -> Header:
    """Return what a request's header says; `now` in seconds since the epoch."""
    whose = {} if call.subject is None else {"sub": call.subject}
    return {**_common(call, now, content_type, pointer), "jti": request_id, **whose}


def of_answer(
    call: Call,
    now: int,
    request_id: str | None,
    status: int,
    content_type: str,
    *,
    pointer: str | None = None,
) -> Header:
    """Return what an answer's header says; `request_id` is its `jti`, where that was sealed."""
    asked = {} if request_id is None else {"rid": request_id}
    return {**_common(call, now, content_type, pointer), "sts": status, **asked}


def check_request(header: Mapping[str, object], call: Call, terms: Terms, now: int, pointer: str | None = None) -> None:
    """Return if a request's message is of this call, and of now; Unopened otherwise."""
    if any(name in header for name in _ANSWERS_ONLY):
        raise Unopened
    id_ = header.get("jti")
    if not (id_ is None and not terms.bound) and not (isinstance(id_, str) and 0 < len(id_) <= _MOST_ID):
        raise Unopened
    if "sub" in header and header["sub"] != call.subject:
        raise Unopened
    _check_common(header, call, terms, now, pointer)


def check_answer(
    header: Mapping[str, object],
    call: Call,
    terms: Terms,
    now: int,
    *,
    request_id: str | None,
    status: int,
    pointer: str | None = None,
) -> None:
    """Return if an answer's message is the one to this call; Unopened otherwise."""
    if header.get("sts") != status or header.get("rid") != request_id:
        raise Unopened
    _check_common(header, call, terms, now, pointer)


def text_of(header: Mapping[str, object], name: str) -> str | None:
    """Return a text of the header; None where there is none, Unopened where it is no line of visible ASCII."""
    value = header.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not value.isascii() or not value.isprintable():
        raise Unopened
    return value


def framed(header: bytes) -> bytes:
    """Return how an HPKE message begins; ValueError for too long a header."""
    if len(header) > MOST_HEADER:
        raise ValueError(f"a header of {len(header)} bytes: {MOST_HEADER} at most")
    return MAGIC + _LENGTH.pack(len(header)) + header


def unframed(message: bytes) -> tuple[bytes, bytes, bytes]:
    """Return (its beginning, the header's bytes, the rest) of an HPKE message; Unopened where it is none."""
    if len(message) < _AT or message[: len(MAGIC)] != MAGIC:
        raise Unopened
    end = _AT + _LENGTH.unpack_from(message, len(MAGIC))[0]
    if end - _AT > MOST_HEADER or len(message) < end:
        raise Unopened
    return message[:end], message[_AT:end], message[end:]


def info(beginning: bytes) -> bytes:
    """Return what an HPKE message is bound to: its own beginning."""
    return _INFO + beginning


def path_hash(target: bytes) -> str:
    """Return what a header says of a path and query: 43 characters."""
    return base64.urlsafe_b64encode(hashlib.sha256(target).digest()).rstrip(b"=").decode()


def _common(call: Call, now: int, content_type: str, pointer: str | None) -> Header:
    where = {} if pointer is None else {"ptr": pointer}
    kind = {"cty": content_type} if content_type else {}
    return {**kind, "iat": now, "htm": call.method, "pth": path_hash(call.target), **where}


def _check_common(header: Mapping[str, object], call: Call, terms: Terms, now: int, pointer: str | None) -> None:
    made = header.get("iat")
    if isinstance(made, bool) or not isinstance(made, int | float) or not abs(now - made) <= terms.max_age:
        raise Unopened
    if header.get("ptr") != pointer:
        raise Unopened
    given = (header.get("htm"), header.get("pth"))
    if given == (None, None) and not terms.bound:
        return
    expected = (call.method, path_hash(call.target))
    if not all(_same(mine, theirs) for mine, theirs in zip(expected, given, strict=True)):
        raise Unopened


def _same(mine: str, theirs: object) -> bool:
    return isinstance(theirs, str) and hmac.compare_digest(mine.encode(), theirs.encode("utf-8", "replace"))
