"""The store on Redis or Valkey: one script per exchange, one trip.

Each distinct sequence of operations is composed once into a script (`stores.scripts`); a call sends its hash, the
keys and the arguments, and reads a flat list of values back. Time is the server's.

On a cluster that holds per slot. Other slots' limits and leases are asked first, one after the other, claim and charge
last; where one refuses, the rest is not asked. What slots before it granted stays spent, and leases go back as ever:
such a call may be refused early until the refill, and nothing is ever over-admitted.

What is granted by id (a lease, a hold) goes with an undo: should the caller not see the answer, it is taken back.
"""

import asyncio
from collections.abc import Sequence

from forecourt.core.operations import Arg, operation
from forecourt.stores.contract import Answer, Question, Settlement
from forecourt.stores.redis.client import Client, Lane, Reply, Script
from forecourt.stores.redis.trips import Trip, deciding, telling
from forecourt.types import Clock


class RedisStore:
    """Decides on the server that `client` is connected to.

    `lane` is the one that all its questions go by. `clock` replaces the server's time and expiry, for tests only.
    """

    def __init__(self, client: Client, *, clock: Clock | None = None, lane: Lane = "decisions") -> None:
        self._client = client
        self._clustered = client.clustered
        self._lane: Lane = lane
        self._clock = clock
        self._decisions: dict[tuple[str, ...], Trip] = {}
        self._settlements: dict[tuple[str, ...], Trip] = {}

    async def open(self) -> None:
        """Start connecting; questions wait for the connection no longer than their deadline."""
        await self._client.open()

    async def close(self) -> None:
        """Let what was written be answered, then disconnect."""
        await self._client.close()

    async def decide(self, questions: Sequence[Question]) -> list[Answer]:
        """Answer each question in one trip, on a cluster in one for each slot; raises StoreDown or StoreOverloaded."""
        if not self._clustered:
            return await self._decide(questions, 0) if questions else []
        answers = [Answer("go")] * len(questions)
        slots = self._by_slot(questions)
        if self._lane == "bodies":
            return await self._decide_apart(slots, questions, answers)
        for slot, places in slots:
            decided = await self._decide([questions[place] for place in places], slot)
            for place, answer in zip(places, decided, strict=True):
                answers[place] = answer
            if not all(answer.granted for answer in decided):
                break
        return answers

    async def _decide_apart(
        self, slots: Sequence[tuple[int, list[int]]], questions: Sequence[Question], answers: list[Answer]
    ) -> list[Answer]:
        """Ask all slots at once: look-ups do not stand or fall together."""
        parts = await asyncio.gather(
            *[self._decide([questions[place] for place in places], slot) for slot, places in slots]
        )
        for (_, places), decided in zip(slots, parts, strict=True):
            for place, answer in zip(places, decided, strict=True):
                answers[place] = answer
        return answers

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        """Tell the server in one trip, on a cluster in one for each slot; StoreDown or StoreOverloaded."""
        if not self._clustered:
            if settlements:
                await self._settle(settlements, 0)
            return
        for slot, places in self._by_slot(settlements):
            await self._settle([settlements[place] for place in places], slot)

    async def _decide(self, questions: Sequence[Question], slot: int) -> list[Answer]:
        kinds = tuple([question.kind for question in questions])
        trip = self._decisions.get(kinds)
        if trip is None:
            trip = self._decisions[kinds] = deciding(kinds, given_time=self._clock is not None)
        undo = Undoing(self, trip, questions) if trip.undoable else None
        return trip.answers(
            await self._client.send(self._packed(trip, questions), slot, trip.script, undo, lane=self._lane)
        )

    async def _settle(self, settlements: Sequence[Settlement], slot: int) -> None:
        trip = self.telling(settlements)
        await self._client.send(self._packed(trip, settlements), slot, trip.script, lane=self._lane)

    def telling(self, settlements: Sequence[Settlement]) -> Trip:
        """Return the trip that tells these settlements."""
        kinds = tuple([settlement.kind for settlement in settlements])
        trip = self._settlements.get(kinds)
        if trip is None:
            trip = self._settlements[kinds] = telling(kinds, given_time=self._clock is not None)
        return trip

    def time(self) -> tuple[Arg, ...]:
        """Return the last argument of every command: nothing, unless a clock replaces the server's."""
        return () if self._clock is None else (self._clock.now(),)

    def _packed(self, trip: Trip, asked: Sequence[Question | Settlement]) -> bytes:
        return trip.pack(asked) if self._clock is None else trip.pack(asked, self._clock.now())

    def _by_slot(self, asked: Sequence[Question | Settlement]) -> list[tuple[int, list[int]]]:
        """Return each slot and its places; that of a claim or charge comes last, when all others have gone."""
        slots: dict[int, list[int]] = {}
        for place, each in enumerate(asked):
            slots.setdefault(self._client.slot(each.key), []).append(place)
        return sorted(
            slots.items(), key=lambda slot: any(operation(asked[place].kind).group == "claim" for place in slot[1])
        )


class Undoing:
    """Takes back what a decision granted by id, should nobody see its answer; laid out only then."""

    __slots__ = ("_questions", "_store", "_trip")

    def __init__(self, store: RedisStore, trip: Trip, questions: Sequence[Question]) -> None:
        self._store = store
        self._trip = trip
        self._questions = questions

    @property
    def script(self) -> Script:
        """What tells the store."""
        return self._store.telling(self._told()).script

    @property
    def keys(self) -> list[str]:
        """Its keys."""
        told = self._told()
        return self._store.telling(told).keys(told)

    @property
    def args(self) -> list[Arg]:
        """Its arguments."""
        return [arg for each in self._told() for arg in each.args] + [*self._store.time()]

    def granted(self, reply: Reply, /) -> bool:
        """Tell whether anything was granted that can be taken back."""
        answers = self._trip.answers(reply)
        return any(answers[place].granted for place in self._trip.undoable)

    def _told(self) -> list[Settlement]:
        told = []
        for place in self._trip.undoable:
            question = self._questions[place]
            undo = operation(question.kind).undo
            assert undo is not None
            told.append(Settlement(undo(question.args)[0], question.key, undo(question.args)[1]))
        return told
