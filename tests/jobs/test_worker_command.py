"""`forecourt worker` as people run it: it does what waits, says what is wrong, and stops in order."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from forecourt.cli import main
from forecourt.jobs.envelope import Envelopes, JobRequest
from forecourt.jobs.queue import NewJob, Record
from forecourt.jobs.valkey import ValkeyQueue
from forecourt.policies.keys import KeyRing
from forecourt.stores.redis.client import Client
from forecourt.types import SECOND
from tests.servers import Valkey, eventually

ROOT = Path(__file__).parents[2]
SECRET = "a secret of the tests, 32 bytes or more"
APP = "tests.jobs.worked:app"


@contextmanager
def worker(url: str, *options: str) -> Iterator["subprocess.Popen[str]"]:
    """Run the command on a store, in a process."""
    surroundings = {**os.environ, "FORECOURT_STORE": url, "REPORTS_KEY": SECRET}
    command = [sys.executable, "-m", "forecourt.cli", "worker", APP, *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=surroundings, cwd=ROOT) as process:
        try:
            yield process
        finally:
            process.terminate()
            process.wait(20)


def job(name: str, query: bytes = b"", ring: KeyRing | None = None) -> NewJob:
    """Build a job for the app's handler, with a lease of a second."""
    headers = ((b"content-type", b"text/plain"),)
    request = JobRequest("work", "POST", "/work", query, "", "http", headers, b"text")
    envelope = Envelopes(ring or KeyRing([SECRET.encode()]), "default").seal(name, request)
    times = (1, SECOND, 0, 100 * SECOND, 100 * SECOND, 100)
    return NewJob(name, "ali", "work", "", envelope, *times)


async def ended(queue: ValkeyQueue, names: Sequence[str]) -> list[Record]:
    """Return the records of jobs once all have ended."""
    async with asyncio.timeout(30):
        while True:
            records = [await queue.look(name) for name in names]
            found = [record for record in records if record and record.ended]
            if len(found) == len(names):
                return found
            await asyncio.sleep(0.02)


@pytest.mark.slow
async def test_a_worker_does_what_waits_and_stops_in_order(valkey: Valkey) -> None:
    """A job that blocks its process for three leases runs once; a forged one is not run; SIGTERM waits for the rest."""
    queue = ValkeyQueue(Client(valkey.url, deadline=5), "fc", "default")
    await queue.open()
    with worker(valkey.url, "--concurrency", "2", "--drain", "10") as process:
        assert process.stdout is not None
        assert await asyncio.to_thread(process.stdout.readline) == "working on default, 2 jobs at once\n"
        await queue.publish(job("blocks", b"block=3"))
        await queue.publish(job("forged", ring=KeyRing.random()))
        blocking, forged = await ended(queue, ["blocks", "forged"])
        assert (blocking.status, blocking.attempts) == ("succeeded", 1)
        assert (forged.status, forged.reason) == ("dead", "its envelope is not ours")
        await queue.publish(job("last", b"sleep=1"))
        process_has_it = [False]

        async def look() -> None:
            while not process_has_it[0]:
                record = await queue.look("last")
                process_has_it[0] = record is not None and record.status == "running"

        looking = asyncio.ensure_future(look())
        await eventually(lambda: process_has_it[0])
        await looking
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, 20) == 0
        (last,) = await ended(queue, ["last"])
        assert (last.status, last.attempts) == ("succeeded", 1)
    await queue.close()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "is in the memory of each process"),
        (("--queue", "heavi"), "the app uses no such queue; it uses default"),
        (("--concurrency", "0"), "must be at least 1"),
    ],
)
def test_what_cannot_be_worked_on_is_told(
    options: Sequence[str], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit 2 and a line that says why, without a server."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("REPORTS_KEY", SECRET)
    assert main(["worker", APP, *options]) == 2
    assert said in capsys.readouterr().err
