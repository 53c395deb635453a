"""Sessions: committed with the answer, rolled back with it, and answers for what a database refuses."""

import asyncio

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from forecourt import ConfigError, Database, ForecourtError, JobConfig, Retry
from forecourt.db import session
from tests.db.service import Record, policies, running

plain = policies()


async def count() -> int:
    """Return how many records there are."""
    async with session() as opened:
        return (await opened.execute(select(func.count()).select_from(Record))).scalar_one()


async def test_a_session_commits_with_an_answer_below_400(database: str) -> None:
    """What a handler did is there when its answer is."""
    async with running(plain(databases={"main": database})) as client:
        assert (await client.post("/records/first")).status_code == 201
        assert (await client.get("/records/1")).json() == "first"


@pytest.mark.parametrize("how", ["?status=400", "?status=503", "?breaks=true"])
async def test_a_session_rolls_back_with_any_other(database: str, how: str) -> None:
    """A refusal of the handler's, or an exception, undoes what was done."""
    async with running(plain(databases={"main": database})) as client:
        assert (await client.post(f"/records/first{how}")).status_code >= 400
        assert await count() == 0


@pytest.mark.parametrize("path", ["/records/first", "/late/first"])
async def test_a_unique_violation_is_409(database: str, path: str) -> None:
    """In the handler or at the commit, it is a problem that says nothing of the statement; the first row stays."""
    async with running(plain(databases={"main": database})) as client:
        assert (await client.post(path)).status_code == 201
        answer = await client.post(path)
        assert answer.status_code == 409
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["type"].endswith("/conflict")
        assert "INSERT" not in answer.text
        assert "title" not in answer.json()["detail"]
        assert await count() == 1


async def test_a_foreign_key_violation_is_409(postgres: object, request: pytest.FixtureRequest) -> None:
    """What depends on a row that is not there contradicts what is stored."""
    url = request.getfixturevalue("postgres").url
    async with running(plain(databases={"main": url})) as client:
        assert (await client.post("/notes/7")).status_code == 409


async def test_a_block_commits_or_rolls_back(database: str) -> None:
    """As a context manager it commits at the end of the block, and rolls back where that raises."""
    async with running(plain(databases={"main": database})):
        async with session() as opened:
            opened.add(Record(title="kept"))
        with pytest.raises(RuntimeError):
            await lose()
        assert await count() == 1


async def lose() -> None:
    """Add a record in a block that raises."""
    async with session() as opened:
        opened.add(Record(title="lost"))
        await opened.flush()
        raise RuntimeError


async def test_one_object_opens_blocks_side_by_side(database: str) -> None:
    """Sessions kept in a variable are opened by many tasks at once, each with its own."""
    sessions = session("main")

    async def add(number: int) -> AsyncSession:
        async with sessions as opened:
            opened.add(Record(title=f"{number}"))
            await asyncio.sleep(0)
            return opened

    async with running(plain(databases={"main": database})):
        opened = await asyncio.gather(*(add(number) for number in range(5)))
        assert len({id(each) for each in opened}) == 5
        assert await count() == 5


async def test_a_database_of_a_name(sqlite: str) -> None:
    """Another database is asked for by its name; one that is not there is told with the nearest."""
    async with running(plain(databases={"main": sqlite, "reports": sqlite + "2"})):
        async with session("reports") as opened:
            assert (await opened.execute(text("SELECT 1"))).scalar_one() == 1
        with pytest.raises(ForecourtError, match="no app with such a database"):
            async with session("report"):
                pass


async def test_no_session_before_the_start_or_after_the_end(sqlite: str) -> None:
    """Outside of an app's life nobody has a session."""
    async with running(plain(databases={"main": sqlite})):
        pass
    with pytest.raises(ForecourtError, match="no app with such a database has started"):
        async with session():
            pass


async def test_a_missing_database_is_503_and_heals(sqlite: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A file that cannot be opened is unavailable, not the handler's fault."""
    database = Database(url="sqlite+aiosqlite:////nowhere/at/all.sqlite3", retry="off")
    async with running(plain(databases={"main": database}), fresh=False) as client:
        answer = await client.get("/records/1")
        assert answer.status_code == 503
        assert answer.json()["type"].endswith("/database-unavailable")
        assert "nowhere" not in answer.text


async def test_too_many_statements_are_logged_once(sqlite: str, caplog: pytest.LogCaptureFixture) -> None:
    """A call that asks more than `queries` times is named; one that asks as often is not."""
    database = Database(url=sqlite, queries=5)
    async with running(plain(databases={"main": database})) as client:
        await client.get("/often/5")
        assert "one call" not in caplog.text
        await client.get("/often/9")
    assert caplog.text.count("more than 5 times in one call") == 1
    assert "'often'" in caplog.text


async def test_slow_statements_are_logged_without_values(sqlite: str, caplog: pytest.LogCaptureFixture) -> None:
    """The slow log has the endpoint and the statement with placeholders."""
    async with running(plain(databases={"main": Database(url=sqlite, slow=0.000001)})) as client:
        await client.post("/records/secretive")
    told = "\n".join(each.getMessage() for each in caplog.records if each.name == "forecourt")
    assert "slow:" in told
    assert "INSERT INTO records" in told
    assert "'make'" in told
    assert "secretive" not in told


def test_wrong_addresses_are_told_without_showing_them() -> None:
    """An address may carry a password: errors show its scheme at most, and no repr shows more."""
    with pytest.raises(ConfigError, match=r'databases\."main"\.url: "postgresql://…" is not allowed') as caught:
        JobConfig(databases={"main": "postgresql://user:hunter2@db/x"})  # type: ignore[dict-item]  # an address will do
    assert 'did you mean "postgresql+asyncpg"' in str(caught.value)
    assert "hunter2" not in str(caught.value)
    with pytest.raises(ConfigError, match="must name a file"):
        JobConfig(databases={"main": "sqlite+aiosqlite:///:memory:"})  # type: ignore[dict-item]
    good = JobConfig(databases={"main": "postgresql+asyncpg://user:hunter2@db/x"})  # type: ignore[dict-item]
    assert "hunter2" not in repr(good)
    assert good.databases["main"].retrying == Retry(max_attempts=2, backoff=0.05, max_backoff=0.5)
