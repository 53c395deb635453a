"""A store of one's own: another store, and a count of what it is asked for."""

from collections.abc import Sequence

from forecourt.stores.contract import Answer, Question, Settlement, Store


class CountingStore:
    """Asks `inner`, and counts trips; what fails is counted too."""

    def __init__(self, inner: Store) -> None:
        self._inner = inner
        self.trips = 0

    async def open(self) -> None:
        """Open what is asked."""
        await self._inner.open()

    async def close(self) -> None:
        """Close what is asked."""
        await self._inner.close()

    async def decide(self, questions: Sequence[Question]) -> list[Answer]:
        """Count, and ask."""
        self.trips += 1
        return await self._inner.decide(questions)

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        """Count, and tell."""
        self.trips += 1
        await self._inner.settle(settlements)
