"""Idempotency: who may do a thing, that it is being done, what came of it, or that nobody knows.

A record is one of four things, and each operation is a table of transitions:

               absent          Claimed by another        Claimed by me   Completed      Unknown
    claim      → Claimed       refused: busy; after its  → Claimed       replayed       → Claimed, where the policy
                               lease as for Unknown                                     says retry; else refused
    renew                                                → Claimed
    complete                                             → Completed
    release                                              → absent
    forsake                                              → Unknown

Empty places change nothing: whoever lost its claim can neither renew nor complete it, whatever it does later. A claim
is known by its *fence*, a random id of the exchange that holds it; a number that counts up would begin again when the
record is lost, and let an old holder in.

A claim whose lease has passed is not absent: its holder is dead, or late, and what it did is unknown. Only `retry`
takes it over. The *fingerprint* of the request comes with a renewal or the completion, since a claim is made before
any body is read; taking over keeps the one that is known, so that a retry with another payload can be told.

A record counts for its caller once it is completed or unknown (`kept`); `room` refuses what would be one too many.
"""

from bisect import bisect_left, insort
from typing import NamedTuple, assert_never, cast

from forecourt.core.operations import Arg, Operation, Outcome, State, Value, Write, register

NEW, TAKEN_OVER, BUSY, OUTCOME_UNKNOWN, DONE = range(5)
"""The first value of a claim's answer: what the record was."""


class Claimed(NamedTuple):
    """Somebody is at it, or was until its lease passed; times in µs since the epoch."""

    fence: str
    until: int
    fingerprint: bytes
    ends: int


class Completed(NamedTuple):
    """It was done once, and this was the answer."""

    fingerprint: bytes
    record: bytes
    ends: int


class Unknown(NamedTuple):
    """Somebody was at it, and whether it was done nobody knows."""

    fingerprint: bytes
    ends: int


Record = Claimed | Completed | Unknown


class Records:
    """What a caller keeps: names and when they end, in that order.

    Changed in place, unlike other states: a caller has many, only a settlement changes them, and settlements are
    computed once and written.
    """

    __slots__ = ("ends", "order")

    def __init__(self) -> None:
        self.order: list[tuple[int, str]] = []
        self.ends: dict[str, int] = {}

    def ended(self, now: int) -> int:
        """Return how many have ended."""
        return bisect_left(self.order, (now + 1, ""))

    def keep(self, name: str, ends: int, now: int) -> None:
        """Forget those that have ended, and keep one more, or one for longer."""
        ended = self.ended(now)
        for _, gone in self.order[:ended]:
            del self.ends[gone]
        del self.order[:ended]
        before = self.ends.get(name, 0)
        if before >= ends:
            return
        if before:
            del self.order[bisect_left(self.order, (before, name))]
        self.ends[name] = ends
        insort(self.order, (ends, name))


def claim(states: tuple[State | None, ...], now: int, args: tuple[Arg, ...]) -> Outcome:
    """Become the one who does it; args: record's µs to live, lease in µs, fence, retry (0 or 1).

    Values: what the record was (see NEW …), µs until a busy one's lease passes, its fingerprint, the kept answer.
    """
    ttl, lease, fence, retry = cast("tuple[int, int, str, int]", args)
    record = _record(states)
    fresh = Claimed(fence, now + lease, record.fingerprint if record else b"", now + max(ttl, lease))
    match record:
        case None:
            return Outcome("go", _values(NEW, b""), (_kept(fresh),))
        case Completed():
            return Outcome("replay", (DONE, 0, record.fingerprint, record.record))
        case Claimed() if record.fence == fence:
            return Outcome("go", _values(NEW, record.fingerprint), (_kept(fresh),))
        case Claimed() if record.until > now:
            return Outcome("refuse", (BUSY, record.until - now, record.fingerprint, b""))
        case Claimed() | Unknown():
            if retry:
                return Outcome("go", _values(TAKEN_OVER, record.fingerprint), (_kept(fresh),))
            return Outcome("refuse", _values(OUTCOME_UNKNOWN, record.fingerprint))
        case _:
            assert_never(record)


def look(states: tuple[State | None, ...], now: int, args: tuple[Arg, ...]) -> Outcome:
    """Say what a claim would find, and change nothing; args: unused (0). Values as of `claim`."""
    outcome = claim(states, now, (0, 0, "", 0))
    return Outcome("go", outcome.values)


