"""The log that guards the process tier: an entry serves only if a read of it has succeeded within 50 ms.

One task reads the log every 25 ms while the tier is used, and stops a while after. What others have made invalid is cut
in the tier. A read counts from when it was sent; one that fails counts for nothing, so when the connection is cut the
tier is silent after 50 ms, and the store is asked, which misses. Where records are missing in between, everything
in the tier is invalid. A look-up that finds the tier silent reads the log along, in the same trip.
"""

import asyncio
import random
from contextlib import suppress

from forecourt.caching.tier import Tier
from forecourt.errors import StoreError
from forecourt.stores.contract import Answer, Question, Settlement, Store
from forecourt.types import Clock

EVERY = 0.025
VALID = 50_000
"""µs for which one read lets the tier serve."""

_IDLE = 5_000_000
_KEPT = 7 * 86_400_000_000
MOST_RECORDS = 10_000


class Guard:
    """Says whether the tier may serve; `key` is the log's, `own` marks the records of this process."""

    def __init__(self, store: Store, clock: Clock, tier: Tier, key: str, own: str) -> None:
        self._store = store
        self._clock = clock
        self._tier = tier
        self._key = key
        self._own = own
        self._known = 0
        self._sent = -VALID
        self._used = 0
        self._task: asyncio.Task[None] | None = None

    def holds(self, now: int) -> bool:
        """Return whether what the tier has may be served at this instant; being asked keeps the reading going."""
        self._used = now
        if self._task is None or self._task.done():
            self._begin()
        return 0 <= now - self._sent < VALID

    def record(self, tags: list[str], *, soft: bool) -> Settlement:
        """Return the settlement that tells other processes."""
        text = " ".join([self._own, "soft" if soft else "hard", *tags])
        return Settlement("cache_note", self._key, (text, MOST_RECORDS, _KEPT), durable=True)

    def stop(self) -> None:
        """Read no more."""
        if self._task is not None:
            with suppress(RuntimeError):  # its loop may be closed
                self._task.cancel()
            self._task = None
        self._sent = -VALID

    def question(self) -> Question:
        """Return what reads the log, alone or beside a look-up."""
        return Question("cache_log", self._key, (self._known, _KEPT), "miss")

    def read(self, answer: Answer, known: int, sent: int) -> None:
        """Take what was read from the log; `known` and `sent`: from where, and when that was asked."""
        if len(answer.values) != 3 or known != self._known:
            return
        last, whole, text = answer.values
        if whole:
            self._apply(bytes(text).decode() if isinstance(text, bytes) else "")
        else:
            self._tier.cut_all()
        self._known = int(last)
        self._sent = max(self._sent, sent)

    def _apply(self, text: str) -> None:
        for line in filter(None, text.split("\n")):
            own, kind, *tags = line.split(" ")
            if own != self._own:
                self._tier.cut(tags, soft=kind == "soft")

    def _begin(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._poll(), name="forecourt cache log")

    async def _poll(self) -> None:
        while self._clock.now() - self._used < _IDLE:
            question, sent = self.question(), self._clock.now()
            with suppress(StoreError):
                (answer,) = await self._store.decide([question])
                self.read(answer, int(question.args[0]), sent)
            await self._clock.sleep(EVERY * random.uniform(0.8, 1.0))  # noqa: S311  # jitter
