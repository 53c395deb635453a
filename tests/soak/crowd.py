"""One process of a crowd that asks one store for the same few things, and counts what it was given.

python -m tests.soak.crowd ORDER     ORDER: JSON, see `Order`; prints what was counted as JSON

The store is the one that the stack uses: client, holds, failure policies, with their defaults.
"""

import asyncio
import json
import logging
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from forecourt.core.operations import Arg
from forecourt.errors import StoreOverloaded
from forecourt.stores.contract import Answer, OnError, Question, Store
from forecourt.stores.opening import store_at
from forecourt.types import SECOND, SystemClock

HOUR = 3600 * SECOND
ID = "an id of its own"

LIMITS: dict[str, tuple[int, tuple[Arg, ...]]] = {
    "token_bucket": (100, (100, HOUR, 1, 1, 0)),
    "fixed_window": (100, (100, HOUR, 1, 0)),
    "sliding_window": (100, (100, HOUR, 1, 0)),
    "sliding_log": (100, (100, HOUR, 1, 0)),
    "throttle": (1, (HOUR, 1, 0, 1, 0)),
    "lease": (100, (100, 600 * SECOND, ID, 0, 1)),
    "credits_charge": (100, (10, 600 * SECOND, ID, 0, 0, 0, 1000)),
}
"""Of each kind: how many may pass within the hour, and its arguments; an account is granted a thousand credits."""

GRANT = Question("credits_grant", "soak:{all}:credits_charge", (1000, "first", HOUR, 1000), "closed")


class Order(NamedTuple):
    """What a process is to do: `tasks` ask for each kind again and again from `start` (epoch) for `seconds`.

    `pause` seconds lie between two rounds of a task, give or take a half; without `seconds` each makes one round.
    """

    url: str
    tasks: int
    start: float
    seconds: float = 0
    pause: float = 0.2
    on_error: OnError = "closed"
    kinds: tuple[str, ...] = tuple(LIMITS)
    tag: str = "all"


class Count(NamedTuple):
    """What a crowd was given, by kind: passed by the store, passed by a failure policy, refused, and not decided."""

    passed: Counter[str]
    alone: Counter[str]
    refused: Counter[str]
    undecided: Counter[str]

    @property
    def asked(self) -> int:
        """How often anything was asked."""
        return sum(sum(each.values()) for each in (self.passed, self.alone, self.refused, self.undecided))


def question(kind: str, on_error: OnError, tag: str = "all") -> Question:
    """Ask for one thing of this kind."""
    args = tuple(os.urandom(12).hex() if arg == ID else arg for arg in LIMITS[kind][1])
    return Question(kind, f"soak:{{{tag}}}:{kind}", args, "closed" if kind == "credits_charge" else on_error)


async def crowd(order: Order, store: Store | None = None) -> Count:
    """Do what the order says; on a store of its own unless one is given."""
    asked = store_at(order.url, SystemClock()) if store is None else store
    await asked.open()
    count = Count(Counter(), Counter(), Counter(), Counter())
    await asyncio.sleep(max(0, order.start - time.time()))
    until = time.monotonic() + order.seconds
    await asyncio.gather(*(_work(order, asked, count, until) for _ in range(order.tasks)))
    await asked.close()
    return count


async def _work(order: Order, store: Store, count: Count, until: float) -> None:
    while True:
        for kind in order.kinds:
            try:
                (answer,) = await store.decide([question(kind, order.on_error, order.tag)])
            except StoreOverloaded:
                count.undecided[kind] += 1
                continue
            _note(count, kind, answer)
        if time.monotonic() >= until:
            return
        await asyncio.sleep(order.pause * random.uniform(0.5, 1.5))


def _note(count: Count, kind: str, answer: Answer) -> None:
    if answer.verdict == "go":
        (count.alone if answer.degraded else count.passed)[kind] += 1
    else:
        (count.undecided if answer.degraded and not answer.values else count.refused)[kind] += 1


def processes(order: Order, number: int, meanwhile: Callable[[], None] = lambda: None) -> Count:
    """Have so many processes do this at the same time, do something `meanwhile`, and add up what they counted."""
    spelt = json.dumps(order._asdict())
    command = [sys.executable, "-m", "tests.soak.crowd", spelt]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(number)]
    time.sleep(max(0, order.start - time.time()))
    meanwhile()
    told = [_read(json.loads(process.communicate(timeout=180)[0])) for process in running]
    return Count(
        sum((each.passed for each in told), Counter()),
        sum((each.alone for each in told), Counter()),
        sum((each.refused for each in told), Counter()),
        sum((each.undecided for each in told), Counter()),
    )


def _read(told: list[dict[str, int]]) -> Count:
    """Return what a process printed."""
    passed, alone, refused, undecided = map(Counter, told)
    return Count(passed, alone, refused, undecided)


if __name__ == "__main__":
    logging.disable()  # a state that changes is told of on purpose
    given = json.loads(sys.argv[1])
    given["kinds"] = tuple(given["kinds"])
    print(json.dumps(asyncio.run(crowd(Order(**given)))))  # the parent reads it
