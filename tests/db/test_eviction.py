"""What is kept is evicted by commits, and by nothing else; and no fill outlives a commit."""

import asyncio
import random

import httpx2
import pytest
from sqlalchemy import func, insert, select, update

from forecourt import Database
from forecourt.db import cached, session
from tests.db.service import KEPT, Note, Record, policies, running
from tests.servers import Valkey

kept = policies(show=KEPT)


@pytest.mark.parametrize("write", ["/records/1/second", "/records", "/text"])
async def test_a_commit_evicts_answers_and_queries(database: str, write: str) -> None:
    """By the row, by a statement that names none, and by one that declares its table."""
    async with running(kept(databases={"main": database})) as client:
        await client.post("/records/first")
        before = [(await client.get(path)).json() for path in ("/records", "/records/1")]
        again = await client.get("/records/1")
        assert "hit" in again.headers["cache-status"]
        assert (await client.put(write)).status_code == 200
        after = [(await client.get(path)).json() for path in ("/records", "/records/1")]
        assert before == [["first"], "first"]
        assert after in ([["second"], "second"], [["first!"], "first!"], [["first?"], "first?"])


@pytest.mark.parametrize("how", ["?status=400", "?breaks=true"])
async def test_a_rollback_evicts_nothing(database: str, how: str) -> None:
    """What was not kept changes nothing that is."""
    async with running(kept(databases={"main": database})) as client:
        await client.post("/records/first")
        async with session() as opened:
            rows = await cached(opened, select(Record.title), ttl=60)
        await client.post(f"/records/other{how}")
        async with session() as opened:
            connection = await opened.connection()
            await connection.exec_driver_sql("UPDATE records SET title = 'unseen'")
        async with session() as opened:
            assert await cached(opened, select(Record.title), ttl=60) == rows == (("first",),)


async def test_rows_are_plain_values_kept_by_statement_and_values(database: str) -> None:
    """An entity gives its columns; other values, and other types of values, are other rows."""
    async with running(kept(databases={"main": database})):
        async with session() as opened:
            opened.add_all([Record(id=1, title="a"), Record(id=2, title="b")])
        async with session() as opened:
            for number, title in ((1, "a"), (2, "b"), (1, "a")):
                (row,) = await cached(opened, select(Record).where(Record.id == number), ttl=60)
                assert row == (number, title)
                assert row._asdict() == {"id": number, "title": title}  # type: ignore[attr-defined]  # a named tuple


async def test_a_tag_of_a_row_stays_with_others(sqlite: str) -> None:
    """A change of one row leaves what has the tag of another."""
    async with running(kept(databases={"main": sqlite})):
        async with session() as opened:
            opened.add_all([Record(id=1, title="a"), Record(id=2, title="b")])

        async def title(number: int) -> object:
            async with session() as opened:
                query = select(Record.title).where(Record.id == number)
                return (await cached(opened, query, ttl=60, tags=f"records:{number}"))[0][0]

        assert [await title(1), await title(2)] == ["a", "b"]
        async with session() as opened:
            connection = await opened.connection()
            await connection.exec_driver_sql("UPDATE records SET title = title || '-unseen'")
        async with session() as opened:
            (await opened.get_one(Record, 1)).title = "c"
        assert [await title(1), await title(2)] == ["c", "b"]


async def test_a_savepoint_evicts_with_the_whole(sqlite: str) -> None:
    """A savepoint that is released has not been committed; what it changed goes with the transaction."""
    async with running(kept(databases={"main": sqlite})):
        query = select(func.count()).select_from(Note)

        async def count() -> object:
            async with session() as opened:
                return (await cached(opened, query, ttl=60))[0][0]

        async with session() as opened:
            opened.add(Record(id=1, title="a"))
        assert await count() == 0
        async with session() as opened:
            async with opened.begin_nested():
                opened.add(Note(record_id=1))
            assert await cached(opened, query, ttl=60) == ((1,),), "its own transaction reads past the cache"
        assert await count() == 1


