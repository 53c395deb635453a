"""What answers when the store is down: each question's own failure policy, in this process.

`local` decides in a memory store of this process, by the question's local arguments; `open` goes; `miss` goes without
values; `closed` refuses, and then nothing of the same call is taken locally either. Such answers are `degraded`.
Overload is not a dead store: it is raised, and opens no gate. One log line tells of each change of state.
"""

import logging
from collections.abc import Sequence

from forecourt.errors import StoreDown
from forecourt.stores.contract import Answer, Question, Settlement, Store
from forecourt.stores.memory import MemoryStore

logger = logging.getLogger("forecourt")


class FailoverStore:
    """Asks `store`, and answers by failure policy while it is down; `local` is where this process decides alone."""

    def __init__(self, store: Store, local: MemoryStore) -> None:
        self._store = store
        self._local = local
        self.degraded = False

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
            self._changed(degraded=True, reason=str(error))
            return await self._alone(questions)
        if self.degraded:
            self._changed(degraded=False, reason="the store answers")
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

    def _changed(self, *, degraded: bool, reason: str) -> None:
        if degraded == self.degraded:
            return
        self.degraded = degraded
        level = logging.ERROR if degraded else logging.INFO
        logger.log(level, "store %s: %s", "down, failure policies answer" if degraded else "back", reason)
