"""What all stacks of one config share in this process: one store, clock and cache. It goes with the last of them."""

import logging
import weakref

from forecourt.caching.caching import Caching
from forecourt.caching.values import VALUES
from forecourt.config import JobConfig
from forecourt.config_maintenance import can_be_switched
from forecourt.errors import ConfigError, StoreError
from forecourt.fleet import Fleet
from forecourt.live import Live
from forecourt.orders import Orders
from forecourt.responses import Renderer, render
from forecourt.runtime import Runtime
from forecourt.sealing import seal_of_default
from forecourt.stores.contract import Store
from forecourt.stores.memory import MemoryStore
from forecourt.stores.observed import Trips
from forecourt.stores.opening import store_at
from forecourt.types import Clock, SystemClock

logger = logging.getLogger("forecourt")


class Shared:
    """What stacks share; each of them keeps it alive."""

    def __init__(self, runtime: Runtime, caching: Caching, trips: Trips, orders: Orders, live: Live) -> None:
        self.runtime = runtime
        self.caching = caching
        self.trips = trips
        self.orders = orders
        self.live = live
        self.listening = False
        """Whether requests may bring listeners of their own, in their scope; tests say so."""

    async def follow(self) -> None:
        """Follow operators' orders from now on, where the config heeds any."""
        if await self.read_orders():
            self.orders.run()

    async def read_orders(self) -> bool:
        """Read operators' orders once; a store that is down gives none yet. False where the config heeds none."""
        config = self.runtime.config
        switched = can_be_switched(config.endpoints, config.default)
        if not switched and self.live.watching != "store" and not config.limit_overrides:
            return False
        try:
            await self.orders.read()
        except StoreError as error:
            logger.warning("operators' orders are not known yet: %s", error)
        return True


_shared: weakref.WeakValueDictionary[JobConfig, Shared] = weakref.WeakValueDictionary()


def shared_by(config: JobConfig, store: Store | None, clock: Clock | None, renderer: Renderer) -> Shared:
    """Return what all stacks of this config share; ConfigError when this one asks for another."""
    shared = _shared.get(config)
    if shared is None:
        shared = _shared[config] = _made(config, store, clock or SystemClock(), renderer)
        return shared
    for name, own in (("store", store), ("clock", clock), ("renderer", None if renderer is render else renderer)):
        if own is not None and own is not getattr(shared.runtime, name):
            raise ConfigError(
                f"{name}: another stack of the same config has another {name}, and all of them share one:"
                f" give every stack of this config the same {name}, or this one a config of its own"
            )
    return shared


def _made(config: JobConfig, store: Store | None, clock: Clock, renderer: Renderer) -> Shared:
    cache_url = config.cache_store or config.store
    trips = Trips()
    opened = store_at(config.store, clock, cache_url=cache_url, trips=trips) if store is None else store
    runtime = Runtime(config, opened, clock, renderer)
    lonely = store is None and isinstance(opened, MemoryStore)
    fleet = Fleet(opened, runtime.keys, clock, runtime.settle, lonely=lonely)
    config.breakers.join(fleet)
    runtime.closing.append(fleet.stop)
    orders = Orders(opened, runtime.keys, clock)
    live = Live(config, opened, runtime.keys, orders, runtime.config_ends)
    runtime.closing += [live.stop, orders.stop]
    config.maintenance.bind(orders)
    if config.limit_overrides:
        config.overridden.bind(orders)
    caching = Caching(
        clock,
        config.namespace,
        config.cache_memory,
        store=None if isinstance(opened, MemoryStore) else opened,
        settle=runtime.settle,
        heartbeat=runtime.heartbeat,
        ordered="+cluster" in cache_url,
    )
    if (seal := seal_of_default(config, "value")) is not None:
        caching.seals[VALUES] = seal
    return Shared(runtime, caching, trips, orders, live)
