"""Kills workers at random while they work: no job may be lost, and none finished twice.

    python -m tests.soak.job_kills --kills 100
    python -m tests.soak.job_kills --seconds 600 --pulsar

Worker processes run jobs of a queue on a real Valkey (or at a broker of Pulsar's protocol, the records on Valkey), with
leases of a second. A trial is one worker that is killed with -9 (every fifth is frozen instead, for longer than its
lease, and goes on then) while jobs keep coming; another takes its place. Once a minute the server, or the broker, is
killed and started again. In the end every job must have one result, which is the one it had when it was first seen to
have ended, no job may have been finished twice, and none run again but those of a worker that was killed, frozen or cut
off. Jobs that last ten leases must run once. Then nothing happens but that a worker is killed, beside idle ones, and
its job must begin again within a lease and 15 % of the kill. The suite runs a few trials of it.
"""

import argparse
import asyncio
import multiprocessing
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from itertools import count
from multiprocessing.process import BaseProcess

from forecourt.errors import StoreError
from forecourt.jobs.board import Board
from forecourt.jobs.brokered import BrokeredQueue
from forecourt.jobs.envelope import Envelopes, JobRequest
from forecourt.jobs.queue import NewJob, Queue, Record
from forecourt.jobs.valkey import ValkeyQueue
from forecourt.jobs.worker import Notes, Worker
from forecourt.policies.keys import KeyRing
from forecourt.stores.redis.client import Client
from forecourt.types import SECOND, Receive, Scope, Send, SystemClock
from tests.brokers import Connection, Pulsar
from tests.servers import Valkey

LEASE = 1.0
CONCURRENCY = 4
WORKERS = 3
BETWEEN_RESTARTS = 60.0
LONG_LEASE = 3.0
RECOVERY = LONG_LEASE * 1.15
RING = KeyRing([b"the soak's own secret, 32 bytes+."])


@dataclass
class Found:
    """What became of the jobs of one run; `reruns` is how often a job was begun again."""

    jobs: int = 0
    succeeded: int = 0
    finished_twice: int = 0
    overwritten: int = 0
    reruns: int = 0
    long_jobs_run_again: int = 0
    kills: int = 0
    freezes: int = 0
    """Of the kills."""
    restarts: int = 0
    recoveries: list[float] = field(default_factory=list)
    """Seconds from the death of a worker to the next beginning of its job, on an idle queue."""
    wrong: list[str] = field(default_factory=list)

    def judged(self) -> list[str]:
        """Return what is not as it must be; nothing where all is well."""
        wrong = list(self.wrong)
        if self.succeeded != self.jobs:
            wrong.append(f"{self.jobs - self.succeeded} of {self.jobs} jobs have no result")
        if self.finished_twice:
            wrong.append(f"{self.finished_twice} jobs were finished twice")
        if self.overwritten:
            wrong.append(f"{self.overwritten} results were overwritten")
        cut_off = (self.kills + self.restarts * WORKERS) * CONCURRENCY
        if self.reruns > cut_off:
            wrong.append(f"{self.reruns} reruns, and only {cut_off} jobs at most were of workers killed or cut off")
        if max(self.recoveries, default=0) > RECOVERY:
            wrong.append(f"a job of a killed worker began again after {max(self.recoveries):.2f} s")
        if self.long_jobs_run_again:
            wrong.append(f"{self.long_jobs_run_again} long jobs ran again though their leases were renewed")
        return wrong


def queue(url: str, broker: str = "", number: int = 0) -> Queue:
    """Return the queue of the trials."""
    client = Client(url, deadline=5)
    if not broker:
        return ValkeyQueue(client, "soak", "kills")
    return BrokeredQueue(Connection(broker, "soak", "kills", number), Board(client, "soak", "kills"), SystemClock())


