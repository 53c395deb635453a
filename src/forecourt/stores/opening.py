"""Turns a store URL into a store; the Redis client is imported only when it is asked for."""

from typing import TYPE_CHECKING

from forecourt.config_addresses import BROUGHT, SCHEMES
from forecourt.entry_points import found_by
from forecourt.errors import ConfigError
from forecourt.stores.contract import Store, StoreSite
from forecourt.stores.failover import FailoverStore
from forecourt.stores.holds import HoldingStore
from forecourt.stores.lanes import LanedStore
from forecourt.stores.memory import MemoryStore
from forecourt.stores.observed import ObservedStore, Trips
from forecourt.types import Clock

if TYPE_CHECKING:
    from forecourt.stores.redis.client import Client

BODIES_DEADLINE = 0.1
"""Seconds for an answer that may have a body: 2 MiB take longer than a decision."""


def store_at(url: str, clock: Clock, *, cache_url: str | None = None, trips: Trips | None = None) -> Store:
    """Return the store that the URL names, not yet open; ConfigError when its extra is not installed.

    `cache_url`: where kept answers are, beside the decisions; None and `memory://`: in no store.
    `trips` are told of each trip for a decision.
    """
    client = client_of(url) if _ours(url) and not _in_memory(url) else None
    decisions = _decisions(url, client, clock, trips)
    if cache_url is None or _in_memory(cache_url) or (cache_url == url and not _ours(url)):
        return decisions
    if not _ours(cache_url):
        return LanedStore(decisions, _brought(cache_url, clock))
    from forecourt.stores.redis.store import RedisStore  # noqa: PLC0415  # the extra `redis` is optional

    bodies = client if client is not None and cache_url == url else client_of(cache_url)
    return LanedStore(decisions, RedisStore(bodies, lane="bodies"))


def _brought(url: str, clock: Clock) -> Store:
    """Return the store of an address that an installed package knows."""
    scheme = url.partition(":")[0]
    make = found_by(BROUGHT, scheme)
    if make is None:
        raise ConfigError(f'store: "{scheme}://…" is not allowed: its scheme is unknown, and no package brings it')
    if not callable(make):
        raise ConfigError(f"entry point {scheme!r} of {BROUGHT}: it must name a function of a StoreSite")
    made = make(StoreSite(url, clock))
    if not isinstance(made, Store):
        raise ConfigError(f"store: what {scheme!r} of {BROUGHT} made is no Store, but {type(made).__name__}")
    return made


def _ours(url: str) -> bool:
    return url.partition(":")[0].lower() in SCHEMES


def _in_memory(url: str) -> bool:
    return url.startswith("memory:")


def client_of(url: str, bodies_deadline: float = BODIES_DEADLINE) -> "Client":
    """Return a client of the server at this URL, not yet open; ConfigError when the extra is not installed.

    `bodies_deadline`: seconds that an answer by the lane `bodies` may take.
    """
    try:
        from forecourt.stores.redis.client import Client  # noqa: PLC0415  # the extra `redis` is optional
    except ImportError as error:
        scheme = url.partition(":")[0]
        raise ConfigError(f"store: {scheme}: needs the Redis client: pip install 'forecourt[redis]'") from error
    return Client(url, bodies_deadline=bodies_deadline)


def _decisions(url: str, client: "Client | None", clock: Clock, trips: Trips | None) -> Store:
    if client is None:
        return MemoryStore(clock) if _in_memory(url) else _guarded(_brought(url, clock), clock, trips)
    from forecourt.stores.redis.store import RedisStore  # noqa: PLC0415

    return _guarded(RedisStore(client), clock, trips)


def _guarded(store: Store, clock: Clock, trips: Trips | None) -> Store:
    """Put what watches over a store that may fail around it: its trips told, short holds, failure policies."""
    if trips is not None:
        store = ObservedStore(store, trips)
    return FailoverStore(HoldingStore(store, clock), MemoryStore(clock), clock)
