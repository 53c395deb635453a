"""Workers killed with -9 while their handlers' transactions keep the idempotency records: each work is there once.

    python -m tests.soak.transaction_kills [--trials 300] [--database postgresql+asyncpg://…] [--store redis://…]

A trial is two workers, forked from this process, that ask for the same few keys at the same time under
`Idempotency(database=…, on_unknown="retry")`. Each handler writes one row with its key, and each worker is killed at a
moment of its own: before the row is written, before or in the middle of its commit, between the commit and the word to
the store (which is made late here), or after the answer. When the leases of the dead have passed every key is asked for
twice:

- the answer is 201 both times, and the second a replay of the first;
- a key whose row was committed by the dead is replayed, and carried out where it was not;
- the row is there once.

A store is started for the run where none is given; without a database it is a file of SQLite.
"""

import argparse
import asyncio
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Annotated

from fastapi import Depends, FastAPI
from sqlalchemy import Column, MetaData, String, Table, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from forecourt import Database, EndpointPolicy, Idempotency, JobConfig, PolicyMiddleware
from forecourt.db import session as sessions
from forecourt.db.idempotency import records
from forecourt.stores.contract import Settlement
from forecourt.stores.redis.client import Client
from forecourt.stores.redis.store import RedisStore
from tests.asgi import Answer, call, http
from tests.db.service import lived
from tests.postgres import Postgres, binaries
from tests.servers import Valkey
from tests.soak.results import Result

LEASE = 1
KEYS = 3
BATCH = 30
LONGEST_LIFE = 0.12

works = Table("works", MetaData(), Column("id", String(32), primary_key=True), Column("key", String(40), index=True))
"""What handlers have done: a row for each time."""


class Late(RedisStore):
    """A store that hears late what became of a call, as if the network were slow."""

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        """Wait, and tell."""
        await asyncio.sleep(random.uniform(0, LONGEST_LIFE / 2))
        await super().settle(settlements)


class Kills:
    """So many trials on one store and database; `outcomes` counts what the keys of dead workers were answered."""

    def __init__(self, store: str, database: str, seed: int) -> None:
        self._store = store
        self._database = database
        self._run = os.urandom(4).hex()
        self._random = random.Random(seed)
        self.outcomes: Counter[str] = Counter()
        self.faults: list[str] = []

    def run(self, trials: int) -> None:
        """Make the trials, many at a time, and look at their keys when the leases have passed."""
        _told(self._make_tables)
        for first in range(0, trials, BATCH):
            numbers = range(first, min(first + BATCH, trials))
            for number in numbers:
                self._kill_two(number)
            time.sleep(LEASE + 0.1)
            for line in _told(partial(self._look, numbers)):
                fault, _, said = line.partition(" ")
                if fault == "fault":
                    self.faults.append(said)
                else:
                    self.outcomes[said] += 1

    def _keys(self, number: int) -> list[str]:
        return [f"{self._run}-{number}-{place}" for place in range(KEYS)]

    def _kill_two(self, number: int) -> None:
        wait, go = os.pipe()
        workers = [_started(partial(self._ask, number, wait, go)) for _ in range(2)]
        os.close(wait)
        os.close(go)
        lives = sorted((self._random.uniform(0, LONGEST_LIFE), worker) for worker in workers)
        begun = time.monotonic()
        for life, worker in lives:
            time.sleep(max(0, begun + life - time.monotonic()))
            os.kill(worker, signal.SIGKILL)
            os.waitpid(worker, 0)

    async def _make_tables(self, _tell: int) -> None:
        app = self._service(RedisStore, prepares=True)
        async with lived(app):
            pass

    async def _ask(self, number: int, wait: int, go: int, tell: int) -> None:
        """Ask for all keys of a trial at once when both workers are there, and then wait to be killed."""
        os.close(go)
        app = self._service(Late)
        async with lived(app):
            os.write(tell, b".")
            os.read(wait, 1)
            await asyncio.gather(*(_post(app, key) for key in self._keys(number)), return_exceptions=True)
            await asyncio.sleep(3600)

    async def _look(self, numbers: Sequence[int], tell: int) -> None:
        """Ask for the keys of dead workers, and tell what came of each."""
        app = self._service(RedisStore)
        async with lived(app):
            for key in [key for number in numbers for key in self._keys(number)]:
                committed = len(await _rows(key))
                first, second = await _post(app, key), await _post(app, key)
                found = await _rows(key)
                how = "replayed" if "idempotent-replayed" in first.headers else "carried out"
                wrong = (first.status, second.status) != (201, 201) or first.body != second.body or len(found) != 1
                wrong = wrong or "idempotent-replayed" not in second.headers or committed > 1
                wrong = wrong or (committed == 1) != (how == "replayed") or found[0] not in first.body.decode()
                told = f"{how}, {'committed' if committed else 'not committed'}"
                said = (
                    f"fault {key}: {told}, {first.status} {second.status}, {len(found)} rows" if wrong else f"ok {told}"
                )
                os.write(tell, f"{said}\n".encode())

    def _service(self, store: type[RedisStore], *, prepares: bool = False) -> FastAPI:
        @asynccontextmanager
        async def prepared(_app: FastAPI) -> AsyncIterator[None]:
            if prepares:
                async with sessions() as opened:
                    connection = await opened.connection()
                    for table in (works, records):
                        await connection.run_sync(table.metadata.create_all)
            yield

        policy = Idempotency(key="client", database="main", on_unknown="retry", lease=LEASE, ttl=600, max_records=10**6)
        config = JobConfig(
            endpoints={"work": EndpointPolicy(idempotency=policy)},
            default=EndpointPolicy(metrics="off", tracing="off", logging="off"),
            databases={"main": Database(url=self._database, pool=KEYS + 1, pool_timeout=20)},
        )
        app = FastAPI(lifespan=prepared, openapi_url=None)
        app.add_middleware(PolicyMiddleware, config=config, store=store(Client(self._store, deadline=5)))

        @app.post("/{key}", status_code=201)
        async def work(key: str, session: Annotated[AsyncSession, Depends(sessions)]) -> str:
            made = os.urandom(16).hex()
            await asyncio.sleep(random.uniform(0, LONGEST_LIFE / 4))
            await session.execute(insert(works).values(id=made, key=key))
            await asyncio.sleep(random.uniform(0, LONGEST_LIFE / 4))
            return made

        return app


