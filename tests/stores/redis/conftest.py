"""Clients that are closed when their test ends, and leave nothing running."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Protocol

import pytest

from forecourt.stores.redis.client import Client


class Connect(Protocol):
    """Opens a client of a store; the arguments are those of `Client`."""

    async def __call__(
        self,
        url: str,
        *,
        deadline: float = 1.0,
        bodies_deadline: float | None = None,
        connections: int = 1,
        max_waiting: int = 10_000,
        flush: int = 256,
    ) -> Client:
        """Return it, open."""
        ...


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Open clients with a deadline of a second, unless told otherwise.

    They must leave no task behind, and no exception to the event loop.
    """
    before = asyncio.all_tasks()
    mistakes: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: mistakes.append(context))
    async with AsyncExitStack() as closing:

        async def connect_to(
            url: str,
            *,
            deadline: float = 1.0,
            bodies_deadline: float | None = None,
            connections: int = 1,
            max_waiting: int = 10_000,
            flush: int = 256,
        ) -> Client:
            client = Client(
                url,
                deadline=deadline,
                bodies_deadline=bodies_deadline,
                connections=connections,
                max_waiting=max_waiting,
                flush=flush,
            )
            closing.push_async_callback(client.close)
            await client.open()
            return client

        yield connect_to
    left = {task.get_name() for task in asyncio.all_tasks() - before if "forecourt" in task.get_name()}
    assert (left, mistakes) == (set(), [])
