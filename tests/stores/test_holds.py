"""Short holds: a caller known to be refused costs no trip."""

from collections.abc import Sequence

import pytest

from forecourt.stores.contract import Answer, Question, Settlement
from forecourt.stores.holds import HoldingStore
from forecourt.testing import FakeClock


class Scripted:
    """A store that answers as it is told, and counts."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.asked = 0
        self.settled: list[Settlement] = []
        self.is_open = False

    async def open(self) -> None:
        """Note it."""
        self.is_open = True

    async def close(self) -> None:
        """Note it."""
        self.is_open = False

    async def decide(self, questions: Sequence[Question]) -> list[Answer]:
        """Answer as told."""
        self.asked += 1
        assert len(questions) == len(self.answers)
        return list(self.answers)

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        """Note them."""
        self.settled += settlements


BUCKET = Question("token_bucket", "k", (5, 1, 1, 1, 0))
OTHER = Question("fixed_window", "k", (5, 60, 1, 0))
REFUSED = Answer("refuse", (0, 500_000, 200_000, 0))


async def test_a_refusal_is_repeated_without_a_trip_until_it_ends() -> None:
    """Until Retry-After the process answers itself, with the time that is left; then the store is asked again."""
    clock, store = FakeClock(), Scripted(REFUSED)
    holding = HoldingStore(store, clock)
    assert await holding.decide([BUCKET]) == [REFUSED]
    clock.advance(0.3)
    assert await holding.decide([BUCKET]) == [Answer("refuse", (0, 200_000, 0, 0))]
    assert store.asked == 1
    clock.advance(0.2)
    await holding.decide([BUCKET])
    assert store.asked == 2


async def test_a_hold_lasts_a_second_at_most() -> None:
    """A reset or an override in the store shows within a second, however long the refusal said."""
    clock, store = FakeClock(), Scripted(Answer("refuse", (0, 3_600_000_000, 1, 0)))
    holding = HoldingStore(store, clock)
    await holding.decide([BUCKET])
    clock.advance(0.999_999)
    await holding.decide([BUCKET])
    assert store.asked == 1
    clock.advance(0.000_001)
    await holding.decide([BUCKET])
    assert store.asked == 2


async def test_a_clock_set_back_ends_a_hold() -> None:
    """A hold that seems to begin in the future is no hold."""
    clock, store = FakeClock(), Scripted(REFUSED)
    holding = HoldingStore(store, clock)
    await holding.decide([BUCKET])
    clock.advance(-1)
    await holding.decide([BUCKET])
    assert store.asked == 2


async def test_other_questions_of_a_held_call_have_no_answer() -> None:
    """They were not asked: nothing is granted, and their fields cannot be told."""
    clock, store = FakeClock(), Scripted(Answer("go", (4, 0, 1, 0)), REFUSED)
    holding = HoldingStore(store, clock)
    await holding.decide([OTHER, BUCKET])
    first, second = await holding.decide([OTHER, BUCKET])
    assert (first, second.verdict, store.asked) == (Answer("go"), "refuse", 1)


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        (Question("lease", "k", (1, 15, "id", 0)), REFUSED),
        (Question("debounce", "k", (1, 0, 0)), REFUSED),
        (BUCKET, Answer("refuse", (0, -1, 0, 0))),
        (BUCKET, Answer("go", (0, 1, 1, 0))),
    ],
    ids=["lease", "debounce", "never", "shadow"],
)
async def test_what_is_never_held(question: Question, answer: Answer) -> None:
    """Leases, debounces, what can never pass, and what passed in shadow go to the store each time."""
    store = Scripted(answer)
    holding = HoldingStore(store, FakeClock())
    await holding.decide([question])
    await holding.decide([question])
    assert store.asked == 2


async def test_another_cost_is_another_question() -> None:
    """A refusal of cost 5 says nothing of a call of cost 1."""
    store = Scripted(REFUSED)
    holding = HoldingStore(store, FakeClock())
    await holding.decide([BUCKET._replace(args=(5, 1, 1, 5, 0))])
    await holding.decide([BUCKET])
    assert store.asked == 2


async def test_holds_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Endless refused callers do not grow the table: the oldest hold goes first."""
    monkeypatch.setattr("forecourt.stores.holds._MAX_HOLDS", 2)
    store = Scripted(REFUSED)
    holding = HoldingStore(store, FakeClock())
    for key in "abc":
        await holding.decide([BUCKET._replace(key=key)])
    assert len(holding._holds) == 2
    await holding.decide([BUCKET._replace(key="a")])
    assert store.asked == 4


async def test_the_rest_is_passed_on() -> None:
    """Opening, closing and settling are the store's; closing forgets what is held."""
    store = Scripted(REFUSED)
    holding = HoldingStore(store, FakeClock())
    await holding.open()
    assert store.is_open
    await holding.decide([BUCKET])
    await holding.settle([Settlement("token_bucket_back", "k", ())])
    await holding.close()
    assert (store.is_open, len(store.settled)) == (False, 1)
    await holding.decide([BUCKET])
    assert store.asked == 2
