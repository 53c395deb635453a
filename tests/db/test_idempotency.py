"""Idempotency in the handler's transaction: once against the database, whatever happens to process and store."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import httpx2
import pytest
from fastapi import Body, FastAPI, HTTPException
from fastapi.responses import StreamingResponse
from sqlalchemy import func, select, text

from forecourt import ConfigError, EndpointPolicy, Idempotency, JobConfig, Offload, PolicyMiddleware
from forecourt.db import session as sessions
from forecourt.db.idempotency import Once, TakenError, records
from forecourt.inspection import inspect
from forecourt.policies.database import Database
from forecourt.stores.contract import Settlement
from forecourt.stores.memory import MemoryStore
from forecourt.testing import FakeClock
from forecourt.types import Message
from tests.db.service import Note, Record, Session, client, create_tables, lived
from tests.postgres import Postgres

POLICY = Idempotency(key="client", database="main", on_unknown="retry", max_body=100)


class Deaf(MemoryStore):
    """A store that hears of no completion while `deaf`: as if the caller's process had died right after its commit."""

    deaf = False

    def forget(self) -> None:
        """Lose all records."""
        self._entries.clear()
        self._ring.clear()

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        """Forget what a dead process could not have said."""
        if not self.deaf:
            await super().settle(settlements)


