"""Two real workers, one config that changes again and again: none of their callers notices more than the change."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx2
import pytest

from forecourt.config_file import Document
from forecourt.errors import StoreDown
from forecourt.live import Books
from forecourt.orders import Orders
from forecourt.principals import Keys
from forecourt.stores.opening import store_at
from forecourt.types import SystemClock
from tests.changing import POLICIES, numbers, write
from tests.core.bench import examples
from tests.servers import Valkey, free_port, until

pytestmark = pytest.mark.slow

SWAPS = examples(5)
"""FORECOURT_EXAMPLES=20 makes it a hundred."""


@contextmanager
def served(path: Path, watch: str) -> Iterator[int]:
    """Start two workers of uvicorn on the service; return their port."""
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "tests.e2e.changing:app", "--port", str(port), "--workers", "2"]
    environment = {**os.environ, "CHANGING": str(path), "WATCH": watch}
    process = subprocess.Popen([*command, "--log-level", "error"], env=environment, stdout=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}/"
    try:
        until(lambda: _answers(url), "the start of two workers", 60)
        yield port
    finally:
        process.terminate()
        process.wait(20)


def _answers(url: str) -> bool:
    try:
        return httpx2.get(url).status_code == 200
    except httpx2.TransportError:
        return False


class Callers:
    """Callers who never pause, each call on a connection of its own, so that both workers are met."""

    def __init__(self, port: int) -> None:
        self.calls = self.answers = 0
        self.newest: dict[str, int] = {}
        """Worker → the number of the config that it told of last."""
        self._port = port

    async def call(self) -> None:
        """Call again and again; every answer is the handler's, and tells of one config."""
        while True:
            self.calls += 1
            status, fields, worker = await _get(self._port)
            assert status == "HTTP/1.1 200 OK", worker
            (number,) = numbers(fields)
            self.newest[worker] = number
            self.answers += 1
            await asyncio.sleep(0.002)

    async def all_tell(self, number: int) -> float:
        """Return once both workers have told of this config; by how much this busy machine was late meanwhile, in s."""
        late = 0.0
        while len(self.newest) < 2 or set(self.newest.values()) != {number}:
            begun = time.monotonic()
            await asyncio.sleep(0.005)
            late = max(late, time.monotonic() - begun - 0.005)
        return late


async def _get(port: int) -> tuple[str, dict[str, str], str]:
    """Call once, on a connection of one's own: the status line, the fields and the body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(b"GET / HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n")
        head, _, body = (await reader.read(-1)).decode().partition("\r\n\r\n")
    finally:
        writer.close()
    status, *lines = head.split("\r\n")
    return status, dict(line.split(": ", 1) for line in lines), body


async def follow_all(port: int, swap: Callable[[int], Awaitable[None]]) -> None:
    """Swap again and again under load: each is told by both workers within a second, no call is lost or mixed."""
    callers = Callers(port)
    tasks = [asyncio.create_task(callers.call()) for _ in range(4)]
    async with asyncio.timeout(20):
        await callers.all_tell(0)
    for number in range(1, SWAPS + 1):
        await swap(number)
        begun = time.monotonic()
        async with asyncio.timeout(10):
            late = await callers.all_tell(number)
        assert time.monotonic() - begun < 1.0 + 2 * late
        assert not any(task.done() for task in tasks), [task.exception() for task in tasks if task.done()]
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert callers.calls - callers.answers <= len(tasks)  # those that were cancelled here
    assert callers.answers > SWAPS * 10


async def test_two_workers_follow_their_file(tmp_path: Path) -> None:
    """In memory, by looking at the file."""
    path = tmp_path / "policies.toml"
    write(path, 0)

    async def replace(number: int) -> None:
        write(path, number)

    with served(path, "file") as port:
        await follow_all(port, replace)


async def test_two_workers_follow_what_is_pushed(tmp_path: Path, valkey: Valkey) -> None:
    """On a real server, where the limits are as well."""
    path, clock = tmp_path / "policies.toml", SystemClock()
    named = f'store = "{valkey.url}"'
    write(path, 0, named)
    store, keys = store_at(valkey.url, clock), Keys("fc")
    await store.open()
    books = Books(store, keys, Orders(store, keys, clock))

    async def push(number: int) -> None:
        while True:  # on a busy machine the store may miss its deadline, as an operator would be told
            with suppress(StoreDown):
                await books.push(Document("policies.toml", POLICIES.format(number=number, more=named)))
                return
            await asyncio.sleep(0.05)  # the client connects again meanwhile; a loop without a pause would not let it

    with served(path, "store") as port:
        await follow_all(port, push)
    await store.close()
