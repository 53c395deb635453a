"""Breakers by name: shared by the endpoints, upstreams and code that need the same thing, in one process.

`config.breaker("payments")` returns one, to be used as `async with`. What decides is `core.breaker`; here are the
clock, the log of transitions, and who else wants to know. A breaker belongs to one event loop at a time; its mirror
for synchronous code (`breaker.pybreaker()`) may be used from any thread.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Collection, Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Protocol, assert_never

from forecourt.core.breaker import FULL, Circuit, Closed, Ended, HalfOpen, Open, Permit, Refused, State
from forecourt.errors import CircuitOpen, ConfigError
from forecourt.policies.circuit_breaker import CircuitBreaker
from forecourt.policies.wording import nearest
from forecourt.types import SECOND, Clock, SystemClock

if TYPE_CHECKING:
    from forecourt.breaker_mirror import PyBreaker

logger = logging.getLogger("forecourt")

Place = Literal["closed", "open", "half-open"]
Listener = Callable[["Breaker", State, State], None]
"""Told of each transition: the breaker, where it stood, where it stands."""

_SLACK = SECOND // 10
"""What waits of two processes may differ by before one follows the other, in µs."""

_YEARS = 10 * 365 * 86_400 * SECOND


_Inside = tuple[Permit | None, "_Inside | None"]
"""How a task came in: its permit, and how before, where it is inside more than once."""


class Others(Protocol):
    """The other processes that share a breaker."""

    def watch(self, breaker: "Breaker") -> None:
        """Share this breaker from now on."""
        ...

    def unwatch(self, breaker: "Breaker") -> None:
        """Share this breaker no more."""
        ...

    def run(self) -> None:
        """Be at work on the running loop."""
        ...

    def moved(self, breaker: "Breaker", state: State) -> None:
        """Tell them where a breaker stands."""
        ...

    async def may_probe(self, breaker: "Breaker", permit: Permit) -> bool:
        """Ask whether one more probe may run."""
        ...

    def probed(self, breaker: "Breaker", permit: Permit) -> None:
        """Tell that a probe has ended."""
        ...


class Breaker:
    """One circuit breaker, as `async with`: raises `CircuitOpen` at once, or counts how what is inside ends.

    An exception is a failure; cancellation, and the refusal of a breaker further in, count for nothing. Many tasks may
    be inside at once, and one task several times.
    """

    def __init__(self, name: str, policy: CircuitBreaker, clock: Clock, rand: Callable[[], float]) -> None:
        self.name = name
        self.policy = policy
        self.clock = clock
        self.listeners: list[Listener] = []
        self.reports: Callable[[Ended, BaseException | None], None] | None = None
        """Told of each call that ended and counts: the mirror for synchronous code."""
        self.fleet: Others | None = None
        """The other processes that share it."""
        self._follows = False
        rules = policy.rules()
        self._circuit = Circuit(rules, rand)
        self._shadow = policy.mode == "shadow"
        self._refused = Refused(rules.reset) if policy.mode == "forced_open" else None
        self._disabled = policy.mode == "disabled"
        self._inside: dict[asyncio.Task[object] | None, _Inside] = {}
        self._mirror: PyBreaker | None = None
        if self._refused:
            self._circuit.open(clock.now(), _YEARS)

    def __repr__(self) -> str:
        return f"<Breaker {self.name!r} {self.state}>"

    @property
    def state(self) -> Place:
        """Where it stands: closed, open or half-open."""
        match self._circuit.state:
            case Closed():
                return "closed"
            case Open():
                return "open"
            case HalfOpen():
                return "half-open"
            case _:
                assert_never(self._circuit.state)

    @property
    def position(self) -> State:
        """Where it stands, with its numbers."""
        return self._circuit.state

    def admit(self) -> Permit | Refused | None:
        """Ask whether a call may run: a permit to settle, a refusal, or None where it runs and does not count."""
        if self._disabled or self._refused:
            return self._refused
        if (permit := self._circuit.admit_closed()) is not None:
            return permit
        before = self._circuit.state
        told = self._circuit.admit(self.clock.now())
        if self._circuit.state is not before:
            self._moved(before)
        return None if self._shadow and type(told) is Refused else told

    async def confirmed(self, told: Permit | Refused | None) -> Permit | Refused | None:
        """Ask the other processes, where `admit` told that a probe may run and the breaker is shared."""
        if self.fleet is None:
            return told
        self.fleet.run()
        if type(told) is not Permit or not told.probe:
            return told
        may = False
        try:
            may = await self.fleet.may_probe(self, told)
        finally:
            if not may:
                self.settle(told, "ignored")
        return told if may else Refused(FULL)

    def follow(self, wait: int | None) -> None:
        """Do as another process does: open for `wait` µs (0: until the next probe), or closed (None)."""
        before = self._circuit.state
        now = self.clock.now()
        if wait is None:
            if type(before) is Closed:
                return
            self._circuit.close()
        elif type(before) is Closed or (wait > _SLACK and _is_sooner(before, now, wait)):
            self._circuit.open(now, wait)
        else:
            return
        self._follows = True
        try:
            self._moved(before)
        finally:
            self._follows = False

    def settle(self, permit: Permit | None, ended: Ended, error: BaseException | None = None) -> None:
        """Tell how a call ended that `admit` let run; `error` is for the mirror's listeners."""
        if permit is None:
            return
        if ended == "success" and self.reports is None and self._circuit.settle_closed(permit):
            return
        if permit.probe and self.fleet is not None:
            self.fleet.probed(self, permit)
        before = self._circuit.state
        self._circuit.settle(permit, ended, self.clock.now())
        if self.reports is not None and ended != "ignored" and permit.generation == before.generation:
            self.reports(ended, error)
        if self._circuit.state is not before:
            self._moved(before)

    def open(self, seconds: float | None = None) -> None:
        """Open, as an operator does: for so many seconds, or as long as after a first failure."""
        before = self._circuit.state
        self._circuit.open(self.clock.now(), None if seconds is None else round(seconds * SECOND))
        self._moved(before)

    def close(self) -> None:
        """Close, as an operator does."""
        before = self._circuit.state
        self._circuit.close()
        self._moved(before)

    def pybreaker(self) -> "PyBreaker":
        """Return a real `pybreaker.CircuitBreaker` that mirrors this one: for listeners, operators, synchronous code.

        The same one each time. ConfigError where the extra `breaker` is not installed.
        """
        if self._mirror is None:
            try:
                from forecourt.breaker_mirror import mirror  # noqa: PLC0415  # pybreaker is an extra
            except ImportError as error:
                raise ConfigError("a mirror needs pybreaker: pip install 'forecourt[breaker]'") from error
            self._mirror = mirror(self)
        return self._mirror

    async def __aenter__(self) -> "Breaker":
        """Go in, or raise CircuitOpen."""
        told = self.admit()
        if self.fleet is not None:
            told = await self.confirmed(told)
        if type(told) is Refused:
            raise CircuitOpen(self.name, whole_seconds(told.wait))
        assert told is None or type(told) is Permit
        task = asyncio.current_task()
        self._inside[task] = told, self._inside.get(task)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Count how it ended."""
        task = asyncio.current_task()
        permit, outer = self._inside.pop(task)
        if outer is not None:
            self._inside[task] = outer
        if error is None:
            self.settle(permit, "success")
        else:
            failed = isinstance(error, Exception) and not isinstance(error, CircuitOpen)
            self.settle(permit, "failure" if failed else "ignored", error)

    def _moved(self, before: State) -> None:
        state = self._circuit.state
        shadow = " (shadow: nothing is refused)" if self._shadow else ""
        if type(state) is Open:
            logger.warning("breaker %r is open for %.1f s%s", self.name, state.wait / SECOND, shadow)
        else:
            logger.info("breaker %r is %s", self.name, self.state)
        if self.fleet is not None and not self._follows:
            self.fleet.moved(self, state)
        for listener in self.listeners:
            listener(self, before, state)


class Breakers:
    """All breakers of one config in this process, made when they are first asked for."""

    def __init__(self, named: Mapping[str, CircuitBreaker], rand: Callable[[], float] = random.random) -> None:
        self._named = named
        self._random = rand
        self._clock: Clock = SystemClock()
        self._made: dict[str, Breaker] = {}
        self._fleet: Others | None = None
        self._heard: dict[str, Listener] = {}

    def __repr__(self) -> str:
        return f"<Breakers {list(self._made.values())}>"

    def __iter__(self) -> Iterator[Breaker]:
        return iter(list(self._made.values()))

    def bind(self, clock: Clock) -> None:
        """Tell the time by this clock from now on."""
        self._clock = clock
        for breaker in self._made.values():
            breaker.clock = clock

    def listen(self, observer: str, listener: Listener) -> None:
        """Tell this listener of the transitions of all breakers, made or to come; one for each observer's name."""
        old = self._heard.get(observer)
        self._heard[observer] = listener
        for breaker in self._made.values():
            breaker.listeners[:] = [each for each in breaker.listeners if each is not old] + [listener]

    def join(self, fleet: Others) -> None:
        """Share with these processes what the policies say is shared."""
        self._fleet = fleet
        for breaker in self._made.values():
            self._share(breaker)

    def of(self, policy: CircuitBreaker, name: str) -> Breaker:
        """Return the breaker of a policy: by the policy's own name, else by `name`."""
        known = policy.name or name
        if known not in self._made:
            self._made[known] = Breaker(known, policy, self._clock, self._random)
            self._made[known].listeners += self._heard.values()
            self._share(self._made[known])
        return self._made[known]

    def get(self, name: str) -> Breaker:
        """Return the breaker of this name; ConfigError when no policy has it."""
        if name in self._made:
            return self._made[name]
        if name not in self._named:
            known = sorted({*self._named, *self._made})
            hint = nearest(name, known) or f"; there are {', '.join(known) or 'none'}"
            raise ConfigError(f'breaker: no policy has a breaker named "{name}"{hint}')
        return self.of(self._named[name], name)

    def named(self, name: str) -> CircuitBreaker | None:
        """Return what the config says of the breaker of this name; None where it says nothing."""
        return self._named.get(name)

    def adopt(self, new: "Breakers", gone: Collection[str]) -> Callable[[], None]:
        """Be what another config says, and forget those that are `gone`, the others stay; return what undoes it."""
        named, made = self._named, dict(self._made)
        self._named = new._named
        for name in gone:
            self._forget(name)

        def undo() -> None:
            self._named = named
            for name in gone:
                self._forget(name)
                self._made[name] = made[name]
                self._share(made[name])

        return undo

    def _forget(self, name: str) -> None:
        forgotten = self._made.pop(name, None)
        if forgotten is not None and self._fleet is not None:
            self._fleet.unwatch(forgotten)

    def _share(self, breaker: Breaker) -> None:
        if breaker.policy.shared and breaker.policy.mode == "on" and self._fleet is not None:
            self._fleet.watch(breaker)


def _is_sooner(state: State, now: int, wait: int) -> bool:
    """Return whether a circuit would let a call through a good deal sooner than in `wait` µs, and none is under way."""
    if type(state) is Open:
        return state.left(now) + _SLACK < wait
    return type(state) is HalfOpen and not state.probes


def whole_seconds(wait: int) -> int:
    """Return a wait in µs as whole seconds, at least 1."""
    return max(1, -(-wait // SECOND))
