"""Deprecation: tells callers that an endpoint will go, and counts who still calls it.

`EndpointPolicy(deprecation=Deprecation(since=…, sunset=…))` turns it on. Answers carry `Deprecation` (RFC 9745),
`Sunset` (RFC 8594) and `Link`s to what people should read and to what is to be called instead. It stands below auth, so
that what observers are told of each call (`called`) comes with the principal. Refuses with 503 and Retry-After during a
brownout, and with 410 after the sunset where `gone` says so. It asks no store.
"""

from datetime import UTC, datetime
from email.utils import format_datetime

from forecourt.exchange import exchange_of
from forecourt.policies.deprecation import Deprecation
from forecourt.responses import TYPES, Header, Problem
from forecourt.routing import Endpoint
from forecourt.runtime import Runtime
from forecourt.types import SECOND, ASGIApp, Receive, Scope, Send

GONE = Problem(410, "Gone", TYPES + "sunset", "This endpoint has reached the end of its life; nothing was done.")
BROWNOUT = Problem(
    503,
    "Service Unavailable",
    TYPES + "brownout",
    "This endpoint is deprecated, and switched off for a while so that its callers notice; nothing was done.",
)


class DeprecationLayer:
    """Tells the callers of one deprecated endpoint."""

    def __init__(self, app: ASGIApp, *, policy: Deprecation, endpoint: Endpoint, runtime: Runtime) -> None:
        self.app = app
        self._clock = runtime.clock
        self._fields = _fields(policy)
        self._brownouts = [(_micros(each.start), _micros(each.end)) for each in policy.brownouts]
        self._gone = _micros(policy.sunset) if policy.gone and policy.sunset else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Tell, count, and refuse where its time is over."""
        exchange = exchange_of(scope)
        exchange.headers += self._fields
        now = self._clock.now()
        if self._gone is not None and now >= self._gone:
            exchange.decided("deprecation", "refused", "gone")
            return await exchange.refuse(GONE)(scope, receive, send)
        ends = [end for start, end in self._brownouts if start <= now < end]
        if ends:
            exchange.decided("deprecation", "refused", "brownout")
            return await exchange.refuse(BROWNOUT, -(-(max(ends) - now) // SECOND))(scope, receive, send)
        exchange.decided("deprecation", "called")
        await self.app(scope, receive, send)


def _fields(policy: Deprecation) -> list[Header]:
    """Return the response fields, which are the same for every call."""
    fields = [(b"deprecation", b"@%d" % (_micros(policy.since) // SECOND))]
    if policy.sunset:
        fields.append((b"sunset", format_datetime(policy.sunset.astimezone(UTC), usegmt=True).encode()))
    links = [f'<{policy.link}>; rel="deprecation"; type="text/html"'] if policy.link else []
    if policy.successor:
        links.append(f'<{policy.successor}>; rel="successor-version"')
    return [*fields, *((b"link", link.encode()) for link in links)]


def _micros(instant: datetime) -> int:
    return int(instant.timestamp()) * SECOND
