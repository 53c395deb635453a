"""By whom a limit counts: turns a policy's `key` into a function of the exchange.

An identity is a pair of (kind, value), such as ("client", "192.0.2.7"). Nobody falls into a bucket shared with
strangers: where a principal, tenant, header or key function gives nothing, the client address counts.
"""

from collections.abc import Callable, Mapping

from forecourt.exchange import Exchange
from forecourt.principals import digest
from forecourt.routing import Endpoint

Identity = tuple[str, ...]
KeyFunction = Callable[[Exchange], str | None]


_LONGEST = 128
"""Characters of a header that are kept as they are; of longer ones a digest counts, so that memory is bounded."""


def identity_of(
    key: str, endpoint: Endpoint, functions: Mapping[str, KeyFunction], name: str | None = None
) -> Callable[[Exchange], Identity]:
    """Return what counts for this `key`: principal, client, tenant, endpoint, header:X, or a named key function.

    A limit with a `name` that counts all callers of its endpoints together counts them over all its endpoints.
    """
    if key == "endpoint":
        whole = whole_of(endpoint.name, name)
        return lambda _: whole
    if key.startswith("header:"):
        return _header(key.removeprefix("header:").lower().encode("latin-1"))
    if key in functions:
        return _named(key, functions[key])
    return {"principal": _principal, "client": _client, "tenant": _tenant}[key]


def whole_of(endpoint: str, name: str | None) -> Identity:
    """Return what all callers together are counted as, by a limit of this name."""
    return ("endpoint", f"@{name}" if name else endpoint)


def _client(exchange: Exchange) -> Identity:
    return ("client", exchange.client)


def _principal(exchange: Exchange) -> Identity:
    principal = exchange.principal
    return ("principal", principal.issuer, principal.subject) if principal else ("client", exchange.client)


def _tenant(exchange: Exchange) -> Identity:
    principal = exchange.principal
    return ("tenant", principal.tenant) if principal and principal.tenant else _principal(exchange)


def _header(name: bytes) -> Callable[[Exchange], Identity]:
    def header(exchange: Exchange) -> Identity:
        values = [value for field, value in exchange.scope["headers"] if field == name]
        if not values:
            return _client(exchange)
        return ("header", name.decode(), short(b",".join(values).decode("latin-1")))

    return header


def _named(key: str, function: KeyFunction) -> Callable[[Exchange], Identity]:
    def named(exchange: Exchange) -> Identity:
        value = function(exchange)
        return ("function", key, short(str(value))) if value else _client(exchange)

    return named


def short(value: str) -> str:
    """Return a header's or key function's value as it is counted: long ones by their digest."""
    return value if len(value) <= _LONGEST else digest(value)
