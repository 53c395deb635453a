"""Composes one Lua script per sequence of operations, from one fragment each.

A fragment `lua/<kind>.lua` has sections, each begun by a comment line of its own:

    -- compute    sets `ok$` (0 refuse, 1 go, 2 replay; settlements need none) and `v1$` … one per value
    -- write      makes the change; runs only when the whole group goes
    -- mark       makes a change that holds even when the group is refused

`$K1`, `$K2` … are the operation's keys and `$A1` … its arguments, counted from one; every other `$` becomes the
operation's place in the sequence, so that names of different operations do not meet (so no pattern may end in `$`).
Lua allows 200 locals: keep what only one section needs inside `do … end`.

Arguments are text: `$A1 + 0` is the number. An operation of numbers alone may take them all at once, `local limit, cost
= $N2`: they travel as one argument. No settlement does: an undo is sent without its trip. State is packed as doubles,
which hold integers below 2^53 exactly: reading and writing digits would take a third of the whole script. The prelude
gives `now` (integer microseconds), `int(n)` (a number as digits, where it is joined to text, as Lua would write
1.79e+15; `call` writes out whole numbers by itself) and short names, of which a script makes those that it uses;
`px(µs)` becomes milliseconds, rounded up.

Answers are flat: for each operation its `ok` and its values. A script that stops after a group returns only the
operations up to there. They are one piece of eight bytes a number, unless an operation answers with text: a table of
numbers would take the server a microsecond for each operation.
"""

import functools
import importlib.resources
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from forecourt.core.operations import Operation, known
from forecourt.core.plans import decision, settlement

_NAMES = {
    "call": "redis.call",
    "pack": "struct.pack",
    "parse": "struct.unpack",
    **{name: f"math.{name}" for name in ("floor", "ceil", "min", "max")},
    "int": "function(n) return string.format('%.0f', n) end",
    "px": "function(us) return math.max(1, math.ceil(us / 1000)) end",  # of what `_PX` does not understand
}
_SERVER_TIME = """local time = call('TIME')
local now = time[1] * 1000000 + time[2]"""
_GIVEN_TIME = "local now = ARGV[#ARGV] + 0"
_MOST_PACKED = 50  # values in one call: Lua has room for some two hundred, its locals included
_PX = re.compile(r"\bpx\(((?:[^()]|\((?:[^()]|\([^()]*\))*\))*)\)")
_SECTION = re.compile(r"^-- (compute|write|mark)\n", re.MULTILINE)


@functools.cache
def fragment(kind: str) -> dict[str, str]:
    """Return the sections of an operation's fragment by name; FileNotFoundError when it has none."""
    own = found.lua if (found := known(kind)) is not None else None
    text = own or (importlib.resources.files("forecourt.stores") / "lua" / f"{kind}.lua").read_text("utf-8")
    _, *parts = _SECTION.split(text)
    return dict(zip(parts[::2], parts[1::2], strict=True))


@functools.cache
def arguments(kind: str) -> int:
    """Return how many arguments the operation takes: the highest that its fragment names."""
    text = "".join(fragment(kind).values())
    return max((int(number) for number in re.findall(r"\$[AN](\d+)", text)), default=0)


@functools.cache
def together(kind: str) -> bool:
    """Tell whether the operation's arguments travel as one: eight bytes for each number."""
    return any("$N" in text for text in fragment(kind).values())


def pieces(kind: str) -> int:
    """Return how many arguments of the command carry those of the operation."""
    return 1 if together(kind) else arguments(kind)


def answers_packed(steps: Iterable[Operation]) -> bool:
    """Tell whether what a script of these operations returns is one piece of eight bytes a number."""
    return not any(step.texts for step in steps)


def compose_decision(kinds: Sequence[str], *, given_time: bool = False) -> str:
    """Return the script that decides questions of these kinds; ValueError when their groups are out of order.

    `given_time`: the last argument is the time, and nothing expires by the server's clock; for tests that drive the
    store and its Python twin through the same instants.
    """
    lines: list[str] = []
    plan = decision(tuple(kinds))
    steps = [step for group in plan for step in group]
    places, packed = _placed(steps), answers_packed(steps)
    returned: list[str] = []
    for group in plan:
        members = [next(places) for _ in group]
        returned += [name for member in members for name in member.returned()]
        lines += _group(members, _return(returned, packed=packed))
    return _whole([*lines, _return(returned, packed=packed)], given_time=given_time)


def compose_settlement(kinds: Sequence[str], *, given_time: bool = False) -> str:
    """Return the script that takes note of settlements of these kinds, one after the other."""
    lines: list[str] = []
    for member in _placed(settlement(tuple(kinds))):
        lines += [member.section("compute"), member.section("write")]
    return _whole(lines, given_time=given_time)


def _return(names: Sequence[str], *, packed: bool) -> str:
    if not packed:
        return f"return {{{', '.join(names)}}}"
    pieces = [names[at : at + _MOST_PACKED] for at in range(0, len(names), _MOST_PACKED)]
    return "return " + " .. ".join(f"pack('<{'i8' * len(piece)}', {', '.join(piece)})" for piece in pieces)


def _whole(lines: Sequence[str], *, given_time: bool) -> str:
    """Return a script of these lines, after the names that they use: each is looked up, or made, in every run."""
    given = "3600000" if given_time else r"max(1, ceil((\1) / 1000))"
    body = "\n".join([_GIVEN_TIME if given_time else _SERVER_TIME, _PX.sub(given, "\n".join(lines))])
    used = {name: what for name, what in _NAMES.items() if re.search(rf"\b{name}\b", body)}
    return f"local {', '.join(used)} = {', '.join(used.values())}\n{body}"


class _Placed(NamedTuple):
    """An operation at its place in the sequence, counted from one, after so many keys and arguments."""

    step: Operation
    place: int
    keys: int
    args: int

    def returned(self) -> list[str]:
        return [f"ok_{self.place}", *(f"v{number}_{self.place}" for number in range(1, self.step.arity + 1))]

    def section(self, name: str) -> str:
        text = fragment(self.step.kind).get(name, "")
        text = re.sub(r"\$N(\d+)", lambda found: f"parse('<{'i8' * int(found[1])}', ARGV[{self.args + 1}])", text)
        text = re.sub(r"\$K(\d+)", lambda found: f"KEYS[{self.keys + int(found[1])}]", text)
        text = re.sub(r"\$A(\d+)", lambda found: f"ARGV[{self.args + int(found[1])}]", text)
        return text.replace("$", f"_{self.place}")


def _placed(steps: Iterable[Operation]) -> Iterator[_Placed]:
    keys = args = 0
    for place, step in enumerate(steps, 1):
        yield _Placed(step, place, keys, args)
        keys += len(step.suffixes)
        args += pieces(step.kind)


def _group(members: Sequence[_Placed], stop: str) -> list[str]:
    goes = " and ".join(f"ok_{member.place} == 1" for member in members)
    return [
        *(member.section("compute") for member in members),
        f"if not ({goes}) then",
        *(member.section("mark") for member in members),
        stop,
        "end",
        *(member.section("write") for member in members),
    ]
