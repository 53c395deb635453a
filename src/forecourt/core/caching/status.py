"""What a response says of the cache it came through: Cache-Status (RFC 9211)."""

from typing import Literal

from forecourt.types import SECOND

Forwarded = Literal["bypass", "method", "uri-miss", "vary-miss", "miss", "request", "stale", "partial"]
"""RFC 9211 §2.2: why the handler was asked."""

FIELD = b"cache-status"
_HIT = b"forecourt; hit; ttl=%d"


def hit(left: int, detail: str = "") -> bytes:
    """Say that it came from the cache (§2.1), fresh for so many more µs (§2.4; below 0: stale since then)."""
    said = _HIT % (left // SECOND)
    return said + b"; detail=" + detail.encode() if detail else said


def forwarded(why: Forwarded, *, stored: bool = False, collapsed: bool = False, detail: str = "") -> bytes:
    """Say why the handler was asked, whether its answer was kept (§2.5), whether another's was used (§2.6)."""
    said = f"forecourt; fwd={why}"
    if stored:
        said += "; stored"
    if collapsed:
        said += "; collapsed"
    return (f"{said}; detail={detail}" if detail else said).encode("latin-1")
