"""Turns a store URL into a store; the Redis client is imported only when it is asked for."""

from forecourt.errors import ConfigError
from forecourt.stores.contract import Store
from forecourt.stores.failover import FailoverStore
from forecourt.stores.holds import HoldingStore
from forecourt.stores.memory import MemoryStore
from forecourt.stores.observed import ObservedStore, Trips
from forecourt.types import Clock


def store_at(url: str, clock: Clock, trips: Trips | None = None) -> Store:
    """Return the store that the URL names, not yet open; its trips are told to `trips`.

    ConfigError when its extra is not installed.
    """
    if url.startswith("memory:"):
        return MemoryStore(clock)
    try:
        from forecourt.stores.redis.client import Client  # noqa: PLC0415  # the extra `redis` is optional
        from forecourt.stores.redis.store import RedisStore  # noqa: PLC0415
    except ImportError as error:
        scheme = url.partition(":")[0]
        raise ConfigError(f"store: {scheme}: needs the Redis client: pip install 'forecourt[redis]'") from error
    local = MemoryStore(clock)
    store: Store = RedisStore(Client(url))
    if trips is not None:
        store = ObservedStore(store, trips)
    return FailoverStore(HoldingStore(store, clock), local)
