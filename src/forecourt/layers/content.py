"""Content: refuses media types that an endpoint does not take, or cannot answer with.

`EndpointPolicy(content=Content(accepts={"application/json"}))` turns it on. It stands below the limits, which count
such calls, and above all that costs. A request with a body and a type that `accepts` does not name, or without any, is
refused with 415 and what is accepted (RFC 9110 §15.5.16); a caller whose Accept field leaves out all that `produces`
names with 406 (§15.5.7). WebSockets pass. It asks no store.
"""

from dataclasses import replace

from forecourt.core.caching.keys import combined
from forecourt.core.content import acceptable, media_type, within
from forecourt.exchange import exchange_of
from forecourt.policies.content import Content
from forecourt.responses import TYPES, Problem
from forecourt.routing import Endpoint
from forecourt.runtime import Runtime
from forecourt.types import ASGIApp, Receive, Scope, Send

UNSUPPORTED = Problem(
    415,
    "Unsupported Media Type",
    TYPES + "unsupported-media-type",
    "This endpoint does not take this kind of content; nothing was done.",
)
NOT_ACCEPTABLE = Problem(
    406,
    "Not Acceptable",
    TYPES + "not-acceptable",
    "This endpoint has no answer of a kind that the caller accepts; nothing was done.",
)


class ContentLayer:
    """Refuses other media types."""

    def __init__(self, app: ASGIApp, *, policy: Content, endpoint: Endpoint, runtime: Runtime) -> None:
        self.app = app
        self._accepts, self._produces = policy.accepts, policy.produces
        self._unsupported = replace(UNSUPPORTED, extensions={"accepts": sorted(policy.accepts)})
        self._not_acceptable = replace(NOT_ACCEPTABLE, extensions={"produces": sorted(policy.produces)})
        self._accept = (b"accept", ", ".join(sorted(policy.accepts)).encode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse or pass on."""
        if scope["type"] == "http" and (problem := self._problem(scope)):
            exchange = exchange_of(scope)
            exchange.decided("content", "refused")
            if problem is self._unsupported:
                exchange.headers.append(self._accept)
            return await exchange.refuse(problem)(scope, receive, send)
        await self.app(scope, receive, send)

    def _problem(self, scope: Scope) -> Problem | None:
        fields = combined(scope["headers"])
        if self._accepts:
            kind = fields.get(b"content-type")
            has_body = b"transfer-encoding" in fields or fields.get(b"content-length", b"0") != b"0"
            if (kind is not None or has_body) and not within(media_type(kind or b""), self._accepts):
                return self._unsupported
        if self._produces and (accept := fields.get(b"accept")) and not acceptable(accept, self._produces):
            return self._not_acceptable
        return None
