"""Revoked tokens, and proofs that were used: what a caller check remembers.

A revocation is an instant, kept under a token's or a subject's key: what was issued up to then does not count any more.
A single token is revoked for all time, so its instant is later than any. A revocation is kept for as long as what it
revokes could still be shown, and is never taken back.

A proof counts once: its key remembers by which call it was used, so that the same call may ask again.
"""

from typing import cast

from forecourt.core.operations import Arg, Operation, Outcome, State, Write, register
from forecourt.types import EXACT

ALWAYS = EXACT - 1
"""The instant of a token that is revoked whenever it was issued."""


def revoked(states: tuple[State | None, ...], _now: int, args: tuple[Arg, ...]) -> Outcome:
    """Refuse what was issued up to the instant of the revocation; args: µs at which it was issued.

    Values: the instant, 0 where nothing is revoked.
    """
    instant = _instant(states[0])
    return Outcome("refuse" if instant and int(args[0]) <= instant else "go", (instant,))


def revoke(states: tuple[State | None, ...], now: int, args: tuple[Arg, ...]) -> Outcome:
    """Revoke; args: the instant in µs, µs to remember it for. The later instant holds, for the longer time."""
    instant, kept = int(args[0]), int(args[1])
    until = now + kept
    if states[0]:
        until = max(until, cast("tuple[int, int]", states[0])[1])
    return Outcome("go", (), (Write((max(instant, _instant(states[0])), until), until),))


def use(states: tuple[State | None, ...], now: int, args: tuple[Arg, ...]) -> Outcome:
    """Use a proof; args: the id of the call, µs to remember it for. Values: whether it was used before by another."""
    own, kept = str(args[0]), int(args[1])
    if states[0] is None:
        return Outcome("go", (0,), (Write((own,), now + kept),))
    return Outcome("go", (0,), (None,)) if states[0][0] == own else Outcome("refuse", (1,))


def _instant(state: State | None) -> int:
    return cast("tuple[int, int]", state)[0] if state else 0


REVOKED = register(Operation("revoked", "check", 1, revoked))
REVOKE = register(Operation("revoke", "settle", 0, revoke))
USE = register(Operation("proof_use", "check", 1, use))
