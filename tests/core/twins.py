"""Runs single operations on kept states: in plain Python, and on a server by their Lua twins at given instants.

    kept = Kept()
    kept.now += SECOND
    assert kept("lease", "key", 2, SECOND, "id", 0, 1) == [1, 1, 0, 1, 1]

An answer is the verdict (0 refuse, 1 go, 2 replay) and the values; of a settlement it is empty.
"""

import struct
from typing import cast

import redis

from forecourt.core.operations import VERDICTS, Arg, Operation, State, Write
from forecourt.core.plans import CACHE, CHECKS, CREDITS, IDEMPOTENCY, KEY_BOOK, LEASES, OPERATORS
from forecourt.stores.scripts import compose_decision, compose_settlement

OPERATIONS = {
    operation.kind: operation for operation in (*LEASES, *CREDITS, *IDEMPOTENCY, *CACHE, *OPERATORS, *CHECKS, *KEY_BOOK)
}

Answer = list[int | bytes]


class Kept:
    """States as the memory store keeps them: absent from the instant at which they expire."""

    def __init__(self, now: int = 1_700_000_000_000_000) -> None:
        self.now = now
        self.entries: dict[str, Write] = {}

    def __call__(self, kind: str, key: str, *args: Arg) -> Answer:
        """Run one operation alone, and write what it says."""
        operation = OPERATIONS[kind]
        outcome = operation.compute(self.states(operation, key), self.now, args)
        writes = outcome.writes if outcome.verdict == "go" else outcome.marks
        for suffix, write in zip(operation.suffixes, writes, strict=False):
            if write is not None:
                self.entries[key + suffix] = write
        return [] if operation.group == "settle" else [VERDICTS.index(outcome.verdict), *outcome.values]

    def states(self, operation: Operation, key: str) -> tuple[State | None, ...]:
        """Return what is kept under an operation's keys."""
        return tuple(self._state(key + suffix) for suffix in operation.suffixes)

    def _state(self, key: str) -> State | None:
        """Journals end for want of room only, so that both twins have the same ones where nothing expires."""
        write = self.entries.get(key)
        return write.state if write and (write.expires > self.now or key.endswith(":journal")) else None

    def advance(self, microseconds: int) -> None:
        """Let time pass; below 0 sets the clock back."""
        self.now += microseconds


class Served:
    """The same on a server, by the Lua twins; `now` is what they are told."""

    def __init__(self, client: redis.Redis, now: int = 1_700_000_000_000_000) -> None:
        self.now = now
        self.client = client
        self._scripts = {
            kind: client.register_script(
                (compose_settlement if operation.group == "settle" else compose_decision)([kind], given_time=True)
            )
            for kind, operation in OPERATIONS.items()
        }

    def __call__(self, kind: str, key: str, *args: Arg) -> Answer:
        """Run one operation alone."""
        keys = [key + suffix for suffix in OPERATIONS[kind].suffixes]
        told = self._scripts[kind](keys=keys, args=[*args, self.now]) or []
        return list(struct.unpack(f"<{len(told) // 8}q", told)) if isinstance(told, bytes) else cast("Answer", told)

    def advance(self, microseconds: int) -> None:
        """Let time pass; below 0 sets the clock back."""
        self.now += microseconds
