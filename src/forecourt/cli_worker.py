"""forecourt worker module:app: run the jobs of an app's queues, until SIGTERM or SIGINT.

The app starts as under a server, its lifespan included; its jobs run on the main thread's loop. The queue has a thread
and a loop of its own, so that leases are renewed also while a handler burns CPU and blocks the main loop: nobody else
gets its job. More CPUs are used by more processes.

On the first signal nothing more is claimed; what is at work has `--drain` seconds to come to its end, the rest is
queued again. `--processes` starts so many such workers, and starts one anew that has died.
"""

import argparse
import asyncio
import signal
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

from forecourt.cli_app import imported
from forecourt.errors import ConfigError
from forecourt.inspection import stack_of
from forecourt.jobs.envelope import JobRequest
from forecourt.jobs.queue import Queue, Record
from forecourt.jobs.queues import ASIDE
from forecourt.jobs.worker import Notes, Worker
from forecourt.middleware import PolicyMiddleware
from forecourt.stack import OFFLOAD
from forecourt.types import ASGIApp, Message, Receive, Scope, Send, SystemClock

Value = TypeVar("Value")

DRAIN = 30.0
_STARTING_AGAIN = 1.0
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    words = "run the jobs of the app's queues, until SIGTERM"
    command = commands.add_parser("worker", help=words, description=words)
    command.add_argument("app", metavar="module:app", help="as a server is told: package.module:variable")
    command.add_argument("--queue", action="append", metavar="NAME", help="a queue to work on (default: all it uses)")
    command.add_argument("--concurrency", type=int, default=8, metavar="N", help="jobs at once in a process (8)")
    command.add_argument("--processes", type=int, default=1, metavar="N", help="so many such processes (1)")
    command.add_argument("--drain", type=float, default=DRAIN, metavar="S", help="seconds for running jobs to end (30)")
    command.set_defaults(run=_run)


def _run(given: argparse.Namespace) -> int:
    if given.concurrency < 1 or given.processes < 1:
        raise ConfigError("--concurrency and --processes must be at least 1")
    if given.processes > 1:
        return _Fleet(_command(given), given.processes).run()
    return asyncio.run(_work(imported(given.app), given))


def _command(given: argparse.Namespace) -> list[str]:
    queues = [word for name in given.queue or () for word in ("--queue", name)]
    rest = ["--concurrency", str(given.concurrency), "--drain", str(given.drain)]
    return [sys.executable, "-m", "forecourt.cli", "worker", given.app, *queues, *rest]


async def _work(app: ASGIApp, given: argparse.Namespace) -> int:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, stopping.set)
    ASIDE.set(True)
    async with _Started(app):
        stack = stack_of(app, OFFLOAD)
        names = _queues(stack, given.queue)
        side = _QueueThread(stack, names, given.concurrency)
        side.start()
        print(f"working on {', '.join(names)}, {given.concurrency} jobs at once", flush=True)  # a command prints
        await stopping.wait()
        await asyncio.to_thread(side.stop, given.drain)
    return 0


def _queues(stack: PolicyMiddleware, asked: Sequence[str] | None) -> list[str]:
    """Return the queues to work on; ConfigError for one that the app does not use, or that no other process sees."""
    used = stack.jobs.queues
    names = list(asked or used.queues())
    if not names:
        raise ConfigError("no endpoint of the app is offloaded, so there is nothing to work on")
    for name in names:
        if name not in used.queues():
            raise ConfigError(f"--queue {name}: the app uses no such queue; it uses {', '.join(used.queues())}")
        if used.in_process(name):
            raise ConfigError(
                f'the queue "{name}" is in the memory of each process, which works on it by itself:'
                f" give it an address in queues, or a store, such as redis://localhost:6379"
            )
    return names


