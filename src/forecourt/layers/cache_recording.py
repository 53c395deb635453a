"""Records one answer of a handler while it passes, and decides what becomes of it: kept, or not to be waited for.

The fields of the answer decide before its body comes, so that callers who wait are let go at once where it is not
kept. The body passes as it comes; what is kept of it is bounded, and in the tier before the last byte leaves, so that
its client's next request finds it. Only where a whole body comes at once is the start held until then, to get its ETag.

An answer may also be replaced: by a stale one where the handler failed (RFC 5861 §4), by the kept one where the handler
said that it is unchanged (RFC 9111 §4.3.4).
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from forecourt.caching.caching import PASS, Caching
from forecourt.caching.flights import Flight, Landed, Landing
from forecourt.core.caching import status
from forecourt.core.caching.directives import Header, response_directives
from forecourt.core.caching.entries import Entry
from forecourt.core.caching.freshness import OF_TTL, Life, Terms, initial_age, life, may_be_stale
from forecourt.core.caching.groups import GROUPS, members
from forecourt.core.caching.keys import selected
from forecourt.core.caching.storable import kept_headers, unstorable, varies
from forecourt.core.caching.validators import etag_of
from forecourt.exchange import Exchange
from forecourt.layers.cache_serving import serve
from forecourt.layers.cache_visits import Visit, Visits, group_tags
from forecourt.policies.cache import Cache
from forecourt.types import SECOND, ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger("forecourt")

FAILED = frozenset({500, 502, 503, 504})
"""RFC 5861 §4: the errors in place of which a stale answer may be given."""

_SILENT = frozenset({b"content-type", b"content-length", b"etag", b"last-modified", b"content-language", b"link"})
"""Fields of responses that say nothing about who may have them, or for how long."""

_FAILURE_PASS = SECOND
_REVALIDATED_FOR = 3600 * SECOND


class Rules(NamedTuple):
    """What all answers of one endpoint are judged by; `plain`: how long those live that say nothing themselves."""

    policy: Cache
    terms: Terms
    caching: Caching
    visits: Visits
    plain: Life | None


def rules_of(policy: Cache, caching: Caching, visits: Visits) -> Rules:
    """Return the rules of an endpoint."""
    terms = policy.terms()
    return Rules(policy, terms, caching, visits, life(200, (), {}, terms._replace(heuristics=False), 0))


class Recording:
    """One run of the handler. `leads`: others wait for it; `own`: the id of the lead in the store."""

    def __init__(
        self,
        rules: Rules,
        exchange: Exchange,
        visit: Visit,
        send: Send,
        *,
        why: status.Forwarded,
        leads: bool = False,
        own: str = "",
        flight: Flight | None = None,
        validates: bool = False,
    ) -> None:
        self._rules = rules
        self._exchange = exchange
        self._visit = visit
        self._send = send
        self._why: status.Forwarded = why
        self._leads = leads
        self._own = own
        self._flight = flight
        self._validates = validates
        self._begun = rules.caching.clock.now()
        self._started = False
        self._instead: Entry | None = None
        self._detail = ""
        self._draft: Entry | None = None
        self._held: Message | None = None
        self._chunks: list[bytes] = []
        self._size = 0
        self.decided = False
        """Whether it is settled what becomes of the answer."""

    async def run(self, app: ASGIApp, scope: Scope, receive: Receive) -> None:
        """Have the handler answer; what it raises passes, unless a stale answer takes its place."""
        try:
            await app(scope, receive, self.send)
        except Exception:
            stale = self._stale_instead()
            if self._started or stale is None:
                raise
            logger.exception("the handler failed: a stale answer was given in its place")
            self._replace(stale, "error")
        finally:
            if not self.decided and self._own:
                self._rules.caching.release(self._visit.spot, self._own)
        if self._held is not None:
            await self._let_start()
        if self._instead is not None:
            now = self._rules.caching.clock.now()
            said = status.hit(-self._instead.stale_for(now), self._detail) if self._detail else None
            visit = self._visit
            await serve(self._instead, now, visit.method, visit.fields, self._send, said=said)

    async def send(self, message: Message) -> None:
        """Pass a message on, and note what it says."""
        if self._instead is not None:
            return None
        kind = message["type"]
        if kind == "http.response.start":
            return await self._start(message)
        if kind == "http.response.body":
            return await self._body(message)
        if kind in ("http.response.pathsend", "http.response.zerocopysend", "http.response.trailers"):
            await self._drop()
        await self._send(message)

    async def _start(self, message: Message) -> None:
        code: int = message["status"]
        headers = [(bytes(name).lower(), bytes(value)) for name, value in message.get("headers") or ()]
        if code == 304 and self._validates and self._visit.entry is not None:
            return await self._unchanged(self._visit.entry, headers)
        if code in FAILED and (stale := self._stale_instead()) is not None:
            return self._replace(stale, f"status-{code}")
        self._started = True
        self._draft = None if message.get("trailers") else self._judged(code, headers)
        if self._draft is None:
            self._give_up(_FAILURE_PASS if code >= 500 else None)
        fields = [
            *(message.get("headers") or ()),
            (status.FIELD, status.forwarded(self._why, stored=self._draft is not None)),
        ]
        message = {**message, "headers": fields}
        whole = any(name == b"content-length" for name, _ in headers)
        if self._draft is not None and code == 200 and whole and not any(name == b"etag" for name, _ in headers):
            self._held = message
            return None
        await self._send(message)

    def _replace(self, stale: Entry, detail: str) -> None:
        """Have a stale answer given in place of a failure, of which a framework may tell twice."""
        if self._instead is None:
            self._exchange.decided("cache", "stale")
        self._instead, self._detail = stale, detail
        self._give_up(_FAILURE_PASS)

    async def _body(self, message: Message) -> None:
        last = not message.get("more_body", False)
        body = message.get("body", b"")
        if self._draft is not None:
            self._size += len(body)
            if self._size > self._rules.policy.max_body:
                await self._drop()
            elif body:
                self._chunks.append(body if isinstance(body, bytes) else bytes(body))
        if last and self._draft is not None:
            await self._keep(self._draft)
        if self._held is not None:
            await self._let_start()
        await self._send(message)

    async def _let_start(self) -> None:
        held, self._held = self._held, None
        assert held is not None
        await self._send(held)

    async def _drop(self) -> None:
        """Keep nothing of what has begun: it is too large, or in a form that cannot be kept."""
        self._draft = None
        self._chunks = []
        self._give_up(None)
        if self._held is not None:
            await self._let_start()

    def _judged(self, code: int, headers: Sequence[Header]) -> Entry | None:
        """Return the entry that this answer begins; None where it must not be kept, or nothing says how long."""
        visit, rules = self._visit, self._rules
        if not visit.demand.stored:
            return None
        if rules.plain is not None and code in OF_TTL and _tells_nothing(headers):
            return self._by_policy(code, headers, rules.plain)
        said, aimed = response_directives(headers)
        now = rules.caching.clock.now()
        authorized = b"authorization" in visit.fields
        why = unstorable(
            code, headers, said, profile=rules.policy.profile, authorized=authorized, apart=not self._for_all()
        )
        lives = life(code, headers, said, rules.terms, now, aimed=aimed)
        groups = members(headers, GROUPS)
        if why is not None or lives is None or groups is None:
            return None
        validated = rules.policy.profile == "rfc9111" and _has_validator(headers)
        if lives.whole <= 0 and not validated:
            return None
        took = now - self._begun
        age = initial_age(headers, now, took)
        if age >= lives.whole and not validated:
            return None
        names = rules.visits.learn(varies(headers))
        return Entry(
            code,
            kept_headers(headers, said),
            b"",
            lives,
            zero=now - age,
            took=took,
            firm=not may_be_stale(said),
            names=names,
            seen=visit.spot.seen,
            stamps=visit.spot.stamps,
            groups=group_tags(rules.caching, visit.spot.parts[1], groups),
        )

    def _by_policy(self, code: int, headers: Sequence[Header], lives: Life) -> Entry | None:
        """Return the entry of an answer that says nothing of caching: what `_judged` would, in fewer steps."""
        visit, rules = self._visit, self._rules
        if b"authorization" in visit.fields and self._for_all():
            return None
        now = rules.caching.clock.now()
        return Entry(
            code,
            tuple(headers),
            b"",
            lives,
            zero=now,
            took=now - self._begun,
            names=rules.visits.learn(()),
            seen=visit.spot.seen,
            stamps=visit.spot.stamps,
        )

    def _for_all(self) -> bool:
        """Return whether what is kept may be given to callers with other credentials."""
        return not self._visit.apart and self._rules.policy.partition != "everyone"

    async def _keep(self, draft: Entry) -> None:
        """Keep the whole answer, before its last byte leaves."""
        body = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        stated = next((value for name, value in draft.headers if name == b"content-length"), None)
        if stated is not None and stated != b"%d" % len(body):
            return self._give_up(None)
        headers = draft.headers if stated is not None else (*draft.headers, (b"content-length", b"%d" % len(body)))
        if draft.status == 200 and not any(name == b"etag" for name, _ in headers):
            tag = (b"etag", etag_of(body))
            headers = (*headers, tag)
            if self._held is not None:
                self._held = {**self._held, "headers": [*self._held["headers"], tag]}
        await self._fill(replace(draft, body=body, headers=headers))

    async def _fill(self, entry: Entry) -> None:
        visit, rules = self._visit, self._rules
        self.decided = True
        self._exchange.decided("cache", "stored")
        spot = visit.spot
        if spot.names != entry.names:
            if self._own:
                rules.caching.release(spot, self._own)
            spot.select(entry.names, selected(entry.names, visit.fields))
        keep = max(entry.life.whole, 1)
        if rules.policy.profile == "rfc9111" and _has_validator(entry.headers):
            keep += _REVALIDATED_FOR
        await rules.caching.fill(spot, entry, self._own, keep)
        if self._flight is not None:
            self._flight.land(Landed(entry, spot.selection))

    async def _unchanged(self, entry: Entry, headers: Sequence[Header]) -> None:
        """Freshen what is kept by the fields of a 304 (RFC 9111 §3.2, §4.3.4), and give it."""
        self._exchange.decided("cache", "revalidated")
        fresh = dict(headers)
        kept = [(name, fresh.pop(name, value)) for name, value in entry.headers if name != b"content-length"]
        merged = [*kept, *fresh.items(), (b"content-length", b"%d" % len(entry.body))]
        draft = self._judged(entry.status, merged)
        self._instead = entry if draft is None else replace(draft, body=entry.body)
        if draft is None:
            return self._give_up(None)
        await self._fill(self._instead)

    def _give_up(self, lasting: int | None) -> None:
        """Let everybody go who waits: this answer is not kept; of a failure only for a moment."""
        if self.decided:
            return
        self.decided = True
        if self._leads:
            self._rules.caching.let_pass(self._visit.spot, self._own, PASS if lasting is None else lasting)
        if self._flight is not None:
            self._flight.land(Landing.APART)

    def _stale_instead(self) -> Entry | None:
        """Return the stale answer that may be given in place of a failure (RFC 5861 §4)."""
        entry = self._visit.entry
        if entry is None or entry.firm or self._started:
            return None
        return entry if entry.stale_for(self._rules.caching.clock.now()) < entry.life.if_error else None


def _tells_nothing(headers: Sequence[Header]) -> bool:
    return all(name in _SILENT for name, _ in headers) and not any(
        value.startswith(b"text/event-stream") for name, value in headers if name == b"content-type"
    )


def _has_validator(headers: Sequence[Header]) -> bool:
    return any(name in (b"etag", b"last-modified") for name, _ in headers)
