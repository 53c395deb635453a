"""What single fields of a config may hold, each checked by one function: the value, or a validator's error."""

import inspect
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeVar

from forecourt.policies.limit import KEYS
from forecourt.policies.terms import NAMED
from forecourt.policies.wording import Fault, not_allowed, refusal, refused

KeyFunction = Callable[..., str | None]
"""Says whom a limit counts: called with the exchange, returns a name, or None to count the client address."""

DecisionHook = Callable[..., None]
"""Called with the exchange and a `Decision`, within the request, so it must be quick."""

_NAMESPACE = re.compile(r"[A-Za-z0-9_-]{1,32}")

Value = TypeVar("Value")


def frozen(table: Mapping[str, Value]) -> Mapping[str, Value]:
    """Return a table that cannot be changed."""
    return MappingProxyType(dict(table))


def key_namespace(value: object) -> str:
    """Return how keys in the store begin; the error is a validator's."""
    if not isinstance(value, str) or not _NAMESPACE.fullmatch(value):
        raise refused(value, "must be 1 to 32 letters, digits, _ or -")
    return str(value)


def prefix(value: int) -> int:
    """Return the length of an IPv6 network's prefix."""
    if value > 128:
        raise refused(value, "must be at most 128")
    return value


def route(value: str) -> str:
    """Return a route's pattern."""
    if not value.strip():
        raise refused(value, "must be a route such as GET /records/{record_id}")
    return value


def upstream_name(name: str) -> str:
    """Return an upstream's name."""
    if not NAMED.fullmatch(name):
        raise refused(name, "must be 1 to 64 letters, digits, _, ., : or -")
    return name


def key_function(value: object) -> KeyFunction:
    """Return a plain function that says whom a limit counts."""
    if not callable(value):
        raise refused(value, "must be a Python function; beside a file, from_file(path, key_functions={…})")
    if inspect.iscoroutinefunction(value):
        raise refused(value, "must be a plain function: keys are made before anything is awaited")
    return value


def hook(value: object) -> DecisionHook | None:
    """Return a plain function that is told of decisions, or None."""
    if value is not None and (not callable(value) or inspect.iscoroutinefunction(value)):
        raise refused(value, "must be a plain Python function of (exchange, decision)")
    return value


def functions_by_name(table: Mapping[str, KeyFunction]) -> Mapping[str, KeyFunction]:
    """Return key functions by names that are no keys already."""
    taken = [name for name in table if name in KEYS or name.startswith("header:")]
    if taken:
        reason = "is a key already; give the function another name"
        raise refusal("JobConfig", [Fault((name,), name, not_allowed(name, reason)) for name in taken])
    return frozen(table)
