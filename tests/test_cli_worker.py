"""The worker's command in this process: apps that do not start, and the fleet of worker processes."""

import asyncio
import os
import signal
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from forecourt import (
    ConfigError,
    EndpointPolicy,
    JobConfig,
    Offload,
    PolicyMiddleware,
    RateLimitMiddleware,
    cli_worker,
)
from forecourt.cli import main
from forecourt.inspection import stack_of
from forecourt.jobs.envelope import Envelopes, JobRequest
from forecourt.jobs.queue import NewJob, Queue, Record
from forecourt.jobs.queues import ASIDE
from forecourt.jobs.sqlite import SqliteQueue
from forecourt.jobs.worker import Worker
from forecourt.policies.keys import KeyRing
from forecourt.types import SECOND, Receive, Scope, Send

HERE = "tests.test_cli_worker"
ROOT = Path(__file__).parents[1]

idle = Starlette()
"""An app with a stack, none of whose endpoints is offloaded."""
idle.add_middleware(PolicyMiddleware, config=JobConfig(default=EndpointPolicy()))

bare = Starlette()
"""An app whose only stack has one layer, and not that one."""
bare.add_middleware(RateLimitMiddleware, config=JobConfig(default=EndpointPolicy()))


async def raises(_scope: Scope, _receive: Receive, _send: Send) -> None:
    """Fail before any answer."""
    raise RuntimeError("no database")


async def leaves(_scope: Scope, _receive: Receive, _send: Send) -> None:
    """End without an answer, as apps without a lifespan do."""


async def declines(_scope: Scope, receive: Receive, send: Send) -> None:
    """Say in the protocol's words that it will not start."""
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no licence"})


async def declines_and_raises(_scope: Scope, receive: Receive, send: Send) -> None:
    """Say so without a reason, and fail after that."""
    await receive()
    await send({"type": "lifespan.startup.failed"})
    await asyncio.sleep(0)
    raise RuntimeError("nobody asks")


@pytest.fixture(autouse=True)
def signals_as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give back the handlers that the command replaces."""
    monkeypatch.chdir(ROOT)
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("app", "said"),
    [
        ("raises", "the app did not start: no database"),
        ("leaves", "the app did not start: it ended by itself"),
        ("declines", "the app did not start: no licence"),
        ("declines_and_raises", "the app did not start: lifespan.startup.failed"),
        ("idle", "no endpoint of the app is offloaded, so there is nothing to work on"),
        ("bare", "the app has no PolicyMiddleware with the layer offload"),
    ],
)
def test_an_app_that_cannot_be_worked_for_is_told(app: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 2 with the app's own words where it has any; nothing hangs."""
    assert main(["worker", f"{HERE}:{app}"]) == 2
    assert said in capsys.readouterr().err


def test_a_fleet_ends_where_its_workers_cannot_start(capfd: pytest.CaptureFixture[str]) -> None:
    """A worker that ends with 2 is not started anew: the fleet ends with 2 too."""
    options = ["--processes", "2", "--queue", "heavy", "--concurrency", "3", "--drain", "1"]
    assert main(["worker", f"{HERE}:declines", *options]) == 2
    told = capfd.readouterr().err
    assert "no licence" in told
    assert "another one starts" not in told


def test_workers_are_told_what_the_fleet_was_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each process has the app, the queues, the concurrency and the drain; it is one process, not a fleet again."""
    commands: list[list[str]] = []

    class Started:
        """Takes the fleet's place."""

        def __init__(self, command: list[str], processes: int) -> None:
            commands.append([*command[1:], str(processes)])

        def run(self) -> int:
            return 0

    monkeypatch.setattr(cli_worker, "_Fleet", Started)
    options = ["--processes", "2", "--queue", "a", "--queue", "b", "--concurrency", "3"]
    assert main(["worker", "an:app", *options]) == 0
    queues = ["--queue", "a", "--queue", "b"]
    rest = ["--concurrency", "3", "--drain", "30.0"]
    assert commands == [["-m", "forecourt.cli", "worker", "an:app", *queues, *rest, "2"]]


