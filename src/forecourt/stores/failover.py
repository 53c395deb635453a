"""What answers when the store is down: each question's own failure policy, in this process.

`local` decides in a memory store of this process, by the question's local arguments; `open` goes; `miss` goes without
values; `closed` refuses, and then nothing of the same call is taken locally either. Such answers are `degraded`.
Overload is not a dead store: it is raised, and opens no gate. A log line tells of each change of state; of a store that
comes and goes, at most one for each state in ten seconds, with how often it changed.
"""

import logging
from collections.abc import Sequence

from forecourt.core.telling import Told, look
from forecourt.errors import StoreDown
from forecourt.stores.contract import Answer, Question, Settlement, Store
from forecourt.stores.memory import MemoryStore
from forecourt.types import SECOND, Clock, SystemClock

logger = logging.getLogger("forecourt")

_TOLD_EVERY = 10 * SECOND


class FailoverStore:
    """Asks `store`, and answers by failure policy while it is down; `local` is where this process decides alone.

    `clock` says how long ago a line was logged.
    """

    def __init__(self, store: Store, local: MemoryStore, clock: Clock | None = None) -> None:
        self._store = store
        self._local = local
        self._clock = clock or SystemClock()
        self._told = Told()

    @property
    def degraded(self) -> bool:
        """Whether failure policies answered last."""
        return self._told.state

    async def open(self) -> None:
        """Open the store."""
        await self._store.open()

    async def close(self) -> None:
        """Close the store."""
        await self._store.close()

    async def decide(self, questions: Sequence[Question]) -> list[Answer]:
        """Answer each question; StoreOverloaded when this process has too much to ask."""
        try:
            answers = await self._store.decide(questions)
        except StoreDown as error:
            self._tell(degraded=True, reason=str(error))
            return await self._alone(questions)
        if self._told.state or self._told.changes:
            self._tell(degraded=False, reason="the store answers")
        return answers

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        """Tell whoever granted: the store, or this process."""
        if local := [told for told in settlements if told.local]:
            await self._local.settle(local)
        if others := [told for told in settlements if not told.local]:
            await self._store.settle(others)

    async def _alone(self, questions: Sequence[Question]) -> list[Answer]:
        if any(question.on_error == "closed" for question in questions):
            return [
                Answer("refuse" if question.on_error == "closed" else "go", degraded=True) for question in questions
            ]
        asked = [
            question._replace(args=question.local_args or question.args)
            for question in questions
            if question.on_error == "local"
        ]
        decided = iter(await self._local.decide(asked) if asked else ())
        return [
            next(decided)._replace(degraded=True) if question.on_error == "local" else Answer("go", degraded=True)
            for question in questions
        ]

    def _tell(self, *, degraded: bool, reason: str) -> None:
        self._told, changes = look(self._told, degraded, self._clock.now(), _TOLD_EVERY)
        if changes is None:
            return
        level = logging.ERROR if degraded else logging.INFO
        often = f" ({changes} changes since the last line)" if changes > 1 else ""
        logger.log(level, "store %s: %s%s", "down, failure policies answer" if degraded else "back", reason, often)
