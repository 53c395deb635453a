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
from contextlib import contextmanager

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
_PATIENCE = 30.0


@contextmanager
def serving(server: str, app: str, workers: int, store: str) -> Iterator[str]:
    """Serve the app on a free port of loopback; yields its address, and stops the server at the end."""
    port = free_port()
    words = [word.format(port=port, workers=workers) for word in SERVERS[server]]
    process = subprocess.Popen(
        [sys.executable, "-m", *words],
        env={**os.environ, "BENCH_APP": app, "BENCH_STORE": store},
        start_new_session=True,
    )
    try:
        address = f"http://127.0.0.1:{port}"
        _wait(address, process)
        yield address
    finally:
        stop(process)


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


def _wait(address: str, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with {process.returncode} before it answered")
        try:
            urllib.request.urlopen(f"{address}/records/7", timeout=2).close()
        except urllib.error.HTTPError:
            return  # it answers; 401 is fine without a token
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError(f"the server did not answer within {_PATIENCE:.0f} seconds")
