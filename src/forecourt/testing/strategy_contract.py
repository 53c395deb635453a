"""What every strategy of one's own does: its Python and its Lua decide alike, and what it says of itself is true.

A test module names the strategy by two fixtures, `limits` (limits of that strategy, to be in force one after the other,
as when a config changes) and `server` (the URL of a Redis or Valkey, whose keys that begin with `forecourt-strategy`
are written and deleted), and gathers the tests in a class of its own: `class TestLockout(StrategyContract): …`.

Steps are drawn by a seed, so that what fails once fails again: calls of some keys, costs and shadows, calls of which
another limit refuses the group, calls that are given back, at instants that lie around what the strategy said and now
and then in the past. Both forms are asked the same at the same instants; the first answer that differs is told.
"""

import os
from collections.abc import Iterator, Sequence
from random import Random
from typing import NamedTuple, Self

import pytest

from forecourt.core.operations import Arg, Outcome, State, Write
from forecourt.policies.own_limits import OwnLimit, Strategy, own_strategies
from forecourt.stores.contract import Answer, Question, Settlement
from forecourt.types import SECOND

STEPS = 1000
HISTORIES = 5
"""How many histories are tried, each of so many steps; FORECOURT_EXAMPLES says how many times more."""

_START = 1_700_000_000_000_000
_KEYS = tuple(f"forecourt-strategy:{{{number}}}" for number in range(3))
_GATE = Question("fixed_window", "forecourt-strategy:gate", (1, SECOND, 2, 0))
"""A question that is refused always, and writes nothing."""


class Step(NamedTuple):
    """What is asked or told, and when. `gated`: in a group that is refused; `gone`: keys that had expired before."""

    now: int
    kind: str
    key: str
    args: tuple[Arg, ...]
    told: bool = False
    gated: bool = False
    gone: tuple[str, ...] = ()


class Played(NamedTuple):
    """A step, and what the strategy's Python made of it."""

    step: Step
    answer: Answer | None


