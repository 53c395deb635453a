"""Stores that fail, count or are slow, as a test says."""

import asyncio
from collections.abc import Sequence

from forecourt.errors import StoreDown
from forecourt.stores.contract import Answer, Question, Settlement
from forecourt.stores.memory import MemoryStore


class Fickle(MemoryStore):
    """A store that may be told to raise, at once or after so many answers."""

    fails: type[Exception] | None = None
    answers: int | None = None

    async def decide(self, questions: Sequence[Question]) -> list[Answer]:
        """Answer, or raise."""
        if self.fails:
            raise self.fails("as told")
        if self.answers is not None:
            if self.answers == 0:
                raise StoreDown("after so many answers")
            self.answers -= 1
        return await super().decide(questions)

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        """Take note, or raise."""
        if self.fails:
            raise self.fails("as told")
        await super().settle(settlements)


class Counting(MemoryStore):
    """Counts how often it is asked."""

    decided = 0

    async def decide(self, questions: Sequence[Question]) -> list[Answer]:
        """Count, and answer."""
        self.decided += 1
        return await super().decide(questions)


class Slow(MemoryStore):
    """Decides at once and says so when the gate opens."""

    gate: asyncio.Event | None = None

    async def decide(self, questions: Sequence[Question]) -> list[Answer]:
        """Answer late."""
        answers = await super().decide(questions)
        if self.gate:
            await self.gate.wait()
        return answers
