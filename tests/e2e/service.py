"""The records example as a running service: real processes, a real port."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx2

from forecourt import JobConfig
from forecourt.auth.development import development_token
from forecourt.revocations import new_id
from tests.servers import free_port

POLICIES = Path(__file__).parents[2] / "examples" / "records" / "policies.toml"


@contextmanager
def records(*arguments: str) -> Iterator[httpx2.Client]:
    """Start the example; stop it as Ctrl-C does, which must end it with 0."""
    port = free_port()
    command = [sys.executable, "-m", "examples.records", *arguments]
    process = subprocess.Popen(
        command,
        env={**os.environ, "PORT": str(port)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        headers = {"authorization": f"Bearer {token('read:records', 'write:records', roles=['editor'])}"}
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", headers=headers) as client:
            _wait(client, process)
            yield client
    finally:
        process.send_signal(signal.SIGINT)
        output = _ended(process)
    assert process.returncode == 0, output
    assert "Traceback" not in output


def token(*scopes: str, roles: Sequence[str] = ()) -> str:
    """Sign a token as `forecourt token` does."""
    issuer = JobConfig.from_file(POLICIES).issuers[0]
    return development_token(issuer, "tests", id=new_id(), scopes=scopes, roles=roles)


def _ended(process: subprocess.Popen[str]) -> str:
    """Return what it printed; one that does not end by itself is killed with its workers."""
    try:
        return process.communicate(timeout=20)[0]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise AssertionError(process.communicate()[0]) from None


def _wait(client: httpx2.Client, process: subprocess.Popen[str]) -> None:
    late = time.monotonic() + 60
    while time.monotonic() < late:
        assert process.poll() is None, process.communicate()[0]
        try:
            client.get("/health")
        except httpx2.TransportError:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError("the example did not start within a minute")
