"""What each layer of the stack adds to an operation of an OpenAPI schema: one line per layer, in `TOLD`.

A line says which responses a policy can give instead of the handler's, with which fields; which request fields callers
may send for it; which fields it leaves on the handler's own answers; and what it tells as an extension. All of it is
made of what the config says, so it is what can happen, not what does.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from forecourt.config import JobConfig
from forecourt.config_cache import cached_here
from forecourt.config_policies import ResolvedPolicy
from forecourt.core.idempotency_rules import MOST_KEY
from forecourt.layers.invalidates import SAFE
from forecourt.policies.credits import Credits
from forecourt.policies.deprecation import Deprecation
from forecourt.policies.idempotency import Idempotency
from forecourt.policies.rate_limit import RateLimit
from forecourt.policies.strategies import Debounce
from forecourt.routing import Endpoint

Json = Mapping[str, object]

LATER = ("Retry-After",)
CHALLENGE = ("WWW-Authenticate", "DPoP-Nonce")


class Given(NamedTuple):
    """One response that a layer can give: its status, why, and the fields that it may carry besides the usual.

    `media_type` is None for a response without a body of ours.
    """

    status: int
    why: str
    fields: tuple[str, ...] = ()
    media_type: str | None = "application/problem+json"
    schema: str = "Problem"


class Sent(NamedTuple):
    """One request field that callers may, or must, send."""

    name: str
    why: str
    required: bool = False
    pattern: str = ""


class Told(NamedTuple):
    """What a layer adds to one operation: `fields` are those of the handler's own answers."""

    given: tuple[Given, ...] = ()
    sent: tuple[Sent, ...] = ()
    fields: tuple[str, ...] = ()
    marks: Json = MappingProxyType({})


class Place(NamedTuple):
    """One operation: its endpoint, one of its methods, the policy and the config that it is of."""

    endpoint: Endpoint
    method: str
    policy: ResolvedPolicy
    config: JobConfig


KEY = rf"""^([!#-+\-.-:<-\[\]-~]{{1,{MOST_KEY}}}|"([ !#-\[\]-~]|\\["\\]){{1,{MOST_KEY}}}")$"""
"""An idempotency key, bare or as a string of RFC 9651, as `core.idempotency_rules` reads it."""

NOTHING = Told()
STORE_DOWN = Given(503, "What decides on this call does not answer, or has too much to do.", LATER)

FIELDS: Mapping[str, str] = {
    "Accept": "The media types that are taken.",
    "Accept-Encoding": "The encodings that are taken.",
    "Age": "Seconds since the answer was made (RFC 9111).",
    "Cache-Status": "How the cache answered (RFC 9211).",
    "Content-Range": "Which part this is, or how long the whole is (RFC 9110).",
    "DPoP-Nonce": "What the next proof of possession must carry (RFC 9449).",
    "Deprecation": "Since when this operation is deprecated (RFC 9745).",
    "ETag": "Which version this is (RFC 9110).",
    "Idempotent-Replayed": "`true` where this is the answer of an earlier call.",
    "Link": "Where to read about it, and what to call instead.",
    "Location": "Where the job is looked at.",
    "Preference-Applied": "Which preference was honoured (RFC 7240).",
    "RateLimit": "What is left of each limit, and when there is more.",
    "RateLimit-Policy": "The limits of this operation.",
    "Retry-After": "Whole seconds after which another call makes sense.",
    "Sunset": "When this operation goes away (RFC 8594).",
    "WWW-Authenticate": "How to authenticate, and what was wrong.",
    "X-RateLimit-Limit": "The limit nearest its end.",
    "X-RateLimit-Remaining": "What is left of it.",
    "X-RateLimit-Reset": "Seconds until there is more.",
    "X-Request-ID": "What the log calls this request.",
}
"""Every response field that is told, and what it says."""


def told(place: Place) -> list[Told]:
    """Return what each layer adds to this operation, in the stack's order."""
    return [tell(place) for tell in TOLD.values()]


def _logging(place: Place) -> Told:
    header = place.config.telemetry.request_id_header
    return NOTHING if place.policy.logging is None else Told(fields=(header,))


def _flood_guard(place: Place) -> Told:
    if place.config.flood_guard is None:
        return NOTHING
    crowded = Given(503, "More addresses than can be counted.", LATER)
    return Told((Given(429, "Too many requests of this address.", LATER), crowded))


