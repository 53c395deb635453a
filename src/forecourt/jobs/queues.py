"""The queues of one config in this process: which there are, their envelopes, and the workers of those in memory."""

from collections.abc import Mapping

from forecourt.config import JobConfig
from forecourt.config_jobs import address_of
from forecourt.errors import ConfigError
from forecourt.jobs.envelope import Envelopes
from forecourt.jobs.memory import MemoryQueue
from forecourt.jobs.queue import Queue
from forecourt.jobs.worker import Ended, RunJob, Worker
from forecourt.policies.keys import KeyRing
from forecourt.types import Clock

DRAIN = 10.0
"""Seconds that jobs in this process may take to their end when it stops."""


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
            self._queues[name] = queue_at(self.address(name), self._namespace, name, self._clock)
        return self._queues[name]

    def address(self, name: str) -> str:
        """Return where a queue lives."""
        return address_of(name, self._addresses, self._store)

    def in_process(self, name: str) -> bool:
        """Whether the queue is this process's own, so that nobody else could work on it."""
        return self.address(name).startswith("memory:")

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
        for name, queue in self._queues.items():
            await queue.open()
            if self.in_process(name):
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


def queue_at(address: str, namespace: str, name: str, clock: Clock) -> Queue:
    """Return the queue at an address, not yet open; ConfigError when its extra is not installed."""
    if address.startswith("memory:"):
        return MemoryQueue(clock)
    try:
        from forecourt.stores.redis.client import Client  # noqa: PLC0415  # the extra `redis` is optional
    except ImportError as error:
        scheme = address.partition(":")[0]
        raise ConfigError(f"queues: {scheme}: needs the Redis client: pip install 'forecourt[redis]'") from error
    from forecourt.jobs.valkey import ANSWER, ValkeyQueue  # noqa: PLC0415

    return ValkeyQueue(Client(address, deadline=ANSWER), namespace, name)
