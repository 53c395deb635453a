"""What every store does, whoever keeps its state: the tests of `stores.contract`, to be run on each store.

A test module names the store by two fixtures, `clock` (a FakeClock) and `store` (open, deciding by that clock), and
gathers the tests in a class of its own: `class TestMemoryStore(StoreContract): …`.
"""

import asyncio

import pytest

from forecourt.core.periods import NONE
from forecourt.stores.contract import Answer, Question, Settlement, Store
from forecourt.testing.clock import FakeClock
from forecourt.types import SECOND


def bucket(cost: int = 1, *, key: str = "caller", shadow: int = 0) -> Question:
    """Ask five tokens' bucket, one more a second."""
    return Question("token_bucket", key, (5, SECOND, 1, cost, shadow))


def window(cost: int = 1, *, limit: int = 2, shadow: int = 0) -> Question:
    """Ask a window of a minute."""
    return Question("fixed_window", "caller:window", (limit, 60 * SECOND, cost, shadow))


def sliding(cost: int = 1, *, limit: int = 100) -> Question:
    """Ask a sliding window of a minute."""
    return Question("sliding_window", "caller:sliding", (limit, 60 * SECOND, cost, 0))


def quiet() -> Question:
    """Ask a debounce of a second."""
    return Question("debounce", "caller:quiet", (SECOND, 0, 0))


def charge(amount: int) -> Question:
    """Charge an account on which there is nothing."""
    return Question("credits_charge", "{caller}:account", (amount, 60 * SECOND, "id", NONE, 0, 0, 10))


async def left(store: Store, question: Question) -> int:
    """Return what remains of a limit, by asking for nothing."""
    *parameters, _, _ = question.args
    (answer,) = await store.decide([question._replace(args=(*parameters, 0, 0))])
    return int(answer.values[0])


