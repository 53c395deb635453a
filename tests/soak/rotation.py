"""Keys are rotated under load by two processes: no call fails, what was sealed before opens, what is retired does not.

Each step of `forecourt secrets rotate` is followed by a restart of one process after the other, as a deployment does;
the balancer leaves out the one that restarts, and its calls go on. Calls never stop: new ones, and old ones again.
"""

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

from forecourt.cli import main as command
from tests.servers import Valkey
from tests.soak.results import Result

Said = dict[str, object]


class Worker:
    """One process, asked by one at a time."""

    def __init__(self, url: str, ring: Path, *, afresh: bool) -> None:
        self._command = [sys.executable, "-m", "tests.soak.rotation_worker", url, str(ring)]
        self._afresh = afresh
        self._busy = threading.Lock()
        self._process = self._started()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def ask(self, call: str, key: str) -> Said:
        """Make a call."""
        with self._busy:
            return self._said(json.dumps({"call": call, "key": key}))

    def restart(self) -> None:
        """Have it read the ring again: in a new process, or as one."""
        with self._busy:
            if self._afresh:
                self._end()
                self._process = self._started()
            else:
                self._said("restart")

    def _started(self) -> "subprocess.Popen[str]":
        return subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def _said(self, line: str) -> Said:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        said: Said = json.loads(self._process.stdout.readline())
        return said

    def _end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)
        if self._process.stdout is not None:
            self._process.stdout.close()


class Load:
    """Calls without an end, one thread for each process; what fails is kept."""

    def __init__(self, workers: list[Worker]) -> None:
        self.calls = 0
        self.failed: list[Said] = []
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._call, args=(at, worker)) for at, worker in enumerate(workers)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(60)

    def _call(self, at: int, worker: Worker) -> None:
        number = 0
        while not self._over.is_set():
            number += 1
            key = f"{at}-{number // 2}"  # each is asked for twice
            for call in ("pay", "record"):
                said = worker.ask(call, key)
                self.calls += 1
                if said["status"] != 200 or said["body"] != f"done for {key}":
                    self.failed.append(said)


def drill(url: str, ring: Path, *, afresh: bool, rounds: int = 1) -> tuple[int, list[str]]:
    """Return how many calls were made, and what was not as it must be."""
    wrong: list[str] = []
    _rotate(ring, "add")
    with ExitStack() as stack:
        workers = [stack.enter_context(Worker(url, ring, afresh=afresh)) for _ in range(2)]
        load = stack.enter_context(Load(workers))
        for number in range(rounds):
            old = f"old-{number}"
            workers[0].ask("pay", old)
            workers[0].ask("record", old)
            (first,) = _ids(workers[0].ask("pay", old))
            for step in ("add", "use"):
                _rotate(ring, step)
                for worker in workers:
                    worker.restart()
                    wrong += _found(workers, old, f"after {step}")
            new = f"new-{number}"
            workers[1].ask("pay", new)
            _rotate(ring, "retire", first)
            for worker in workers:
                worker.restart()
            wrong += [
                f"retired, and opened: {said}"
                for said in (each.ask("pay", old) for each in workers)
                if said["status"] != 409
            ]
            wrong += [
                f"new, and lost: {said}" for said in (each.ask("pay", new) for each in workers) if not said["stored"]
            ]
    return load.calls, [*wrong, *(f"failed: {said}" for said in load.failed)]


def _found(workers: list[Worker], key: str, when: str) -> Iterator[str]:
    """Tell of what was sealed before and does not open in one of the processes."""
    for worker in workers:
        for call in ("pay", "record"):
            said = worker.ask(call, key)
            if said["status"] != 200 or not said["stored"]:
                yield f"{when}, {call} of {key}: {said}"


def _ids(said: Said) -> list[str]:
    ids = said["ids"]
    assert isinstance(ids, list)
    return ids


def _rotate(ring: Path, step: str, *rest: str, run: Callable[[list[str]], int] = command) -> None:
    assert run(["secrets", "rotate", str(ring), step, *rest]) == 0


def rotation(rounds: int = 20) -> Iterator[Result]:
    """Keys rotated again and again by two processes that restart one after the other, under load."""
    with Valkey() as server, TemporaryDirectory() as directory:
        calls, wrong = drill(server.url, Path(directory) / "ring", afresh=True, rounds=rounds)
    for each in wrong[:10]:
        print(each)
    yield Result("rotation of keys", f"{rounds} rotations, {calls} calls", f"{len(wrong)} faults", not wrong)
