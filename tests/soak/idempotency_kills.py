"""Workers killed with -9 while they carry out keyed calls: nothing is done twice, nothing stays 'in progress'.

    python -m tests.soak.idempotency_kills [--trials 2000] [--store redis://…]

A trial is two workers, forked from this process, that ask for the same few keys at the same time under
`on_unknown="block"`; each is killed at a moment of its own, before, while or after its handlers work. Every handler
first writes its key to a log that outlives it. When the leases of the dead have passed, every key is asked for again:

- the log has it once at most, now and after that (a second line is a double run);
- the answer is a replay, or 'outcome unknown', or, where nobody had begun, the call is carried out;
- never 'in progress'.

Without a store a server is started for the run.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from forecourt import EndpointPolicy, Idempotency, JobConfig
from forecourt.stores.redis.client import Client
from forecourt.stores.redis.store import RedisStore
from forecourt.types import ASGIApp
from tests.asgi import Answer, call, http
from tests.servers import Valkey
from tests.services import starlette

LEASE = 1
KEYS = 6
BATCH = 40
LONGEST_LIFE = 0.06


class Kills:
    """So many trials on one store; `outcomes` counts what the keys of dead workers were answered."""

    def __init__(self, url: str, log: Path, seed: int) -> None:
        self._url = url
        self._log = os.open(log, os.O_CREAT | os.O_APPEND | os.O_RDWR)
        self._path = log
        self._random = random.Random(seed)
        self.outcomes: Counter[str] = Counter()
        self.faults: list[str] = []

    def run(self, trials: int) -> None:
        """Make the trials, many at a time, and look at their keys when the leases have passed."""
        for first in range(0, trials, BATCH):
            numbers = range(first, min(first + BATCH, trials))
            for number in numbers:
                self._kill_two(number)
            time.sleep(LEASE + 0.1)
            asyncio.run(self._look(numbers))
        runs = Counter(self._path.read_text().split())
        self.faults += [f"{key} ran {times} times" for key, times in runs.items() if times > 1]

    def _kill_two(self, number: int) -> None:
        workers = [self._worker(number) for _ in range(2)]
        longest = self._random.choice((0.005, LONGEST_LIFE))
        lives = sorted((self._random.uniform(0, longest), worker) for worker in workers)
        begun = time.monotonic()
        for life, worker in lives:
            time.sleep(max(0, begun + life - time.monotonic()))
            os.kill(worker, signal.SIGKILL)
            os.waitpid(worker, 0)

    def _worker(self, number: int) -> int:
        """Fork a worker, and return its process when it is about to ask."""
        ready, tell = os.pipe()
        worker = os.fork()
        if worker == 0:
            os.close(ready)
            try:
                asyncio.run(self._ask(number, tell))
            finally:
                os._exit(1)
        os.close(tell)
        os.read(ready, 1)
        os.close(ready)
        return worker

    async def _ask(self, number: int, tell: int) -> None:
        """Ask for all keys of a trial at once, and then wait to be killed."""
        store, app = await self._service()
        os.write(tell, b".")
        await asyncio.gather(*(self._post(app, key) for key in keys(number)))
        await asyncio.sleep(3600)
        await store.close()

    async def _look(self, numbers: Sequence[int]) -> None:
        """Ask for the keys of dead workers."""
        store, app = await self._service()
        for number in numbers:
            for key in keys(number):
                begun = key in self._path.read_text().split()
                outcome = outcome_of(await self._post(app, key))
                self.outcomes[f"{outcome}, {'begun' if begun else 'not begun'}"] += 1
                if outcome not in ("replayed", "unknown") and (begun or outcome != "carried out"):
                    self.faults.append(f"{key}, which {'had' if begun else 'had not'} begun, is answered {outcome}")
        await store.close()

    async def _service(self) -> tuple[RedisStore, ASGIApp]:
        store = RedisStore(Client(self._url, deadline=5))
        await store.open()

        async def work(request: Request) -> Response:
            os.write(self._log, request.headers["idempotency-key"].encode() + b"\n")
            await asyncio.sleep(random.uniform(0, LONGEST_LIFE / 2))
            return PlainTextResponse("made", 201)

        policy = EndpointPolicy(idempotency=Idempotency(key="client", lease=LEASE, ttl=600, max_records=10**6))
        config = JobConfig(endpoints={"work": policy})
        return store, starlette(config, Route("/", work, name="work", methods=["POST"]), store=store)

    async def _post(self, app: ASGIApp, key: str) -> Answer:
        return await call(app, http("/", "POST", headers=[(b"idempotency-key", key.encode())]))


def keys(number: int) -> list[str]:
    """Return the keys of a trial."""
    return [f"t{number}-{place}" for place in range(KEYS)]


def outcome_of(answer: Answer) -> str:
    """Say what an answer is."""
    if answer.status == 201:
        return "replayed" if "idempotent-replayed" in answer.headers else "carried out"
    kind = str(json.loads(answer.body)["type"]).rpartition("/")[2]
    return {"idempotency-outcome-unknown": "unknown", "idempotency-in-progress": "in progress"}.get(kind, kind)


def trials_on(url: str, trials: int, seed: int) -> Kills:
    """Make so many trials on a store."""
    with tempfile.TemporaryDirectory() as directory:
        kills = Kills(url, Path(directory) / "runs", seed)
        kills.run(trials)
        return kills


def report(trials: int, store: str | None = None, seed: int | None = None) -> int:
    """Make the trials, print what was seen, and return how many faults there were."""
    seed = random.randrange(10**6) if seed is None else seed
    if store is None:
        with Valkey() as server:
            kills = trials_on(server.url, trials, seed)
    else:
        kills = trials_on(store, trials, seed)
    print(f"{trials} trials, {2 * trials} kills, seed {seed}: {dict(kills.outcomes)}")  # a command prints
    print(*kills.faults or ["no double run, nothing in progress past its lease"], sep="\n")
    return len(kills.faults)


async def main(trials: int = 2000, store: str | None = None) -> int:
    """Make the trials in a process of their own, as forking wants a single thread; return its exit code."""
    arguments = ["--trials", str(trials), *(["--store", store] if store else [])]
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", __spec__.name, *arguments)
    return await process.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--store")
    parser.add_argument("--seed", type=int)
    given = parser.parse_args()
    sys.exit(1 if report(given.trials, given.store, given.seed) else 0)
