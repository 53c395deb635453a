"""The examples whose handlers are jobs, as people run them: a process that serves, and workers beside it."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.jobs.receivers import SPELT
from tests.servers import free_port

ROOT = Path(__file__).parents[2]


@contextmanager
def served(example: str, store: str) -> Iterator[str]:
    """Serve an example whose handlers are jobs on a free port; return its address."""
    port = free_port()
    surroundings = {**os.environ, "PORT": str(port)}
    surroundings.pop(f"{example.upper()}_KEY", None)
    surroundings[f"{example.upper()}_WEBHOOK_SECRET"] = SPELT
    command = [sys.executable, "-m", f"examples.{example}", "--store", store, "--workers", "2"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, env=surroundings, cwd=ROOT) as process:
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(30)


async def answered(client: httpx.AsyncClient) -> None:
    """Return once the service answers."""
    async with asyncio.timeout(60):
        while True:
            try:
                await client.get("/health")
            except httpx.TransportError:
                await asyncio.sleep(0.05)
            else:
                return
