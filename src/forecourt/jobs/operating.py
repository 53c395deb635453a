"""What an operator may do with jobs, in Python as on the command line (`forecourt jobs`).

    async with Jobs(config) as jobs:
        for dead in await jobs.dead("default"):
            await jobs.retry(dead.id)

It works on the queues where they live, so not on those in the memory of another process.
"""

from types import TracebackType
from typing import Self

from forecourt.config import JobConfig
from forecourt.core.jobs import Status
from forecourt.core.sealed import Unopened
from forecourt.core.webhooks import secrets_for
from forecourt.errors import ConfigError
from forecourt.jobs.queue import LISTED, Lists, Queue, Record
from forecourt.jobs.queues import JobQueues
from forecourt.jobs.results import JobResult
from forecourt.principals import digest
from forecourt.types import Clock, SystemClock

Records = list[Record]
Texts = list[str]


class Jobs:
    """The jobs of a config's queues, for an operator: open as an async context.

    Methods raise ConfigError for a queue that cannot be reached from here, StoreDown where it does not answer.
    """

    def __init__(self, config: JobConfig, *, clock: Clock | None = None) -> None:
        self._config = config
        self._queues = JobQueues(config, clock or SystemClock())
        self._open: dict[str, Queue] = {}

    async def __aenter__(self) -> Self:
        """Queues are opened when they are used first."""
        return self

    async def __aexit__(self, _t: type | None, _e: BaseException | None, _b: TracebackType | None) -> None:
        """Let go of every connection."""
        for queue in self._open.values():
            await queue.close()

    async def list(self, queue: str, status: Status | None = None, most: int = 100) -> Records:
        """Return jobs of a queue that are running, queued or dead; of others nobody keeps a list."""
        found = await self._queue(queue)
        if not isinstance(found, Lists):
            raise ConfigError(f'the queue "{queue}" keeps no list of its jobs')
        records: Records = []
        for each in (status,) if status else LISTED:
            records += await found.standing(each, most - len(records))
        return records

    async def show(self, job: str) -> Record | None:
        """Return what is known of a job; None: nothing, or nothing any more."""
        return await (await self._of(job)).look(job)

    async def result(self, job: str) -> JobResult | None:
        """Return what the handler answered last, if it is kept; ConfigError where the config's keys do not open it."""
        queue = await self._of(job)
        record, stored = await queue.look(job), await queue.result(job)
        if record is None or not stored:
            return None
        envelopes = self._queues.envelopes(job.partition(".")[0])
        try:
            return JobResult.read(envelopes.any_result(job, record.endpoint, stored))
        except Unopened:
            raise ConfigError(f'the result of "{job}" was sealed, and no key of the config opens it') from None

    async def cancel(self, job: str) -> Record | None:
        """End a job unless it has ended; return what is known of it then."""
        return await (await self._of(job)).cancel(job)

    async def retry(self, job: str) -> Record | None:
        """Give a dead job all its attempts again; None: it is not dead."""
        return await (await self._of(job)).redrive(job)

    async def dead(self, queue: str, most: int = 100) -> Records:
        """Return the dead jobs of a queue, the latest first."""
        return await (await self._queue(queue)).dead(most)

    async def depth(self, queue: str) -> dict[str, int]:
        """Return how many jobs are waiting, delayed, running and dead."""
        return await (await self._queue(queue)).depth()

    def secret(self, *identity: str) -> Texts:
        """Return the secrets that sign the webhooks of a caller, such as ("principal", issuer, subject)."""
        webhooks = self._config.webhooks
        if webhooks is None:
            raise ConfigError("webhooks: the config has none")
        return webhooks.spelt(secrets_for(digest(*identity), webhooks.secrets.keys))

    async def _of(self, job: str) -> Queue:
        name, dot, _ = job.partition(".")
        if not dot:
            raise ConfigError(f'"{job}" is no job: an id is a queue\'s name, a dot, and the rest')
        return await self._queue("webhooks" if name.startswith(("msg_", "watch_", "gone_")) else name)

    async def _queue(self, name: str) -> Queue:
        if name not in self._open:
            if self._queues.in_process(name):
                raise ConfigError(
                    f"the queue \"{name}\" is in memory, which is its process's own; name the service's store"
                )
            queue = self._queues.queue(name)
            await queue.open()
            self._open[name] = queue
        return self._open[name]
