"""Short holds on what the store has just refused, so that a caller who hammers on costs no trip.

A limit that refuses says how long; until then, and for a second at most, this process refuses the same question itself.
The second bounds how late a reset, a refund or an override shows. A hold is for one key, one set of parameters and one
cost. Leases and debounces are never held (a lease may be free at any time, a debounced call re-arms its quiet), nor is
what can never pass. Answers of a held call's other questions are missing: they were not asked.
"""

from collections.abc import Sequence
from typing import NamedTuple

from forecourt.core.operations import known
from forecourt.stores.contract import Answer, Question, Settlement, Store
from forecourt.types import SECOND, Clock

HELD_KINDS = frozenset({"token_bucket", "fixed_window", "sliding_window", "sliding_log", "throttle"})

_MAX_HOLDS = 10_000


class Hold(NamedTuple):
    """A refusal that still holds: the values it came with, when, and until when this process answers by itself."""

    answer: Answer
    since: int
    until: int


class HoldingStore:
    """Asks `store`, unless one of the questions is known to be refused."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._holds: dict[Question, Hold] = {}

    async def open(self) -> None:
        """Open the store."""
        await self._store.open()

    async def close(self) -> None:
        """Close the store and forget what is held."""
        self._holds.clear()
        await self._store.close()

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        """Pass on; what is forgotten there is not held here either."""
        await self._store.settle(settlements)
        if forgotten := {told.key for told in settlements if told.kind == "forget"}:
            self._holds = {asked: hold for asked, hold in self._holds.items() if asked.key not in forgotten}

    async def decide(self, questions: Sequence[Question]) -> list[Answer]:
        """Answer from a hold, else from the store."""
        if self._holds:
            now = self._clock.now()
            held = [self._held(question, now) for question in questions]
            if any(held):
                return [answer or Answer("go") for answer in held]
        answers = await self._store.decide(questions)
        for place, answer in enumerate(answers):
            if answer.verdict == "refuse" and _may_be_held(questions[place].kind):
                self._hold(questions[place], answer)
        return answers

    def _held(self, question: Question, now: int) -> Answer | None:
        hold = self._holds.get(question)
        if hold is None:
            return None
        if not hold.since <= now < hold.until:
            del self._holds[question]
            return None
        remaining, retry, reset, *rest = (int(value) for value in hold.answer.values)
        past = now - hold.since
        return hold.answer._replace(values=(remaining, retry - past, max(0, reset - past), *rest))

    def _hold(self, question: Question, answer: Answer) -> None:
        retry = int(answer.values[1])
        if retry <= 0:
            return
        if len(self._holds) >= _MAX_HOLDS:
            self._holds.pop(next(iter(self._holds)))
        now = self._clock.now()
        self._holds[question] = Hold(answer, now, now + min(retry, SECOND))


def _may_be_held(kind: str) -> bool:
    return kind in HELD_KINDS or ((found := known(kind)) is not None and found.held)
