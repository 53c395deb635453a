"""The embedded store: one process, no I/O, bounded.

A decision runs from its first read to its last write without an await, so nothing can come between and no lock
is needed. An entry whose time has passed equals absence.

**Sweeping.** All keys stand in a ring. A call looks at the next one, and at eight more for each key that the call
before it added; what has expired goes, the rest moves to the end. Neither a scan nor a pause ever happens, whatever
the clock does, and expired entries are never more than a seventh of the most that were alive at once: between two
looks at a key, an eighth of the ring was added.

**Bound.** What is live is never evicted: that would free a caller who is being limited. When there is no room for the
keys of a call, the call is refused as overload before anything is decided, while calls about known keys go on.
"""

from collections import deque
from collections.abc import Iterator, Sequence

from forecourt.core.operations import Compute, Operation, Outcome, State, Write
from forecourt.core.plans import Plan, decision, settlement
from forecourt.errors import StoreOverloaded
from forecourt.stores.contract import Answer, Question, Settlement
from forecourt.types import Clock, SystemClock

_MOST_KEYS = 8
"""More than any operation has."""

_ALONE = ("",)
"""The suffixes of an operation whose one key is the question's own."""

_computes: dict[str, Compute] = {}
"""Kind → what decides it, of those whose one key is the question's own, once asked alone."""

_new = tuple.__new__
"""Makes a named tuple without its Python constructor."""

_NOTHING = Write(None, 0)
"""An entry whose time has passed."""

_LOOKS_PER_NEW_KEY = 8
_LOOKS_WHEN_FULL = 64


class MemoryStore:
    """Decides in this process; keeps `max_keys` entries at most."""

    def __init__(self, clock: Clock | None = None, *, max_keys: int = 1_000_000) -> None:
        self._clock = clock or SystemClock()
        self._max_keys = max_keys
        self._entries: dict[str, Write] = {}
        self._ring: deque[str] = deque()
        self._looks = 1

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"<MemoryStore {len(self)} of {self._max_keys} keys>"

    async def open(self) -> None:
        """Nothing to connect."""

    async def close(self) -> None:
        """Keep what is known: the same object may be opened again."""

    async def decide(self, questions: Sequence[Question]) -> list[Answer]:
        """Answer each question; StoreOverloaded when new keys come and there is no room for them."""
        return self.decide_at_once(questions)

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        """Take note of what became of grants; never refuses."""
        self.settle_at_once(settlements)

    def decide_at_once(self, questions: Sequence[Question]) -> list[Answer]:
        """Decide as `decide` does, for callers in this process: there is nothing to wait for."""
        now = self._clock.now()
        room = self._max_keys - len(self._entries)
        if room >= _MOST_KEYS and len(questions) == 1:
            looks, self._looks = self._looks, 1
            answers = [self._decide_alone(questions[0], now)]
            self._sweep(now, looks)  # after it, so that the key of this call is not taken out and put back
            return answers
        self._sweep(now, self._looks)
        self._looks = 1
        plan = decision(tuple([question.kind for question in questions]))
        if room < _MOST_KEYS * len(questions):
            self._find_room(plan, questions, now)
        answers = []
        asked = iter(questions)
        for group in plan:
            answers += self._decide_group(list(zip(group, asked, strict=False)), now)
            if not answers[-1].granted:
                break
        return answers + [Answer("go")] * (len(questions) - len(answers))

    def settle_at_once(self, settlements: Sequence[Settlement]) -> None:
        """Take note as `settle` does."""
        now = self._clock.now()
        steps = settlement(tuple([told.kind for told in settlements]))
        for step, told in zip(steps, settlements, strict=True):
            outcome = step.compute(self._states(step, told.key, now), now, told.args)
            self._write(step, told.key, outcome.writes)

    def _decide_alone(self, question: Question, now: int) -> Answer:
        """Decide a call of one question, the commonest, without what a group needs."""
        kind, key, args, _, _ = question
        compute = _computes.get(kind)
        if compute is None:
            ((step,),) = decision((kind,))
            if step.suffixes != _ALONE:
                return self._decide_group([(step, question)], now)[0]
            compute = _computes[kind] = step.compute
        entries = self._entries
        entry = entries.get(key)
        state = entry[0] if entry is not None and entry[1] > now else None
        verdict, values, writes, marks = compute((state,), now, args)
        goes = verdict == "go"
        for write in writes if goes else marks:
            if write is None:
                continue
            if entry is None or write[0] is None:
                self._keep(key, write)
            else:
                entries[key] = write
        return _new(Answer, (verdict, values, goes, False))

    def _decide_group(self, members: list[tuple[Operation, Question]], now: int) -> list[Answer]:
        outcomes: list[Outcome] = []
        goes = True
        for step, question in members:
            outcome = step.compute(self._states(step, question.key, now), now, question.args)
            goes = goes and outcome.verdict == "go"
            outcomes.append(outcome)
        for (step, question), outcome in zip(members, outcomes, strict=True):
            self._write(step, question.key, outcome.writes if goes else outcome.marks)
        return [Answer(outcome.verdict, outcome.values, goes) for outcome in outcomes]

    def _states(self, step: Operation, key: str, now: int) -> tuple[State | None, ...]:
        return tuple([self._state(key + suffix, now) for suffix in step.suffixes])

    def _state(self, key: str, now: int) -> State | None:
        entry = self._entries.get(key)
        return entry[0] if entry is not None and entry[1] > now else None

    def _write(self, step: Operation, key: str, writes: tuple[Write | None, ...]) -> None:
        for suffix, write in zip(step.suffixes, writes, strict=False):
            if write is not None:
                self._keep(key + suffix, write)

    def _keep(self, key: str, write: Write) -> None:
        """Replace an entry; one without state stays in the ring, and goes when its turn comes."""
        if key not in self._entries:
            if write.state is None:
                return
            self._ring.append(key)
            self._looks += _LOOKS_PER_NEW_KEY
        self._entries[key] = write if write.state is not None else _NOTHING

    def _sweep(self, now: int, looks: int) -> None:
        ring, entries = self._ring, self._entries
        for _ in range(min(looks, len(ring))):
            if entries[ring[0]][1] > now:
                ring.rotate(-1)
            else:
                del entries[ring.popleft()]

    def _find_room(self, plan: Plan, questions: Sequence[Question], now: int) -> None:
        """See whether the keys of this call have room, at need by looking for expired ones."""
        for looks in (0, _LOOKS_WHEN_FULL):
            self._sweep(now, looks)
            new = sum(key not in self._entries for key in _keys(plan, questions))
            if len(self._entries) + new <= self._max_keys:
                return
        raise StoreOverloaded(f"the memory store is full: {self._max_keys} live keys")


def _keys(plan: Plan, questions: Sequence[Question]) -> Iterator[str]:
    steps = (step for group in plan for step in group)
    for step, question in zip(steps, questions, strict=True):
        yield from (question.key + suffix for suffix in step.suffixes)
