"""The databases that tests run on: SQLite, and a PostgreSQL server where its programs are installed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.postgres import Postgres, binaries


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """A server that runs as long as the tests do; tests ask for `postgres`."""
    if binaries() is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    with Postgres() as server:
        yield server


@pytest.fixture
def postgres(postgres_server: Postgres) -> Iterator[Postgres]:
    """A running server, which a test may stop."""
    postgres_server.start()
    yield postgres_server
    postgres_server.start()


@pytest.fixture
def sqlite(tmp_path: Path) -> str:
    """The address of a new SQLite file."""
    return f"sqlite+aiosqlite:///{tmp_path / 'test.sqlite3'}"


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> str:
    """The address of a database: both kinds, one after the other."""
    if request.param == "sqlite":
        return str(request.getfixturevalue("sqlite"))
    server = request.getfixturevalue("postgres")
    assert isinstance(server, Postgres)
    return server.url
