"""What a store does with what it keeps: whether it evicts keys for want of memory, and whether it survives a crash.

Claims and accounts must not be forgotten to make room: a server that evicts would give credits back, and run twice
what was to run once. Without an append-only file a crash forgets what was not written to disk; so does the memory of
a process, of which nobody expects otherwise.
"""

from forecourt.core.operations import Arg, Operation, Outcome, State, register

NO, UNKNOWN, YES = 0, 1, 2
"""Answers, so that the least of several is the one to go by: a server that may not tell says UNKNOWN."""


def keeping(_states: tuple[State | None, ...], _now: int, _args: tuple[Arg, ...]) -> Outcome:
    """Tell what this store does; no arguments. Values: whether nothing is evicted, whether every write is logged."""
    return Outcome("go", (YES, YES))


KEEPING = register(Operation("keeping", "check", 2, keeping))
