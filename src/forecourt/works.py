"""Work that goes on when its caller has gone: tasks that the process owns, and waits for before it ends.

A call that must not be cut short runs as a task of its own. Its caller waits for it; one who is cancelled meanwhile
leaves it here. What fails after that is logged, as nobody else would see it.
"""

import asyncio
import logging
from collections.abc import Coroutine

logger = logging.getLogger("forecourt")

PATIENCE = 30.0
"""Seconds that work may go on after the service was told to stop; then it is cancelled."""


class Works:
    """The tasks of this process that outlive their callers."""

    def __init__(self, patience: float = PATIENCE) -> None:
        self._patience = patience
        self._tasks: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"<Works: {len(self._tasks)} at work>"

    def start(self, work: Coroutine[object, object, None], name: str) -> asyncio.Task[None]:
        """Run this as a task that nobody's cancellation reaches."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def leave(self, task: asyncio.Task[None]) -> None:
        """Let it go on without anybody who waits for it."""
        task.add_done_callback(_told)

    async def drain(self) -> None:
        """Return when all of them on this loop have ended, at the latest when patience has, and they are cancelled."""
        loop = asyncio.get_running_loop()
        while mine := {task for task in self._tasks if task.get_loop() is loop}:
            _, late = await asyncio.wait(mine, timeout=self._patience)
            for task in late:
                logger.error("%s is cancelled: it is still at work %g s after the end", task.get_name(), self._patience)
                task.cancel()
            if late:
                await asyncio.wait(late)


def _told(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error("%s failed after its caller had gone: %s", task.get_name(), type(error).__name__, exc_info=error)