def test_a_worker_that_dies_is_started_anew_until_the_signal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The first dies; its successor runs until the fleet is told to stop, which passes that on and ends with 0."""
    monkeypatch.setattr(cli_worker, "_STARTING_AGAIN", 0)
    died = tmp_path / "died"
    first = f"[ -e {died} ] || {{ touch {died}; exit 3; }}"
    second = "trap 'exit 0' TERM; kill -TERM $PPID; while :; do sleep 0.02; done"
    assert cli_worker._Fleet(["/bin/sh", "-c", f"{first}; {second}"], 1).run() == 0
    assert capfd.readouterr().err == "a worker ended with 3; another one starts\n"


class Told(threading.Event):
    """Is set while a worker is about to be started again, and not before."""

    def wait(self, timeout: float | None = None) -> bool:
        """Wait."""
        if timeout == cli_worker._STARTING_AGAIN:
            self.set()
        return super().wait(timeout)


def test_a_fleet_that_is_told_to_stop_before_it_starts_another_starts_none(tmp_path: Path) -> None:
    """The signal comes in the pause after a worker died: the fleet ends at once, as that one did."""
    started = tmp_path / "started"
    fleet = cli_worker._Fleet(["/bin/sh", "-c", f"echo one >> {started}; exit 3"], 1)
    fleet._stopping = Told()
    assert fleet.run() == 3
    assert started.read_text() == "one\n"


def test_a_fleet_that_is_told_to_stop_while_it_starts_leaves_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """The signal comes between two workers: both are ended, and that is no failure."""
    fleet = cli_worker._Fleet(["/bin/sh", "-c", "sleep 60"], 2)
    started = fleet._started

    def interrupted() -> "subprocess.Popen[bytes]":
        child = started()
        os.kill(os.getpid(), signal.SIGTERM)
        return child

    monkeypatch.setattr(fleet, "_started", interrupted)
    assert fleet.run() == 0
    assert [child.poll() for child in fleet._children] == [-signal.SIGTERM] * 2


def test_a_fleet_that_cannot_start_its_second_worker_ends_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """What went wrong is raised, and nobody is left."""
    fleet = cli_worker._Fleet(["/bin/sh", "-c", "sleep 60"], 2)
    started = fleet._started

    def once() -> "subprocess.Popen[bytes]":
        if fleet._children:
            raise OSError("no more processes")
        return started()

    monkeypatch.setattr(fleet, "_started", once)
    with pytest.raises(OSError, match="no more"):
        fleet.run()
    assert [child.poll() for child in fleet._children] == [-signal.SIGTERM]


class Blocking:
    """An app whose only job blocks its thread; `runs` says on which one it ran."""

    def __init__(self, path: Path) -> None:
        self.runs: list[str] = []
        self.config = JobConfig(
            default=EndpointPolicy(),
            endpoints={"work": EndpointPolicy(offload=Offload(queue="file"))},
            queues={"file": f"sqlite:///{path}"},
            keys=[b"a secret of the tests, 32 bytes or more"],
        )
        jobs = Mount("/jobs", self.config.jobs, name="jobs")
        self.app = Starlette(routes=[Route("/work", self._work, methods=["POST"], name="work"), jobs])
        self.app.add_middleware(PolicyMiddleware, config=self.config)

    async def _work(self, request: Request) -> Response:
        self.runs.append(threading.current_thread().name)
        time.sleep(float(request.query_params.get("block", "0")))  # it blocks: that is the test
        await asyncio.sleep(float(request.query_params.get("sleep", "0")))
        return Response()


@asynccontextmanager
async def beside(path: Path) -> AsyncIterator[tuple[Blocking, cli_worker._QueueThread, Queue]]:
    """Start an app as a worker does, and the thread of its queue; give a queue to publish on, too."""
    blocking = Blocking(path)
    asided = ASIDE.set(True)
    try:
        async with cli_worker._Started(blocking.app):
            stack = stack_of(blocking.app, "offload")
            queue = stack.jobs.queues.queue("file")
            yield blocking, cli_worker._QueueThread(stack, ["file"], 2), queue
    finally:
        ASIDE.reset(asided)


async def published(queue: Queue, name: str, query: bytes) -> None:
    """Put a job in, with a lease of 0.2 s."""
    request = JobRequest("work", "POST", "/work", query, "", "http", (), b"")
    envelope = Envelopes(KeyRing([b"a secret of the tests, 32 bytes or more"]), "file").seal(name, request)
    times = (2, SECOND // 5, 0, 100 * SECOND, 100 * SECOND, 100)
    await queue.publish(NewJob(name, "ali", "work", "", envelope, *times))


async def stands(queue: Queue, name: str, status: str) -> Record:
    """Return the record once the job stands so."""
    async with asyncio.timeout(20):
        while True:
            record = await queue.look(name)
            if record is not None and record.status == status:
                return record
            await asyncio.sleep(0.005)


async def test_a_handler_that_blocks_its_thread_keeps_its_job(tmp_path: Path) -> None:
    """The queue has a thread of its own, which renews: after four leases the job has run once, on the app's thread."""
    async with beside(tmp_path / "jobs.db") as (blocking, side, queue):
        side.start()
        await published(queue, "file.a", b"block=0.8")
        assert (await stands(queue, "file.a", "succeeded")).attempts == 1
        assert blocking.runs == [threading.current_thread().name]
        await asyncio.to_thread(side.stop, 5)
        assert not side._thread.is_alive()


