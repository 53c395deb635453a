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
from forecourt.core.caching.keys import Parts, combined, selected
from forecourt.exchange import Exchange
from forecourt.policies.cache import Cache, placeholders
from forecourt.principals import Principal, digest
from forecourt.routing import Endpoint
from forecourt.types import Scope

_ASKING = frozenset({b"cache-control", b"pragma"})
_OWN = frozenset({b"cookie", b"authorization"})


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
        self.tags = tag_writer(policy.tags, caching)

    def visit(self, exchange: Exchange) -> Visit | Bypass:
        """Return what this request looks for; what is nobody else's business passes by."""
        scope = exchange.scope
        if scope["type"] != "http" or scope["method"] not in ("GET", "HEAD"):
            return NOT_CACHED
        fields = combined(scope["headers"])
        whose = self._whose(exchange.principal, fields)
        if isinstance(whose, Bypass):
            return whose
        asked = ANYTHING
        if not _ASKING.isdisjoint(fields):
            asked = demand(request_directives(scope["headers"]))
        parts = (self._name, *place_of(scope, fields), scope["query_string"], *whose)
        names = self._caching.tier.names(parts) or self._learned
        tags = self.tags(exchange.params)
        if self._uri:
            tags = (*tags, uri_tag(self._caching, place_of(scope, fields)))
        spot = Spot(parts, names, selected(names, fields), tags, self._caching.tier.position)
        return Visit(spot, fields, asked, scope["method"], apart=whose[0] not in ("everyone", "anonymous"))

    def learn(self, names: tuple[bytes, ...]) -> tuple[bytes, ...]:
        """Return the fields that select answers which vary on `names`, and look by them from now on."""
        self._learned = tuple(sorted({*self._declared, *names}))
        return self._learned

    def _whose(self, principal: Principal | None, fields: Mapping[bytes, bytes]) -> tuple[str, ...] | Bypass:
        partition = self._partition
        if partition == "everyone":
            return ("everyone",)
        if principal is None or partition == "anonymous":
            return self._anonymous(principal, fields)
        if partition == "tenant" and principal.tenant is not None:
            return ("tenant", principal.tenant)
        held = digest(*sorted(principal.scopes), "/", *sorted(principal.roles))
        if partition == "scopes":
            return ("scopes", held)
        return ("principal", principal.issuer, principal.subject, held)

    def _anonymous(self, principal: Principal | None, fields: Mapping[bytes, bytes]) -> tuple[str, ...] | Bypass:
        if principal is not None:
            return _OF_NOBODY
        if self._safe and not _OWN.isdisjoint(fields):
            return _PERSONAL
        return ("anonymous",)


def place_of(scope: Scope, fields: Mapping[bytes, bytes]) -> Parts:
    """Return the parts of a target URI but its query (RFC 9111 §2): scheme, host, and the path as it was sent.

    Never the decoded path alone, in which `/a%2Fb` is `/a/b`.
    """
    raw = scope.get("raw_path") or quote(scope["path"], safe="/:@!$&'()*+,;=~").encode()
    return scope["scheme"], fields.get(b"host", b"").lower(), scope.get("root_path", ""), raw


def uri_tag(caching: Caching, place: Parts) -> str:
    """Return the id of the tag that all answers of a path have, whatever its query."""
    host, path = place[1], place[3]
    assert isinstance(host, bytes)
    assert isinstance(path, bytes)
    return caching.tag_id(f"\0uri {host.decode('latin-1')} {path.partition(b'?')[0].decode('latin-1')}")


def tag_writer(templates: AbstractSet[str], caching: Caching) -> Callable[[Mapping[str, object]], tuple[str, ...]]:
    """Return what makes the ids of these tags from path parameters."""
    ordered: Sequence[str] = sorted(templates)
    if not any(placeholders(template) for template in ordered):
        fixed = tuple(caching.tag_id(template.format()) for template in ordered)
        return lambda _: fixed
    return lambda params: tuple([caching.tag_id(template.format_map(params)) for template in ordered])
