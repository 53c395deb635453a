"""A sequence of operations, ready to run: its script, how its command is laid out, how its flat reply is read.

All of that is known once the kinds are, and paid for on every decision, so it is computed once.
"""

import struct
from collections.abc import Callable, Sequence
from struct import Struct
from typing import cast

from forecourt.core.operations import VERDICTS, Arg, Operation, Value
from forecourt.core.plans import Plan, decision, settlement
from forecourt.errors import StoreDown
from forecourt.stores.contract import Answer, Question, Settlement
from forecourt.stores.redis.commands import Reply, Script, pack_args, pack_together
from forecourt.stores.scripts import answers_packed, arguments, compose_decision, compose_settlement, pieces, together

_GO = VERDICTS.index("go")
_NOT_RUN = Answer("go")

PackArgs = Callable[[tuple[Arg, ...]], bytes]
"""Arguments → RESP, each begun by the line end before it."""


class Trip:
    """One script and what goes into and comes out of it.

    `undoable` are the places of those whose grants can be taken back. With `given_time` the last argument is the time.
    """

    __slots__ = ("_alone", "_cuts", "_head", "_numbers", "_shape", "script", "undoable")

    def __init__(self, source: str, steps: Sequence[Operation], plan: Plan, *, given_time: bool) -> None:
        self.script = Script(source)
        self.undoable = tuple(place for place, step in enumerate(steps) if step.undo)
        self._shape = tuple((step.suffixes, arguments(step.kind), _packing(step.kind)) for step in steps)
        keys = sum(len(suffixes) for suffixes, *_ in self._shape)
        args = sum(pieces(step.kind) for step in steps)
        self._head = self.script.head(keys, args + given_time)
        self._cuts = _cuts(plan)
        self._numbers = Struct(f"<{sum(1 + step.arity for step in steps)}q") if answers_packed(steps) else None
        self._alone = self._shape[0][1:] if keys == len(self._shape) == 1 and self._shape[0][0] == ("",) else None

    def pack(self, asked: Sequence[Question | Settlement], *more: Arg) -> bytes:
        """Return the command; ValueError when an operation is not given as many arguments as it takes."""
        if self._alone is not None and not more:
            return self._pack_alone(asked[0], *self._alone)
        parts, args = [self._head], []
        for each, (suffixes, count, packing) in zip(asked, self._shape, strict=True):
            given = each.args
            if len(given) != count:
                raise ValueError(_miscounted(each, count))
            for suffix in suffixes:
                text = (each.key + suffix).encode()
                parts.append(b"\r\n$%d\r\n%b" % (len(text), text))
            args.append(packing(given))
        return b"%b%b%b\r\n" % (b"".join(parts), b"".join(args), pack_args(more))

    def _pack_alone(self, asked: Question | Settlement, count: int, packing: PackArgs) -> bytes:
        """Do the same for one operation with one key, as most are."""
        given = asked.args
        if len(given) != count:
            raise ValueError(_miscounted(asked, count))
        text = asked.key.encode()
        return b"%b\r\n$%d\r\n%b%b\r\n" % (self._head, len(text), text, packing(given))

    def keys(self, asked: Sequence[Question | Settlement]) -> list[str]:
        """Return all keys, in their order."""
        return [
            each.key + suffix for each, (suffixes, *_) in zip(asked, self._shape, strict=True) for suffix in suffixes
        ]

    def answers(self, reply: Reply) -> list[Answer]:
        """Cut the flat reply into answers; operations that it does not reach did not run."""
        flat = self._flat(reply)
        if self._alone is not None:
            return [Answer(VERDICTS[flat[0]], flat[1:], flat[0] == _GO)]  # type: ignore[index]  # a number
        answers: list[Answer] = []
        for group in self._cuts:
            if group[0][0] >= len(flat):
                answers += [_NOT_RUN] * len(group)
                continue
            granted = all(flat[at] == _GO for at, _ in group)
            answers += [Answer(VERDICTS[flat[at]], flat[at + 1 : end], granted) for at, end in group]  # type: ignore[index]
        return answers

    def _flat(self, reply: Reply) -> tuple[Value, ...]:
        numbers = self._numbers
        if numbers is None and isinstance(reply, list):
            return cast("tuple[Value, ...]", tuple(reply))
        if numbers is None or not isinstance(reply, bytes) or len(reply) % 8:
            raise StoreDown(f"the store answered a decision with {type(reply).__name__}")
        if len(reply) == numbers.size:
            return numbers.unpack(reply)
        return struct.unpack(f"<{len(reply) // 8}q", reply)  # a group refused, and those after it did not run


def _packing(kind: str) -> PackArgs:
    return cast("PackArgs", pack_together) if together(kind) else pack_args


def _miscounted(asked: Question | Settlement, count: int) -> str:
    return f"{asked.kind} takes {count} arguments, not {len(asked.args)}"


def _cuts(plan: Plan) -> tuple[tuple[tuple[int, int], ...], ...]:
    """Return where each operation's part of the reply begins and ends, by group."""
    at, groups = 0, []
    for group in plan:
        cuts = []
        for step in group:
            cuts.append((at, at + 1 + step.arity))
            at += 1 + step.arity
        groups.append(tuple(cuts))
    return tuple(groups)


def deciding(kinds: tuple[str, ...], *, given_time: bool) -> Trip:
    """Return the trip that asks questions of these kinds."""
    plan = decision(kinds)
    steps = [step for group in plan for step in group]
    return Trip(compose_decision(kinds, given_time=given_time), steps, plan, given_time=given_time)


def telling(kinds: tuple[str, ...], *, given_time: bool) -> Trip:
    """Return the trip that tells settlements of these kinds."""
    return Trip(compose_settlement(kinds, given_time=given_time), settlement(kinds), (), given_time=given_time)
