"""What all exchanges of one config share in this process, from the first request or lifespan to the last.

Settlements and works are tasks of the process, not of the request that began them: no caller's cancellation reaches
them, and the last lifespan waits for them before it closes the store.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from forecourt.clients import Clients
from forecourt.config import JobConfig
from forecourt.core.retrying import Budget
from forecourt.errors import StoreError
from forecourt.leases import Heartbeat
from forecourt.ledger import open_store
from forecourt.losses import Losses
from forecourt.principals import Keys
from forecourt.responses import Renderer, render
from forecourt.stores.contract import Answer, Question, Settlement, Store
from forecourt.stores.memory import MemoryStore
from forecourt.timers import Timers
from forecourt.types import Clock
from forecourt.works import Works

logger = logging.getLogger("forecourt")

AtOnce = Callable[[Sequence[Question]], list[Answer]]
"""A store's `decide`, where it never has to wait."""


class Runtime:
    """What all exchanges of one config share in this process: its store, clock, keys and client addresses."""

    def __init__(self, config: JobConfig, store: Store, clock: Clock, renderer: Renderer = render) -> None:
        self.config = config
        self.store = store
        self.at_once: AtOnce | None = store.decide_at_once if type(store) is MemoryStore else None
        """How the store is asked where it decides in this process, and no coroutine is needed; else None."""
        self.clock = clock
        self.renderer = renderer
        self.keys = Keys(config.namespace)
        self.clients = Clients(config.trusted_proxies, ipv6_prefix=config.ipv6_prefix)
        self.heartbeat = Heartbeat(store.settle, clock)
        self.timers = Timers(clock)
        config.breakers.bind(clock)
        config.outgoing.bind(clock)
        self.works = Works()
        self.budgets: dict[str, Budget] = {}
        """The retries that endpoints have left, by their names."""
        self.mismatches = 0
        """How often another endpoint ran than the one resolved; anything but 0 is a fault."""
        self.config_ends: dict[str, Callable[[str], object]] = {}
        """Told what became of each config that came while the service ran, by the observer's name."""
        self.closing: list[Callable[[], Awaitable[None]]] = [config.outgoing.close]
        """What else is closed with the store."""
        self._settling = Works()
        self._losses = Losses(clock)
        self._opening: asyncio.Task[None] | None = None
        self._users = 0

    async def open(self) -> None:
        """Return once the store is open on the running loop; whoever comes meanwhile waits for the same opening."""
        loop = asyncio.get_running_loop()
        if self._opening is None or self._opening.get_loop() is not loop:
            self._opening = loop.create_task(open_store(self.config, self.store))
        await asyncio.shield(self._opening)

    async def start(self) -> None:
        """Open the store for a lifespan; the last of those that share it closes it."""
        await self.open()
        self._users += 1

    async def stop(self) -> None:
        """Settle what is under way and close the store, after the last lifespan."""
        self._users = max(0, self._users - 1)
        if self._users == 0:
            self._opening = None
            await self.works.drain()
            self.heartbeat.stop()
            self.timers.stop()
            await self._settling.drain()
            for close in self.closing:
                await close()
            await self.store.close()

    def settle(self, settlements: Sequence[Settlement]) -> None:
        """Tell the store in a task that no caller's cancellation reaches; a failure is logged, not raised."""
        if type(self.store) is MemoryStore:
            self._settle_at_once(self.store, settlements)
        else:
            _ = self._settling.start(self._settle(settlements), "a settlement")

    async def settled(self, settlements: Sequence[Settlement]) -> None:
        """Tell the store and return when it knows; cancelled, this returns early but the telling goes on."""
        if type(self.store) is MemoryStore:
            return self._settle_at_once(self.store, settlements)  # it never waits, so no task is needed
        await asyncio.shield(self._settling.start(self._settle(settlements), "a settlement"))

    async def _settle(self, settlements: Sequence[Settlement]) -> None:
        try:
            await self.store.settle(settlements)
            self._losses.told(settlements)
        except StoreError as error:
            self._losses.lost(settlements, error)
        except Exception:
            logger.exception("settlements lost; what was granted ends with its lease")

    def _settle_at_once(self, store: MemoryStore, settlements: Sequence[Settlement]) -> None:
        try:
            store.settle_at_once(settlements)
        except Exception:
            logger.exception("settlements lost; what was granted ends with its lease")
