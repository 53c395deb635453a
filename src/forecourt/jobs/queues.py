"""The queues of one config in this process: which there are, their envelopes, and the workers of those in memory."""

from collections.abc import Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING

from forecourt.config import JobConfig
from forecourt.config_addresses import SCHEMES
from forecourt.config_jobs import BROUGHT, PULSAR, SQLITE, MakesQueue, address_of
from forecourt.entry_points import found_by, names_in
from forecourt.errors import ConfigError
from forecourt.jobs.envelope import Envelopes
from forecourt.jobs.memory import MemoryQueue
from forecourt.jobs.queue import Queue, QueueSite
from forecourt.jobs.sqlite import SqliteQueue
from forecourt.jobs.worker import Ended, RunJob, Worker
from forecourt.policies.keys import KeyRing
from forecourt.types import Clock

if TYPE_CHECKING:
    from forecourt.stores.redis.client import Client

DRAIN = 10.0
"""Seconds that jobs in this process may take to their end when it stops."""

ASIDE: ContextVar[bool] = ContextVar("forecourt_jobs_aside", default=False)
"""Whether the app is started by a worker, which looks after the queues outside of its memory by itself."""


class JobQueues:
    """The queues by name, opened and closed together. They keep nothing of the config alive."""

    def __init__(self, config: JobConfig, clock: Clock) -> None:
        self._addresses = config.queues
        self._store = config.store
        self._namespace = config.namespace
        self._clock = clock
        self.ring = config.key_ring or KeyRing.random()
        self._queues: dict[str, Queue] = {}
        self._workers: list[Worker] = []
        self._open = False

    def queue(self, name: str) -> Queue:
        """Return the queue of this name, made when it is asked for first."""
        if name not in self._queues:
            self._queues[name] = self.another(name)
        return self._queues[name]

    def another(self, name: str) -> Queue:
        """Return a new queue of this name, for a loop of its own."""
        own = self._addresses.get(name)
        if not isinstance(own, str) and own is not None:
            return _made(own, QueueSite(name, "", self._namespace, self._clock))
        return queue_at(self.address(name), self._namespace, name, self._clock, store=self._store)

    def address(self, name: str) -> str:
        """Return where a queue lives."""
        return address_of(name, self._addresses, self._store)

    def in_process(self, name: str) -> bool:
        """Whether the queue is this process's own, so that nobody else could work on it."""
        return self.address(name).startswith("memory:")

    def embedded(self, name: str) -> bool:
        """Whether this process works on it: on one in its memory; in a file or as it says itself, unless workers do."""
        own = bool(getattr(self.queue(name), "embedded", False))
        return self.in_process(name) or ((own or self.address(name).startswith(SQLITE)) and not ASIDE.get())

    def envelopes(self, name: str) -> Envelopes:
        """Return what seals and opens the envelopes of a queue."""
        return Envelopes(self.ring, name)

    def queues(self) -> Mapping[str, Queue]:
        """Return the queues that were asked for so far."""
        return self._queues

    async def open(self, run: RunJob, ended: Ended) -> None:
        """Connect all, and begin to work on those in memory; again is nothing new."""
        if self._open or not self._queues:
            return
        self._open = True
        try:
            await self._open_all(run, ended)
        except BaseException:
            await self.close()
            raise

    async def _open_all(self, run: RunJob, ended: Ended) -> None:
        for name, queue in self._queues.items():
            await queue.open()
            if self.embedded(name):
                worker = Worker(queue, self.envelopes(name), run, ended, self._clock)
                worker.start()
                self._workers.append(worker)

    async def close(self) -> None:
        """Let the jobs of this process come to their end, and disconnect."""
        self._open = False
        workers, self._workers = self._workers, []
        for worker in workers:
            await worker.drain(DRAIN)
        for queue in self._queues.values():
            await queue.close()


def queue_at(address: str, namespace: str, name: str, clock: Clock, *, store: str = "memory://") -> Queue:
    """Return the queue at an address, not yet open; ConfigError when its extra is not installed.

    `store`: where the records of jobs are whose lines are with a broker.
    """
    if address.startswith("memory:"):
        return MemoryQueue(clock)
    if address.startswith(SQLITE):
        return SqliteQueue(address.removeprefix(f"{SQLITE}:///"), f"{namespace} {name}", clock)
    if address.startswith(PULSAR):
        return _brokered(address, namespace, name, clock, store)
    if (scheme := address.partition("://")[0]) not in SCHEMES:
        return _brought(scheme, QueueSite(name, address, namespace, clock))
    from forecourt.jobs.valkey import ValkeyQueue  # noqa: PLC0415

    return ValkeyQueue(_client(address), namespace, name)


def _brokered(address: str, namespace: str, name: str, clock: Clock, store: str) -> Queue:
    if store.startswith("memory:"):
        raise ConfigError(f'queues.{name}: a queue on Pulsar needs a store that workers share, such as "redis://…"')
    try:
        from forecourt.jobs.pulsar import PulsarBroker  # noqa: PLC0415  # the extra `pulsar` is optional
    except ImportError as error:
        raise ConfigError(f"queues.{name}: pulsar: needs the Pulsar client: pip install 'forecourt[pulsar]'") from error
    from forecourt.jobs.board import Board  # noqa: PLC0415
    from forecourt.jobs.brokered import BrokeredQueue  # noqa: PLC0415

    return BrokeredQueue(PulsarBroker(address, namespace, name), Board(_client(store), namespace, name), clock)


def _client(address: str) -> "Client":
    try:
        from forecourt.stores.redis.client import Client  # noqa: PLC0415  # the extra `redis` is optional
    except ImportError as error:
        scheme = address.partition(":")[0]
        raise ConfigError(f"queues: {scheme}: needs the Redis client: pip install 'forecourt[redis]'") from error
    from forecourt.jobs.valkey import ANSWER  # noqa: PLC0415

    return Client(address, deadline=ANSWER)


def _brought(scheme: str, site: QueueSite) -> Queue:
    """Return the queue of an address that an installed package knows."""
    make = found_by(BROUGHT, scheme)
    if make is None:
        there = ", ".join(names_in(BROUGHT)) or "none"
        raise ConfigError(
            f'queues.{site.name}: no queue lives at "{scheme}://…": say an address in queues;'
            f" installed packages bring {there}"
        )
    if not callable(make):
        raise ConfigError(f"entry point {scheme!r} of {BROUGHT}: it must name a function of a QueueSite")
    return _made(make, site)


def _made(make: MakesQueue, site: QueueSite) -> Queue:
    made = make(site)
    if not isinstance(made, Queue):
        raise ConfigError(f"queues.{site.name}: what was made for it is no Queue, but {type(made).__name__}")
    return made
