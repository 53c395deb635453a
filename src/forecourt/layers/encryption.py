"""Encryption: opens what callers sealed to the service, and seals each answer to its caller.

`EndpointPolicy(encryption=Encryption(request="required", response="required"))` turns it on, with the config's
`payload_keys`. It stands below the limits, as it opens only what was let in, and above all that looks at contents: a
retry that is sealed anew is the same call for idempotency, and the cache keeps one answer, sealed for each caller who
is given it. What is answered below is held, within `max_body`, and sealed; only forecourt's own refusals leave as they
are. An answer that never ends, or is too large to be held, is not given.

Refuses with 400 and one text whatever does not open, 403 where the caller has no registered key, 413 for too large a
body, 415 where content must be sealed and is not, and 500 in place of an answer that cannot be sealed. WebSockets pass.
It asks no store.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from urllib.parse import quote

from forecourt.core.caching.keys import combined
from forecourt.core.content import media_type
from forecourt.core.payload import Call, Header, check_request, text_of
from forecourt.core.sealed import Unopened
from forecourt.exchange import Exchange, exchange_of
from forecourt.layers.bodies import again, whole
from forecourt.layers.encryption_answer import Answering, Sealed, worked
from forecourt.layers.max_body import TOO_LARGE
from forecourt.payload.contents import Contents, Inside, NotSealed
from forecourt.payload.keys import Opens, Seals
from forecourt.policies.encryption import Encryption
from forecourt.responses import TYPES, Problem, Refusal
from forecourt.responses import Header as ByteHeader
from forecourt.routing import Endpoint
from forecourt.runtime import Runtime
from forecourt.stores.contract import Answer, Question, Settlement
from forecourt.types import SECOND, ASGIApp, Message, Receive, Scope, Send

UNOPENED = Problem(
    400, "Bad Request", TYPES + "content-not-opened", "The sealed content cannot be opened; nothing was done."
)
NOT_SEALED = Problem(
    415,
    "Unsupported Media Type",
    TYPES + "content-not-sealed",
    "This endpoint takes sealed content only; nothing was done.",
)
NO_KEY = Problem(
    403,
    "Forbidden",
    TYPES + "no-encryption-key",
    "The caller has registered no key that the answer could be sealed to; nothing was done.",
)

_OF_CONTENT = frozenset({b"content-type", b"content-length", b"content-encoding", b"transfer-encoding"})
_LENGTHS = frozenset({b"content-length", b"transfer-encoding"})
_OF_BYTES = frozenset({b"accept-encoding", b"range", b"if-range"})
_OF_FILES = frozenset({"http.response.pathsend", "http.response.zerocopysend"})


class EncryptionLayer:
    """Opens and seals the contents of one endpoint; see the module for what it answers."""

    settles = False

    def __init__(self, app: ASGIApp, *, policy: Encryption, endpoint: Endpoint, runtime: Runtime) -> None:
        self.app = app
        self._policy = policy
        self._contents = Contents.of(policy)
        self._terms = policy.terms()
        self._most = policy.max_body
        keyring = runtime.config.keyring
        assert keyring is not None, "the config asks for payload_keys"
        self._keyring = keyring
        self._opens: Opens | None = keyring.opener(policy.format) if policy.request != "off" else None
        self._required = policy.request == "required"
        self._not_sealed = replace(NOT_SEALED, extensions={"accepts": [self._contents.media_type]})
        self._by_accept = policy.response == "optional" and self._contents.whole
        self._accept = (b"accept", self._contents.media_type.encode())
        self._clock = runtime.clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Ask; open the request or refuse it; call on, and seal what is answered."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        exchange = exchange_of(scope)
        if refused := await exchange.ask(self):
            return await refused(scope, receive, send)
        call, id_ = _call_of(exchange), None
        if self._opens is not None and self._to_read(scope):
            body = await whole(receive, self._most)
            if body is None:
                return None  # the client has left
            inside = await self._inside(exchange, self._opens, call, body)
            if isinstance(inside, Refusal):
                return await inside(scope, receive, send)
            if inside is not None:
                body, id_ = inside.content, text_of(inside.header, "jti")
                scope["headers"] = _of_inside(scope["headers"], inside)
            receive = again(body, receive)
        seals: Seals | None = exchange.notes.get(self)
        if seals is None:
            return await self.app(scope, receive, _varying(send) if self._by_accept else send)
        self._prepare(scope)
        sealed = Sealed(self._contents, seals, call, id_, self._clock, self._most)
        await self._answered(scope, receive, Answering(sealed, exchange, receive, send))

    def questions(self, exchange: Exchange) -> Sequence[Question] | Refusal:
        """Ask nothing; refuse what cannot be right, before any layer asks."""
        scope = exchange.scope
        if scope["type"] != "http":
            return ()
        fields = combined(scope["headers"])
        sealed = self._contents.takes(fields.get(b"content-type", b""))
        if self._required and not sealed and _has_content(fields):
            return self._unsealed(exchange)
        if not self._is_wanted(fields, sealed=sealed and self._opens is not None):
            return ()
        seals = self._keyring.sealer(self._policy.format, exchange.principal)
        if seals is not None:
            exchange.notes[self] = seals
            self._prepare(scope)
        elif self._policy.response == "required" or self._by_accept:
            return self._refuse(exchange, NO_KEY)
        return ()

    def answered(self, _exchange: Exchange, _answers: Sequence[Answer]) -> None:
        """Nothing was asked."""

    def settlements(self, _exchange: Exchange, _answers: Sequence[Answer]) -> Iterable[Settlement]:
        """Nothing was granted."""
        return ()

    def _is_wanted(self, fields: dict[bytes, bytes], *, sealed: bool) -> bool:
        """Return whether the answer is to be sealed; at will, fields and members are to all who have a key."""
        if not self._by_accept or sealed:
            return self._policy.response != "off"
        accepted = fields.get(b"accept", b"").split(b",")
        return any(media_type(each) == self._contents.media_type for each in accepted)

    def _to_read(self, scope: Scope) -> bool:
        return self._required or self._contents.takes(combined(scope["headers"]).get(b"content-type", b""))

    def _prepare(self, scope: Scope) -> None:
        """Leave out of a request what those below could only take for their own contents."""
        scope["headers"] = _without(scope["headers"], self._accept[1])
        if extensions := scope.get("extensions"):
            scope["extensions"] = {name: each for name, each in extensions.items() if name not in _OF_FILES}

    async def _inside(self, exchange: Exchange, opens: Opens, call: Call, body: bytes) -> Inside | Refusal | None:
        """Return what was sealed, a refusal, or None for what nobody sealed and nobody had to."""
        if len(body) > self._most:
            return self._refuse(exchange, TOO_LARGE)
        if not self._contents.takes(combined(exchange.scope["headers"]).get(b"content-type", b"")):
            return self._unsealed(exchange) if body else None

        def check(header: Header, pointer: str | None) -> None:
            check_request(header, call, self._terms, self._clock.now() // SECOND, pointer)

        try:
            open_ = partial(self._contents.open, opens, body, check, all_of_it=self._required)
            inside = await worked(len(body), open_)
        except NotSealed:
            return self._unsealed(exchange) if self._required else None
        except Unopened:
            return self._refuse(exchange, UNOPENED)
        exchange.decided("encryption", "allowed")
        return inside

    async def _answered(self, scope: Scope, receive: Receive, answering: Answering) -> None:
        """Call on; once the answer was given up, how the handler ends is nobody's business."""
        try:
            await self.app(scope, receive, answering.send)
        except Exception:
            if not answering.given_up:
                raise

    def _unsealed(self, exchange: Exchange) -> Refusal:
        exchange.headers.append(self._accept)
        return self._refuse(exchange, self._not_sealed)

    def _refuse(self, exchange: Exchange, problem: Problem) -> Refusal:
        exchange.decided("encryption", "refused")
        return exchange.refuse(problem)


