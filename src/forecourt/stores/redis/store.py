"""The store on Redis or Valkey: one script per exchange, one trip.

Each distinct sequence of operations is composed once into a script (`stores.scripts`); a call sends its hash, the
keys and the arguments, and reads a flat list of values back. Time is the server's.

On a cluster that holds per slot. Other slots' limits and leases are asked first, one after the other, claim and charge
last; where one refuses, the rest is not asked. What slots before it granted stays spent, and leases go back as ever:
such a call may be refused early until the refill, and nothing is ever over-admitted.

What is granted by id (a lease, a hold) goes with an undo: should the caller not see the answer, it is taken back.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

from forecourt.core.operations import VERDICTS, Arg, Operation, Value, operation
from forecourt.core.plans import Plan, decision, settlement
from forecourt.errors import StoreDown
from forecourt.stores.contract import Answer, Question, Settlement
from forecourt.stores.redis.client import Client, Lane, Reply, Script, Undo
from forecourt.stores.scripts import arguments, compose_decision, compose_settlement
from forecourt.types import Clock


class _Trip(NamedTuple):
    """A sequence of operations, ready to run; `shape` is each one's key suffixes and number of arguments.

    `undoable` are the places of those whose grants can be taken back.
    """

    script: Script
    shape: tuple[tuple[tuple[str, ...], int], ...]
    plan: Plan
    undoable: tuple[int, ...]


class RedisStore:
    """Decides on the server that `client` is connected to.

    `lane` is the one that all its questions go by. `clock` replaces the server's time and expiry, for tests only.
    """

    def __init__(self, client: Client, *, clock: Clock | None = None, lane: Lane = "decisions") -> None:
        self._client = client
        self._lane = lane
        self._clock = clock
        self._decisions: dict[tuple[str, ...], _Trip] = {}
        self._settlements: dict[tuple[str, ...], _Trip] = {}

    async def open(self) -> None:
        """Start connecting; questions wait for the connection no longer than their deadline."""
        await self._client.open()

    async def close(self) -> None:
        """Let what was written be answered, then disconnect."""
        await self._client.close()

    async def decide(self, questions: Sequence[Question]) -> list[Answer]:
        """Answer each question in one trip, on a cluster in one for each slot; raises StoreDown or StoreOverloaded."""
        if not questions:
            return []
        slots = self._by_slot(questions)
        if len(slots) == 1:
            return await self._decide(questions)
        answers = [Answer("go")] * len(questions)
        if self._lane == "bodies":
            return await self._decide_apart(slots, questions, answers)
        for places in slots:
            decided = await self._decide([questions[place] for place in places])
            for place, answer in zip(places, decided, strict=True):
                answers[place] = answer
            if not all(answer.granted for answer in decided):
                break
        return answers

    async def _decide_apart(
        self, slots: Sequence[Sequence[int]], questions: Sequence[Question], answers: list[Answer]
    ) -> list[Answer]:
        """Ask all slots at once: look-ups do not stand or fall together."""
        parts = await asyncio.gather(*[self._decide([questions[place] for place in places]) for places in slots])
        for places, decided in zip(slots, parts, strict=True):
            for place, answer in zip(places, decided, strict=True):
                answers[place] = answer
        return answers

    def _by_slot(self, asked: Sequence[Question | Settlement]) -> list[list[int]]:
        """Return the places of each slot; that of a claim or charge comes last, when all others have gone."""
        if not self._client.clustered:
            return [list(range(len(asked)))]
        slots: dict[int, list[int]] = {}
        for place, each in enumerate(asked):
            slots.setdefault(self._client.slot(each.key), []).append(place)
        return sorted(
            slots.values(), key=lambda places: any(operation(asked[place].kind).group == "claim" for place in places)
        )

    async def _decide(self, questions: Sequence[Question]) -> list[Answer]:
        kinds = tuple([question.kind for question in questions])
        trip = self._decisions.get(kinds)
        if trip is None:
            plan = decision(kinds)
            steps = [step for group in plan for step in group]
            trip = self._decisions[kinds] = self._trip(compose_decision, steps, plan)
        return _answers(trip.plan, len(questions), await self._run(trip, questions))

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        """Tell the server in one trip; StoreDown or StoreOverloaded when it did not answer."""
        for places in self._by_slot(settlements) if settlements else ():
            told = [settlements[place] for place in places]
            await self._run(self._telling(tuple([each.kind for each in told])), told)

    async def _run(self, trip: _Trip, asked: Sequence[Question | Settlement]) -> Reply:
        keys, args = self._asked(trip, asked)
        if not trip.undoable:
            return await self._client.run(trip.script, keys, args, lane=self._lane)
        return await self._client.run(trip.script, keys, args, lane=self._lane, undo=self._undo(trip, asked))

    def _telling(self, kinds: tuple[str, ...]) -> _Trip:
        trip = self._settlements.get(kinds)
        if trip is None:
            trip = self._settlements[kinds] = self._trip(compose_settlement, settlement(kinds), ())
        return trip

    def _undo(self, trip: _Trip, questions: Sequence[Question | Settlement]) -> Undo:
        """Return what takes back the grants of these questions, should nobody see the answer."""
        told: list[Settlement] = []
        for place in trip.undoable:
            question = questions[place]
            undo = operation(question.kind).undo
            assert undo is not None
            kind, args = undo(question.args)
            told.append(Settlement(kind, question.key, args))
        telling = self._telling(tuple([each.kind for each in told]))

        def granted(reply: Reply) -> bool:
            answers = _answers(trip.plan, len(questions), reply)
            return any(answers[place].granted for place in trip.undoable)

        return Undo(telling.script, *self._asked(telling, told), granted)

    def _trip(self, compose: Callable[..., str], steps: Sequence[Operation], plan: Plan) -> _Trip:
        source = compose([step.kind for step in steps], given_time=self._clock is not None)
        shape = tuple((step.suffixes, arguments(step.kind)) for step in steps)
        undoable = tuple(place for place, step in enumerate(steps) if step.undo)
        return _Trip(Script(source), shape, plan, undoable)

    def _asked(self, trip: _Trip, asked: Sequence[Question | Settlement]) -> tuple[list[str], list[Arg]]:
        keys: list[str] = []
        args: list[Arg] = []
        for each, (suffixes, count) in zip(asked, trip.shape, strict=True):
            if len(each.args) != count:
                raise ValueError(f"{each.kind} takes {count} arguments, not {len(each.args)}")
            keys += [each.key + suffix for suffix in suffixes]
            args += each.args
        if self._clock is not None:
            args.append(self._clock.now())
        return keys, args


def _answers(plan: Plan, count: int, reply: Reply) -> list[Answer]:
    """Cut the flat reply into answers; operations that it does not reach did not run."""
    if not isinstance(reply, list):
        raise StoreDown(f"the store answered a decision with {type(reply).__name__}")
    answers: list[Answer] = []
    at = 0
    for group in plan:
        if at == len(reply):
            break
        decided = []
        for step in group:
            values = cast("list[Value]", reply[at + 1 : at + 1 + step.arity])
            decided.append((VERDICTS[cast("int", reply[at])], tuple(values)))
            at += 1 + step.arity
        granted = all(verdict == "go" for verdict, _ in decided)
        answers += [Answer(verdict, values, granted) for verdict, values in decided]
    return answers + [Answer("go")] * (count - len(answers))
