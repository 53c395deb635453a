"""Composes one Lua script per sequence of operations, from one fragment each.

A fragment `lua/<kind>.lua` has sections, each begun by a comment line of its own:

    -- compute    sets `ok$` (0 refuse, 1 go, 2 replay; settlements need none) and `v1$` … one per value
    -- write      makes the change; runs only when the whole group goes
    -- mark       makes a change that holds even when the group is refused

`$K1`, `$K2` … are the operation's keys and `$A1` … its arguments, counted from one; every other `$` becomes the
operation's place in the sequence, so that names of different operations do not meet (so no pattern may end in `$`).
Lua allows 200 locals: keep what only one section needs inside `do … end`.

Arguments are text: `$A1 + 0` is the number. State is packed as doubles, which hold integers below 2^53 exactly:
reading and writing digits would take a third of the whole script. The prelude gives `now` (integer microseconds),
`px(µs)` (milliseconds, rounded up), `int(n)` (a number as digits; Lua's own conversion would write 1.79e+15) and short
names, since every look-up in a table counts.

Answers are flat: for each operation its `ok` and its values. A script that stops after a group returns only the
operations up to there.
"""

import functools
import importlib.resources
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from forecourt.core.operations import Operation, known
from forecourt.core.plans import decision, settlement

_PRELUDE = """
local call, pack, parse = redis.call, struct.pack, struct.unpack
local floor, ceil, min, max = math.floor, math.ceil, math.min, math.max
"""
_INT = """
local int = function(n) return string.format('%.0f', n) end
"""
_SERVER_TIME = """
local time = call('TIME')
local now = time[1] * 1000000 + time[2]
local px = function(us) return max(1, ceil(us / 1000)) end
"""
_GIVEN_TIME = """
local now = ARGV[#ARGV] + 0
local px = function(us) return 3600000 end
"""
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
    return max((int(number) for number in re.findall(r"\$A(\d+)", text)), default=0)


def compose_decision(kinds: Sequence[str], *, given_time: bool = False) -> str:
    """Return the script that decides questions of these kinds; ValueError when their groups are out of order.

    `given_time`: the last argument is the time, and nothing expires by the server's clock; for tests that drive the
    store and its Python twin through the same instants.
    """
    lines: list[str] = []
    places = _placed(step for group in decision(tuple(kinds)) for step in group)
    returned: list[str] = []
    for group in decision(tuple(kinds)):
        members = [next(places) for _ in group]
        returned += [name for member in members for name in member.returned()]
        lines += _group(members, f"return {{{', '.join(returned)}}}")
    return _whole([*lines, f"return {{{', '.join(returned)}}}"], given_time=given_time)


def compose_settlement(kinds: Sequence[str], *, given_time: bool = False) -> str:
    """Return the script that takes note of settlements of these kinds, one after the other."""
    lines: list[str] = []
    for member in _placed(settlement(tuple(kinds))):
        lines += [member.section("compute"), member.section("write")]
    return _whole(lines, given_time=given_time)


def _whole(lines: Sequence[str], *, given_time: bool) -> str:
    """Return a script of these lines; a function that none of them calls is not made, as it is made in each run."""
    body = "\n".join(lines)
    return "\n".join([_PRELUDE, _INT if "int(" in body else "", _GIVEN_TIME if given_time else _SERVER_TIME, body])


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
        text = re.sub(r"\$K(\d+)", lambda found: f"KEYS[{self.keys + int(found[1])}]", text)
        text = re.sub(r"\$A(\d+)", lambda found: f"ARGV[{self.args + int(found[1])}]", text)
        return text.replace("$", f"_{self.place}")


def _placed(steps: Iterable[Operation]) -> Iterator[_Placed]:
    keys = args = 0
    for place, step in enumerate(steps, 1):
        yield _Placed(step, place, keys, args)
        keys += len(step.suffixes)
        args += arguments(step.kind)


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
