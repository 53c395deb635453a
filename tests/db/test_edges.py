"""What seldom happens to sessions, cached queries and connections, and what is said then."""

import asyncio
import sys
from typing import Annotated

import pytest
from fastapi import Depends, WebSocket
from sqlalchemy import Integer, TypeDecorator, bindparam, select, text, type_coerce
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from starlette.requests import HTTPConnection

from forecourt import CircuitBreaker, ConfigError, Database, ForecourtError, JobConfig
from forecourt.config_databases import Spent, Statements
from forecourt.db import cached, session
from forecourt.db.databases import Databases
from forecourt.db.databases import running as databases_with
from forecourt.db.engines import _closed, _operation
from forecourt.db.opened import all_closed, given_back
from forecourt.db.queries import _keys
from forecourt.errors import StoreDown
from tests.asgi import call, websocket
from tests.db.service import Record, Session, client, create_tables, lived, policies, running, service
from tests.postgres import Postgres

plain = policies()


def engine_of(name: str = "main") -> Databases:
    """Return the databases that run."""
    return databases_with(name)


async def test_names_and_what_they_are_told_apart_by(sqlite: str) -> None:
    """Representations show names; sessions of one database are one dependency; a misspelt name is guessed."""
    assert repr(session("reports")) == "<sessions of 'reports'>"
    assert session("reports") == session("reports") != session("main")
    assert hash(session("reports")) == hash(session("reports"))
    assert session("main", primary=True) != session("main")
    async with running(plain(databases={"main": sqlite})):
        databases = engine_of()
        assert repr(databases) == "<Databases main>"
        databases.open()  # a second time
        assert databases_with("main") is databases
        with pytest.raises(ConfigError, match='no database named "mian"; did you mean "main"'):
            databases.database("mian")
    await databases.close()


async def test_a_session_of_a_call_needs_a_call(sqlite: str) -> None:
    """Elsewhere it says so, with the path."""
    connection = HTTPConnection({"type": "http", "path": "/elsewhere", "headers": []})
    for asked in (session.of_call(connection), session(connection), session("main")(connection)):
        with pytest.raises(ForecourtError, match="stands around '/elsewhere'"):
            await asked  # type: ignore[misc]  # a dependency, which FastAPI awaits


async def test_a_call_has_one_session_of_a_database(sqlite: str) -> None:
    """However it is asked for; and a block within a block has one of its own."""
    app = service(plain(databases={"main": sqlite}))
    same: list[bool] = []

    @app.post("/same")
    async def same_session(one: Session, two: Annotated[AsyncSession, Depends(session("main", primary=True))]) -> None:
        same.append(one is two)
        named = session("main")
        async with named as outer, named as inner:
            same.append(outer is inner)

    async with lived(app), client(app) as calling:
        assert (await calling.post("/same")).status_code == 200
    assert same == [True, False]


async def test_a_websocket_commits_when_its_handler_returns(sqlite: str) -> None:
    """Its session is that of the call."""
    app = service(plain(databases={"main": sqlite}))

    @app.websocket("/told")
    async def told(socket: WebSocket, session: Session) -> None:
        await socket.accept()
        session.add(Record(title="told"))
        await socket.close()

    async with lived(app):
        await create_tables()
        await call(app, websocket("/told"))
        async with session() as opened:
            assert (await opened.scalars(select(Record.title))).all() == ["told"]


async def test_a_commit_that_fails_for_the_handlers_fault_is_its_error(sqlite: str) -> None:
    """A value that the database cannot have is no problem of the database's."""
    app = service(plain(databases={"main": sqlite}))

    @app.post("/wrong")
    async def wrong(session: Session) -> None:
        session.add(Record(title={"no": "text"}))

    async with lived(app), client(app) as calling:
        await create_tables()
        assert (await calling.post("/wrong")).status_code == 500


class Odd(TypeDecorator[int]):
    """A type of which SQLAlchemy cannot tell whether two are alike."""

    impl = Integer
    cache_ok = False


