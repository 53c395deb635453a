"""The cache in a config: what fits an endpoint, and the handle `config.cache` that code invalidates by."""

import re
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Protocol, TypeVar

from forecourt.config_policies import EndpointProtocol, ResolvedPolicy
from forecourt.errors import ForecourtError
from forecourt.policies.cache import unfit_tags
from forecourt.policies.wording import spelt

Value = TypeVar("Value")

_PARAMETER = re.compile(r"{(\w+)(?::\w+)?}")

CACHED_METHODS = frozenset({"GET"})


def parameters(path: str) -> frozenset[str]:
    """Return the names of a path template's parameters."""
    return frozenset(_PARAMETER.findall(path))


def cached_here(methods: frozenset[str] | None, protocol: EndpointProtocol) -> bool:
    """Return whether an endpoint of these methods has answers that can be kept."""
    return protocol != "websocket" and (methods is None or not methods.isdisjoint(CACHED_METHODS))


def cache_misfits(
    policy: ResolvedPolicy, path: str, methods: frozenset[str] | None, protocol: EndpointProtocol
) -> Iterator[str]:
    """Tell what an endpoint's cache and invalidations ask for that it does not have.

    A cache of a glob or the default is skipped where there is nothing to keep; a tag that cannot be made is an error
    whoever says it, because what it should make invalid would stay.
    """
    cache, invalidates = policy.fields["cache"], policy.fields["invalidates"]
    if policy.cache is not None:
        if cached_here(methods, protocol):
            for sentence in unfit_tags(policy.cache.tags, parameters(path), path):
                yield f"{_place(policy, 'cache')}.tags: {sentence}"
        elif cache.source.startswith("endpoint"):
            answers = "is a WebSocket" if protocol == "websocket" else f"answers {', '.join(sorted(methods or ()))}"
            why = "and only answers to GET are kept; use `invalidates` here"
            yield f"{_place(policy, 'cache')}: {path} {answers}, {why}"
    for sentence in unfit_tags(policy.invalidates, parameters(path), path):
        yield f"{_place(policy, 'invalidates')}: {sentence}"
    if invalidates.value and protocol == "websocket" and invalidates.source.startswith("endpoint"):
        yield f"{_place(policy, 'invalidates')}: {path} is a WebSocket, it has no answer; call config.cache.invalidate"


def _place(policy: ResolvedPolicy, field: str) -> str:
    """Return where in the config the field was said."""
    source = policy.fields[field].source
    if source == "default":
        return f"default.{field} of endpoint {policy.endpoint!r}"
    return spelt(("endpoints", source.partition('"')[2].rstrip('"'), field))


class Bound(Protocol):
    """What a stack binds to the handle when it starts."""

    async def invalidate(self, tags: Iterable[str], *, soft: bool = False) -> None:
        """Make what has these tags invalid."""
        ...

    async def get_or_set(self, key: str, fn: Callable[[], Awaitable[Value]], ttl: float, tags: Iterable[str]) -> Value:
        """Return a value, made once."""
        ...


class CacheHandle:
    """The cache of a config's stack, for code: `config.cache`. It works from the start of the app to its end."""

    def __init__(self) -> None:
        self._bound: Bound | None = None

    def __repr__(self) -> str:
        return f"<CacheHandle {'bound' if self._bound else 'before the start'}>"

    def bind(self, bound: Bound) -> None:
        """Be of use: the stack has started."""
        self._bound = bound

    async def invalidate(self, tags: str | Iterable[str], *, soft: bool = False) -> None:
        """Make every kept answer and value that has one of these tags invalid; `soft`: stale only.

        Once this has returned, no read from the store or in this process finds them, and none in another process
        later than 50 ms after. With the store down it is queued, and this process serves nothing older; nothing is
        raised. ForecourtError before the app has started.
        """
        await self._open().invalidate([tags] if isinstance(tags, str) else list(tags), soft=soft)

    async def get_or_set(
        self,
        key: str,
        fn: Callable[[], Awaitable[Value]],
        *,
        ttl: float,
        tags: str | Iterable[str] = (),
    ) -> Value:
        """Return the value kept under `key`, or else what `await fn()` returns, and keep it for `ttl` seconds.

        Calls at the same time, in this process and others, wait for one of them. Values are kept as JSON (or bytes as
        they are): what comes back is always a copy made from that. TypeError for what has no JSON; what `fn` raises is
        raised, and not kept. ForecourtError before the app has started.
        """
        return await self._open().get_or_set(key, fn, ttl, [tags] if isinstance(tags, str) else list(tags))

    def _open(self) -> Bound:
        if self._bound is None:
            raise ForecourtError("config.cache is of use once the app has started: no stack of this config has yet")
        return self._bound
