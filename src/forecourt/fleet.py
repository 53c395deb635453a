"""Shared breakers: one process learns that something has failed, and all of them leave it alone.

The store is not asked while calls pass. What a process knows it tells: an open circuit is a lease in the store under
one id, taken again with each longer wait; a closed one gives it back. One task of each process reads the leases of all
its shared breakers in one question, every 0.25 to 0.5 s and at random within that, so that all processes are open
within a second. Only a probe asks before it runs: probes are leases too, so that all processes together let through as
many as the policy says, and one that died frees its place.

The lease of an open circuit outlasts its wait by `MEMORY`, so that the end of a wait is not taken for a circuit that
has closed. With the store down each process is on its own, as without `shared`; what it could not tell it tells when
the store is back. That is logged once each way.
"""

import asyncio
import logging
import os
import random
from collections.abc import Callable, Sequence

from forecourt.breakers import Breaker
from forecourt.core.breaker import Closed, Open, Permit, State
from forecourt.errors import StoreError
from forecourt.principals import Keys
from forecourt.stores.contract import Question, Settlement, Store
from forecourt.types import SECOND, Clock

logger = logging.getLogger("forecourt")

MEMORY = 3600 * SECOND
"""How long after its wait an open circuit is remembered where nobody probes, in µs."""

_PAUSE = 0.5
_OPEN = "open"


class Fleet:
    """Tells other processes what shared breakers here have learnt, and follows what they tell."""

    def __init__(
        self,
        store: Store,
        keys: Keys,
        clock: Clock,
        settle: Callable[[Sequence[Settlement]], None],
        rand: Callable[[], float] = random.random,
        *,
        lonely: bool = False,
    ) -> None:
        self._lonely = lonely
        self._store = store
        self._keys = keys
        self._clock = clock
        self._settle = settle
        self._random = rand
        self._breakers: dict[str, Breaker] = {}
        self._untold: dict[str, Settlement] = {}
        self._probes: dict[Permit, str] = {}
        self._alone = False
        self._task: asyncio.Task[None] | None = None
        self._nap: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<Fleet of {', '.join(self._breakers) or 'no breakers'}>"

    def watch(self, breaker: Breaker) -> None:
        """Share this breaker from now on; warn where nobody else can hear of it."""
        if self._lonely and breaker.name not in self._breakers:
            logger.warning(
                "the breaker %r is shared, but the store memory:// is this process's own: others do not hear of it",
                breaker.name,
            )
        self._breakers[breaker.name] = breaker
        breaker.fleet = self

    def unwatch(self, breaker: Breaker) -> None:
        """Share this breaker no more: another one takes its name."""
        if self._breakers.get(breaker.name) is breaker:
            del self._breakers[breaker.name]
            self._untold.pop(breaker.name, None)

    def run(self) -> None:
        """Have the task at work on the running loop; to be called with each call that a shared breaker sees."""
        task = self._task
        if task is None or task.done() or task.get_loop() is not asyncio.get_running_loop():
            self._task = asyncio.get_running_loop().create_task(self._follow())

    async def stop(self) -> None:
        """End the task."""
        task, self._task = self._task, None
        if task is not None and task.get_loop() is asyncio.get_running_loop():
            task.cancel()
            await asyncio.wait([task])

    def moved(self, breaker: Breaker, state: State) -> None:
        """Tell the others, soon, where a breaker stands; may be called from any thread."""
        key = self._key("circuit", breaker.name)
        if isinstance(state, Open):
            self._untold[breaker.name] = Settlement("lease_renew", key, (state.wait + MEMORY, _OPEN))
        elif isinstance(state, Closed):
            self._untold[breaker.name] = Settlement("lease_release", key, (_OPEN,))
        nap = self._nap
        if nap is not None and not nap.get_loop().is_closed():
            nap.get_loop().call_soon_threadsafe(nap.cancel)

    async def may_probe(self, breaker: Breaker, permit: Permit) -> bool:
        """Ask whether one more probe may run, of all processes; where the store does not answer, yes."""
        rules = breaker.policy.rules()
        own = os.urandom(12).hex()
        args = (rules.probes, rules.probe_deadline, own, 0, 1)
        try:
            (answer,) = await self._store.decide([Question("lease", self._key("probe", breaker.name), args, "open")])
        except StoreError:
            self._hear(alone=True)
            return True
        self._hear(alone=answer.degraded)
        if answer.granted:
            self._probes[permit] = own
        return answer.verdict == "go"

    def probed(self, breaker: Breaker, permit: Permit) -> None:
        """Let another probe run in the place of this one."""
        own = self._probes.pop(permit, None)
        if own is not None:
            self._settle([Settlement("lease_release", self._key("probe", breaker.name), (own,))])

    def _key(self, kind: str, name: str) -> str:
        return self._keys.key(f"breaker-{kind}", name, "breaker", name)

    async def _follow(self) -> None:
        while True:
            try:
                await self._tell()
                self._hear(alone=await self._ask())
            except StoreError:
                self._hear(alone=True)
            self._nap = asyncio.ensure_future(self._clock.sleep(_PAUSE * (1 + self._random()) / 2))
            try:
                await asyncio.wait([self._nap])
            finally:
                self._nap.cancel()

    async def _tell(self) -> None:
        untold = dict(self._untold)
        if untold:
            await self._store.settle(list(untold.values()))
        for name, told in untold.items():
            if self._untold.get(name) is told:
                del self._untold[name]

    async def _ask(self) -> bool:
        """Read where all breakers stand and follow; return whether the store did not answer."""
        breakers = list(self._breakers.values())
        args = (0, MEMORY, "look", 0, 1)
        answers = await self._store.decide(
            [Question("lease", self._key("circuit", breaker.name), args, "open") for breaker in breakers]
        )
        if any(answer.degraded for answer in answers):
            return True
        for breaker, answer in zip(breakers, answers, strict=True):
            if breaker.name not in self._untold:  # what it learnt meanwhile is newer
                left, known = int(answer.values[1]), int(answer.values[2])
                breaker.follow(max(0, left - MEMORY) if known else None)
        return False

    def _hear(self, *, alone: bool) -> None:
        if alone != self._alone:
            self._alone = alone
            if alone:
                logger.warning("shared breakers: the store does not answer, so this process is on its own")
            else:
                logger.info("shared breakers: the store answers again")
