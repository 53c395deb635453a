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

import functools
from collections import deque
from collections.abc import Iterator, Sequence

from forecourt.core.operations import Compute, Outcome, State, Write
from forecourt.core.plans import Plan, decision, settlement
from forecourt.errors import StoreOverloaded
from forecourt.stores.contract import Answer, Question, Settlement
from forecourt.types import Clock, SystemClock

_MOST_KEYS = 8
"""More than any operation has."""

_ALONE = ("",)
"""The suffixes of an operation whose one key is the question's own."""

_Group = tuple[tuple[Compute, tuple[str, ...]], ...]
"""What decides a group: each operation and its keys' suffixes, as exact tuples, which unpack faster than named ones."""

_alone: dict[str, _Group] = {}
"""The groups of what was asked alone, by kind."""


def _asked_alone(kind: str) -> _Group:
    (group,) = _grouped((kind,))
    _alone[kind] = group
    return group


@functools.cache
def _grouped(kinds: tuple[str, ...]) -> tuple[_Group, ...]:
    return tuple(
        tuple((each.compute, _ALONE if each.suffixes == _ALONE else each.suffixes) for each in group)
        for group in decision(kinds)
    )


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
        looks, self._looks = self._looks, 1
        if len(questions) == 1 and self._max_keys - len(self._entries) >= _MOST_KEYS:
            answers = [self._decide_alone(questions[0], now)]
        else:
            answers = self._decide_all(questions, now)
        self._sweep(now, looks)  # after it, so that a key of this call is not taken out and put back
        return answers

    def settle_at_once(self, settlements: Sequence[Settlement]) -> None:
        """Take note as `settle` does."""
        now = self._clock.now()
        steps = settlement(tuple([told.kind for told in settlements]))
        for step, told in zip(steps, settlements, strict=True):
            outcome = step.compute(self._states(step.suffixes, told.key, now), now, told.args)
            self._write(step.suffixes, told.key, outcome.writes)

    def _decide_alone(self, question: Question, now: int) -> Answer:
        """Decide a call of one question, the commonest, without what a group needs."""
        kind, key, args, _, _ = question
        ((compute, suffixes),) = _alone.get(kind) or _asked_alone(kind)
        if suffixes is not _ALONE:
            return self._decide_group(((compute, suffixes),), [question], now)[0]
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

    def _decide_all(self, questions: Sequence[Question], now: int) -> list[Answer]:
        kinds = tuple([question[0] for question in questions])
        if self._max_keys - len(self._entries) < _MOST_KEYS * len(questions):
            self._find_room(decision(kinds), questions, now)
        answers: list[Answer] = []
        for group in _grouped(kinds):
            at = len(answers)
            answers += self._decide_group(group, questions[at : at + len(group)], now)
            if not answers[-1].granted:
                break
        return answers + [Answer("go")] * (len(questions) - len(answers))

    def _decide_group(self, steps: _Group, questions: Sequence[Question], now: int) -> list[Answer]:
        entries = self._entries
        outcomes: list[Outcome] = []
        goes = True
        for (compute, suffixes), (_, key, args, _, _) in zip(steps, questions):  # noqa: B905  # one for each
            if suffixes is _ALONE:
                entry = entries.get(key)
                outcome = compute((entry[0] if entry is not None and entry[1] > now else None,), now, args)
            else:
                outcome = compute(self._states(suffixes, key, now), now, args)
            if outcome[0] != "go":
                goes = False
            outcomes.append(outcome)
        answers: list[Answer] = []
        for (_, suffixes), (_, key, _, _, _), outcome in zip(steps, questions, outcomes):  # noqa: B905
            verdict, values, writes, marks = outcome
            self._write(suffixes, key, writes if goes else marks)
            answers.append(_new(Answer, (verdict, values, goes, False)))
        return answers

    def _states(self, suffixes: tuple[str, ...], key: str, now: int) -> tuple[State | None, ...]:
        return tuple([self._state(key + suffix, now) for suffix in suffixes])

    def _state(self, key: str, now: int) -> State | None:
        entry = self._entries.get(key)
        return entry[0] if entry is not None and entry[1] > now else None

    def _write(self, suffixes: tuple[str, ...], key: str, writes: tuple[Write | None, ...]) -> None:
        for suffix, write in zip(suffixes, writes, strict=False):
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
