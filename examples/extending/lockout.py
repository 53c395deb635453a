"""A strategy of one's own: a lockout. Who calls more than `limit` times in a window is out for `lockout` seconds.

With `count = "failure"` only failures count, so that a password cannot be guessed: five wrong ones, then a pause.

State is (end, count), until the end: of the window while `count` is at most `limit`, else of the lockout. The lockout
begins with the first call too many, which is refused: so it is written by a mark. Calls during it change nothing, so a
process may hold the refusal for a moment (`held`).
"""

from pathlib import Path
from typing import ClassVar, cast

from forecourt import OwnLimit, Strategy, register_strategy
from forecourt.core.operations import Arg, Outcome, State, Write
from forecourt.policies.quantities import Count, Duration, microseconds


class Lockout(OwnLimit):
    """At most `limit` calls in each window of `window` seconds; one more, and none for `lockout` seconds."""

    type: str = "lockout"
    limit: Count
    window: Duration
    lockout: Duration

    numbers: ClassVar[tuple[str, ...]] = ("limit", "window", "lockout")

    def arguments(self) -> tuple[int, ...]:
        """Return (limit, window, lockout)."""
        return self.limit, microseconds(self.window), microseconds(self.lockout)

    def promise(self) -> tuple[int, int]:
        """Promise `limit` calls per window."""
        return self.limit, microseconds(self.window)


def take(states: tuple[State | None, ...], now: int, args: tuple[Arg, ...]) -> Outcome:
    """Count a call; args: limit, window, lockout, cost, shadow."""
    limit, window, lockout, cost, shadow = cast("tuple[int, int, int, int, int]", args)
    end, count = cast("tuple[int, int]", states[0] or (0, 0))
    if end <= now:
        end, count = now + window, 0
    end = min(end, now + (lockout if count > limit else window))  # the clock stepped back, or the config changed
    if not cost or count + cost <= limit:
        write = Write((end, count + cost), end) if cost else None
        left = max(0, limit - count - cost)
        return Outcome("go", (left, 0, end - now if count + cost else 0, end if cost else 0), (write,))
    mark = None
    if count <= limit:
        end, count = now + lockout, limit + 1
        mark = Write((end, count), end)
    return Outcome("go" if shadow else "refuse", (0, end - now, end - now, 0), (mark,), (mark,))


def give_back(states: tuple[State | None, ...], now: int, args: tuple[Arg, ...]) -> Outcome:
    """Uncount a call of the window that still runs; args: limit, window, lockout, cost, ticket."""
    limit, _, _, cost, ticket = cast("tuple[int, int, int, int, int]", args)
    end, count = cast("tuple[int, int]", states[0] or (0, 0))
    if end <= now or end != ticket or count > limit:
        return Outcome("go", (), (None,))
    left = count - cost
    return Outcome("go", (), (Write((end, left) if left > 0 else None, end),))


def lua(name: str) -> str:
    """Return a fragment that lies beside this file."""
    return Path(__file__).with_name(name).read_text("utf-8")


LOCKOUT = register_strategy(
    Strategy(Lockout, take, lua("lockout.lua"), give_back=give_back, give_back_lua=lua("lockout_back.lua"), held=True)
)
