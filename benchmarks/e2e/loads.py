"""Loads a server for some seconds: with wrk where it is installed, else with the client beside this file."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from typing import NamedTuple

CONNECTIONS = 32
_UNITS = {"us": 1, "ms": 1000, "s": 1_000_000, "m": 60_000_000}


class Load(NamedTuple):
    """What a load showed: answers per second, the 99th percentile in µs, and answers that were not 200."""

    per_second: float
    p99: float
    bad: int


def generator() -> str:
    """Say what makes the load."""
    return "wrk, 1 thread" if shutil.which("wrk") else "benchmarks.e2e.client (wrk is not installed)"


def load(url: str, seconds: float, headers: Sequence[tuple[bytes, bytes]] = ()) -> Load:
    """Ask one address over 32 connections, each for one answer at a time."""
    texts = [f"{name.decode()}: {value.decode()}" for name, value in headers]
    if shutil.which("wrk"):
        return _wrk(url, seconds, texts)
    command = [sys.executable, "-m", "benchmarks.e2e.client", url, str(CONNECTIONS), str(seconds), *texts]
    return Load(**json.loads(_output(command)))


def _wrk(url: str, seconds: float, headers: list[str]) -> Load:
    given = [word for header in headers for word in ("-H", header)]
    text = _output(["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{max(1, round(seconds))}s", "--latency", *given, url])
    per_second = re.search(r"Requests/sec:\s+([\d.]+)", text)
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s|m)\b", text)
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    if per_second is None or p99 is None:
        raise RuntimeError(f"wrk said: {text}")
    return Load(float(per_second[1]), float(p99[1]) * _UNITS[p99[2]], int(bad[1]) if bad else 0)


def _output(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
