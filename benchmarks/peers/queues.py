"""Job queues on one Valkey, each as its README sets it up: publish a job that does nothing, and have a worker do many.

Every worker runs in this process, on this loop, 32 jobs at a time; results are kept where the package can.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple

import arq
import arq.worker
import docket
import saq
from arq.connections import RedisSettings
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from taskiq.api import run_receiver_task
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

from forecourt import EndpointPolicy, JobConfig, Offload, PolicyMiddleware
from forecourt.inspection import stack_of
from forecourt.jobs.envelope import JobRequest
from forecourt.jobs.queue import NewJob
from forecourt.jobs.worker import Worker
from forecourt.types import SECOND, SystemClock

CONCURRENCY = 32


class Done:
    """Counts jobs that were run; `all` is set when so many were."""

    def __init__(self) -> None:
        self.count = 0
        self.wanted = 0
        self.first = self.last = 0.0
        self.all = asyncio.Event()

    def want(self, number: int) -> None:
        """Count anew, up to this number."""
        self.count, self.wanted = 0, number
        self.all.clear()

    def ran(self) -> None:
        """Count one."""
        self.count += 1
        if self.count == 1:
            self.first = time.perf_counter()
        if self.count == self.wanted:
            self.last = time.perf_counter()
            self.all.set()


class Peer(NamedTuple):
    """A queue that is open: how to publish one job, and to run a worker until it is cancelled."""

    name: str
    config: str
    publish: Callable[[], Awaitable[object]]
    work: Callable[[], Awaitable[object]]
    done: Done

    async def publish_all(self, jobs: int, callers: int) -> float:
        """Have so many callers publish so many jobs, each one after the other; return publications per second."""

        async def call() -> None:
            for _ in range(jobs // callers):
                await self.publish()

        await self.publish()
        began = time.perf_counter()
        await asyncio.gather(*(call() for _ in range(callers)))
        return jobs // callers * callers / (time.perf_counter() - began)

    async def drain(self, jobs: int) -> float:
        """Publish so many jobs, start a worker, and return jobs per second from the first one run to the last."""
        for _ in range(jobs // 20):
            await asyncio.gather(*(self.publish() for _ in range(20)))
        self.done.want(jobs // 20 * 20)
        working = asyncio.ensure_future(self.work())
        async with asyncio.timeout(120):
            await self.done.all.wait()
        await asyncio.sleep(0.3)
        working.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await asyncio.wait_for(working, 15)
        return (self.done.count - 1) / (self.done.last - self.done.first)


@asynccontextmanager
async def taskiq(url: str) -> AsyncIterator[Peer]:
    """taskiq-redis: a stream, results in Redis."""
    done = Done()
    broker = RedisStreamBroker(url=url, queue_name="bench-taskiq").with_result_backend(
        RedisAsyncResultBackend(redis_url=url, result_ex_time=600)
    )

    @broker.task(task_name="noop")
    async def noop() -> None:
        done.ran()

    await broker.startup()
    work = lambda: run_receiver_task(broker, max_async_tasks=CONCURRENCY)  # noqa: E731
    yield Peer("taskiq-redis", "RedisStreamBroker with RedisAsyncResultBackend", noop.kiq, work, done)
    await broker.shutdown()


@asynccontextmanager
async def arq_(url: str) -> AsyncIterator[Peer]:
    """arq: a sorted set, pickled."""
    done = Done()
    settings = RedisSettings.from_dsn(url)
    pool = await arq.create_pool(settings)

    async def noop(_ctx: Any) -> None:
        done.ran()

    async def work() -> None:
        worker = arq.worker.Worker(
            [arq.worker.func(noop, name="noop")],
            redis_settings=settings,
            max_jobs=CONCURRENCY,
            handle_signals=False,
        )
        try:
            await worker.async_run()
        finally:
            with suppress(Exception):
                await worker.close()

    yield Peer("arq", "create_pool(…), Worker(max_jobs=32)", lambda: pool.enqueue_job("noop"), work, done)
    await pool.aclose()


@asynccontextmanager
async def saq_(url: str) -> AsyncIterator[Peer]:
    """saq: lists."""
    done = Done()
    queue = saq.Queue.from_url(url, name="bench-saq")
    await queue.connect()

    async def noop(_ctx: Any) -> None:
        done.ran()

    async def work() -> None:
        worker = saq.Worker(queue, functions=[("noop", noop)], concurrency=CONCURRENCY)
        worker.SIGNALS = []
        try:
            await worker.start()
        finally:
            await worker.stop()

    yield Peer("saq", "Queue.from_url(url), Worker(concurrency=32)", lambda: queue.enqueue("noop"), work, done)


@asynccontextmanager
async def docket_(url: str) -> AsyncIterator[Peer]:
    """docket: a stream, cloudpickled."""
    done = Done()

    async def noop() -> None:
        done.ran()

    async with docket.Docket(name="bench-docket", url=url) as opened:
        opened.register(noop)

        async def publish() -> None:
            await opened.add(noop)()

        async def work() -> None:
            async with docket.Worker(opened, concurrency=CONCURRENCY) as worker:
                await worker.run_forever()

        yield Peer("docket", "Docket(url), Worker(concurrency=32)", publish, work, done)


@asynccontextmanager
async def forecourt_(url: str) -> AsyncIterator[Peer]:
    """Ours: what `forecourt worker` runs, the request through the app below the stack, its result kept."""
    done = Done()
    policy = EndpointPolicy(offload=Offload(max_queued=1_000_000))
    config = JobConfig(
        default=EndpointPolicy(tracing="off", metrics="off", logging="off"),
        endpoints={"noop": policy},
        store=url,
        keys=[b"k" * 32],
    )

    async def noop(_: Request) -> Response:
        done.ran()
        return Response(b"done")

    app = Starlette(
        routes=[Route("/noop", noop, methods=["POST"], name="noop"), Mount("/jobs", config.jobs, name="jobs")]
    )
    app.add_middleware(PolicyMiddleware, config=config)
    async with _started(app):
        jobs = stack_of(app, "offload").jobs
        queue, envelopes = jobs.queues.queue("default"), jobs.queues.envelopes("default")
        request = JobRequest("noop", "POST", "/noop", b"", "", "http", ((b"content-type", b"text/plain"),), b"")
        number = iter(range(1 << 60))

        async def publish() -> None:
            name = f"default.{next(number)}"
            times = (3, 15 * SECOND, 0, 600 * SECOND, 600 * SECOND, 1_000_000)
            await queue.publish(NewJob(name, "bench", "noop", "", envelopes.seal(name, request), *times))

        async def work() -> None:
            worker = Worker(queue, envelopes, jobs.run, jobs.ended, SystemClock(), concurrency=CONCURRENCY)
            worker.start()
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                await worker.drain(5)

        yield Peer("forecourt", "ValkeyQueue, Worker(concurrency=32), a Starlette handler", publish, work, done)


@asynccontextmanager
async def _started(app: Starlette) -> AsyncIterator[None]:
    to_app: asyncio.Queue[Any] = asyncio.Queue()
    from_app: asyncio.Queue[Any] = asyncio.Queue()
    scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
    running = asyncio.ensure_future(app(scope, to_app.get, from_app.put))
    await to_app.put({"type": "lifespan.startup"})
    answer = await from_app.get()
    if answer["type"] != "lifespan.startup.complete":
        raise RuntimeError(answer)
    yield
    await to_app.put({"type": "lifespan.shutdown"})
    await from_app.get()
    await running


QUEUES = (taskiq, arq_, saq_, docket_, forecourt_)
