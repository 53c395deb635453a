"""What may be kept and given to others: RFC 9111 §3 and §3.5, and the safety rules that stand above them.

Two profiles. `safe` never keeps what somebody may have meant for one caller: of requests with `Cookie` or
`Authorization` nothing, unless a partition of its own keeps callers apart. `rfc9111` is what the RFC allows a shared
cache: there a response that says `public` or `s-maxage` is for all, whatever the request carried. Only `Set-Cookie` is
kept by neither: what logs one caller in must not log in another.
"""

from collections.abc import Sequence
from typing import Literal

from forecourt.core.caching.directives import Directives, Header, field_names, values
from forecourt.core.caching.freshness import HEURISTIC

Profile = Literal["safe", "rfc9111"]

_UNKEPT = frozenset({206, 304})
"""Partial and conditional answers: they are no whole response."""

UNDERSTOOD = HEURISTIC | {302, 303, 307, 400, 401, 403}
"""Statuses whose caching this cache understands (RFC 9111 §5.2.2.3)."""

HOP_BY_HOP = frozenset(
    {
        b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade",
        b"proxy-authenticate", b"proxy-authorization", b"proxy-authentication-info",
    }
)  # fmt: skip
"""RFC 9111 §3.1: fields that are of one connection."""

STRIPPED = HOP_BY_HOP | {
    b"age", b"set-cookie", b"set-cookie2", b"cache-status", b"ratelimit", b"ratelimit-policy", b"x-ratelimit-limit",
    b"x-ratelimit-remaining", b"x-ratelimit-reset", b"retry-after",
}  # fmt: skip
"""What is not kept: it is of one connection, one moment, or one caller's standing."""


def unstorable(  # noqa: PLR0911  # one for each rule
    status: int,
    headers: Sequence[Header],
    said: Directives,
    *,
    profile: Profile,
    authorized: bool,
    apart: bool,
) -> str | None:
    """Return why a response to a GET must not be kept, or None.

    `authorized`: the request had Authorization; `apart`: a partition keeps it from other callers.
    """
    if status < 200 or status in _UNKEPT:
        return f"status {status}"
    if "must-understand" in said:
        # RFC 9111 §5.2.2.3: whoever understands the status ignores the no-store beside it; nobody else keeps it.
        if status not in UNDERSTOOD:
            return "must-understand"
    elif "no-store" in said:
        return "no-store"  # §5.2.2.5
    if "private" in said and said["private"] is None:
        return "private"  # §5.2.2.7: a shared cache must not keep it
    if "*" in ",".join(values(headers, b"vary")):
        return "vary"  # §4.1: it never matches
    if authorized and not apart and said.keys().isdisjoint({"must-revalidate", "public", "s-maxage"}):
        return "authorization"  # §3.5
    if any(b"text/event-stream" in value for name, value in headers if name == b"content-type"):
        return "stream"
    return _unsafe(status, headers, said, profile)


def _unsafe(  # noqa: PLR0911  # so too
    status: int, headers: Sequence[Header], said: Directives, profile: Profile
) -> str | None:
    cookie = any(name == b"set-cookie" for name, _ in headers)
    if cookie and not _names(said, b"set-cookie"):
        return "set-cookie"
    if profile == "rfc9111":
        return None
    if status >= 500:
        return f"status {status}"
    if "no-cache" in said and said["no-cache"] is None:
        return "no-cache"  # it could be revalidated only, and a handler at our own door is simply asked
    if any(name == b"www-authenticate" for name, _ in headers):
        return "www-authenticate"
    encoded = any(
        value.strip().lower() not in (b"", b"identity") for name, value in headers if name == b"content-encoding"
    )
    if encoded and b"accept-encoding" not in varies(headers):
        return "content-encoding"
    return None


def _names(said: Directives, field: bytes) -> bool:
    """Return whether `no-cache="…"` or `private="…"` names the field, so that it is left out of what is kept."""
    return field in unkept_fields(said)


def unkept_fields(said: Directives) -> frozenset[bytes]:
    """Return the fields that are not kept with the rest.

    RFC 9111 §5.2.2.7: a shared cache must not store fields that `private` names; §5.2.2.4: those of `no-cache` must
    not be sent again without revalidation, so they are not worth keeping.
    """
    named = [said[name] for name in ("no-cache", "private") if said.get(name)]
    return frozenset().union(*(field_names(each) for each in named if each))


def kept_headers(headers: Sequence[Header], said: Directives) -> tuple[Header, ...]:
    """Return the fields to keep, in order, repetitions included (RFC 9111 §3.1)."""
    connection = field_names(",".join(values(headers, b"connection")))
    dropped = STRIPPED | connection | unkept_fields(said)
    return tuple((name, value) for name, value in headers if name not in dropped)


def varies(headers: Sequence[Header]) -> tuple[bytes, ...]:
    """Return the request fields that the response varies on, in lower case and in order (RFC 9110 §12.5.5)."""
    return tuple(sorted(field_names(",".join(values(headers, b"vary")))))