def _security(place: Place) -> Told:
    policy = place.policy.security
    if policy is None or policy.public:
        return NOTHING
    given = [
        Given(400, "The credentials cannot be read.", CHALLENGE),
        Given(401, "The caller is not known.", CHALLENGE),
        Given(503, "Nobody can tell now who is calling.", LATER),
    ]
    if policy.scopes or policy.roles:
        given.append(Given(403, "The caller may not do this.", CHALLENGE))
    return Told(tuple(given))


def _deprecation(place: Place) -> Told:
    policy = place.policy.said("deprecation")
    assert isinstance(policy, Deprecation)
    given = [Given(503, "Switched off for a while, so that callers notice.", LATER)] if policy.brownouts else []
    if policy.gone:
        given.append(Given(410, "This operation has reached the end of its life."))
    fields = ["Deprecation"]
    fields += ["Sunset"] if policy.sunset else []
    fields += ["Link"] if policy.link or policy.successor else []
    return Told(tuple(given), fields=tuple(fields), marks={"deprecated": True})


def _rate_limit(place: Place) -> Told:
    limits = place.policy.rate_limit
    if not limits:
        return NOTHING
    fields = _limit_fields(place)
    given = [Given(429, "A limit is used up.", (*LATER, *fields)), STORE_DOWN]
    if any(isinstance(limit, Debounce) and limit.edge == "trailing" for limit in limits):
        given.append(Given(409, "A later call took the place of this one."))
    return Told(tuple(given), fields=fields, marks={"x-rate-limits": [_limit(limit) for limit in limits]})


def _limit(limit: RateLimit) -> Json:
    """Return a limit's words and numbers; those of tiers are nobody else's business."""
    words = limit.model_dump(mode="json", exclude_none=True)
    return {name: words[name] for name in ("type", "name", "key", "cost", *limit.numbers) if name in words}


def _concurrency(place: Place) -> Told:
    policy = place.policy.concurrency
    if policy is None:  # it adapts
        return Told((Given(503, "This process has more calls than it can carry.", LATER),))
    busy = 503 if policy.key == "endpoint" else 429
    why = "As many calls as are allowed are at work."
    fields = _limit_fields(place)
    given = (Given(busy, why, (*LATER, *fields)), STORE_DOWN)
    return Told(given, fields=fields, marks={"x-concurrency": {"limit": policy.limit, "key": policy.key}})


def _max_body(place: Place) -> Told:
    given = [Given(413, "The content is larger than this operation allows.")]
    if getattr(place.policy.said("max_body"), "encodings", ()):
        given.append(Given(415, "The content is compressed in another way than those taken.", ("Accept-Encoding",)))
        given.append(Given(400, "The content is not in the encoding that it names."))
    return Told(tuple(given))


def _encryption(place: Place) -> Told:
    policy = place.policy.encryption
    assert policy is not None
    given: list[Given] = []
    if policy.request != "off":
        given += [
            Given(400, "The sealed content cannot be opened."),
            Given(413, "The content is larger than is read."),
        ]
    if policy.request == "required":
        given.append(Given(415, "Content must be sealed, and is not.", ("Accept",)))
    if policy.response != "off":
        given.append(Given(403, "The caller has registered no key to seal answers to."))
        given.append(Given(500, "The answer cannot be sealed and is withheld."))
    return Told(tuple(given))


def _content(place: Place) -> Told:
    policy = place.policy.said("content")
    given = []
    if getattr(policy, "accepts", ()):
        given.append(Given(415, "This kind of content is not taken.", ("Accept",)))
    if getattr(policy, "produces", ()):
        given.append(Given(406, "There is no answer of a kind that the caller accepts."))
    return Told(tuple(given))


def _idempotency(place: Place) -> Told:
    policy = place.policy.idempotency
    assert isinstance(policy, Idempotency)
    given = (
        Given(400, "The idempotency key is missing or malformed."),
        Given(409, "The call of this key is at work, or nobody knows what became of it.", LATER),
        Given(422, "This key belongs to a call with another payload."),
        Given(429, "As many keys as a caller may have are kept."),
        STORE_DOWN,
    )
    key = Sent(policy.header, "Names this call: the same key is carried out once.", policy.required, KEY)
    return Told(given, (key,), ("Idempotent-Replayed",))


def _credits(place: Place) -> Told:
    policy = place.policy.credits
    assert isinstance(policy, Credits)
    given = (
        Given(402, "The caller's credits do not suffice."),
        Given(429, "The caller's quota is used up until it is renewed.", LATER),
        STORE_DOWN,
    )
    mark = {"amount": policy.amount, "refund_on": sorted(policy.refund_on)}
    return Told(given, marks={"x-credits": mark})


