"""A store that several stacks of one test share, as processes share a server: it counts, and may be cut off."""

from collections.abc import Sequence

from forecourt.errors import StoreDown
from forecourt.stores.contract import Answer, Question, Settlement, Store


class Shared:
    """Passes on to `store`; while `down`, everything fails; `calls`: the kinds of each trip but the log's reads."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.down = False
        self.deaf = False
        self.calls: list[list[str]] = []

    async def open(self) -> None:
        """Open the store."""
        await self.store.open()

    async def close(self) -> None:
        """Leave it open for the others."""

    async def decide(self, questions: Sequence[Question]) -> list[Answer]:
        """Pass on; `deaf`: the log cannot be read."""
        kinds = [question.kind for question in questions]
        if kinds != ["cache_log"]:
            self.calls.append(kinds)
        if self.down or (self.deaf and "cache_log" in kinds):
            raise StoreDown("cut off")
        return await self.store.decide(questions)

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        """Pass on."""
        self.calls.append([told.kind for told in settlements])
        if self.down:
            raise StoreDown("cut off")
        await self.store.settle(settlements)

    def trips(self) -> list[str]:
        """Return the trips since this was asked last, each as its kinds without the log and the tags."""
        calls, self.calls = self.calls, []
        left_out = {"cache_log", "cache_tag"}
        return ["+".join(kind for kind in kinds if kind not in left_out) for kinds in calls]
