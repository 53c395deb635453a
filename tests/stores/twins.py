"""Drives the memory store and a real server through the same trips at the same instants.

A history is drawn as bytes, eight for a trip. It is played on the memory store first, because some of its steps go
where an answer points: to the very microsecond of a promise, or one before. The trips it made are then played on the
server, many in flight at a time on one connection, each with the instant at which the memory store made it.

On the server nothing expires by itself then, and what has expired counts as absent only because of what the scripts
read in it. Before the clock is set back, what has expired by then is deleted on both: it is gone for good, which in
production a server's expiry and a memory store's sweeping see to at their own time.
"""

import asyncio
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from forecourt.core.operations import Arg
from forecourt.stores.contract import Answer, Question, Settlement, Store
from forecourt.stores.memory import MemoryStore
from forecourt.stores.redis.client import Client
from forecourt.stores.redis.store import RedisStore
from forecourt.testing import FakeClock
from forecourt.types import SECOND
from tests.core.bench import GIVING_BACK, Limit, Move, Standing, passing
from tests.servers import Valkey

IN_FLIGHT = 200
GATE = "fixed_window"
"""The strategy of the limit that makes groups refuse; its keys are its own."""


class Trip(NamedTuple):
    """What was asked or told, and when; or the keys that had expired before the clock was set back."""

    now: int
    questions: tuple[Question, ...] = ()
    settlements: tuple[Settlement, ...] = ()
    expired: tuple[str, ...] = ()


class Instants:
    """A clock that says the instants of a list, one after the other."""

    def __init__(self) -> None:
        self.instants: Iterator[int] = iter(())

    def now(self) -> int:
        """Return the next instant."""
        return next(self.instants)

    async def sleep(self, seconds: float) -> None:
        """Nobody sleeps here."""
        raise NotImplementedError


class Server:
    """A store on a real server, with an event loop that goes on where it was left."""

    def __init__(self, runner: asyncio.Runner, client: Client) -> None:
        self._runner = runner
        self._client = client
        self._clock = Instants()
        self._store = RedisStore(client, clock=self._clock)

    def play(self, trips: Sequence[Trip]) -> list[list[Answer]]:
        """Make these trips on an empty server."""
        return self._runner.run(self._play(trips))

    async def _play(self, trips: Sequence[Trip]) -> list[list[Answer]]:
        await self._client.call("FLUSHALL")
        self._clock.instants = iter([trip.now for trip in trips if not trip.expired])
        answers: list[list[Answer]] = []
        for at in range(0, len(trips), IN_FLIGHT):
            answers += await asyncio.gather(*[self._make(trip) for trip in trips[at : at + IN_FLIGHT]])
        return answers

    async def _make(self, trip: Trip) -> list[Answer]:
        if trip.expired:
            await self._client.call("DEL", *trip.expired)
            return []
        return await made(self._store, trip)


@contextmanager
def serving(server: Valkey) -> Iterator[Server]:
    """Connect to a server for many histories."""
    with asyncio.Runner() as runner:
        client = Client(server.url, deadline=30)
        runner.run(client.open())
        yield Server(runner, client)
        runner.run(client.close())


async def made(store: Store, trip: Trip) -> list[Answer]:
    """Make one trip."""
    if trip.settlements:
        await store.settle(trip.settlements)
        return []
    return await store.decide(trip.questions)


def played(trips: Sequence[Trip]) -> list[list[Answer]]:
    """Make these trips on an empty memory store."""
    clock = FakeClock(0)
    store = MemoryStore(clock)
    answers = []
    for trip in trips:
        clock.advance((trip.now - clock.now()) / SECOND)
        answers.append(at_once(made(store, trip)))
    return answers


class Step(NamedTuple):
    """One trip as it is drawn; every number is a byte."""

    jump: int
    share: int
    key: int
    change: int
    action: int
    cost: int
    flags: int
    pick: int


def steps(drawn: bytes) -> list[Step]:
    """Return the steps that these bytes say."""
    return [Step(*drawn[at : at + 8]) for at in range(0, len(drawn), 8)]


class Recorder:
    """Plays a history on a memory store and keeps what it asked and what was answered.

    `limits` are parameters of one strategy, one after the other in force; several histories' worth of strategies may
    be asked in one trip.
    """

    def __init__(self, *strategies: Sequence[Limit]) -> None:
        self.trips: list[Trip] = []
        self.answers: list[list[Answer]] = []
        self._strategies = strategies
        self._clock = FakeClock()
        self._store = MemoryStore(self._clock)
        self._last: Standing | None = None
        self._granted: list[Settlement] = []
        self._used: set[str] = set()
        self._at = 0

    def record(self, drawn: bytes) -> None:
        """Play these steps."""
        for step in steps(drawn):
            self._at += step.change >= 240
            limits = [limits[self._at % len(limits)] for limits in self._strategies]
            move = Move(step.jump % 16, step.share, 0, shadow=False, back=False, change=False)
            self._pass(passing(move, limits[step.pick % len(limits)].span, self._last))
            if step.action % 8 == 0 and self._granted:
                self._settle(step)
            else:
                self._decide(step, limits)

    def _pass(self, microseconds: int) -> None:
        if microseconds < 0:
            self._store._sweep(self._clock.now(), len(self._store))
            if expired := self._used - {*self._store._entries}:
                self.trips.append(Trip(self._clock.now(), expired=tuple(expired)))
                self.answers.append([])
        self._clock.advance(microseconds / SECOND)

    def _settle(self, step: Step) -> None:
        chosen = {step.pick % len(self._granted), step.flags % len(self._granted)}
        self._make(Trip(self._clock.now(), settlements=tuple(self._granted[each] for each in chosen)))

    def _decide(self, step: Step, limits: Sequence[Limit]) -> None:
        questions = [self._question(step, limit) for limit in limits]
        if step.action % 8 in (1, 2):
            gate = Question(GATE, "gate", (2, limits[0].span // 4 + 1, 1, 0))
            questions.insert(step.flags % (len(questions) + 1), gate)
        answers = self._make(Trip(self._clock.now(), tuple(questions)))
        for question, answer in zip(questions, answers, strict=True):
            remaining, retry, reset, ticket, *rest = (int(value) for value in answer.values)
            self._last = Standing(answer.verdict, remaining, retry, reset, ticket, tuple(rest))
            if question.kind in GIVING_BACK and question.key != "gate" and ticket:
                told = (*question.args[:-1], *self._last.tickets)
                self._granted.append(Settlement(f"{question.kind}_back", question.key, told))

    def _question(self, step: Step, limit: Limit) -> Question:
        key = f"{limit.kind}:{step.key % 3}"
        shadow = int(step.flags % 16 == 0)
        if limit.kind != "debounce_trailing":
            return Question(limit.kind, key, limit.args(step.cost % 6, shadow))
        kind = "debounce_trailing" if step.cost % 3 == 0 else "debounce_claim"
        args: tuple[Arg, ...] = (*limit.parameters, shadow, f"call {step.pick % 3}")
        return Question(kind, key, args)

    def _make(self, trip: Trip) -> list[Answer]:
        self._used.update(question.key for question in trip.questions)
        answers = at_once(made(self._store, trip))
        self.trips.append(trip)
        self.answers.append(answers)
        return answers


def at_once(answering: Coroutine[None, None, list[Answer]]) -> list[Answer]:
    """Return what a coroutine returns that never waits."""
    try:
        answering.send(None)
    except StopIteration as done:
        answers: list[Answer] = done.value
        return answers
    raise AssertionError("the memory store waited")
