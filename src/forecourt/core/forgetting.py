"""Forgetting: an operator's reset. What is kept under a key is gone, whatever it was; the next call begins anew."""

from forecourt.core.operations import Arg, Operation, Outcome, State, Write, register


def forget(_states: tuple[State | None, ...], now: int, _args: tuple[Arg, ...]) -> Outcome:
    """Delete the key; no arguments. May be told again."""
    return Outcome("go", (), (Write(None, now),))


FORGET = register(Operation("forget", "settle", 0, forget))