async def test_queries_of_any_kind_are_kept(sqlite: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that SQLAlchemy has no key for, and more than are remembered compiled; another's session is refused."""
    monkeypatch.setattr("forecourt.db.queries._MOST_COMPILED", 1)
    async with running(plain(databases={"main": sqlite})):
        async with session() as opened:
            opened.add(Record(id=1, title="a"))
        async with session() as opened:
            for _ in range(2):
                assert await cached(opened, select(type_coerce(Record.id, Odd)), ttl=60) == ((1,),)
            assert await cached(opened, select(Record.id), ttl=60) == ((1,),)
            assert await cached(opened, select(Record.title), ttl=60) == (("a",),)
        engine = create_async_engine(sqlite)
        async with AsyncSession(engine) as foreign:
            with pytest.raises(ForecourtError, match="needs a session of"):
                await cached(foreign, select(Record.id), ttl=60)
        await engine.dispose()


async def test_a_statement_is_known_again_by_its_values_of_now(sqlite: str) -> None:
    """One that is used again is remembered; one whose values are asked for each time is not."""
    wanted = [1]
    asks = select(Record.title).where(Record.id == bindparam("own", callable_=lambda: wanted[0], type_=Integer))
    same = select(Record.title).where(Record.id == 1)
    async with running(plain(databases={"main": sqlite})):
        async with session() as opened:
            opened.add_all([Record(id=1, title="a"), Record(id=2, title="b")])
        async with session() as opened:
            for title in ("a", "b", "a"):
                assert await cached(opened, asks, ttl=60) == ((title,),)
                assert await cached(opened, same, ttl=60) == (("a",),)
                wanted[0] = 3 - wanted[0]
    assert same in _keys
    assert asks not in _keys


async def test_sessions_still_being_closed_are_waited_for(database: str) -> None:
    """Whoever is cancelled while giving one back leaves nothing behind."""
    async with running(plain(databases={"main": database})):
        opened = engine_of().session()
        await opened.execute(select(1))
        giving = asyncio.create_task(given_back([opened]))
        await asyncio.sleep(0)
        giving.cancel()
        await asyncio.gather(giving, return_exceptions=True)
        await all_closed()
        assert not opened.in_transaction()


async def test_a_store_that_does_not_say_who_wrote_means_the_primary(
    sqlite: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody reads something older than what they wrote."""
    database = Database(url=sqlite, replica=sqlite + "-replica")
    async with running(plain(databases={"main": database})) as calling:
        await calling.post("/records/new")

        async def down(_: object) -> None:
            raise StoreDown("as told")

        monkeypatch.setattr(engine_of().runtime.store, "decide", down)
        assert (await calling.get("/records/1")).json() == "new"


async def test_a_database_that_refuses_us_opens_no_breaker(postgres: Postgres) -> None:
    """A name that is wrong heals by no waiting; it is the service's error."""
    wrong = Database(url=postgres.url.replace("/postgres", "/nothing"), circuit_breaker=CircuitBreaker(fail_max=1))
    config = plain(databases={"main": wrong})
    async with running(config, fresh=False) as calling:
        assert (await calling.get("/records/1")).status_code == 500
        assert config.breaker("main").state == "closed"


async def test_a_connection_that_breaks_in_the_middle_counts(postgres: Postgres) -> None:
    """Its caller is told 503, and the breaker learns of it."""
    database = Database(url=postgres.url, circuit_breaker=CircuitBreaker(fail_max=1))
    config = plain(databases={"main": database})
    app = service(config)

    both = asyncio.Barrier(2)

    @app.get("/broken")
    async def broken(session: Session) -> None:
        await session.execute(select(1))
        await both.wait()
        await session.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))

    async with lived(app), client(app) as calling:
        answers = await asyncio.gather(calling.get("/broken"), calling.get("/broken"))
        assert {answer.status_code for answer in answers} == {503}
        assert config.breaker("main").state == "open"
        assert (await calling.get("/broken")).json()["type"].endswith("/circuit-open")


async def test_a_file_that_cannot_be_opened_for_nobody_is_let_be(sqlite: str) -> None:
    """Whoever asked is gone when the opening fails: nothing is closed, and nothing is left."""
    opening: asyncio.Future[object] = asyncio.get_running_loop().create_future()
    opening.set_exception(OSError("as told"))
    _closed(opening)


@pytest.mark.parametrize(
    ("missing", "url", "extra"),
    [
        ("forecourt.db.databases", "sqlite+aiosqlite:///a.sqlite3", "db"),
        ("asyncpg", "postgresql+asyncpg://localhost/a", "postgres"),
    ],
)
def test_a_missing_extra_is_named(missing: str, url: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By what installs it."""
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ConfigError, match=rf"databases: {missing} is missing: pip install 'forecourt\[{extra}\]'"):
        service(plain(databases={"main": url})).build_middleware_stack()


def test_operations_are_told_by_their_first_word() -> None:
    """Where SQLAlchemy does not say what a statement is."""
    assert [_operation(said, None) for said in (" select 1", "DELETE FROM a", "PRAGMA x")] == [
        "select",
        "delete",
        "other",
    ]


def test_an_observer_that_is_gone_is_told_nothing() -> None:
    """No config keeps an app alive."""

    class Observer:
        """Hears."""

        def hear(self, spent: Spent) -> None:
            raise AssertionError(spent)

    statements = Statements()
    assert repr(statements) == "<Statements told to nobody>"
    statements.listen("one", Observer().hear)
    statements.tell(Spent("", "main", "select", "ok", 0, 1))
    assert repr(statements) == "<Statements told to one>"


@pytest.mark.parametrize(
    ("databases", "said"),
    [
        ({"main": {"url": 3}}, "must be an address such as"),
        ({"main": "no address"}, "is not an address such as"),
        ({"a b": "sqlite+aiosqlite:///a"}, "must be 1 to 64 letters"),
        ({"main": {"url": "sqlite+aiosqlite:///a", "lag_query": "SELECT 0"}}, "must stand beside a `replica`"),
        ({"main": {"url": "sqlite+aiosqlite:///a", "isolation": "READ COMMITTED"}}, "SQLite has no other"),
    ],
)
def test_what_is_wrong_is_said(databases: object, said: str) -> None:
    """Before the start."""
    with pytest.raises(ConfigError, match=said):
        JobConfig(databases=databases)  # type: ignore[arg-type]  # the faults
