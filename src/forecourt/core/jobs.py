"""What becomes of a job: its states as types, and the one table of how they follow each other.

    Queued ──claim──► Leased ──done──► Done
      ▲  │              │ │ └──────── Failed    what another attempt would not mend: its time was over
      │  └─too late─► Failed
      │                 │ └─cancel──► Cancelled (a queued job too)
      └──give back──────┤
      └──fail, lost─────┴──no attempt left──► Dead ──redrive──► Queued

A job runs at least once and has one outcome. Whoever claims it holds a *lease* and a *token*: the lease ends unless it
is renewed, so a job of a worker that died is queued again; the token is new at each claim, so a worker that was only
frozen can neither renew nor finish once its job has gone to another (fencing). An attempt is counted when it is
claimed: a job that kills its worker each time dies too.

All instants are microseconds since the epoch. A transition that is not allowed returns None, never raises: it is how
a late worker learns that it is late.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple, assert_never

Status = Literal["queued", "running", "succeeded", "failed", "dead", "cancelled"]
"""A state's name, as callers and operators see it."""

LEASE_LOST = "no worker held on to it"
EXPIRED = "its time was over"

_LONGEST_BACKOFF = 300_000_000
_FIRST_BACKOFF = 500_000


class Terms(NamedTuple):
    """What holds for one job from the start: attempts in all, and the µs at which it is not begun any more."""

    max_attempts: int
    deadline: int


class Progress(NamedTuple):
    """How far a job has come, as its handler says: the part done from 0 to 1 (below 0: nothing said), and a word."""

    done: float
    note: str

    @classmethod
    def of(cls, done: float, note: str) -> "Progress":
        """Return what a handler said; ValueError when `done` is no number from 0 to 1."""
        if not 0 <= done <= 1:
            raise ValueError(f"progress({done!r}): must be a number from 0 to 1")
        return cls(float(done), str(note)[:200])


NO_PROGRESS = Progress(-1.0, "")


@dataclass(frozen=True, slots=True)
class Queued:
    """Waits for a worker, not before `due`; `attempts` were made so far."""

    attempts: int
    due: int


@dataclass(frozen=True, slots=True)
class Leased:
    """A worker has it: the one that knows `token`, until `until` unless renewed; `attempts` counts this one."""

    attempts: int
    token: str
    until: int


@dataclass(frozen=True, slots=True)
class Done:
    """Has its one result."""

    attempts: int


@dataclass(frozen=True, slots=True)
class Failed:
    """Has ended without a result, and another attempt would not help."""

    attempts: int
    reason: str


@dataclass(frozen=True, slots=True)
class Dead:
    """No attempt is left; it waits for an operator, who may have it tried again."""

    attempts: int
    reason: str


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Its owner wanted it no more."""

    attempts: int


State = Queued | Leased | Done | Failed | Dead | Cancelled
Ended = Done | Failed | Dead | Cancelled


def status_of(state: State) -> Status:
    """Return the state's name."""
    match state:
        case Queued():
            return "queued"
        case Leased():
            return "running"
        case Done():
            return "succeeded"
        case Failed():
            return "failed"
        case Dead():
            return "dead"
        case Cancelled():
            return "cancelled"
        case _:
            assert_never(state)


def claimed(state: State, terms: Terms, now: int, lease: int, token: str) -> Leased | Failed | None:
    """Give a queued job that is due to whoever will show `token`; one whose deadline has passed fails instead."""
    if not isinstance(state, Queued) or state.due > now:
        return None
    if terms.deadline <= now:
        return Failed(state.attempts, EXPIRED)
    return Leased(state.attempts + 1, token, now + lease)


def renewed(state: State, token: str, until: int) -> Leased | None:
    """Hold on to a job until then; None: it is another's by now, or has ended."""
    return Leased(state.attempts, token, until) if _held(state, token) else None


def swept(state: State, terms: Terms, now: int) -> Queued | Dead | None:
    """Take back a job whose lease has ended; None: it has not."""
    if not isinstance(state, Leased) or state.until > now:
        return None
    return _again(state, terms, now, LEASE_LOST)


def done(state: State, token: str) -> Done | None:
    """Note that its holder has the result."""
    return Done(state.attempts) if _held(state, token) else None


def failed(state: State, terms: Terms, token: str, now: int, reason: str) -> Queued | Dead | None:
    """Note that its holder's attempt failed: the next one follows after a while, if there is one."""
    if not isinstance(state, Leased) or state.token != token:
        return None
    return _again(state, terms, now + backoff(state.attempts), reason)


def given_back(state: State, token: str, now: int) -> Queued | None:
    """Queue a job again that its holder did not get to the end of; the attempt does not count."""
    return Queued(state.attempts - 1, now) if _held(state, token) else None


def cancelled(state: State) -> Cancelled | None:
    """End a job that its owner wants no more; None: it has ended already."""
    return Cancelled(state.attempts) if isinstance(state, Queued | Leased) else None


def redriven(state: State, now: int) -> Queued | None:
    """Give a dead job all its attempts again."""
    return Queued(0, now) if isinstance(state, Dead) else None


def backoff(attempts: int) -> int:
    """Return the µs between this attempt's failure and the next: 0.5 s, then twice as long each time, 300 s at most."""
    return min(_LONGEST_BACKOFF, _FIRST_BACKOFF << min(attempts - 1, 16))


def _held(state: State, token: str) -> bool:
    return isinstance(state, Leased) and state.token == token


def _again(state: Leased, terms: Terms, due: int, reason: str) -> Queued | Dead:
    if state.attempts >= terms.max_attempts:
        return Dead(state.attempts, reason)
    return Queued(state.attempts, due)
