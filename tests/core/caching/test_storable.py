"""What may be kept: by RFC 9111, and by the safety rules above it."""

import pytest

from forecourt.core.caching.directives import Header, cache_control
from forecourt.core.caching.storable import Profile, kept_headers, unstorable, varies


def why(
    text: str = "",
    *headers: Header,
    status: int = 200,
    profile: Profile = "safe",
    authorized: bool = False,
    apart: bool = False,
) -> str | None:
    """Return why such a response must not be kept."""
    said = cache_control([text])
    return unstorable(status, headers, said, profile=profile, authorized=authorized, apart=apart)


COOKIE = (b"set-cookie", b"a=b")


@pytest.mark.parametrize("profile", ["safe", "rfc9111"])
def test_what_no_profile_keeps(profile: Profile) -> None:
    """As RFC 9111 §3 says.

    RFC 9111 §3: not `no-store` (§5.2.2.5), not `private` in a shared cache (§5.2.2.7), not what is no final whole
    response; §4.1: `Vary: *` "always fails to match"; an event stream has no end.
    """
    assert why(profile=profile) is None
    assert why("no-store", profile=profile) == "no-store"
    assert why("private", profile=profile) == "private"
    assert why(status=103, profile=profile) == "status 103"
    assert why(status=206, profile=profile) == "status 206"
    assert why(status=304, profile=profile) == "status 304"
    assert why("", (b"vary", b"accept, *"), profile=profile) == "vary"
    assert why("", (b"content-type", b"text/event-stream; charset=utf-8"), profile=profile) == "stream"
    assert why("", COOKIE, profile=profile) == "set-cookie"


def test_must_understand() -> None:
    """As RFC 9111 §5.2.2.3 says.

    RFC 9111 §5.2.2.3: caches that understand the status "SHOULD ignore the no-store directive"; others keep
    nothing.
    """
    assert why("must-understand, no-store") is None
    assert why("must-understand", status=299) == "must-understand"


def test_authorization() -> None:
    """As RFC 9111 §3.5 says.

    RFC 9111 §3.5: a shared cache must not reuse a response to a request with Authorization unless it says must-
    revalidate, public or s-maxage; a partition of the caller's own is not shared.
    """
    assert why(authorized=True) == "authorization"
    assert why(authorized=True, apart=True) is None
    for allowed in ("public", "must-revalidate", "s-maxage=1"):
        assert why(allowed, authorized=True) is None


def test_what_the_safe_profile_leaves_alone() -> None:
    """Set-Cookie whatever else is said, failures, challenges, bare `no-cache`, an encoding nobody chose."""
    assert why("public", COOKIE) == "set-cookie"
    assert why("public", COOKIE, profile="rfc9111") == "set-cookie"
    assert why('no-cache="Set-Cookie"', COOKIE) is None
    assert why("max-age=1", status=503) == "status 503"
    assert why("max-age=1", status=503, profile="rfc9111") is None
    assert why("no-cache") == "no-cache"
    assert why("no-cache", profile="rfc9111") is None
    assert why("", (b"www-authenticate", b"Basic")) == "www-authenticate"
    gzip = (b"content-encoding", b"gzip")
    assert why("", gzip) == "content-encoding"
    assert why("", gzip, (b"vary", b"Accept-Encoding")) is None
    assert why("", (b"content-encoding", b"identity")) is None


def test_which_fields_are_kept() -> None:
    """As RFC 9111 §3.1 says.

    RFC 9111 §3.1: not those of the connection, nor those that Connection names; §5.2.2.4 and .7: nor those that
    `no-cache` and `private` name. Repetitions and order stay. RateLimit fields are somebody's standing.
    """
    headers = [
        (b"link", b"a"),
        (b"connection", b"x-hop, close"),
        (b"x-hop", b"1"),
        (b"keep-alive", b"1"),
        (b"age", b"5"),
        (b"ratelimit", b"r"),
        (b"set-cookie", b"a=b"),
        (b"x-own", b"1"),
        (b"link", b"b"),
    ]
    said = cache_control(['no-cache="set-cookie", private="X-Own"'])
    assert kept_headers(headers, said) == ((b"link", b"a"), (b"link", b"b"))


def test_what_is_varied_on() -> None:
    """RFC 9110 §12.5.5: a list of field names, on however many lines."""
    assert varies([(b"vary", b"Accept, COOKIE"), (b"vary", b"accept")]) == (b"accept", b"cookie")
    assert varies([]) == ()