class History:
    """Draws steps, and plays each on the Python of a strategy as it is drawn."""

    def __init__(self, limits: Sequence[OwnLimit], seed: int) -> None:
        self._random = Random(seed)  # noqa: S311  # draws tests, no secrets
        self._limits = limits
        self._limit = self._random.choice(limits)
        self._strategy = _strategy(limits)
        self._now = _START
        self._key = _KEYS[0]
        self._entries: dict[str, Write] = {}
        self._granted: list[Step] = []
        self._said = (0, 0)
        """The waits that were told last."""

    def steps(self, number: int) -> Iterator[Played]:
        """Draw and play so many steps."""
        for _ in range(number):
            gone = self._pass()
            if self._granted and self._strategy.give_back is not None and self._random.random() < 0.15:
                yield self._tell(gone)
            else:
                yield self._ask(gone)

    def _pass(self) -> tuple[str, ...]:
        """Let time pass; return the keys that expired before it was set back."""
        draw, span = self._random, self._limit.promise()[1]
        if draw.random() < 0.02:
            self._limit = draw.choice(self._limits)
        wait = draw.choice((0, 0, 0, 1, draw.randrange(span // 4 + 1), draw.randrange(2 * span), *self._around()))
        if draw.random() < 0.03:
            wait = -draw.randrange(span)
        gone = tuple(key for key, entry in self._entries.items() if entry.expires <= self._now) if wait < 0 else ()
        for key in gone:
            del self._entries[key]
        self._now += wait
        return gone

    def _around(self) -> Iterator[int]:
        for wait in self._said:
            if wait > 0:
                yield from (wait - 1, wait)

    def _ask(self, gone: tuple[str, ...]) -> Played:
        draw = self._random
        *own, cost, _ = self._limit.operation()[1]
        args = (*own, draw.choice((cost, cost, 0, cost + 1, draw.randrange(2 * own[0] + 2))), int(draw.random() < 0.1))
        self._key = draw.choice((self._key, self._key, *_KEYS))
        kind, key, gated = self._strategy.kind, self._key, draw.random() < 0.15
        outcome = self._decided(key, args)
        goes = outcome.verdict == "go" and not gated
        self._write(key, outcome.writes if goes else outcome.marks)
        _, retry, reset, ticket = (int(value) for value in outcome.values)
        self._said = (retry, reset)
        if goes and ticket:
            self._granted.append(Step(0, f"{kind}_back", key, (*args[:-1], ticket), told=True))
        answer = Answer(outcome.verdict, outcome.values, goes)
        return Played(Step(self._now, kind, key, args, gated=gated, gone=gone), answer)

    def _decided(self, key: str, args: tuple[Arg, ...]) -> Outcome:
        outcome = self._strategy.take((self._state(key),), self._now, args)
        assert len(outcome.values) == 4, f"four values: what is left, two waits and a ticket, not {outcome.values}"
        assert all(isinstance(value, int) for value in outcome.values), f"integers, not {outcome.values}"
        return outcome

    def _tell(self, gone: tuple[str, ...]) -> Played:
        lately = self._granted[-self._random.choice((2, 2, len(self._granted))) :]
        step = self._random.choice(lately)._replace(now=self._now, gone=gone)
        assert self._strategy.give_back is not None, "asked before"
        outcome = self._strategy.give_back((self._state(step.key),), self._now, step.args)
        self._write(step.key, outcome.writes)
        return Played(step, None)

    def _state(self, key: str) -> State | None:
        entry = self._entries.get(key)
        return entry.state if entry is not None and entry.expires > self._now else None

    def _write(self, key: str, writes: tuple[Write | None, ...]) -> None:
        for write in writes:
            if write is not None and write.state is not None:
                self._entries[key] = write
            elif write is not None:
                self._entries.pop(key, None)


class StrategyContract:
    """The tests."""

    @pytest.mark.parametrize("seed", range(max(1, round(HISTORIES * float(os.environ.get("FORECOURT_EXAMPLES", "1"))))))
    async def test_python_and_lua_decide_alike(self, limits: Sequence[OwnLimit], server: str, seed: int) -> None:
        """Same verdicts and same values, whatever is asked, given back and set back."""
        async with _Server(server) as other:
            for number, (step, expected) in enumerate(History(limits, seed).steps(STEPS)):
                answer = await other.play(step)
                assert answer == expected, f"step {number}: {step}"

    def test_who_waits_as_told_may_pass(self, limits: Sequence[OwnLimit]) -> None:
        """A call that is refused passes after exactly the wait it was told, and a microsecond before it does not."""
        for limit in limits:
            caller = _Caller(limit)
            refused = caller.until_refused()
            wait = int(refused.values[1])
            assert wait > 0, f"{limit!r}: a refusal must say how long to wait"
            assert caller.asked(at=wait - 1, keep=False).verdict == "refuse", f"{limit!r}: it passes before its time"
            assert caller.asked(at=wait).verdict == "go", f"{limit!r}: after the wait it must pass"

    def test_looking_takes_nothing(self, limits: Sequence[OwnLimit]) -> None:
        """A cost of 0 goes, takes nothing, and says what is left: before the first call the most there may be."""
        for limit in limits:
            caller = _Caller(limit)
            assert caller.asked(cost=0).values[0] == limit.arguments()[0]
            left = int(caller.asked().values[0])
            looks = [caller.asked(cost=0) for _ in range(3)]
            assert [look.verdict for look in looks] == ["go"] * 3
            assert [look.values[0] for look in looks] == [left] * 3, f"{limit!r}: looking must not count"
            caller.until_refused()
            assert caller.asked(cost=0).verdict == "go"

    def test_shadows_are_never_refused(self, limits: Sequence[OwnLimit]) -> None:
        """They go where others are refused, and are told the same."""
        for limit in limits:
            caller = _Caller(limit)
            refused = caller.until_refused()
            assert caller.asked(shadow=1, keep=False) == refused._replace(verdict="go", writes=refused.marks)

    def test_what_is_given_back_is_there_again(self, limits: Sequence[OwnLimit]) -> None:
        """A call that is given back counts no more; of a strategy that gives nothing back nothing is said."""
        give_back = _strategy(limits).give_back
        for limit in limits if give_back is not None else ():
            caller = _Caller(limit)
            ticket = caller.asked().values[3]
            assert ticket, f"{limit!r}: a call that passed needs a ticket to be given back"
            assert give_back is not None
            caller.keep(give_back((caller.state,), caller.now, (*caller.args()[:-1], ticket)).writes)
            assert caller.asked(cost=0).values[0] == limit.arguments()[0]


class _Caller:
    """One caller of a strategy's Python, whose calls take no time unless they say when."""

    def __init__(self, limit: OwnLimit) -> None:
        self._limit = limit
        self._take = _strategy([limit]).take
        self._entry: Write | None = None
        self.now = _START

    @property
    def state(self) -> State | None:
        """What is kept of the caller."""
        return self._entry.state if self._entry is not None and self._entry.expires > self.now else None

    def args(self, cost: int | None = None, shadow: int = 0) -> tuple[Arg, ...]:
        """Return the limit's arguments, of its own cost unless another is said."""
        *own, limits_cost, _ = self._limit.operation()[1]
        return (*own, limits_cost if cost is None else cost, shadow)

    def asked(self, cost: int | None = None, *, shadow: int = 0, at: int = 0, keep: bool = True) -> Outcome:
        """Ask, so many µs from now; with `keep=False` as if it had not been."""
        before = self.now, self._entry
        self.now += at
        outcome = self._take((self.state,), self.now, self.args(cost, shadow))
        self.keep(outcome.writes if outcome.verdict == "go" else outcome.marks)
        if not keep:
            self.now, self._entry = before
        return outcome

    def keep(self, writes: tuple[Write | None, ...]) -> None:
        """Keep what was written."""
        for write in writes:
            self._entry = write or self._entry

    def until_refused(self) -> Outcome:
        """Call until a call is refused, and once more; return that refusal, after which nothing changes."""
        for _ in range(2 * self._limit.arguments()[0] + 2):
            if self.asked().verdict == "refuse":
                return self.asked()
        raise AssertionError(f"{self._limit!r}: nothing is refused, however often it is called")


class _Server:
    """The other form: a store on a server that is told the time."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._now = _START

    def now(self) -> int:
        """Return the instant of the step that is played."""
        return self._now

    async def sleep(self, seconds: float) -> None:
        """Nobody sleeps here."""

    async def __aenter__(self) -> Self:
        from forecourt.stores.redis.client import Client  # noqa: PLC0415  # the extra `redis` is optional
        from forecourt.stores.redis.store import RedisStore  # noqa: PLC0415

        self._client = Client(self._url, deadline=30)
        self._store = RedisStore(self._client, clock=self)
        await self._store.open()
        await self._client.call("DEL", *_KEYS)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.call("DEL", *_KEYS)
        await self._store.close()

    async def play(self, step: Step) -> Answer | None:
        """Ask or tell what the step says; return the strategy's answer."""
        self._now = step.now
        if step.gone:
            await self._client.call("DEL", *step.gone)
        if step.told:
            await self._store.settle([Settlement(step.kind, step.key, step.args)])
            return None
        asked = Question(step.kind, step.key, step.args)
        *_, answer = await self._store.decide([_GATE, asked] if step.gated else [asked])
        return answer


def _strategy(limits: Sequence[OwnLimit]) -> Strategy:
    (kind,) = {limit.type for limit in limits}
    return own_strategies()[kind]
