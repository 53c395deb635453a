"""API keys in the store: a book of records by key id.

Records are bytes that only their reader understands; the book keeps them until they are dropped, whatever the clock
says. A record is at most some hundred bytes and a listing returns all of them, for operators.
"""

from typing import cast

from forecourt.core.operations import Arg, Operation, Outcome, State, Write, register
from forecourt.types import EXACT

Records = dict[str, bytes]
"""Key id → record. Never changed in place: a state is shared with what is being computed."""

_NEVER = EXACT - 1


def find(states: tuple[State | None, ...], _now: int, args: tuple[Arg, ...]) -> Outcome:
    """Look a record up; args: its id. Values: the record, empty where there is none."""
    return Outcome("go", (_records(states[0]).get(str(args[0]), b""),), (None,))


def put(states: tuple[State | None, ...], _now: int, args: tuple[Arg, ...]) -> Outcome:
    """Keep a record, in place of an earlier one; args: its id, the record."""
    record = args[1].encode() if isinstance(args[1], str) else cast("bytes", args[1])
    return Outcome("go", (), (Write((_records(states[0]) | {str(args[0]): record},), _NEVER),))


def drop(states: tuple[State | None, ...], _now: int, args: tuple[Arg, ...]) -> Outcome:
    """Forget a record; args: its id."""
    kept = {each: record for each, record in _records(states[0]).items() if each != str(args[0])}
    return Outcome("go", (), (Write((kept,) if kept else None, _NEVER),))


def listed(states: tuple[State | None, ...], _now: int, args: tuple[Arg, ...]) -> Outcome:
    """Return records, a line each, in no order; args: how many at most."""
    records = [*_records(states[0]).values()][: int(args[0])]
    return Outcome("go", (b"\n".join(records),), (None,))


def _records(state: State | None) -> Records:
    return cast("tuple[Records]", state)[0] if state else {}


FIND = register(Operation("key_find", "check", 1, find, texts=True))
PUT = register(Operation("key_put", "settle", 0, put))
DROP = register(Operation("key_drop", "settle", 0, drop))
LIST = register(Operation("key_list", "check", 1, listed, texts=True))
