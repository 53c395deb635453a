"""The heartbeat of this process: whatever its calls hold in the store for a short time is renewed while they go on.

A lease or a hold lasts for seconds, so that a process which dies frees what it held without anybody noticing. One
task per process tells the store, a third of that time after the last renewal, that all of them go on: one settlement
for each key, all in one trip. The task runs only while something is held, and a renewal that failed is tried again in
a third of the time; what was lost meanwhile is taken again even over the limit, because its work goes on.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from forecourt.errors import StoreError
from forecourt.stores.contract import Settlement
from forecourt.types import SECOND, Clock

logger = logging.getLogger("forecourt")

_BEATS = 3
_MOST_TOGETHER = 32


class Kept(NamedTuple):
    """What is renewed together: the settlement's kind and key, for how many µs, and whether this process granted it."""

    kind: str
    key: str
    ttl: int
    local: bool = False


class Heartbeat:
    """Renews what is held; `settle` is the store's, which raises StoreError, and `clock` says when.

    A settlement that renews takes (µs, ids between spaces).
    """

    def __init__(self, settle: Callable[[Sequence[Settlement]], Awaitable[None]], clock: Clock) -> None:
        self._settle = settle
        self._clock = clock
        self._held: dict[Kept, dict[str, None]] = {}
        self._due: dict[Kept, int] = {}
        self._task: asyncio.Task[None] | None = None
        self._wakes = 0

    def __repr__(self) -> str:
        return f"<Heartbeat of {len(self)} on {len(self._held)} keys>"

    def __len__(self) -> int:
        return sum(map(len, self._held.values()))

    def keep(self, kept: Kept, ids: Sequence[str]) -> None:
        """Renew these from now on, until they are dropped."""
        if kept not in self._held:
            self._held[kept] = {}
            self._due[kept] = self._clock.now() + kept.ttl // _BEATS
        self._held[kept].update(dict.fromkeys(ids))
        if not self._beats() or self._due[kept] < self._wakes:
            self._restart()

    def drop(self, kept: Kept, ids: Sequence[str]) -> None:
        """Renew these no more; what is not kept is no matter."""
        held = self._held.get(kept, {})
        for each in ids:
            held.pop(each, None)
        if not held:
            self._held.pop(kept, None)
            self._due.pop(kept, None)

    def stop(self) -> None:
        """End the task; what is held lasts as long as it was last renewed for."""
        task, self._task = self._task, None
        if task is not None and not task.get_loop().is_closed():
            task.get_loop().call_soon_threadsafe(task.cancel)

    def _beats(self) -> bool:
        task = self._task
        return task is not None and not task.done() and task.get_loop() is asyncio.get_running_loop()

    def _restart(self) -> None:
        self.stop()
        self._wakes = 0
        self._task = asyncio.get_running_loop().create_task(self._beat())

    async def _beat(self) -> None:
        while self._due:
            now = self._clock.now()
            wait = min(min(max(1, due - now), kept.ttl // _BEATS) for kept, due in self._due.items())
            self._wakes = now + wait
            await self._clock.sleep(wait / SECOND)
            self._wakes = 0
            await self._renew()

    async def _renew(self) -> None:
        """Renew what is due, and what seems far from due because the clock was set back."""
        now = self._clock.now()
        due = [kept for kept, when in self._due.items() if not now < when <= now + kept.ttl // _BEATS]
        for kept in due:
            self._due[kept] = now + kept.ttl // _BEATS
        renewals = [
            Settlement(kept.kind, kept.key, (kept.ttl, " ".join(self._held[kept])), local=kept.local) for kept in due
        ]
        await asyncio.gather(*map(self._tell, together(renewals)))

    async def _tell(self, renewals: Sequence[Settlement]) -> None:
        try:
            await self._settle(renewals)
        except StoreError as error:
            logger.warning("%d leases not renewed: %s; they end unless the next try gets through", len(renewals), error)


def together(renewals: Sequence[Settlement]) -> list[Sequence[Settlement]]:
    """Part settlements by kind and by who granted, and into calls of 32, 16, 8, 4, 2 and 1.

    A store makes one script for each sequence of kinds; so there are few, however many keys are held.
    """
    parts: list[Sequence[Settlement]] = []
    for kind, local in sorted({(renewal.kind, renewal.local) for renewal in renewals}):
        rest = [renewal for renewal in renewals if renewal.kind == kind and renewal.local == local]
        while rest:
            size = min(_MOST_TOGETHER, 1 << len(rest).bit_length() - 1)
            parts.append(rest[:size])
            rest = rest[size:]
    return parts