def _call_of(exchange: Exchange) -> Call:
    """Return the call as its caller made it: method, and path and query as they were sent."""
    scope = exchange.scope
    path = scope.get("raw_path") or quote(scope["path"], safe="/:@!$&'()*+,;=~").encode()
    query = scope.get("query_string", b"")
    subject = exchange.principal.subject if exchange.principal else None
    return Call(scope["method"], path + b"?" + query if query else path, subject)


def _has_content(fields: dict[bytes, bytes]) -> bool:
    return b"transfer-encoding" in fields or fields.get(b"content-length", b"0") != b"0"


def _of_inside(headers: Sequence[ByteHeader], inside: Inside) -> list[ByteHeader]:
    """Return the request's fields as those below are to see them: of what was inside."""
    dropped = _LENGTHS if inside.in_place else _OF_CONTENT
    kept = [each for each in headers if each[0] not in dropped]
    kept.append((b"content-length", b"%d" % len(inside.content)))
    if inside.content_type:
        kept.append((b"content-type", inside.content_type.encode()))
    if inside.coding:
        kept.append((b"content-encoding", inside.coding.encode()))
    return kept


def _without(headers: Sequence[ByteHeader], media: bytes) -> list[ByteHeader]:
    """Return fields without those that ask for other bytes of the same content, and without the sealed media type."""
    kept: list[ByteHeader] = []
    for name, value in headers:
        left = value
        if name == b"accept":
            ranges = [each for each in value.split(b",") if media_type(each).encode() != media]
            left = b",".join(ranges).strip()
        if name not in _OF_BYTES and (left or not value):
            kept.append((name, left))
    return kept


def _varying(send: Send) -> Send:
    """Return what says that with another Accept field this would be another answer."""

    async def varying(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*(message.get("headers") or ()), (b"vary", b"Accept")]}
        await send(message)

    return varying
