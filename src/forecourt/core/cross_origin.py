"""Whether a page of another site has had a browser send a request.

Browsers say where a request comes from in Sec-Fetch-Site (W3C Fetch Metadata), which no page can set; where they do
not (old ones, and over plain http) Origin, compared with Host, says the same. A request with neither comes from no
browser, so no cookies are sent behind its user's back. No tokens are needed. After Filippo Valsorda's "Cross-Site
Request Forgery" (2025), and as net/http does it in Go 1.25.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet

OWN = frozenset({b"same-origin", b"none"})
"""What browsers say of a page of the same origin, and of what the user typed or bookmarked."""


def let_in(fields: Mapping[bytes, bytes], trusted: AbstractSet[bytes]) -> bool:
    """Return whether a request with these fields comes from no other origin than its own and the `trusted`."""
    origin = fields.get(b"origin")
    if origin is not None and origin.lower() in trusted:
        return True
    site = fields.get(b"sec-fetch-site")
    if site is not None:
        return site in OWN
    if origin is None:
        return True
    _, separator, host = origin.partition(b"://")
    return bool(separator) and host.lower() == fields.get(b"host", b"").lower()
