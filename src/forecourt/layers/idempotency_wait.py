"""Waiting for another call of the same key: one poller per key and process, however many wait.

It looks 5 ms after the first has begun to wait, then ever later up to 50 ms, with jitter so that processes do not look
together. Each look is a trip to the store.
"""

import asyncio
import random
from collections.abc import Sequence

from forecourt.core.idempotency import BUSY
from forecourt.core.operations import Value
from forecourt.errors import StoreError
from forecourt.stores.contract import Question, Store
from forecourt.types import SECOND, Clock

_FIRST_PAUSE, _LONGEST_PAUSE = 0.005, 0.05


class Waiting:
    """Those of this process who wait for a record that is busy, by its key."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._waiting: dict[str, dict[asyncio.Future[Sequence[Value] | None], int]] = {}
        self._pollers: set[asyncio.Task[None]] = set()

    async def until_over(self, key: str, longest: int) -> Sequence[Value] | None:
        """Return what a claim would find once the record is not busy; None after `longest` µs, or without a store."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Sequence[Value] | None] = loop.create_future()
        waiting = self._waiting.get(key)
        if waiting is None:
            waiting = self._waiting[key] = {}
            poller = loop.create_task(self._poll(key, waiting))
            self._pollers.add(poller)
            poller.add_done_callback(self._pollers.discard)
        waiting[answer] = self._clock.now() + longest
        try:
            return await answer
        finally:
            waiting.pop(answer, None)

    async def _poll(self, key: str, waiting: dict[asyncio.Future[Sequence[Value] | None], int]) -> None:
        pause = _FIRST_PAUSE
        try:
            while waiting:
                left = (min(waiting.values()) - self._clock.now()) / SECOND
                await self._clock.sleep(min(pause * random.uniform(0.5, 1), max(left, 0)))  # noqa: S311  # jitter
                pause = min(2 * pause, _LONGEST_PAUSE)
                (answer,) = await self._store.decide([Question("idempotency_look", key, (0,), "closed")])
                if not answer.values or answer.values[0] != BUSY:
                    return _tell(waiting, answer.values or None)
                now = self._clock.now()
                _tell({each: until for each, until in waiting.items() if until <= now}, None)
                await asyncio.sleep(0)  # those told are on their way out
        except StoreError:
            _tell(waiting, None)
        finally:
            del self._waiting[key]
            _tell(waiting, None)


def _tell(waiting: dict[asyncio.Future[Sequence[Value] | None], int], values: Sequence[Value] | None) -> None:
    for each in waiting:
        if not each.done():
            each.set_result(values)