class StoreContract:
    """The tests; every one begins with an empty store."""

    async def test_a_limit_is_counted_and_refilled(self, store: Store, clock: FakeClock) -> None:
        """A burst passes, the next call is told when to come again, and passes then."""
        answers = [(await store.decide([bucket()]))[0] for _ in range(6)]
        assert [answer.verdict for answer in answers] == ["go"] * 5 + ["refuse"]
        assert [answer.values[0] for answer in answers] == [4, 3, 2, 1, 0, 0]
        assert [answer.granted for answer in answers] == [True] * 5 + [False]
        assert answers[-1].values[1:] == (SECOND, SECOND, 0)
        clock.advance(0.999999)
        assert (await store.decide([bucket()]))[0].verdict == "refuse"
        clock.advance(0.000001)
        assert (await store.decide([bucket()]))[0] == Answer(
            "go", (0, 0, SECOND, clock.now() + 5 * SECOND), granted=True
        )

    async def test_keys_are_apart(self, store: Store) -> None:
        """What one caller spends is not missing to another."""
        await store.decide([bucket(5)])
        assert await left(store, bucket()) == 0
        assert await left(store, bucket(key="another")) == 5

    async def test_nothing_is_asked_for_nothing(self, store: Store) -> None:
        """No questions have no answers, no settlements no effect."""
        assert await store.decide([]) == []
        await store.settle([])

    async def test_limits_stand_or_fall_together(self, store: Store) -> None:
        """A call refused by one of three limits has taken nothing of the others, wherever the one stands."""
        await store.decide([window(2)])
        for order in (
            [bucket(), window(), sliding()],
            [window(), sliding(), bucket()],
            [sliding(), bucket(), window()],
        ):
            answers = await store.decide(order)
            verdicts = {question.kind: answer.verdict for question, answer in zip(order, answers, strict=True)}
            assert verdicts == {"token_bucket": "go", "fixed_window": "refuse", "sliding_window": "go"}
            assert not any(answer.granted for answer in answers)
        assert await left(store, bucket()) == 5
        assert await left(store, sliding()) == 100

    async def test_every_limit_of_a_refused_call_is_computed(self, store: Store) -> None:
        """Each limit says how long, also after the first refusal, so that the longest wait can be told."""
        await store.decide([bucket(5), window(2)])
        answers = await store.decide([bucket(), window(), sliding()])
        assert [(answer.verdict, answer.values[1]) for answer in answers] == [
            ("refuse", SECOND),
            ("refuse", 60 * SECOND),
            ("go", 0),
        ]

    async def test_limits_that_all_go_are_all_taken(self, store: Store) -> None:
        """A call that passes is counted by each of its limits."""
        answers = await store.decide([bucket(2), window(), sliding(7)])
        assert [(answer.verdict, answer.granted) for answer in answers] == [("go", True)] * 3
        assert [await left(store, each) for each in (bucket(), window(), sliding())] == [3, 1, 93]

    async def test_a_refusal_leaves_its_mark(self, store: Store, clock: FakeClock) -> None:
        """A debounced call that is asked for alone begins the quiet time anew."""
        verdicts = []
        for _ in range(3):
            verdicts.append((await store.decide([quiet()]))[0].verdict)
            clock.advance(0.9)
        clock.advance(0.1)
        verdicts.append((await store.decide([quiet()]))[0].verdict)
        assert verdicts == ["go", "refuse", "refuse", "go"]

    async def test_a_refused_call_leaves_only_the_mark_of_a_debounce(self, store: Store, clock: FakeClock) -> None:
        """A debounced call begins the quiet time anew, though its group is refused; the other limits keep theirs."""
        await store.decide([quiet()])
        clock.advance(0.9)
        answers = await store.decide([bucket(), quiet(), window()])
        assert [answer.verdict for answer in answers] == ["go", "refuse", "go"]
        clock.advance(0.9)
        assert (await store.decide([quiet()]))[0].values[:2] == (0, SECOND)
        assert await left(store, bucket()) == 5
        assert await left(store, window()) == 2

    async def test_shadows_do_not_refuse(self, store: Store) -> None:
        """A shadow limit goes, says what it would have said, and takes nothing it had not; the others are taken."""
        answers = await store.decide([bucket(9, shadow=1), window()])
        assert [(answer.verdict, answer.values[1], answer.granted) for answer in answers] == [
            ("go", -1, True),
            ("go", 0, True),
        ]
        assert [await left(store, each) for each in (bucket(), window())] == [5, 1]

    async def test_later_groups_do_not_run_after_a_refusal(self, store: Store) -> None:
        """A claim behind a limit that refused is not made: no values, nothing granted."""
        answers = await store.decide([bucket(9), charge(1)])
        assert answers[0].verdict == "refuse"
        assert answers[1] == Answer("go")

    async def test_a_refused_claim_leaves_the_limits_spent(self, store: Store) -> None:
        """Once the limits let a call in their tokens stay spent, whatever a later group says."""
        answers = await store.decide([bucket(), window(), charge(1)])
        assert [answer.verdict for answer in answers] == ["go", "go", "refuse"]
        assert [answer.granted for answer in answers] == [True, True, False]
        assert await left(store, bucket()) == 4

    async def test_questions_come_in_the_order_of_their_groups(self, store: Store) -> None:
        """A claim before a limit, or a settlement among questions, is a mistake of the caller, and nothing happens."""
        for wrong in ([charge(1), bucket()], [bucket(), Question("token_bucket_back", "caller", (5, SECOND, 1, 1, 0))]):
            with pytest.raises(ValueError, match="out of order"):
                await store.decide(wrong)
        with pytest.raises(ValueError, match="settlements"):
            await store.settle([Settlement("token_bucket", "caller", (5, SECOND, 1, 1, 0))])
        assert await left(store, bucket()) == 5

    async def test_unknown_operations_and_wrong_arguments_are_mistakes(self, store: Store) -> None:
        """A kind that nobody registered and a number of arguments that its kind does not take are refused by name."""
        with pytest.raises(KeyError, match="token_bucked"):
            await store.decide([Question("token_bucked", "caller", ())])
        with pytest.raises(ValueError, match=r"arguments|values to unpack"):
            await store.decide([Question("token_bucket", "caller", (5, SECOND, 1))])

    async def test_settlements_give_back(self, store: Store) -> None:
        """What was taken and is given back is there again, for all settlements of one call."""
        answers = await store.decide([bucket(3), window(2), sliding(4)])
        told = [
            Settlement(f"{question.kind}_back", question.key, (*question.args[:-1], answer.values[3]))
            for question, answer in zip([bucket(3), window(2), sliding(4)], answers, strict=True)
        ]
        await store.settle(told)
        assert [await left(store, each) for each in (bucket(), window(), sliding())] == [5, 2, 100]

    async def test_what_is_over_is_forgotten(self, store: Store, clock: FakeClock) -> None:
        """After the longest of them is over, all limits are as new."""
        await store.decide([bucket(5), window(2), sliding(100)])
        clock.advance(120)
        assert [await left(store, each) for each in (bucket(), window(), sliding())] == [5, 2, 100]

    async def test_a_clock_set_back_admits_nothing(self, store: Store, clock: FakeClock) -> None:
        """An hour back, callers who had spent all have spent all."""
        await store.decide([bucket(5), window(2), sliding(100)])
        clock.advance(-3600)
        answers = await store.decide([bucket(), window(), sliding()])
        assert [answer.verdict for answer in answers] == ["refuse"] * 3

    @pytest.mark.parametrize("question", [bucket(), window(limit=10), sliding(limit=10)], ids=lambda each: each.kind)
    async def test_a_flood_is_admitted_exactly_as_far_as_the_limit(self, store: Store, question: Question) -> None:
        """Of 1,000 calls at once, as many pass as the limit has, not one more or less."""
        limit = int(question.args[0])
        answers = await asyncio.gather(*[store.decide([question]) for _ in range(1000)])
        assert sum(answer.verdict == "go" for (answer,) in answers) == limit

    async def test_a_flood_on_several_limits_is_admitted_as_far_as_the_smallest(self, store: Store) -> None:
        """Of 1,000 calls at once on three limits, five pass, and the larger limits have lost five."""
        questions = [bucket(), window(limit=10), sliding()]
        answers = await asyncio.gather(*[store.decide(questions) for _ in range(1000)])
        assert sum(all(answer.verdict == "go" for answer in each) for each in answers) == 5
        assert [await left(store, each) for each in questions] == [0, 5, 95]

    async def test_it_can_be_opened_again(self, store: Store) -> None:
        """Closed and opened, a store goes on."""
        await store.close()
        await store.open()
        assert await left(store, bucket()) == 5