def work(url: str, broker: str, number: int) -> None:
    """Be a worker, until killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asyncio.run(_work(url, broker, number))


async def told(notes: Client, *command: str) -> object:
    """Ask until there is an answer."""
    while True:
        with suppress(StoreError):
            return await notes.call(*command)
        await asyncio.sleep(0.05)


async def _work(url: str, broker: str, number: int) -> None:
    notes = Client(url, deadline=5)
    await notes.open()

    async def run(
        request: JobRequest, _scope: Scope, _receive: Receive, send: Send, _told: Callable[[Notes], None]
    ) -> None:
        await told(notes, "SET", f"by:{request.path}", str(os.getpid()))
        runs = await told(notes, "INCR", f"runs:{request.path}")
        await asyncio.sleep(float(request.query))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"%d" % (runs if isinstance(runs, int) else 0)})

    async def ended(request: JobRequest, _record: Record, _status: int) -> None:
        await told(notes, "INCR", f"ended:{request.path}")

    mine = queue(url, broker, number)
    await mine.open()
    Worker(mine, Envelopes(RING, "kills"), run, ended, SystemClock(), concurrency=CONCURRENCY).start()
    await told(notes, "SET", f"ready:{os.getpid()}", "1")
    await asyncio.Event().wait()


class Trials:
    """Publishes jobs, kills workers, and looks what became of it all."""

    def __init__(self, url: str, seed: int, *, broker: str = "", restart: Callable[[], None] | None = None) -> None:
        self.url = url
        self.broker = broker
        self.restart = restart
        self.long = 3
        """Leases that a long job lasts."""
        self.random = random.Random(seed)
        self.queue = queue(url, broker)
        self.notes = Client(url, deadline=5)
        self._next_restart = time.monotonic() + BETWEEN_RESTARTS
        self.envelopes = Envelopes(RING, "kills")
        self.names: list[str] = []
        self.found = Found()
        self._context = multiprocessing.get_context("spawn")
        self._workers: list[BaseProcess] = []
        self._number_of_worker = count()
        self._known_to_end: set[str] = set()
        self._results: dict[str, bytes] = {}
        self._frozen: dict[int, float] = {}
        self.resets: Callable[[], int] = lambda: 0
        self._known_resets = 0

    async def run(self, kills: int, seconds_between: float = 0.6, *, seconds: float = 0, recoveries: int = 2) -> Found:
        """Run so many trials, and for so long."""
        await self.queue.open()
        await self.notes.open()
        try:
            self._workers = [self._worker() for _ in range(WORKERS)]
            await self._publish(WORKERS, seconds=0)
            await self._all_ended(self.names, 60)
            for number in self._numbers(kills, seconds):
                await self._restart_in_time()
                await self._manned()
                await self._publish(10, seconds=0.4)
                await asyncio.sleep(seconds_between * self.random.uniform(0.1, 1))
                self._strike(freeze=number % 5 == 4)
            await self._publish(8, seconds=0.15)
            self._wake(everyone=True)
            await self._all_ended(self.names, 60)
            await self._long_jobs()
            for _ in range(recoveries):
                await self._recovery()
            await self._count()
        finally:
            self._wake(everyone=True)
            for worker in self._workers:
                worker.kill()
                worker.join()
            await self.queue.close()
            await self.notes.close()
        return self.found

    def _numbers(self, kills: int, seconds: float) -> Iterator[int]:
        late = time.monotonic() + seconds
        for number in count():
            if number >= kills and time.monotonic() >= late:
                return
            yield number

    async def _restart_after_a_reset(self) -> None:
        """Restart pulsar-lite where a connection was reset, as that of a killed worker with unread bytes is.

        It keeps the messages of that connection from everybody until then; Pulsar does not, however it ended.
        """
        if self.restart is not None and (resets := self.resets()) > self._known_resets:
            self._known_resets = resets
            self.found.restarts += 1
            await asyncio.to_thread(self.restart)

    async def _restart_in_time(self) -> None:
        if self.restart is not None and time.monotonic() >= self._next_restart:
            self._next_restart = time.monotonic() + BETWEEN_RESTARTS
            self.found.restarts += 1
            await asyncio.to_thread(self.restart)

    async def _manned(self) -> None:
        """Return once every worker has started, and few jobs wait: how fast that is depends on the machine."""
        for worker in self._workers:
            await self._at_least(f"ready:{worker.pid}", 1, 120)
        await self._all_ended(self.names[:-30], 120)

    async def _recovery(self) -> None:
        """Kill the worker of the only job there is, and see when the job begins again."""
        await self._manned()
        (name,) = await self._publish(1, seconds=2 * LONG_LEASE, prefix="alone", lease=LONG_LEASE)
        await self._at_least(f"runs:{name}", 1)
        await asyncio.sleep(self.random.uniform(0, LONG_LEASE))
        by = await self._number(f"by:{name}")
        (victim,) = [worker for worker in self._workers if worker.pid == by]
        self.found.kills += 1
        victim.kill()
        died = time.monotonic()
        await self._at_least(f"runs:{name}", 2)
        self.found.recoveries.append(round(time.monotonic() - died, 3))
        victim.join()
        self._workers.remove(victim)
        self._workers.append(self._worker())
        await self._all_ended([name], 60)

    async def _at_least(self, key: str, number: int, seconds: float = 30) -> None:
        async with asyncio.timeout(seconds):
            while await self._number(key) < number:
                await asyncio.sleep(0.005)

    def _worker(self) -> BaseProcess:
        process = self._context.Process(
            target=work, args=(self.url, self.broker, next(self._number_of_worker) % 32), daemon=True
        )
        process.start()
        return process

    async def _publish(self, many: int, seconds: float, prefix: str = "job", lease: float = LEASE) -> list[str]:
        names = [f"{prefix}-{len(self.names) + number}" for number in range(many)]
        for name in names:
            query = b"%f" % (seconds * (self.random.uniform(0, 2) if prefix == "job" else 1))
            request = JobRequest("work", "GET", name, query, "", "http", (), b"")
            owner = f"owner-{self.random.randrange(3)}"
            times = (1000, round(lease * SECOND), 0, 1000 * SECOND, 1000 * SECOND, 100_000)
            job = NewJob(name, owner, "work", "", self.envelopes.seal(name, request), *times)
            await self._surely(job)
        self.names += names
        self.found.jobs += many
        return names

    async def _surely(self, job: NewJob) -> None:
        while True:
            with suppress(StoreError):
                await self.queue.publish(job)
                return
            await asyncio.sleep(0.05)

    async def _look(self, name: str) -> Record | None:
        while True:
            with suppress(StoreError):
                return await self.queue.look(name)
            await asyncio.sleep(0.05)

    async def _result(self, name: str) -> bytes:
        while True:
            with suppress(StoreError):
                return await self.queue.result(name) or b""
            await asyncio.sleep(0.05)

    def _strike(self, *, freeze: bool) -> None:
        """Kill a worker and start another, or freeze one for longer than its lease."""
        self._wake()
        alive = [worker for worker in self._workers if worker.pid not in self._frozen]
        if not alive:
            return
        victim = self.random.choice(alive)
        assert victim.pid is not None
        self.found.kills += 1
        if freeze:
            self.found.freezes += 1
            os.kill(victim.pid, signal.SIGSTOP)
            self._frozen[victim.pid] = time.monotonic() + 2 * LEASE
            return
        os.kill(victim.pid, signal.SIGKILL)
        victim.join()
        self._workers.remove(victim)
        self._workers.append(self._worker())

    def _wake(self, *, everyone: bool = False) -> None:
        for pid, until in list(self._frozen.items()):
            if everyone or time.monotonic() >= until:
                os.kill(pid, signal.SIGCONT)
                del self._frozen[pid]

    async def _long_jobs(self) -> None:
        """Nobody is killed: jobs of several leases run once."""
        names = await self._publish(WORKERS * 2, seconds=self.long * LEASE, prefix="long")
        await self._all_ended(names, 60)
        again = [name for name in names if await self._number(f"runs:{name}") != 1]
        self.found.long_jobs_run_again = len(again)

    async def _all_ended(self, names: list[str], seconds: float) -> None:
        late = time.monotonic() + seconds
        left = [name for name in names if name not in self._known_to_end]
        while left and time.monotonic() < late:
            await self._restart_after_a_reset()
            self._wake()  # what a frozen worker has of a broker's is nobody else's
            records = [await self._look(name) for name in left]
            left = [name for name, record in zip(left, records, strict=True) if record is None or not record.ended]
            await asyncio.sleep(0.05)
        ended = set(names).difference(left, self._known_to_end)
        self._results |= {name: await self._result(name) for name in ended}
        self._known_to_end |= ended
        if left:
            self.found.wrong.append(f"{len(left)} jobs have not ended: {left[:5]}")

    async def _count(self) -> None:
        for name in self.names:
            record = await self._look(name)
            self.found.succeeded += record is not None and record.status == "succeeded"
            self.found.overwritten += name in self._results and await self._result(name) != self._results[name]
            self.found.finished_twice += await self._number(f"ended:{name}") > 1
            self.found.reruns += await self._number(f"runs:{name}") - 1

    async def _number(self, key: str) -> int:
        value = await told(self.notes, "GET", key)
        return int(value) if isinstance(value, bytes) else 0


def whole(kills: int, seconds: float, *, pulsar: bool, seed: int) -> Found:
    """Run the whole form: the server, or the broker, is restarted every minute."""
    with ExitStack() as running:
        server = running.enter_context(Valkey(append_only=True))
        broker = running.enter_context(Pulsar()) if pulsar else None

        def restart() -> None:
            each = broker or server
            each.kill()
            each.start()

        trials = Trials(server.url, seed, broker=broker.url if broker else "", restart=restart)
        trials.long = 10
        trials.resets = broker.resets if broker else trials.resets
        return asyncio.run(trials.run(kills, seconds=seconds, recoveries=4))


def main() -> int:
    """Run the trials that the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100, help="how many workers are killed or frozen (100)")
    parser.add_argument("--seconds", type=float, default=0, help="for how long at least (0)")
    parser.add_argument("--pulsar", action="store_true", help="jobs wait at a broker, their records on Valkey")
    parser.add_argument("--seed", type=int, default=1, help="of the choices made (1)")
    given = parser.parse_args()
    found = whole(given.kills, given.seconds, pulsar=given.pulsar, seed=given.seed)
    print(found)
    for line in found.judged():
        print("WRONG:", line)
    return 1 if found.judged() else 0


if __name__ == "__main__":
    sys.exit(main())
