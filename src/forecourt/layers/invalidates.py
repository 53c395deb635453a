"""Invalidates: makes kept answers invalid when a call has changed what they say.

`EndpointPolicy(invalidates={"record:{record_id}"})` turns it on. Besides, an unsafe method invalidates what is kept of
its own path, and of the paths that its answer's Location and Content-Location name on the same host (RFC 9111 §4.4),
where the cache keeps anything of such a path; and the groups that its answer's Cache-Group-Invalidation names (RFC 9875
§3), where the cache keeps anything. It stands right above the cache, below all that may refuse, so that only
handlers invalidate.

It takes effect before the last byte of the answer leaves, for answers below 400, in a trip of its own: who writes and
then reads, reads what was written. It refuses nothing. With the store down the invalidation is queued, and nothing
older is served by this process.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from urllib.parse import urljoin, urlsplit

from forecourt.caching.caching import Caching
from forecourt.core.caching.groups import INVALIDATED, members
from forecourt.core.caching.keys import combined
from forecourt.exchange import Exchange, exchange_of
from forecourt.layers.cache_visits import group_tags, place_of, tag_writer, uri_tag
from forecourt.types import ASGIApp, Message, Receive, Scope, Send

SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "QUERY"})
"""RFC 9110 §9.2.1."""

_ENDS = frozenset({"http.response.pathsend", "http.response.zerocopysend"})
_LOCATIONS = (b"location", b"content-location")


class InvalidatesLayer:
    """Invalidates what one endpoint's calls change. `uri`: what is kept of its own path, too."""

    def __init__(self, app: ASGIApp, *, tags: AbstractSet[str], caching: Caching, uri: bool) -> None:
        self.app = app
        self._tags = tag_writer(tags, caching)
        self._caching = caching
        self._uri = uri

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call on, and invalidate before the end of an answer below 400."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        exchange = exchange_of(scope)
        writing = Writing(exchange, send, self._caching, lambda headers: self._all(exchange, scope, headers))
        try:
            await self.app(scope, receive, writing.send)
        except asyncio.CancelledError:
            # Nobody knows whether the handler had written; a miss too many is no harm.
            await writing.invalidate()
            raise
        finally:
            if writing.begun:
                await writing.invalidate()

    def _all(self, exchange: Exchange, scope: Scope, headers: Sequence[tuple[bytes, bytes]]) -> tuple[str, ...]:
        tags = self._tags(exchange.params)
        if scope["method"] in SAFE:
            return tags
        if groups := members(headers, INVALIDATED):
            own = place_of(scope, combined(scope["headers"]))
            tags = (*tags, *group_tags(self._caching, own, groups))
        return (*tags, *_uri_tags(self._caching, scope, dict(headers))) if self._uri else tags


class Writing:
    """One call that may change something: `tags` are known when its fields are."""

    def __init__(
        self,
        exchange: Exchange,
        send: Send,
        caching: Caching,
        tags: Callable[[Sequence[tuple[bytes, bytes]]], tuple[str, ...]],
    ) -> None:
        self._exchange = exchange
        self._send = send
        self._caching = caching
        self._tags = tags
        self._headers: Sequence[tuple[bytes, bytes]] = ()
        self._trailers = False
        self.begun = False
        self._done = False

    async def send(self, message: Message) -> None:
        """Pass on; hold the last message until the invalidation has taken effect."""
        kind = message["type"]
        if kind == "http.response.start":
            self.begun = message["status"] < 400
            self._done = not self.begun
            self._trailers = bool(message.get("trailers"))
            self._headers = [(bytes(name).lower(), bytes(value)) for name, value in message.get("headers") or ()]
        elif self.begun and self._is_last(message):
            await self.invalidate()
        await self._send(message)

    async def invalidate(self) -> None:
        """Invalidate, once."""
        if not self._done:
            self._done = True
            if tags := self._tags(self._headers):
                self._exchange.decided("invalidates", "invalidated")
                await self._caching.cut(tags)

    def _is_last(self, message: Message) -> bool:
        kind = message["type"]
        if kind == "http.response.body":
            return not self._trailers and not message.get("more_body", False)
        if kind == "http.response.trailers":
            return not message.get("more_trailers", False)
        return kind in _ENDS


def _uri_tags(caching: Caching, scope: Scope, answer: Mapping[bytes, bytes]) -> list[str]:
    """Return the tags of the call's own path, and of those it names on the same host (RFC 9111 §4.4)."""
    fields = combined(scope["headers"])
    own = place_of(scope, fields)
    host, path = fields.get(b"host", b"").lower().decode("latin-1"), own[3]
    assert isinstance(path, bytes)
    base = f"{scope['scheme']}://{host}{path.decode('latin-1')}"
    tags = [uri_tag(caching, own)]
    for name in _LOCATIONS:
        if name in answer:
            target = urlsplit(urljoin(base, answer[name].decode("latin-1")))
            if target.netloc.lower() == host:
                tags.append(uri_tag(caching, ("", host.encode("latin-1"), "", target.path.encode("latin-1"))))
    return tags
