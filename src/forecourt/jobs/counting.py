"""Metrics of jobs: how queues stand, asked when somebody scrapes, and how jobs ended, counted where they did."""

import asyncio
import logging

from forecourt.config import JobConfig
from forecourt.errors import StoreError
from forecourt.jobs.queue import Lists, Queue, Record
from forecourt.jobs.queues import JobQueues
from forecourt.telemetry.counting import Counting
from forecourt.telemetry.exposition import MetricsEndpoint, endpoint_of
from forecourt.types import SECOND

logger = logging.getLogger("forecourt")

_ANSWER = 1.0
"""Seconds that a queue may take to say how it stands; its figures are the last ones then."""


class JobMetrics:
    """Counts for the families of one config; without a metrics layer nothing is counted."""

    def __init__(self, config: JobConfig, queues: JobQueues) -> None:
        self._endpoint: MetricsEndpoint = endpoint_of(config.metrics)
        self._queues = queues
        self._endpoint.asks["jobs"] = self.ask

    async def ask(self) -> None:
        """Ask every queue of this process how it stands, all at once."""
        if (families := self._families()) is not None:
            await asyncio.gather(*(_stands(families, name, queue) for name, queue in self._queues.queues().items()))

    def ended(self, record: Record) -> None:
        """Count a job that ended here."""
        if (families := self._families()) is not None:
            seconds = (record.changed - record.created) / SECOND
            families.job_ended(record.endpoint, record.status, record.attempts, seconds)

    def _families(self) -> Counting | None:
        return self._endpoint.families  # set by the metrics layer alone


async def _stands(families: Counting, name: str, queue: Queue) -> None:
    """Note how a queue stands; one that does not answer keeps its last figures."""
    try:
        async with asyncio.timeout(_ANSWER):
            depth = await queue.depth()
            age = await queue.age() / SECOND if isinstance(queue, Lists) else None
    except (StoreError, TimeoutError) as error:
        logger.warning("the queue %s did not say how it stands: %s", name, type(error).__name__)
    else:
        families.queue_stands(name, depth, age)
