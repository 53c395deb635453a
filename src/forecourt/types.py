"""The ASGI types, and the clock that everything timed takes as an argument.

All instants and durations inside forecourt are integer microseconds, so that the memory store and
the Lua scripts compute the same numbers; seconds appear only where people write or read them.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

SECOND = 1_000_000
"""Microseconds in a second."""

EXACT = 2**53
"""Integers below this are exact in Lua's doubles; no product in a decision may reach it."""


class Clock(Protocol):
    """What forecourt knows of time: the present, and waiting."""

    def now(self) -> int:
        """Return microseconds since the epoch; it may step backward, and decisions bear that."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`, or at once when it is not positive."""
        ...


class SystemClock:
    """The machine's wall clock and the running event loop's timer."""

    def now(self) -> int:
        """Return microseconds since the epoch."""
        return time.time_ns() // 1000

    async def sleep(self, seconds: float) -> None:
        """Wait on the running event loop."""
        await asyncio.sleep(seconds)