Work = Callable[[int], Coroutine[object, object, None]]
"""What a process of its own does; it is given where to tell of it."""


def _fork(work: Work) -> tuple[int, int]:
    """Do this in a process of its own; return it, and where it tells of it."""
    hear, tell = os.pipe()
    worker = os.fork()
    if worker == 0:
        os.close(hear)
        try:
            asyncio.run(work(tell))
            os._exit(0)
        finally:
            os._exit(1)
    os.close(tell)
    return worker, hear


def _started(work: Work) -> int:
    """Return a process when it has told that it is about to begin."""
    worker, hear = _fork(work)
    os.read(hear, 1)
    os.close(hear)
    return worker


def _told(work: Work) -> list[str]:
    """Return what a process told until its end; ChildProcessError where it failed."""
    worker, hear = _fork(work)
    with os.fdopen(hear) as told:
        lines = told.read().splitlines()
    _, status = os.waitpid(worker, 0)
    if status:
        raise ChildProcessError(f"a process that looks ended with {status}")
    return lines


async def _post(app: FastAPI, key: str) -> Answer:
    return await call(app, http(f"/{key}", "POST", headers=[(b"idempotency-key", key.encode())]))


async def _rows(key: str) -> list[str]:
    async with sessions() as opened:
        return [*(await opened.scalars(select(works.c.id).where(works.c.key == key)))]


def trials_on(store: str, database: str | None, trials: int, seed: int) -> Kills:
    """Make so many trials."""
    with tempfile.TemporaryDirectory() as directory:
        kills = Kills(store, database or f"sqlite+aiosqlite:///{Path(directory, 'kills.sqlite3')}", seed)
        kills.run(trials)
        return kills


def report(trials: int, databases: Sequence[str], store: str | None = None, seed: int | None = None) -> int:
    """Make the trials on each database, print what was seen, and return how many faults there were."""
    seed = random.randrange(10**6) if seed is None else seed
    if store is None:
        with Valkey() as server:
            return report(trials, databases, server.url, seed)
    return sum(_reported(trials_on(store, database, trials, seed), trials, seed) for database in databases or (None,))


def _reported(kills: Kills, trials: int, seed: int) -> int:
    print(f"{trials} trials, {2 * trials} kills, seed {seed}: {dict(kills.outcomes)}")  # a command prints
    print(*kills.faults or ["every work is there once"], sep="\n")
    return len(kills.faults)


def run(trials: int, databases: Sequence[str] = (), store: str | None = None) -> tuple[int, str]:
    """Make the trials in a process of its own, as forking wants a single thread; return its exit code and its words."""
    command = [sys.executable, "-m", __spec__.name, "--trials", str(trials), *(["--store", store] if store else [])]
    command += [f"--database={database}" for database in databases]
    ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    return ended.returncode, ended.stdout


def transaction_kills(trials: int = 300) -> Iterator[Result]:
    """Workers killed with -9 while transactions keep their idempotency records: each work is there once."""
    with ExitStack() as servers:
        databases: dict[str, list[str]] = {"SQLite": []}
        if binaries() is not None:
            databases["PostgreSQL"] = [servers.enter_context(Postgres()).url]
        for name, addresses in databases.items():
            code, said = run(trials, addresses)
            told = said.partition(": ")[2].replace("\n", "; ").strip("; ")
            yield Result(f"kill -9 under transactions on {name}", f"{trials} trials", told, code == 0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=300)
    parser.add_argument("--database", action="append", default=[])
    parser.add_argument("--store")
    parser.add_argument("--seed", type=int)
    given = parser.parse_args()
    sys.exit(1 if report(given.trials, given.database, given.store, given.seed) else 0)