class _QueueThread:
    """The queues' own thread and loop; jobs go to the loop that made it."""

    def __init__(self, stack: PolicyMiddleware, names: Sequence[str], concurrency: int) -> None:
        self._stack = stack
        self._names = names
        self._concurrency = concurrency
        self._main = asyncio.get_running_loop()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="forecourt queue", daemon=True)
        self._workers: list[tuple[Queue, Worker]] = []

    def start(self) -> None:
        self._thread.start()
        try:
            self._within(self._open())
        except BaseException:
            self.stop(0)
            raise

    def stop(self, drain: float) -> None:
        self._within(self._close(drain))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _within(self, doing: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(doing, self._loop).result()

    async def _open(self) -> None:
        queues, clock = self._stack.jobs.queues, SystemClock()
        for name in self._names:
            queue = queues.another(name)
            await queue.open()
            worker = Worker(queue, queues.envelopes(name), self._job, self._ended, clock, concurrency=self._concurrency)
            worker.start()
            self._workers.append((queue, worker))

    async def _close(self, drain: float) -> None:
        await asyncio.gather(*(worker.drain(drain) for _, worker in self._workers))
        for queue, _ in self._workers:
            await queue.close()

    async def _job(
        self, request: JobRequest, scope: Scope, receive: Receive, send: Send, told: Callable[[Notes], None]
    ) -> None:
        await self._on_main(self._stack.jobs.run(request, scope, receive, send, told))

    async def _ended(self, request: JobRequest, record: Record, status: int) -> None:
        await self._on_main(self._stack.jobs.ended(request, record, status))

    async def _on_main(self, doing: Coroutine[Any, Any, Value]) -> Value:
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(doing, self._main))


class _Started:
    """An app that has started, until the end of the block; ConfigError with its own words where it would not."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._to_app: asyncio.Queue[Message] = asyncio.Queue()
        self._from_app: asyncio.Queue[Message] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> None:
        scope: Scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": {}}
        self._task = asyncio.get_running_loop().create_task(
            _coroutine(self._app(scope, self._to_app.get, self._from_app.put))
        )
        answer = await self._exchange("lifespan.startup")
        if answer != "lifespan.startup.complete":
            raise ConfigError(f"the app did not start: {answer}")

    async def __aexit__(self, *_: object) -> None:
        await self._exchange("lifespan.shutdown")

    async def _exchange(self, said: str) -> str:
        """Say it; return the type of the answer, or the message of one that failed."""
        assert self._task is not None
        await self._to_app.put({"type": said})
        answering = asyncio.ensure_future(self._from_app.get())
        await asyncio.wait({answering, self._task}, return_when=asyncio.FIRST_COMPLETED)
        if not answering.done():
            answering.cancel()
            error = self._task.exception()
            return str(error) if error else "it ended by itself"
        answer = answering.result()
        if answer["type"].endswith(".failed"):
            await asyncio.wait({self._task})
            self._task.exception()
            return str(answer.get("message") or answer["type"])
        return str(answer["type"])


async def _coroutine(doing: Awaitable[None]) -> None:
    await doing


class _Fleet:
    """So many workers, each a process; one that dies by itself is started anew."""

    def __init__(self, command: Sequence[str], processes: int) -> None:
        self._command = command
        self._processes = processes
        self._children: list[subprocess.Popen[bytes]] = []
        self._stopping = threading.Event()

    def run(self) -> int:
        for number in _SIGNALS:
            signal.signal(number, lambda *_: self._stopping.set())
        try:
            for _ in range(self._processes):
                self._children.append(self._started())  # those before one that fails are ended
            refused = self._watch()
        finally:
            code = self._stop()
        return 2 if refused else code

    def _watch(self) -> bool:
        """Start another for each worker that ends, until told to stop; True when one refused to start at all."""
        while not self._stopping.wait(0.2):
            for place, child in enumerate(self._children):
                code = child.poll()
                if code == 2:
                    return True
                if code is None:
                    continue
                print(
                    f"a worker ended with {code}; another one starts", file=sys.stderr, flush=True
                )  # a command prints
                if self._stopping.wait(_STARTING_AGAIN):
                    break
                self._children[place] = self._started()
        return False

    def _started(self) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(self._command, start_new_session=True)  # noqa: S603  # our own command

    def _stop(self) -> int:
        for child in self._children:
            child.terminate()
        codes = [child.wait() for child in self._children]
        return max((abs(code) for code in codes if code != -signal.SIGTERM), default=0)
