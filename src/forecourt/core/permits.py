"""May this caller: scopes, roles, and how and when they logged in; and the challenges that tell what is missing.

A challenge is values until it is written (RFC 9110 §11.6.1): a scheme and its parameters.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

Verdict = Literal["go", "scopes", "roles", "login"]
"""What is missing: nothing, scopes, roles, or a fresher or stronger login."""


class Demand(NamedTuple):
    """What an endpoint asks of its callers; `max_age` in µs."""

    scopes: frozenset[str] = frozenset()
    roles: frozenset[str] = frozenset()
    any_scope: bool = False
    any_role: bool = True
    max_age: int | None = None
    acr: frozenset[str] = frozenset()


class Standing(NamedTuple):
    """What a caller has: scopes, roles, when they logged in (µs) and how."""

    scopes: frozenset[str] = frozenset()
    roles: frozenset[str] = frozenset()
    auth_time: int | None = None
    acr: str | None = None


class Challenge(NamedTuple):
    """One way to authenticate, as a 401 or 403 tells it."""

    scheme: str
    params: Mapping[str, str]

    def field(self) -> tuple[bytes, bytes]:
        """Return the WWW-Authenticate field."""
        said = ", ".join(f'{name}="{_quoted(value)}"' for name, value in self.params.items() if value)
        return b"www-authenticate", f"{self.scheme} {said}".strip().encode("latin-1", "replace")


def permitted(demand: Demand, caller: Standing, now: int) -> Verdict:
    """Decide for a caller; scopes are looked at first, then roles, then the login."""
    if demand.scopes and not _has(caller.scopes, demand.scopes, any_of=demand.any_scope):
        return "scopes"
    if demand.roles and not _has(caller.roles, demand.roles, any_of=demand.any_role):
        return "roles"
    if demand.acr and caller.acr not in demand.acr:
        return "login"
    if demand.max_age is not None and (caller.auth_time is None or now - caller.auth_time > demand.max_age):
        return "login"
    return "go"


def _has(held: frozenset[str], wanted: frozenset[str], *, any_of: bool) -> bool:
    return not wanted.isdisjoint(held) if any_of else wanted <= held


def _quoted(value: str) -> str:
    """Escape for a quoted-string, leaving out what no field may hold."""
    kept = "".join(letter for letter in value if letter.isprintable() and ord(letter) < 128)
    return kept.replace("\\", "\\\\").replace('"', '\\"')
