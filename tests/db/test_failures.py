"""What a database's error means to a caller, state by state."""

import sqlite3

import pytest
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from forecourt.db.failures import BUSY, CONFLICT, DOWN, LATE, problem_of
from forecourt.errors import DatabaseDown
from forecourt.responses import OVERLOADED, Problem


class Failed(Exception):
    """What a driver raises."""

    def __init__(self, sqlstate: str = "", name: str = "") -> None:
        self.sqlstate, self.sqlite_errorname = sqlstate, name
        super().__init__("in the database's own words")


@pytest.mark.parametrize(
    ("state", "problem"),
    [
        ("23505", CONFLICT),
        ("23503", CONFLICT),
        ("40001", BUSY),
        ("40P01", BUSY),
        ("57014", LATE),
        ("57P01", DOWN),
        ("08006", DOWN),
        ("42P01", None),
    ],
)
def test_states_of_postgresql(state: str, problem: Problem | None) -> None:
    """SQLSTATE says what happened; what is the handler's fault is none of the database's."""
    assert problem_of(DBAPIError("INSERT", {}, Failed(state))) is problem


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("SQLITE_CONSTRAINT_UNIQUE", CONFLICT),
        ("SQLITE_CONSTRAINT_NOTNULL", None),
        ("SQLITE_BUSY", BUSY),
        ("SQLITE_LOCKED_SHAREDCACHE", BUSY),
        ("SQLITE_IOERR_READ", DOWN),
        ("SQLITE_CANTOPEN", DOWN),
        ("", None),
    ],
)
def test_names_of_sqlite(name: str, problem: Problem | None) -> None:
    """So does SQLite's name of an error."""
    assert problem_of(DBAPIError("INSERT", {}, Failed(name=name))) is problem


def test_what_happens_before_a_statement() -> None:
    """No connection free, none to be had, one that broke off; anything else is nobody's here."""
    assert problem_of(PoolTimeout()) is OVERLOADED
    assert problem_of(DatabaseDown("main", "OSError")) is DOWN
    assert problem_of(DBAPIError("SELECT", {}, sqlite3.Error(), connection_invalidated=True)) is DOWN
    assert problem_of(ValueError()) is None
