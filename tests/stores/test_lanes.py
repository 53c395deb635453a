"""Decisions and look-ups of one call: both leave together, and no decision waits for a look-up."""

import asyncio
from collections.abc import Sequence

import pytest

from forecourt.errors import StoreDown
from forecourt.stores.contract import Answer, Question
from forecourt.stores.lanes import LanedStore
from forecourt.stores.memory import MemoryStore
from forecourt.testing import FakeClock
from tests.callers import settle_down

ASKED = [Question("fixed_window", "limit", (1, 60_000_000, 1, 0)), Question("cache_look", "page", ())]
FOUND = Answer("go", (b"what is kept",), granted=True)


class Lane(MemoryStore):
    """A lane that gives one answer, or raises it, once it may go on; `steps` are those of each trip."""

    def __init__(self, answer: Answer | Exception) -> None:
        super().__init__(FakeClock())
        self.may_go_on = asyncio.Event()
        self.steps: list[str] = []
        self._answer = answer

    async def decide(self, questions: Sequence[Question]) -> list[Answer]:
        """Answer when it may."""
        self.steps.append("asked")
        try:
            await self.may_go_on.wait()
        except asyncio.CancelledError:
            self.steps.append("given up")
            raise
        self.steps.append("answered")
        if isinstance(self._answer, Exception):
            raise self._answer
        return [self._answer] * len(questions)


@pytest.mark.parametrize("found_first", [True, False])
async def test_a_refusal_waits_for_no_look_up(found_first: bool) -> None:
    """Nobody wants what was looked up then: what was found already is not given, and what is under way is given up."""
    decisions, bodies = Lane(Answer("refuse", (0, 1))), Lane(FOUND)
    asked = asyncio.create_task(LanedStore(decisions, bodies).decide(ASKED))
    await settle_down()
    if found_first:
        bodies.may_go_on.set()
        await settle_down()
    decisions.may_go_on.set()
    assert await asked == [Answer("refuse", (0, 1)), Answer("go")]
    await settle_down()
    assert bodies.steps == ["asked", "answered" if found_first else "given up"]


async def test_what_was_looked_up_comes_with_the_decisions() -> None:
    """Both are asked at once, and the answers stand in the order of the questions."""
    granted = Answer("go", (0, 1), granted=True)
    decisions, bodies = Lane(granted), Lane(FOUND)
    asked = asyncio.create_task(LanedStore(decisions, bodies).decide(ASKED))
    decisions.may_go_on.set()
    await settle_down()
    assert (decisions.steps, bodies.steps) == (["asked", "answered"], ["asked"])
    bodies.may_go_on.set()
    assert await asked == [granted, FOUND]


async def test_a_failed_decision_fails_the_call() -> None:
    """Whatever was found; a look-up that fails is a miss."""
    failed, found = Lane(StoreDown("gone")), Lane(FOUND)
    failed.may_go_on.set()
    found.may_go_on.set()
    with pytest.raises(StoreDown):
        await LanedStore(failed, found).decide(ASKED)
    assert await LanedStore(found, failed).decide(ASKED) == [FOUND, Answer("go", degraded=True)]
