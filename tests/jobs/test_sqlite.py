"""The queue in a file: what a restart leaves, what others do to the file, and what is wrong with it."""

import asyncio
import sqlite3
from pathlib import Path

import pytest

from forecourt.errors import ConfigError, StoreDown
from forecourt.jobs.queue import Ending
from forecourt.jobs.sqlite import SqliteQueue
from forecourt.testing import FakeClock
from tests.jobs.queues import job


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Where the file is."""
    return str(tmp_path / "jobs.db")


async def test_jobs_survive_the_end_of_the_process(path: str) -> None:
    """What waits waits, what was at work is tried again when its lease ends, what ended has its result."""
    clock = FakeClock()
    queue = SqliteQueue(path, "q", clock)
    await queue.open()
    for name in ("done", "running", "waiting"):
        await queue.publish(job(name))
    done, _ = await queue.claim(2)
    await queue.finish("done", done.token, Ending("done", b"result"))
    again = SqliteQueue(path, "q", clock)
    await again.open()
    assert await again.result("done") == b"result"
    assert [each.id for each in await again.claim(8)] == ["waiting"]
    clock.advance(10)
    assert [(each.id, each.attempts) for each in await again.claim(8)] == [("running", 2), ("waiting", 2)]
    await queue.close()
    await again.close()


async def test_queues_of_one_file_are_apart(path: str) -> None:
    """Each sees its own jobs."""
    one, other = SqliteQueue(path, "one"), SqliteQueue(path, "other")
    await one.open()
    await other.open()
    await one.publish(job("a"))
    assert await other.claim(8) == []
    assert await other.look("a") is None
    assert len(await one.claim(8)) == 1
    assert repr(one) == f"<SqliteQueue one in {path}>"
    await one.close()
    await other.close()


async def test_a_commit_is_on_disk_before_it_is_answered(path: str) -> None:
    """The log is written ahead, and synchronised."""
    queue = SqliteQueue(path, "q")
    await queue.open()
    assert queue._file is not None
    modes = await queue._within(
        lambda: [queue._file.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")]  # type: ignore[union-attr]  # it is open
    )
    assert modes == ["wal", 2]
    await queue.close()


async def test_a_file_that_is_held_is_down(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process may hold it for so long; after that nothing is known, and nothing was done."""
    monkeypatch.setattr("forecourt.jobs.sqlite._PATIENCE", 0.05)
    queue = SqliteQueue(path, "q")
    await queue.open()
    with sqlite3.connect(path, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreDown, match="locked"):
            await queue.publish(job("a"))
        other.execute("ROLLBACK")
    other.close()
    assert await queue.look("a") is None
    await queue.close()
    with pytest.raises(StoreDown, match="not open"):
        await queue.look("a")
    await queue.close()


async def test_what_comes_while_a_file_is_closed_meets_none(path: str) -> None:
    """It is down, as after that; the file is closed all the same."""
    queue = SqliteQueue(path, "q")
    await queue.open()
    closing = asyncio.create_task(queue.close())
    await asyncio.sleep(0)
    with pytest.raises(StoreDown, match="the queue's file is not open"):
        await queue.look("a")
    await closing


async def test_an_attempt_that_fails_when_its_job_is_forgotten_is_nobodys(path: str) -> None:
    """Its owner cancelled it, and its time is over by then: nothing is left to note that on."""
    clock = FakeClock()
    queue = SqliteQueue(path, "q", clock)
    await queue.open()
    await queue.publish(job("a"))
    (claimed,) = await queue.claim(1)
    await queue.cancel("a")
    assert await queue.finish("a", claimed.token, Ending("failed", b"", "it failed")) is None
    clock.advance(500)
    assert await queue.finish("a", claimed.token, Ending("failed", b"", "it failed")) is None
    await queue.close()


async def test_a_file_that_cannot_be_is_told(tmp_path: Path) -> None:
    """When the app starts, with the file's name."""
    with pytest.raises(ConfigError, match="unable to open"):
        await SqliteQueue(str(tmp_path / "none" / "jobs.db"), "q").open()


async def test_idling_is_short() -> None:
    """There is no news from other processes, so it is asked for."""
    await SqliteQueue("", "q").idle(1)