def _cache(place: Place) -> Told:
    if not cached_here(frozenset({place.method}), "http"):
        return NOTHING
    kept = ("Age", "Cache-Status", "ETag")
    part = (*kept, "Content-Range")
    given = (
        Given(304, "What the caller has is still right.", kept, None),
        Given(206, "The part that the caller asked for.", part, None),
        Given(416, "There is no such part.", part, None),
        Given(504, "The caller asked for a kept answer only, and there is none."),
    )
    return Told(given, fields=kept)


def _offload(place: Place) -> Told:
    fields = ("Location", "Preference-Applied", *LATER)
    given = (
        Given(202, "A worker does it; look at the job.", fields, "application/json", "Job"),
        Given(413, "The body is larger than a job may carry."),
        Given(422, "This key was used for another request before."),
        STORE_DOWN,
    )
    return Told(given, (Sent("Prefer", "`respond-async`, and how long to `wait` (RFC 7240)."),))


def _upstreams(place: Place) -> Told:
    if not place.config.upstreams:
        return NOTHING
    return Told((Given(502, "A server that is needed has failed."), Given(504, "A server that is needed is too slow.")))


def _databases(place: Place) -> Told:
    if not place.config.databases:
        return NOTHING
    conflict = Given(409, "This contradicts what is stored already.")
    down = Given(503, "The database is busy, or does not answer.", LATER)
    return Told((conflict, down, Given(504, "The database is too slow.")))


def _audit(place: Place) -> Told:
    required = getattr(place.policy.said("audit"), "required", False)
    return Told((Given(503, "The call cannot be written down, so it is not done."),)) if required else NOTHING


def _cross_origin(place: Place) -> Told:
    return NOTHING if place.method in SAFE else Told((Given(403, "A page of another site may not do this."),))


def _webhook(_place: Place) -> Told:
    given = (
        Given(400, "The fields that sign are missing or cannot be read."),
        Given(403, "The signature is not its sender's, or too old."),
        Given(409, "This was received before, or is being received."),
        Given(413, "The body is larger than is read."),
        STORE_DOWN,
    )
    return Told(given)


def _always(*given: Given) -> Callable[[Place], Told]:
    return lambda _place: Told(given)


def _where(field: str, tell: Callable[[Place], Told]) -> Callable[[Place], Told]:
    """Return what tells where the endpoint's policy says something in `field`."""
    return lambda place: NOTHING if place.policy.said(field) is None else tell(place)


def _limit_fields(place: Place) -> tuple[str, ...]:
    return _WRITTEN[place.config.limit_headers]


_DRAFT = ("RateLimit", "RateLimit-Policy")
_LEGACY = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")
_WRITTEN: Mapping[str, tuple[str, ...]] = {
    "draft-11": _DRAFT,
    "legacy": _LEGACY,
    "both": _DRAFT + _LEGACY,
    "none": (),
}

TOLD: Mapping[str, Callable[[Place], Told]] = {
    "logging": _logging,
    "headers": _always(),
    "flood_guard": _flood_guard,
    "max_headers": _where("max_headers", _always(Given(431, "The request's fields are larger than allowed."))),
    "clients": _where("clients", _always(Given(403, "This network may not call."))),
    "cross_origin": _where("cross_origin", _cross_origin),
    "security": _security,
    "maintenance": _where("maintenance", _always(Given(503, "This operation is in maintenance.", LATER))),
    "deprecation": _where("deprecation", _deprecation),
    "rate_limit": _rate_limit,
    "concurrency": _where("concurrency", _concurrency),
    "max_body": _where("max_body", _max_body),
    "encryption": _where("encryption", _encryption),
    "content": _where("content", _content),
    "webhook": _where("webhook", _webhook),
    "audit": _where("audit", _audit),
    "idempotency": _where("idempotency", _idempotency),
    "credits": _where("credits", _credits),
    "invalidates": _always(),
    "cache": _where("cache", _cache),
    "circuit_breaker": _where("circuit_breaker", _always(Given(503, "What this needs has failed.", LATER))),
    "timeout": _where("timeout", _always(Given(504, "It took longer than this operation allows."))),
    "retry": _always(),
    "offload": _where("offload", _offload),
    "databases": _databases,
    "upstreams": _upstreams,
}
"""What tells each layer's part, by its name in the stack; a new layer is a line here."""
