"""The one `Authentication` of a config and process, shared by the auth layers of all its endpoints."""

import weakref

from forecourt.auth.authentication import Authentication, Means
from forecourt.config import JobConfig
from forecourt.errors import StoreDown
from forecourt.key_book import find_question
from forecourt.runtime import Runtime
from forecourt.types import Clock

_opened: weakref.WeakKeyDictionary[Runtime, Authentication] = weakref.WeakKeyDictionary()


def authentication_of(runtime: Runtime) -> Authentication:
    """Return what verifies this runtime's callers; ConfigError for keys that can never work."""
    authentication = _opened.get(runtime)
    if authentication is None:
        authentication = _opened[runtime] = opened(runtime.config, runtime.clock, runtime)
        runtime.closing.append(authentication.close)
    return authentication


def opened(config: JobConfig, clock: Clock, runtime: Runtime | None = None) -> Authentication:
    """Build what verifies a config's callers; without a runtime it knows no key of the store."""
    means = Means(
        config.issuers,
        config.api_keys,
        config.introspection,
        config.authenticators,
        config.dpop,
        config.token_cache,
        config.realm,
        config.key_ring,
    )
    return Authentication(means, clock, None if runtime is None else _FindKey(weakref.ref(runtime)))


class _FindKey:
    """Looks API keys up in the store."""

    def __init__(self, runtime: "weakref.ref[Runtime]") -> None:
        self._runtime = runtime

    async def __call__(self, own: str) -> bytes:
        runtime = self._runtime()
        assert runtime is not None, "a runtime outlives the calls that it serves"
        (answer,) = await runtime.store.decide([find_question(runtime.keys, own)])
        if not answer.values:
            raise StoreDown("the store does not answer")
        found = answer.values[0]
        assert isinstance(found, bytes)
        return found
