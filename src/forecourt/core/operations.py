"""What the stores can decide: every operation, written as a function of state, time and arguments.

An operation is one step of a trip: take from a bucket, hold a lease, charge an account. It exists twice:
here in Python for the memory store, and as a fragment `stores/lua/<kind>.lua` for Redis and Valkey. Both
return the same integers for the same history; a property test drives them side by side.

Operations of one trip are decided in groups, in this order:

    check    caller checks: revocation, proof replay
    limit    limits and leases
    claim    idempotency claims and charges
    look     cache look-ups, which never refuse

Within a group all are computed first and written only if all of them go; after a group that stopped, later
groups do not run. Settlements (what is told to the store after the handler) are operations of the group
`settle`: nothing is refused there, each is computed and written by itself.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

Group = Literal["check", "limit", "claim", "look", "settle"]
Verdict = Literal["refuse", "go", "replay"]
"""In Lua: 0, 1 and 2, by position."""

VERDICTS: tuple[Verdict, ...] = ("refuse", "go", "replay")
GROUPS: tuple[Group, ...] = ("check", "limit", "claim", "look", "settle")

Arg = int | str | bytes
Value = int | bytes
State = tuple[object, ...]
"""What the memory store keeps under one key; immutable, so that computing never writes."""


class Write(NamedTuple):
    """A state to keep until `expires`: the first microsecond at which it equals absence."""

    state: State | None
    expires: int


class Outcome(NamedTuple):
    """What one operation decided.

    `values` has the operation's fixed number of values. `writes` (one per key of the operation; None leaves
    that key alone) take effect only when the whole group goes; `marks` are written even when it does not
    (a debounce re-arms its quiet period by the very call it refuses).
    """

    verdict: Verdict
    values: tuple[Value, ...]
    writes: tuple[Write | None, ...] = ()
    marks: tuple[Write | None, ...] = ()


Compute = Callable[[tuple[State | None, ...], int, tuple[Arg, ...]], Outcome]
"""(states by key, now in microseconds, arguments) → outcome."""

Undo = Callable[[tuple[Arg, ...]], tuple[str, tuple[Arg, ...]]]
"""Arguments → the kind and arguments of the settlement that takes back, by id, what was granted for them."""


class Operation(NamedTuple):
    """One thing a store can decide.

    `arity` is the number of values its outcome carries. `suffixes` name its keys: the key of the question
    followed by each suffix; the first is the question's own. `undo` is for those whose grant has an id: whatever an
    unanswered question may have granted is taken back with it, so it must be harmless where nothing was granted.
    `lua` is the fragment of one that is not of the package; `held`: a process may refuse by itself, for a moment, what
    was refused (of the package's own, `stores.holds` knows). `texts`: some of its values are no numbers.
    """

    kind: str
    group: Group
    arity: int
    compute: Compute
    suffixes: tuple[str, ...] = ("",)
    undo: Undo | None = None
    lua: str | None = None
    held: bool = False
    texts: bool = False


_registry: dict[str, Operation] = {}


def register(operation: Operation) -> Operation:
    """Add an operation that stores can decide; a kind is registered once."""
    if operation.kind in _registry:
        raise ValueError(f"operation {operation.kind!r} is registered already")
    _registry[operation.kind] = operation
    return operation


def operation(kind: str) -> Operation:
    """Return the operation of this kind; KeyError when there is none."""
    return _registry[kind]


def known(kind: str) -> Operation | None:
    """Return the operation of this kind, where there is one."""
    return _registry.get(kind)
