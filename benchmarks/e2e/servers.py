"""Starts uvicorn and granian with so many workers, and stops them."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

SERVERS: dict[str, Sequence[str]] = {
    "uvicorn": (
        *("uvicorn", "benchmarks.e2e.apps:make", "--factory", "--host", "127.0.0.1", "--port", "{port}"),
        *("--workers", "{workers}", "--loop", "uvloop", "--http", "httptools", "--no-access-log"),
        *("--log-level", "error"),
    ),
    "granian": (
        *("granian", "benchmarks.e2e.apps:make", "--factory", "--interface", "asgi", "--host", "127.0.0.1"),
        *("--port", "{port}", "--workers", "{workers}", "--loop", "uvloop", "--log-level", "error"),
    ),
}
_PATIENCE = 60.0
_WARM = 40


@contextmanager
def serving(server: str, apps: Sequence[str], workers: int, store: str) -> Iterator[dict[str, str]]:
    """Serve each app on a free port of loopback; yields their addresses by name, and stops all servers at the end."""
    with ExitStack() as running:
        started = {app: _start(running, server, app, workers, store) for app in apps}
        for process, address in started.values():
            wait(address, process)
        yield {app: address for app, (_, address) in started.items()}
        for process, _ in started.values():
            process.terminate()  # all at once; `stop` then waits for one after the other


def _start(
    running: ExitStack, server: str, app: str, workers: int, store: str
) -> tuple["subprocess.Popen[bytes]", str]:
    port = free_port()
    words = [word.format(port=port, workers=workers) for word in SERVERS[server]]
    process = subprocess.Popen(
        [sys.executable, "-m", *words],
        env={**os.environ, "BENCH_APP": app, "BENCH_STORE": store},
        start_new_session=True,
    )
    running.callback(stop, process)
    return process, f"http://127.0.0.1:{port}/records/7"


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def stop(process: "subprocess.Popen[bytes]") -> None:
    """Ask the server and its workers to end; kill what has not ended after ten seconds."""
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait(address: str, process: "subprocess.Popen[bytes]") -> None:
    """Wait until the server has answered often enough to be warm, on every worker."""
    deadline = time.monotonic() + _PATIENCE
    answers = 0
    while answers < _WARM:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with {process.returncode} before it answered")
        if time.monotonic() > deadline:
            raise RuntimeError(f"the server did not answer within {_PATIENCE:.0f} seconds")
        try:
            urllib.request.urlopen(address, timeout=2).close()
        except urllib.error.HTTPError:
            answers += 1  # it answers; 401 is fine without a token
        except OSError:
            time.sleep(0.1)
        else:
            answers += 1
