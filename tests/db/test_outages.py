"""A database that is gone, slow or contended: what callers hear, within their deadline; and nothing leaks."""

import asyncio
import time

import pytest
from sqlalchemy import text, update

from forecourt import CircuitBreaker, Database, EndpointPolicy, ForecourtError, Retry, Timeout
from forecourt.config_databases import Spent
from forecourt.db import record_db_latency, session
from forecourt.db.databases import running as databases_with
from tests.core.bench import examples
from tests.db.service import Record, client, lived, policies, running, service
from tests.postgres import Postgres

plain = policies()
bounded = policies(
    often=EndpointPolicy(timeout=Timeout(seconds=1)),
    show=EndpointPolicy(timeout=Timeout(seconds=1)),
)


patient = policies(show=EndpointPolicy(timeout=Timeout(seconds=3)))
"""A call that is not told within its deadline is told 504 by the timeout."""


async def test_a_database_that_stops_is_503_within_the_deadline_and_heals(postgres: Postgres) -> None:
    """Under load: everybody is told in time, the breaker opens, and once the server is back all is well."""
    breaker = CircuitBreaker(fail_max=3, reset_timeout=0.2)
    database = Database(url=postgres.url, pool=4, circuit_breaker=breaker)
    config = patient(databases={"main": database})
    async with running(config) as calling:
        await calling.post("/records/first")
        assert (await calling.get("/records/1")).status_code == 200
        postgres.stop()
        answers = await asyncio.gather(*(calling.get("/records/1") for _ in range(40)))
        assert {answer.status_code for answer in answers} == {503}
        assert config.breaker("main").state == "open"
        refused = await calling.get("/records/1")
        assert refused.json()["type"].endswith("/circuit-open")
        postgres.start()
        await asyncio.sleep(0.3)
        assert (await calling.get("/records/1")).json() == "first"
        assert config.breaker("main").state == "closed"


async def test_a_statement_ends_with_the_deadline(postgres: Postgres) -> None:
    """The server is told how long the caller waits: it works no longer for nobody."""
    async with running(policies()(databases={"main": Database(url=postgres.url, timeout=0.2)})):
        began = time.monotonic()
        with pytest.raises(Exception, match="statement timeout"):
            await sleep_in_the_database()
        assert time.monotonic() - began < 2


async def sleep_in_the_database() -> None:
    """Have the server sleep for ten seconds."""
    async with session() as opened:
        await opened.execute(text("SELECT pg_sleep(10)"))


async def test_a_transaction_has_what_is_left_of_the_deadline(postgres: Postgres) -> None:
    """The statement timeout of a call's transactions is never more than its deadline."""
    config = bounded(databases={"main": postgres.url})
    app = service(config)
    told: list[str] = []

    @app.get("/left")
    async def often() -> None:
        async with session() as opened:
            told.append((await opened.execute(text("SHOW statement_timeout"))).scalar_one())

    app.router.routes = [route for route in app.router.routes if getattr(route, "path", "") != "/often/{times}"]
    async with lived(app), client(app) as calling:
        assert (await calling.get("/left")).status_code == 200
    assert told[0].endswith("ms")
    assert 500 < int(told[0].removesuffix("ms")) <= 1000


async def test_no_free_connection_is_overload(postgres: Postgres) -> None:
    """Who waits too long for a connection hears of reduced capacity, not of a dead database."""
    database = Database(url=postgres.url, pool=1, pool_timeout=0.05)
    async with running(plain(databases={"main": database})) as calling, session() as holding:
        await holding.execute(text("SELECT 1"))
        answer = await calling.get("/records/1")
        assert answer.status_code == 503
        assert answer.json()["type"].endswith("temporary-reduced-capacity")


async def test_a_deadlock_is_tried_again_where_the_policy_allows(postgres: Postgres) -> None:
    """Two writers in each other's way: one is told to try again, by a status that a retry sees."""
    retried = policies(swap=EndpointPolicy(retry=Retry(max_attempts=4, backoff=0.01)))
    app = service(retried(databases={"main": postgres.url}))
    attempts: list[int] = []

    @app.put("/swap/{first}/{second}")
    async def swap(first: int, second: int) -> None:
        attempts.append(first)
        async with session() as opened:
            for number in (first, second):
                await opened.execute(update(Record).where(Record.id == number).values(title=f"by {first}: {number}"))
                await asyncio.sleep(0.05)

    async with lived(app), client(app) as calling:
        async with session() as opened:
            connection = await opened.connection()
            await connection.run_sync(Record.metadata.drop_all)
            await connection.run_sync(Record.metadata.create_all)
            opened.add_all([Record(id=1, title="a"), Record(id=2, title="b")])
        answers = await asyncio.gather(calling.put("/swap/1/2"), calling.put("/swap/2/1"))
    assert [answer.status_code for answer in answers] == [200, 200]
    assert len(attempts) == 3


async def test_cancelled_calls_leak_no_connection(database: str) -> None:
    """Calls that are cancelled at any moment give their connections back; the longer form is a soak."""
    config = plain(databases={"main": Database(url=database, pool=3, pool_timeout=10)})
    async with running(config) as calling:
        await calling.post("/records/first")
        for number in range(examples(60)):
            task = asyncio.create_task(calling.get("/records/1"))
            await asyncio.sleep((number % 12) * 0.0003)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        answers = await asyncio.gather(*(calling.get("/records/1") for _ in range(10)))
        assert {answer.status_code for answer in answers} == {200}
        pool = databases_with("main").database("main").primary.pool
        assert getattr(pool, "checkedout")() == 0  # noqa: B009  # only some pools have it


class Told(list[Spent]):
    """What was told."""

    def hear(self, spent: Spent) -> None:
        """Keep it."""
        self.append(spent)


async def test_statements_and_blocks_are_told(database: str) -> None:
    """Each statement with its endpoint, operation and text, without values; a block under its own name."""
    config = plain(databases={"main": database})
    told = Told()
    async with running(config) as calling:
        config.statements.listen("test", told.hear)
        await calling.post("/records/secretive")
        with record_db_latency("load_report"):
            pass
        with pytest.raises(ValueError, match="must be 1 to 64 letters"), record_db_latency("a b"):
            pass
    assert [(each.endpoint, each.operation, each.end) for each in told] == [
        ("make", "insert", "ok"),
        ("", "load_report", "ok"),
    ]
    assert told[0].text.startswith("INSERT INTO records")
    assert "secretive" not in repr(told)
    assert told[0].took > 0


def test_a_block_where_nothing_runs_is_an_error() -> None:
    """A latency that nobody hears of is a mistake."""
    with pytest.raises(ForecourtError, match="no app"), record_db_latency("load_report"):
        pass