def renew(states: tuple[State | None, ...], now: int, args: tuple[Arg, ...]) -> Outcome:
    """Keep a claim for another lease; args: lease in µs, fence or fence/fingerprint (in hex), between spaces."""
    lease, holders = cast("tuple[int, str]", args)
    record = _record(states)
    for holder in holders.split():
        fence, _, fingerprint = holder.partition("/")
        if isinstance(record, Claimed) and record.fence == fence:
            until = max(record.until, now + lease)
            known = bytes.fromhex(fingerprint) or record.fingerprint
            return Outcome("go", (), (_kept(Claimed(fence, until, known, max(record.ends, until))),))
    return Outcome("go", ())


def complete(states: tuple[State | None, ...], now: int, args: tuple[Arg, ...]) -> Outcome:
    """Keep the answer; args: fence, µs to keep it, fingerprint, answer."""
    fence, ttl, fingerprint, answer = cast("tuple[str, int, bytes, bytes]", args)
    return _by(states, fence, Completed(fingerprint, answer, now + ttl))


def forsake(states: tuple[State | None, ...], now: int, args: tuple[Arg, ...]) -> Outcome:
    """Say that nobody knows what came of it; args: fence, µs to remember it, fingerprint."""
    fence, ttl, fingerprint = cast("tuple[str, int, bytes]", args)
    return _by(states, fence, Unknown(fingerprint, now + ttl))


def release(states: tuple[State | None, ...], now: int, args: tuple[Arg, ...]) -> Outcome:
    """Say that nothing was done; args: fence."""
    record = _record(states)
    mine = isinstance(record, Claimed) and record.fence == args[0]
    return Outcome("go", (), (Write(None, now),) if mine else ())


def released(args: tuple[Arg, ...]) -> tuple[str, tuple[Arg, ...]]:
    """Undo a claim whose answer nobody saw; args as for `claim`."""
    return "idempotency_release", (args[2],)


def room(states: tuple[State | None, ...], now: int, args: tuple[Arg, ...]) -> Outcome:
    """Refuse a record where so many are kept; args: most, the record's name. One that is kept always has room.

    Values: records kept, µs until the first of them ends where there is no room, else 0.
    """
    most, name = cast("tuple[int, str]", args)
    records = _records(states)
    ended = records.ended(now)
    live = len(records.order) - ended
    if live < most or records.ends.get(name, 0) > now:
        return Outcome("go", (live, 0))
    return Outcome("refuse", (live, records.order[ended][0] - now))


def keep(states: tuple[State | None, ...], now: int, args: tuple[Arg, ...]) -> Outcome:
    """Count a record as kept; args: the record's name, for how many µs."""
    name, ttl = cast("tuple[str, int]", args)
    records = _records(states)
    records.keep(name, now + ttl, now)
    return Outcome("go", (), (Write((records,), records.order[-1][0]),))


def _by(states: tuple[State | None, ...], fence: str, after: Record) -> Outcome:
    record = _record(states)
    mine = isinstance(record, Claimed) and record.fence == fence
    return Outcome("go", (), (_kept(after),) if mine else ())


def _values(was: int, fingerprint: bytes) -> tuple[Value, ...]:
    return (was, 0, fingerprint, b"")


def _record(states: tuple[State | None, ...]) -> Record | None:
    return cast("Record | None", states[0])


def _kept(record: Record) -> Write:
    return Write(record, record.ends)


def _records(states: tuple[State | None, ...]) -> Records:
    return cast("tuple[Records]", states[0])[0] if states[0] else Records()


CLAIM = register(Operation("idempotency_claim", "claim", 4, claim, undo=released, texts=True))
LOOK = register(Operation("idempotency_look", "check", 4, look, texts=True))
RENEW = register(Operation("idempotency_renew", "settle", 0, renew))
COMPLETE = register(Operation("idempotency_complete", "settle", 0, complete))
FORSAKE = register(Operation("idempotency_forsake", "settle", 0, forsake))
RELEASE = register(Operation("idempotency_release", "settle", 0, release))
ROOM = register(Operation("idempotency_room", "claim", 2, room))
KEEP = register(Operation("idempotency_keep", "settle", 0, keep))
OPERATIONS = (CLAIM, LOOK, RENEW, COMPLETE, FORSAKE, RELEASE, ROOM, KEEP)
