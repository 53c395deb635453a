"""Two lanes of one exchange's trip: decisions, and look-ups of what may be large.

Both leave together, so they are one trip; a large body delays no decision, whoever's it is, and may come from another
server. The look-ups are those at the end. Where the decisions refuse, or fail, nobody waits for them: they are given
up, and what they may have taken is undone. Where they fail themselves they are misses, and no more than that.
"""

import asyncio
from collections.abc import Sequence

from forecourt.core.operations import operation
from forecourt.errors import StoreError
from forecourt.stores.contract import Answer, Question, Settlement, Store


class LanedStore:
    """Asks `decisions`, and `bodies` for all that begins with `cache_`."""

    def __init__(self, decisions: Store, bodies: Store) -> None:
        self.decisions = decisions
        self.bodies = bodies

    async def open(self) -> None:
        """Open both."""
        await self.decisions.open()
        await self.bodies.open()

    async def close(self) -> None:
        """Close both."""
        await self.bodies.close()
        await self.decisions.close()

    async def decide(self, questions: Sequence[Question]) -> list[Answer]:
        """Answer each question, in order; raises StoreDown or StoreOverloaded where the decisions do."""
        if not questions or not _is_look_up(questions[-1].kind):
            return await self.decisions.decide(questions)
        at = next(place for place, question in enumerate(questions) if _is_look_up(question.kind))
        if at == 0:
            return await self._look(questions)
        looking = asyncio.get_running_loop().create_task(self._look(questions[at:]))
        try:
            answers = await self.decisions.decide(questions[:at])
            if all(answer.verdict == "go" for answer in answers):
                return answers + await looking
        finally:
            if not looking.done():
                looking.cancel()
        return answers + [Answer("go")] * (len(questions) - at)

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        """Tell each lane what is its own; StoreDown or StoreOverloaded when one did not take it."""
        of_bodies = [told for told in settlements if told.kind.startswith("cache_")]
        if not of_bodies:
            return await self.decisions.settle(settlements)
        others = [told for told in settlements if not told.kind.startswith("cache_")]
        results = await asyncio.gather(
            self.bodies.settle(of_bodies),
            *([self.decisions.settle(others)] if others else []),
            return_exceptions=True,
        )
        for result in results:
            if result is not None:
                raise result

    async def _look(self, questions: Sequence[Question]) -> list[Answer]:
        try:
            return await self.bodies.decide(questions)
        except StoreError:
            return [Answer("go", degraded=True)] * len(questions)


def _is_look_up(kind: str) -> bool:
    return operation(kind).group == "look"