async def test_uncommitted_rows_are_never_kept(database: str) -> None:
    """A transaction that has changed something reads it, and nobody else does."""
    async with running(kept(databases={"main": database})):
        query = select(Record.title)

        async def haunt() -> None:
            async with session() as opened:
                await opened.execute(insert(Record).values(title="ghost"))
                assert await cached(opened, query, ttl=60) == (("ghost",),)
                raise RuntimeError

        with pytest.raises(RuntimeError):
            await haunt()
        async with session() as opened:
            assert await cached(opened, query, ttl=60) == ()


async def test_many_who_ask_at_once_make_one_query(database: str) -> None:
    """Single flight: the others wait for one."""
    async with running(kept(databases={"main": database})):
        async with session() as opened:
            opened.add(Record(title="a"))

        async def ask() -> tuple[object, bool]:
            async with session() as opened:
                rows = await cached(opened, select(Record.title), ttl=60)
                return rows, opened.in_transaction()

        answers = await asyncio.gather(*(ask() for _ in range(30)))
        assert {rows for rows, _ in answers} == {(("a",),)}
        assert sum(asked for _, asked in answers) == 1


async def test_no_fill_outlives_a_commit(database: str) -> None:
    """A history of reads and writes side by side: after a commit has returned, no read finds what was before."""
    async with running(kept(databases={"main": database})):
        async with session() as opened:
            opened.add(Record(id=1, title="0"))
        query, done, shuffle = select(Record.title), [0], random.Random(7)

        async def write() -> None:
            for number in range(1, 25):
                async with session() as opened:
                    await opened.execute(update(Record).where(Record.id == 1).values(title=str(number)))
                done[0] = number
                await asyncio.sleep(shuffle.random() * 0.004)

        async def read() -> None:
            while done[0] < 24:
                least = done[0]
                async with session() as opened:
                    ((title,),) = await cached(opened, query, ttl=60)
                assert int(str(title)) >= least
                await asyncio.sleep(shuffle.random() * 0.002)

        await asyncio.gather(write(), *(read() for _ in range(4)))


async def test_another_process_sees_an_eviction(database: str, valkey: Valkey) -> None:
    """Two services on one store, as two processes are: the other reads what was written, 50 ms after at the latest."""
    first = kept(databases={"main": database}, store=valkey.url)
    second = kept(databases={"main": database}, store=valkey.url)
    async with running(first) as writer:
        await writer.post("/records/first")
        async with running(second, fresh=False) as reader:
            assert [(await reader.get("/records/1")).json() for _ in range(2)] == ["first", "first"]
            await writer.put("/records/1/second")
            await asyncio.sleep(0.05)
            assert (await reader.get("/records/1")).json() == "second"


async def test_no_process_reads_what_was_before_for_longer_than_it_may(database: str, valkey: Valkey) -> None:
    """A history over two services on one store: the one that wrote never, the other 50 ms later no more.

    Reads of both kinds of what is kept race the commits, so that fills are under way while they evict.
    """
    first = kept(databases={"main": Database(url=database, pool_timeout=20)}, store=valkey.url)
    second = kept(databases={"main": Database(url=database, pool_timeout=20)}, store=valkey.url)
    commits = [(0.0, 0)]
    shuffle = random.Random(11)
    loop = asyncio.get_running_loop()

    async def write(client: httpx2.AsyncClient) -> None:
        for number in range(1, 16):
            assert (await client.put(f"/records/1/{number}")).status_code == 200
            commits.append((loop.time(), number))
            await asyncio.sleep(shuffle.random() * 0.08)

    async def read(client: httpx2.AsyncClient, path: str, late: float) -> int:
        reads = 0
        while commits[-1][1] < 15:
            least = max(number for at, number in commits if at <= loop.time() - late)
            answer = (await client.get(path)).json()
            assert int(answer[0] if isinstance(answer, list) else answer) >= least, f"{path} after {late}"
            reads += 1
            await asyncio.sleep(shuffle.random() * 0.004)
        return reads

    async with running(first) as writer:
        await writer.post("/records/0")
        async with running(second, fresh=False) as other:
            reading = [(writer, 0.0), (other, 0.05)]
            reads = [read(client, path, late) for client, late in reading for path in ("/records", "/records/1")]
            _, *counts = await asyncio.gather(write(writer), *reads)
    assert min(count or 0 for count in counts) > 15
