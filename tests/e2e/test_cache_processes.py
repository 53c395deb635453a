"""Several processes, one store, one answer."""

import os
import select
import signal
import subprocess
import sys
import time

import pytest

from tests.servers import Valkey

pytestmark = [pytest.mark.slow, pytest.mark.valkey]


def start(url: str, calls: int, seconds: float, number: int = 4) -> list[subprocess.Popen[str]]:
    """Start processes that begin to call together."""
    instant = str(time.time() + 5)
    command = [sys.executable, "-m", "tests.e2e.cached", url, str(calls), instant, str(seconds)]
    return [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(number)]


def test_a_thousand_misses_of_four_processes_run_once(valkey: Valkey) -> None:
    """250 calls at once in each: the handler runs once, all are answered."""
    said = [process.communicate(timeout=60)[0] for process in start(valkey.url, 250, 0.3)]
    assert "".join(said).count("run ") == 1
    assert sum(text.count("answered 250") for text in said) == 4


def test_a_leader_that_is_killed_is_succeeded_once(valkey: Valkey) -> None:
    """Kill -9 of the one who runs: within its lead of three seconds another runs, once, and all others are answered."""
    processes = start(valkey.url, 50, 1.0, number=3)
    outputs = [process.stdout for process in processes if process.stdout is not None]
    ready, _, _ = select.select(outputs, [], [], 60)
    assert len(ready) == 1
    lead = int(ready[0].readline().split()[1])
    killed = time.monotonic()
    os.kill(lead, signal.SIGKILL)
    others = [process for process in processes if process.pid != lead]
    said = [process.communicate(timeout=60)[0] for process in others]
    assert time.monotonic() - killed < 15
    for process in processes:
        if process.pid == lead:
            process.communicate()
    assert "".join(said).count("run ") == 1
    assert sum(text.count("answered 50") for text in said) == 2
