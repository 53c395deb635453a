"""The databases that tests run on: SQLite, and a PostgreSQL server where its programs are installed."""

import pytest

from tests.postgres import Postgres


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> str:
    """The address of a database: both kinds, one after the other."""
    if request.param == "sqlite":
        return str(request.getfixturevalue("sqlite"))
    server = request.getfixturevalue("postgres")
    assert isinstance(server, Postgres)
    return server.url