async def test_what_does_not_end_while_a_worker_drains_is_queued_again(tmp_path: Path) -> None:
    """It costs no attempt, and the thread has ended."""
    async with beside(tmp_path / "jobs.db") as (_, side, queue):
        side.start()
        await published(queue, "file.a", b"sleep=60")
        await stands(queue, "file.a", "running")
        await asyncio.to_thread(side.stop, 0.05)
        assert (await stands(queue, "file.a", "queued")).attempts == 0
        assert not side._thread.is_alive()


async def test_a_thread_whose_queue_does_not_open_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What went wrong is raised, and nothing is left."""
    async with beside(tmp_path / "jobs.db") as (_, side, _queue):
        other = SqliteQueue(str(tmp_path / "none" / "jobs.db"), "file")
        monkeypatch.setattr(side._stack.jobs.queues, "another", lambda _: other)
        with pytest.raises(ConfigError, match="cannot be used"):
            await asyncio.to_thread(side.start)
        assert not side._thread.is_alive()


class Stopping(Blocking):
    """An app whose job sends the signal to its own process, and ends once the worker drains."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.draining = threading.Event()

    async def _work(self, request: Request) -> Response:
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.to_thread(self.draining.wait, 20)
        return await super()._work(request)


def test_a_worker_stops_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says what it works on; told to stop, it waits for what it runs, claims nothing more and ends with 0."""
    path = tmp_path / "jobs.db"
    stopping, drain = Stopping(path), Worker.drain
    monkeypatch.setattr(f"{HERE}.stopping", stopping.app, raising=False)

    async def draining(worker: Worker, seconds: float) -> None:
        stopping.draining.set()
        await drain(worker, seconds)

    monkeypatch.setattr(Worker, "drain", draining)

    async def opened() -> SqliteQueue:
        queue = SqliteQueue(str(path), "fc file")
        await queue.open()
        return queue

    async def publish() -> None:
        queue = await opened()
        for name in ("file.a", "file.b"):
            await published(queue, name, b"")
        await queue.close()

    async def ended() -> list[str]:
        queue = await opened()
        records = [await queue.look(name) for name in ("file.a", "file.b")]
        await queue.close()
        return [record.status for record in records if record]

    asyncio.run(publish())
    assert main(["worker", f"{HERE}:stopping", "--queue", "file", "--concurrency", "1"]) == 0
    assert capsys.readouterr().out == "working on file, 1 jobs at once\n"
    assert asyncio.run(ended()) == ["succeeded", "queued"]
