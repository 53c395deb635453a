"""No answer carries another caller's mark: generated requests of 50 principals, over several processes and one store.

    python -m tests.soak.cache_marks --requests 1000000 --processes 4

Whoever finds something else than their own in an answer has found a leak; `tests/soak/marked.py` says what an answer
shows. Each call sets a cookie and fields of its own. Entries live for a blink, so that stale answers are refreshed in
the background, waited for and invalidated all the time. That the requests see a leak where a guard is missing is shown
by `tests/soak/cache_guards.py`.
"""

import argparse
import asyncio
import multiprocessing
import os
import random
import sys
from collections import Counter, deque
from collections.abc import Callable, Sequence

from forecourt import PolicyMiddleware
from forecourt.stores.lanes import LanedStore
from forecourt.stores.memory import MemoryStore
from forecourt.testing import FakeClock
from tests.asgi import call, http
from tests.servers import Valkey
from tests.soak.marked import KINDS, PARTITIONS, Asked, Caller, leak, stack

PRINCIPALS = 50
PATHS = 3
AT_ONCE = 20
VALUES = (None, None, "de", "fr")


class Requests:
    """Generates requests; some callers and pages are asked for more than others, and often again at once."""

    def __init__(self, seed: int, kinds: Sequence[str] = ()) -> None:
        self.chance = random.Random(seed)
        self._kinds = [*(kinds or KINDS)]
        self._lately: deque[tuple[str, str, str, str, Caller]] = deque(maxlen=8)

    def next(self) -> Asked:
        """Return one: most of them ask for what was asked for lately, half of these as another caller."""
        chance = self.chance
        if self._lately and chance.random() < 0.8:
            where, kind, host, path, caller = chance.choice(self._lately)
            if chance.random() < 0.5:
                caller = self._caller(where)
        else:
            where = "safe" if chance.random() < 0.4 else chance.choice([*PARTITIONS])
            kind, host = chance.choice(self._kinds), chance.choice(("test", "test", "test", "other"))
            path = f"/{where}/{kind}/{int(PATHS * chance.random() ** 2)}?{chance.choice(('', '', 'q'))}"
            caller = self._caller(where)
            self._lately.append((where, kind, host, path, caller))
        return Asked(where, kind, f"{host}{path}", caller, self._fields(host, caller))

    def _caller(self, where: str) -> Caller:
        chance = self.chance
        number = int(PRINCIPALS * chance.random() ** 3)
        own, role = f"{'abc'[number % 3]}{number}", chance.choice(("reader", "writer"))
        kinds = (
            Caller(user=own, role=role),
            Caller(user=own, role=role, cookie=f"other{own}"),
            Caller(cookie=own),
            Caller(authorization=own),
            Caller(),
        )
        caller = kinds[chance.choice((0, 0, 0, 1, 2, 3, 4, 4))]
        return caller._replace(key=chance.choice(("one", "two"))) if where == "keyed" else caller

    def _fields(self, host: str, caller: Caller) -> list[tuple[bytes, bytes]]:
        chance = self.chance
        said = {
            "host": host,
            "x-user": caller.user,
            "x-role": caller.role,
            "x-key": caller.key,
            "x-call": f"{chance.getrandbits(64)}",
            "cookie": caller.cookie,
            "authorization": caller.authorization,
            "accept-language": chance.choice(VALUES),
            "x-flavour": chance.choice(VALUES),
            "cache-control": chance.choice(("no-cache", "max-stale", "no-store")) if chance.random() < 0.05 else None,
        }
        return [(name.encode(), value.encode()) for name, value in said.items() if value]


async def ask(
    apps: Sequence[PolicyMiddleware],
    requests: int,
    seed: int,
    between: Callable[[], object] = lambda: None,
    *,
    most: int = 1000,
    kinds: Sequence[str] = (),
) -> Counter[str]:
    """Make so many requests; return how the cache answered, and every leak under "leak …"; after `most` leaks no more.

    `between` is called before each request, at which a clock of a test may go on.
    """
    generated = Requests(seed, kinds)
    chance = generated.chance
    outcomes: Counter[str] = Counter()
    found: list[str] = []

    async def one() -> None:
        between()
        asked = generated.next()
        path, _, query = asked.place[asked.place.index("/") :].partition("?")
        scope = {**http(path), "headers": [*asked.fields], "query_string": query.encode()}
        answered = await call(chance.choice(apps), scope)
        if (wrong := leak(asked, answered)) is not None:
            found.append(wrong)
        told, _, left = answered.headers["cache-status"].partition("; ttl=")
        outcomes[f"leak {wrong}" if wrong else f"{told} (stale)" if left.startswith("-") else told] += 1

    async def caller(number: int) -> None:
        for _ in range(number):
            if len(found) >= most:
                return
            await one()
            if chance.random() < 0.005:
                await chance.choice(apps).config.cache.invalidate(
                    chance.choice((f"number:{chance.randrange(PATHS)}", f"kind:{chance.choice([*KINDS])}")),
                    soft=chance.random() < 0.5,
                )

    await asyncio.gather(*[caller(requests // AT_ONCE) for _ in range(AT_ONCE)])
    return outcomes


def leaks(outcomes: Counter[str]) -> list[str]:
    """Return the leaks."""
    return [outcome for outcome in outcomes if outcome.startswith("leak")]


def in_memory(
    requests: int, seed: int, *, stacks: int = 1, most: int = 1000, kinds: Sequence[str] = ()
) -> Counter[str]:
    """Make the requests of one process by a clock that goes on with each; several stacks share a store."""
    clock = FakeClock()

    async def run() -> Counter[str]:
        if stacks == 1:
            apps, between = [stack("memory://", clock=clock)], lambda: clock.advance(0.005)
        else:
            shared = MemoryStore()
            apps = [stack("memory://", store=LanedStore(MemoryStore(), shared)) for _ in range(stacks)]
            between = lambda: None  # noqa: E731  # as the other
        return await ask(apps, requests, seed, between, most=most, kinds=kinds)

    return asyncio.run(run())


def _process(arguments: tuple[str, int, int]) -> Counter[str]:
    url, requests, seed = arguments

    async def run() -> Counter[str]:
        app = stack(url)
        try:
            return await ask([app], requests, seed)
        finally:
            await app._stop({})

    return asyncio.run(run())


def on_a_server(requests: int, processes: int, seed: int) -> Counter[str]:
    """Make the requests of several processes on one Valkey."""
    with Valkey() as server, multiprocessing.get_context("spawn").Pool(processes) as pool:
        shares = [(server.url, requests // processes, seed + at) for at in range(processes)]
        return sum(pool.map(_process, shares), Counter[str]())


def main() -> None:
    """Run the whole; the exit code says whether anything leaked."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--stacks", type=int, default=0, help="no server: so many stacks of this process")
    parser.add_argument("--kind", action="append", default=[], choices=[*KINDS], help="without a server: only these")
    parser.add_argument("--first", action="store_true", help="end at the first leak")
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4)))
    given = parser.parse_args()
    print(f"seed {given.seed}")
    if given.stacks:
        most = 1 if given.first else 1000
        outcomes = in_memory(given.requests, given.seed, stacks=given.stacks, most=most, kinds=given.kind)
    else:
        outcomes = on_a_server(given.requests, given.processes, given.seed)
    found = leaks(outcomes)
    for outcome, number in outcomes.most_common(20 + len(found[:5])):
        print(f"{number:>9}  {outcome}")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