class Service:
    """A service that makes records, once per key; `between` is what a handler waits for."""

    def __init__(self, database: str, policy: Idempotency = POLICY, *, retries: bool = True) -> None:
        self.clock = FakeClock()
        self.store = Deaf(self.clock)
        self.runs = 0
        self.prepared: bool | None = True
        """Whether its start makes the table of records; None: it leaves the database alone."""
        self.between = asyncio.Event()
        self.between.set()
        quiet = EndpointPolicy(metrics="off", tracing="off", logging="off")
        once = EndpointPolicy(idempotency=policy)
        self.config = JobConfig(
            default=quiet,
            endpoints=dict.fromkeys(("make", "stream", "idle", "unused", "events"), once),
            databases={"main": Database(url=database) if retries else Database(url=database, retry="off")},
        )
        self.app = FastAPI(lifespan=self._prepared)
        self.app.add_middleware(PolicyMiddleware, config=self.config, store=self.store, clock=self.clock)

        @self.app.post("/notes", status_code=201)
        async def make(session: Session, body: str = Body(embed=True), *, status: int = 201) -> dict[str, object]:
            self.runs += 1
            note = Note(record_id=1)
            session.add(note)
            await session.flush()
            await self.between.wait()
            if status >= 400:
                raise HTTPException(status)
            return {"id": note.id, "body": body}

        @self.app.post("/stream")
        async def stream(session: Session, size: int = 1000) -> StreamingResponse:
            self.runs += 1
            session.add(Note(record_id=1))

            async def parts() -> AsyncIterator[bytes]:
                for _ in range(size // 50):
                    yield b"x" * 50

            return StreamingResponse(parts())

        @self.app.post("/unused")
        async def unused(session: Session) -> str:
            self.runs += 1
            return f"nothing of {session.bind is not None}"

        @self.app.post("/events")
        async def events(session: Session) -> StreamingResponse:
            session.add(Note(record_id=1))

            async def parts() -> AsyncIterator[bytes]:
                yield b"data: 1\n\n"

            return StreamingResponse(parts(), media_type="text/event-stream")

        @self.app.post("/idle")
        async def idle() -> str:
            self.runs += 1
            return "nothing"

    @asynccontextmanager
    async def _prepared(self, _app: FastAPI) -> AsyncIterator[None]:
        """Begin with empty tables."""
        if self.prepared is None:
            yield
            return
        await create_tables()
        async with sessions() as opened:
            connection = await opened.connection()
            await connection.run_sync(records.metadata.drop_all)
            if self.prepared:
                await connection.run_sync(records.metadata.create_all)
            opened.add(Record(id=1, title="first"))
        yield

    @asynccontextmanager
    async def running(self) -> AsyncIterator[httpx2.AsyncClient]:
        """Run it, with empty tables."""
        async with lived(self.app), client(self.app) as calling:
            yield calling

    def die(self) -> None:
        """Let the claim's lease pass, as nobody renews it any more."""
        self.clock.advance(16)
        self.store.deaf = False


async def post(calling: httpx2.AsyncClient, path: str = "/notes", body: str = "a", key: str = "k1") -> httpx2.Response:
    """Ask for a note."""
    return await calling.post(path, json={"body": body}, headers={"idempotency-key": key})


async def made() -> tuple[int, int]:
    """Return how many notes there are, and how many records of keys."""
    async with sessions() as opened:
        notes = await opened.scalar(select(func.count()).select_from(Note))
        kept = await opened.scalar(select(func.count()).select_from(records))
        return notes or 0, kept or 0


async def test_a_process_that_died_after_its_commit_is_answered_for_from_the_table(database: str) -> None:
    """The work is there once; who asks again has the first answer, and another payload is refused."""
    service = Service(database)
    async with service.running() as calling:
        service.store.deaf = True
        first = await post(calling)
        assert (first.status_code, await made()) == (201, (1, 1))
        service.die()
        other = await post(calling, body="b")
        assert other.status_code in (409, 422)
        again = await post(calling)
        assert (again.status_code, again.json()) == (201, first.json())
        assert again.headers["idempotent-replayed"] == "true"
        third = await post(calling)
        assert third.headers.get_list("idempotent-replayed") == ["true"], "now the store has it"
        assert (service.runs, await made()) == (1, (1, 1))


async def test_a_process_that_died_before_its_commit_has_done_nothing(database: str) -> None:
    """What was not committed is carried out by the next one, once."""
    service = Service(database)
    async with service.running() as calling:
        service.store.deaf = True
        assert (await post(calling, "/notes?status=500")).status_code == 500
        assert await made() == (0, 0)
        service.die()
        assert (await post(calling)).status_code == 201
        assert await made() == (1, 1)


async def test_a_store_that_lost_its_records_makes_nothing_twice(database: str) -> None:
    """The table is asked for every claim; of another payload it knows as well."""
    service = Service(database)
    async with service.running() as calling:
        first = await post(calling)
        service.store.forget()
        other = await post(calling, body="b")
        assert other.status_code == 422
        assert other.json()["type"].endswith("idempotency-key-reused")
        assert (await post(calling)).json() == first.json()
        assert (service.runs, await made()) == (1, (1, 1))


async def test_of_two_at_work_one_commits(postgres: Postgres) -> None:
    """One was thought dead; both answer what the first has committed."""
    service = Service(postgres.url)
    async with service.running() as calling:
        service.between.clear()
        both = [asyncio.create_task(post(calling))]
        await _until(service, 1)
        service.store.forget()
        both.append(asyncio.create_task(post(calling)))
        await _until(service, 2)
        service.between.set()
        answers = await asyncio.gather(*both)
        assert [each.status_code for each in answers] == [201, 201]
        assert answers[0].json() == answers[1].json()
        assert sorted("idempotent-replayed" in each.headers for each in answers) == [False, True]
        assert await made() == (1, 1)


async def _until(service: Service, runs: int) -> None:
    async with asyncio.timeout(20):
        while service.runs < runs:
            await asyncio.sleep(0.01)


async def test_a_refusal_of_the_handler_leaves_no_record(database: str) -> None:
    """An answer of 400 or more rolls back, the record too."""
    service = Service(database)
    async with service.running() as calling:
        assert (await post(calling, "/notes?status=404")).status_code == 404
        assert await made() == (0, 0)


async def test_what_is_too_large_to_keep_leaves_a_tombstone(database: str) -> None:
    """The whole answer goes out, and is never carried out again."""
    service = Service(database)
    async with service.running() as calling:
        assert len((await post(calling, "/stream")).content) == 1000
        service.store.forget()
        again = await post(calling, "/stream")
        assert (again.status_code, again.json()["type"].rpartition("/")[2]) == (200, "idempotency-answer-not-kept")
        small = await post(calling, "/stream?size=100", key="k2")
        assert small.content == b"x" * 100
        service.store.forget()
        assert (await post(calling, "/stream?size=100", key="k2")).content == b"x" * 100
        assert await made() == (2, 2)


async def test_a_handler_without_a_transaction_leaves_the_table_alone(sqlite: str) -> None:
    """There is nothing that could be committed twice."""
    service = Service(sqlite)
    async with service.running() as calling:
        assert (await post(calling, "/idle")).json() == "nothing"
        assert (await post(calling, "/unused", key="k2")).status_code == 200, "a session that was not used is none"
        assert await made() == (0, 0)


async def test_an_event_stream_is_committed_as_it_begins(database: str) -> None:
    """It is not kept, so its record is a tombstone, and what it sends is held up by nothing."""
    service = Service(database)
    async with service.running() as calling:
        assert (await post(calling, "/events")).content == b"data: 1\n\n"
        assert await made() == (1, 1)


async def test_an_answer_that_cannot_be_read_is_unknown(database: str) -> None:
    """It was carried out, and is not carried out again."""
    service = Service(database)
    async with service.running() as calling:
        await post(calling)
        service.store.forget()
        async with sessions() as opened:
            await opened.execute(records.update().values(answer=b"?"))
        answer = await post(calling)
        assert (answer.status_code, service.runs) == (409, 1)
        assert answer.json()["type"].endswith("/idempotency-outcome-unknown")


async def test_a_table_of_another_shape_is_an_error(database: str) -> None:
    """It is no missing table, and not said to be one; nothing runs."""
    service = Service(database)
    async with service.running() as calling:
        async with sessions() as opened:
            await opened.execute(text("ALTER TABLE forecourt_idempotency RENAME COLUMN answer TO other"))
        assert ((await post(calling)).status_code, service.runs) == (500, 0)


async def test_a_record_that_ends_in_the_very_moment_is_unknown(sqlite: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another has committed, and its answer is gone when it is looked for: nothing of this call is kept."""

    async def taken(_: Once) -> None:
        raise TakenError

    monkeypatch.setattr(Once, "write", taken)
    service = Service(sqlite)
    async with service.running() as calling:
        answer = await post(calling)
        assert (answer.status_code, await made()) == (409, (0, 0))
        assert answer.json()["type"].endswith("/idempotency-outcome-unknown")


async def test_a_record_that_has_ended_is_replaced(database: str) -> None:
    """After `ttl` the key is free, in the store and in the table."""
    service = Service(database, POLICY.model_copy(update={"ttl": 60}))
    async with service.running() as calling:
        await post(calling)
        service.clock.advance(61)
        again = await post(calling)
        assert "idempotent-replayed" not in again.headers
        assert (service.runs, await made()) == (2, (2, 1))


async def test_a_service_whose_database_has_no_table_does_not_start(database: str) -> None:
    """The error names database, table and what makes it; tables that the app's own start makes are there in time."""
    service = Service(database)
    service.prepared = False
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "lifespan.startup"}

    with pytest.raises(ConfigError, match='"main" has no table'):
        await service.app({"type": "lifespan", "asgi": {}, "state": {}}, receive, send)
    (failed,) = sent
    assert failed["type"] == "lifespan.startup.failed"
    assert 'no table "forecourt_idempotency": create it by a migration' in failed["message"]
    assert "records.metadata.create_all" in failed["message"]


async def test_calls_are_503_where_the_table_has_gone(database: str, caplog: pytest.LogCaptureFixture) -> None:
    """Also where no lifespan looked for it; nothing runs, and the log says how to mend it. Then the key is free."""
    service = Service(database)
    async with service.running() as calling:
        async with sessions() as opened:
            await (await opened.connection()).run_sync(records.metadata.drop_all)
        refused = await post(calling)
        assert (refused.status_code, service.runs) == (503, 0)
        assert refused.json()["type"].endswith("/idempotency-not-prepared")
        assert "forecourt_idempotency" not in refused.text
        assert 'no table "forecourt_idempotency": create it by a migration' in caplog.text
        async with sessions() as opened:
            await (await opened.connection()).run_sync(records.metadata.create_all)
        assert (await post(calling)).status_code == 201


async def test_a_database_that_does_not_answer_is_no_error_of_the_config(
    postgres: Postgres, caplog: pytest.LogCaptureFixture
) -> None:
    """The service starts, says that it could not look, and answers 503 until the database is back."""
    service = Service(postgres.url, retries=False)
    service.prepared = None
    postgres.stop()
    async with service.running() as calling:
        assert "'main' was not looked at: DatabaseDown" in caplog.text
        assert (await post(calling)).status_code == 503


def test_wrong_words_are_refused_at_the_start() -> None:
    """A database that is none, a policy that would not use it, and a job."""
    with pytest.raises(ConfigError, match=r'idempotency\.database: "main" is not one of databases'):
        JobConfig(endpoints={"make": EndpointPolicy(idempotency=POLICY)})
    with pytest.raises(ValueError, match=r'"block" is not allowed: must be "retry"'):
        Idempotency(database="main")
    policy = EndpointPolicy(idempotency=POLICY, offload=Offload())
    config = JobConfig(
        endpoints={"make": policy},
        default=EndpointPolicy(),
        databases={"main": Database(url="sqlite+aiosqlite:///none.sqlite3")},
    )
    app = FastAPI()
    app.add_middleware(PolicyMiddleware, config=config)
    app.post("/", name="make")(lambda: None)
    app.mount("/jobs", config.jobs)
    assert any("the endpoint is a job" in problem for problem in inspect(app).problems)
