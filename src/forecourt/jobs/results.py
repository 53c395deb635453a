"""A job's result: the handler's own status, headers and body, as they are stored and answered again."""

import base64
import json
from dataclasses import dataclass

from starlette.responses import Response

from forecourt.responses import Header

_NOT_KEPT = frozenset(
    {
        b"connection",
        b"content-length",
        b"date",
        b"keep-alive",
        b"proxy-authenticate",
        b"server",
        b"set-cookie",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""Fields of one connection or one answer; a cookie is for the browser that called, not for who polls."""


@dataclass(frozen=True, slots=True)
class JobResult:
    """What the handler answered."""

    status: int
    headers: tuple[Header, ...]
    body: bytes

    def stored(self) -> bytes:
        """Return it as JSON."""
        headers = [
            [name.decode("latin-1"), value.decode("latin-1")]
            for name, value in self.headers
            if name.lower() not in _NOT_KEPT
        ]
        written = {"status": self.status, "headers": headers, "body": base64.b64encode(self.body).decode()}
        return json.dumps(written, separators=(",", ":")).encode()

    @classmethod
    def read(cls, stored: bytes) -> "JobResult":
        """Return what `stored` wrote."""
        written = json.loads(stored)
        headers = tuple((name.encode("latin-1"), value.encode("latin-1")) for name, value in written["headers"])
        return cls(written["status"], headers, base64.b64decode(written["body"]))

    def response(self) -> Response:
        """Return the answer, never to be kept by a shared cache: it is its owner's."""
        response = Response(self.body, self.status)
        own = {name for name, _ in self.headers}
        response.raw_headers = [field for field in response.raw_headers if field[0] not in own]
        response.raw_headers += [field for field in self.headers if field[0] != b"cache-control"]
        response.headers["cache-control"] = "private, no-store"
        return response
