"""What a request looks for in the cache: whom it is shared with, and what it accepts. Computed once per endpoint."""

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import quote

from forecourt.caching.caching import Caching
from forecourt.caching.spots import NOTHING, Found, Spot
from forecourt.core.caching.directives import request_directives
from forecourt.core.caching.entries import Entry
from forecourt.core.caching.freshness import ANYTHING, Demand, demand
from forecourt.core.caching.keys import Part, Parts, combined, selected
from forecourt.exchange import Exchange
from forecourt.policies.cache import Cache, placeholders
from forecourt.principals import Principal, digest
from forecourt.routing import Endpoint
from forecourt.types import Scope

_SPECIAL = frozenset({b"cache-control", b"pragma", b"if-none-match", b"if-modified-since", b"range"})
_METHODS = frozenset({"GET", "HEAD"})
_ANONYMOUS: tuple[str, ...] = ("anonymous",)
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


@dataclass(slots=True)
class Visit:
    """One request at the cache: the spot it looks at, its fields, what it accepts, and what was found so far.

    `apart`: a partition keeps its answer from other callers. `reached`: the call has come as far as the cache.
    """

    spot: Spot
    fields: Mapping[bytes, bytes]
    demand: Demand
    method: str
    apart: bool
    entry: Entry | None = None
    found: Found = NOTHING
    asked: bool = False
    reached: bool = False


class Hit(NamedTuple):
    """The commonest visit: what the process has is fresh, and asked for as it is."""

    entry: Entry
    now: int
    method: str


class Bypass(NamedTuple):
    """A request that the cache does not look at, and why."""

    why: str


NOT_CACHED = Bypass("method")
_PERSONAL = Bypass("personal")
_OF_NOBODY = Bypass("partition")


class Visits:
    """Makes visits to one endpoint's part of the cache; `uri`: its answers are tagged by their path too."""

    def __init__(self, policy: Cache, endpoint: Endpoint, caching: Caching, *, uri: bool) -> None:
        self._caching = caching
        self._name = endpoint.name
        self._declared = tuple(name.encode("latin-1") for name in policy.vary)
        self._learned = self._declared
        self._partition = policy.partition
        self._safe = policy.profile == "safe"
        self._uri = uri
        self._open = policy.partition != "everyone"
        self._early = bool(policy.early_refresh)
        self.tags = tag_writer(policy.tags, caching)

    def visit(self, exchange: Exchange) -> Visit | Hit | Bypass:
        """Return what this request looks for, with what the process has of it; what is somebody's own passes by."""
        scope = exchange.scope
        if scope["type"] != "http" or (method := scope["method"]) not in _METHODS:
            return NOT_CACHED
        fields = combined(scope["headers"])
        principal = exchange.principal
        if principal is None and self._open:
            whose = _ANONYMOUS
            if self._safe and (b"cookie" in fields or b"authorization" in fields):
                return _PERSONAL
        else:
            of = self._whose(principal)
            if isinstance(of, Bypass):
                return of
            whose = of
        place = place_of(scope, fields)
        parts = (self._name, place, scope["query_string"], whose)
        caching = self._caching
        tier, now = caching.tier, caching.clock.now()
        names = tier.names(parts) or self._learned
        selection = selected(names, fields) if names else ()
        entry = tier.get(parts, selection) if caching.guard is None or caching.guard.holds(now) else None
        special = not _SPECIAL.isdisjoint(fields)
        if entry is not None and not special and self._as_it_is(entry, now):
            return Hit(entry, now, method)
        asked = demand(request_directives(scope["headers"])) if special else ANYTHING
        spot = Spot(parts, names, selection, self._tags_of(exchange, place), tier.position)
        return Visit(spot, fields, asked, method, apart=whose[0] not in ("everyone", "anonymous"), entry=entry)

    def _as_it_is(self, entry: Entry, now: int) -> bool:
        return now - entry.zero < entry.life.fresh and not entry.softened and not self._early

    def _tags_of(self, exchange: Exchange, place: Parts) -> tuple[str, ...]:
        tags = self.tags(exchange.params)
        return (*tags, uri_tag(self._caching, place)) if self._uri else tags

    def learn(self, names: tuple[bytes, ...]) -> tuple[bytes, ...]:
        """Return the fields that select answers which vary on `names`, and look by them from now on."""
        self._learned = tuple(sorted({*self._declared, *names})) if names else self._declared
        return self._learned

    def _whose(self, principal: Principal | None) -> tuple[str, ...] | Bypass:
        partition = self._partition
        if partition == "everyone":
            return ("everyone",)
        if principal is None or partition == "anonymous":
            return _OF_NOBODY
        if partition == "tenant" and principal.tenant is not None:
            return ("tenant", principal.tenant)
        held = digest(*sorted(principal.scopes), "/", *sorted(principal.roles))
        if partition == "scopes":
            return ("scopes", held)
        return ("principal", principal.issuer, principal.subject, held)


def place_of(scope: Scope, fields: Mapping[bytes, bytes]) -> Parts:
    """Return the parts of a target URI but its query (RFC 9111 §2): scheme, host, and the path as it was sent.

    Never the decoded path alone, in which `/a%2Fb` is `/a/b`.
    """
    raw = scope.get("raw_path") or quote(scope["path"], safe="/:@!$&'()*+,;=~").encode()
    return (scope["scheme"], fields.get(b"host", b"").lower(), scope.get("root_path", ""), raw)


def uri_tag(caching: Caching, place: Parts) -> str:
    """Return the id of the tag that all answers of a path have, whatever its query."""
    host, path = place[1], place[3]
    assert isinstance(host, bytes)
    assert isinstance(path, bytes)
    return caching.tag_id(f"\0uri {host.decode('latin-1')} {path.partition(b'?')[0].decode('latin-1')}")


def group_tags(caching: Caching, place: Part, names: Sequence[str]) -> tuple[str, ...]:
    """Return the ids of the tags of these groups: a group is one of an origin (RFC 9875 §2.1, RFC 9110 §4.3.1)."""
    assert isinstance(place, tuple)
    scheme, host = place[0], place[1]
    assert isinstance(scheme, str)
    assert isinstance(host, bytes)
    origin = f"{scheme} {host.decode('latin-1').removesuffix(_DEFAULT_PORTS.get(scheme, ''))}"
    return tuple([caching.tag_id(f"\0group {origin} {name}") for name in names])


def tag_writer(templates: AbstractSet[str], caching: Caching) -> Callable[[Mapping[str, object]], tuple[str, ...]]:
    """Return what makes the ids of these tags from path parameters."""
    ordered: Sequence[str] = sorted(templates)
    if not any(placeholders(template) for template in ordered):
        fixed = tuple(caching.tag_id(template.format()) for template in ordered)
        return lambda _: fixed
    return lambda params: tuple([caching.tag_id(template.format_map(params)) for template in ordered])
