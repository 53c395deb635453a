"""The page and what it loads: a handful of files of this package, read once, served under a strict policy.

Nothing of it is secret, nothing is inline, and nothing comes from another host.
"""

import hashlib
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response

_KINDS = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""What the page may do: run and load files from beside it, and ask the service it came from."""

CAREFUL = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


class _File(NamedTuple):
    body: bytes
    media_type: str
    tag: str


def page(request: Request) -> Response:
    """Return the page, or a file that it loads; 404 for any other."""
    found = _files().get(request.path_params["file"] or "index.html")
    if found is None:
        return Response(status_code=404)
    headers = {
        "content-security-policy": POLICY,
        "permissions-policy": "camera=(), geolocation=(), microphone=()",
        "cache-control": "no-cache",
        "etag": found.tag,
        **CAREFUL,
    }
    if request.headers.get("if-none-match") == found.tag:
        return Response(status_code=304, headers=headers)
    return Response(found.body, headers=headers, media_type=found.media_type)


@cache
def _files() -> dict[str, _File]:
    found: dict[str, _File] = {}
    for each in files("forecourt.console").joinpath("static").iterdir():
        kind = _KINDS.get(each.name.rpartition(".")[2])
        if kind is not None:
            body = each.read_bytes()
            found[each.name] = _File(body, kind, f'"{hashlib.blake2b(body, digest_size=9).hexdigest()}"')
    return found
